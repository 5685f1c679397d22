/** Changing a command before it is replayed: what is written where, and what nobody may change. cli.md §2.5. */
import {ByError} from '../errors.js';
import {isObject} from '../protocol/limits.js';

type Doc = Readonly<Record<string, unknown>>;

export interface Edit {
  /** Names joined by dots, list items by their number: `body.content`, `body.content.0.text`. */
  readonly path: string;
  /** Undefined takes it out. */
  readonly value: unknown;
}

export interface Change {
  readonly path: string;
  /** Undefined: it was not there. */
  readonly before: unknown;
  /** Undefined: it is gone. */
  readonly after: unknown;
}

/** Whose command it is, and which: changing these would make it another's, or another. What to use in their place. */
const FIXED: Readonly<Record<string, string>> = {
  action_type: 'Send a new command instead.',
  'header.session_id': 'Send a new command instead.',
  'header.user_code': 'A command belongs to its user: send a new one instead.',
  'header.message_id': 'Use --new-ids.',
  'header.target_agent_type': 'Use --to.',
};

/** @throws {ByError} INVALID_INPUT for a path that leads nowhere. */
export function applyEdits(document: Doc, edits: readonly Edit[]): Doc {
  const edited = structuredClone(document);
  for (const edit of edits) applyEdit(edited, edit);
  return edited;
}

function applyEdit(document: Doc, {path, value}: Edit): void {
  const names = path.split('.');
  // What stands beside header and body nobody reads: `content=…` would change nothing, and look as if it had.
  const [part = ''] = names;
  if (part !== 'header' && part !== 'body' && !Object.hasOwn(document, part)) throw nowhere(path);
  const last = names.pop() ?? '';
  let at: unknown = document;
  for (const name of names) {
    const next = memberOf(at, name);
    if (next === undefined && isObject(at) && value !== undefined) define(at, name, {});
    at = memberOf(at, name);
  }
  if (last === '' || !isContainer(at)) throw nowhere(path);
  if (Array.isArray(at)) {
    if (!/^\d{1,6}$/.test(last) || Number(last) > at.length) throw nowhere(path);
    if (value === undefined) at.splice(Number(last), 1);
    else at[Number(last)] = value;
  } else if (value === undefined) {
    if (!Object.hasOwn(at, last)) throw nowhere(path);
    Reflect.deleteProperty(at, last);
  } else define(at, last, value);
}

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Own members only: a path must not reach a prototype. */
const memberOf = (value: unknown, name: string): unknown =>
  isContainer(value) && Object.hasOwn(value, name) ? (value as Doc)[name] : undefined;

function define(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, {value, enumerable: true, configurable: true, writable: true});
}

const nowhere = (path: string) =>
  new ByError('INVALID_INPUT', `The command has no place "${path}".`, {
    hint: 'Name places as `by deadletter show ID` prints them, for example body.content or body.content.0.text.',
  });

/** What differs, leaf by leaf, in the order of the paths. */
export function changesBetween(before: unknown, after: unknown, path = ''): Change[] {
  if (Object.is(before, after)) return [];
  if (isContainer(before) && isContainer(after) && Array.isArray(before) === Array.isArray(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return names.flatMap(name =>
      changesBetween(memberOf(before, name), memberOf(after, name), path === '' ? name : `${path}.${name}`),
    );
  }
  return [{path, before, after}];
}

/** @throws {ByError} INVALID_INPUT if something changed that makes it another command. */
export function requireAllowed(changes: readonly Change[]): void {
  for (const {path} of changes) {
    const [fixed, instead] = Object.entries(FIXED).find(([name]) => name === path || path === '') ?? [];
    if (fixed === undefined) continue;
    throw new ByError('INVALID_INPUT', `"${fixed}" of a dead letter can not be changed.`, {
      hint: instead ?? '',
    });
  }
}
