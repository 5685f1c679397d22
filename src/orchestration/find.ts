/** Finding records by their ids, or by how these begin. */
import {ByError} from '../errors.js';
import {ID_PREFIXES, isIdStart, isOrchestrationId, type IdKind} from '../protocol/orchestration/ids.js';
import {listNewest} from '../store/orchestration-lists.js';
import type {Workspace} from '../store/orchestration.js';

const CODES = {task: 'TASK_NOT_FOUND', run: 'RUN_NOT_FOUND'} as const;

export const notFound = (kind: 'task' | 'run', id: string): ByError =>
  new ByError(CODES[kind], `No ${kind} "${id.slice(0, 80)}" in this workspace.`, {
    hint: `See them with \`by ${kind} list\`, and check --workspace.`,
  });

/** Of the newest so many, one may be named by the beginning of its id. */
const SEARCHED = 10_000;
const CANDIDATES = 5;

/**
 * The whole id of a task or a run.
 * @param text the id, or at least the eight characters after its prefix.
 * @throws {ByError} TASK_NOT_FOUND, RUN_NOT_FOUND; AMBIGUOUS_ID if several begin so.
 */
export async function resolveId(workspace: Workspace, kind: 'task' | 'run', text: string): Promise<string> {
  const body = text.slice(ID_PREFIXES[kind].length).toUpperCase();
  const id = ID_PREFIXES[kind] + body;
  if (!text.startsWith(ID_PREFIXES[kind]) || isOrchestrationId(kind, id))
    return text.startsWith(ID_PREFIXES[kind]) ? id : text;
  if (!isIdStart(kind, id)) throw notFound(kind, text);
  const newest = await listNewest(workspace, workspace.keys.orchIndex(workspace.name, `${kind}s`), {
    count: SEARCHED,
  });
  const found = newest.map(one => one.id).filter(one => one.startsWith(id));
  const only = onlyOne(kind, text, found);
  if (only === undefined) throw notFound(kind, text);
  return only;
}

/**
 * @param found the ids that begin like the text.
 * @returns undefined if there is none.
 * @throws {ByError} AMBIGUOUS_ID if there are several.
 */
export function onlyOne(kind: IdKind, text: string, found: readonly string[]): string | undefined {
  if (found.length <= 1) return found[0];
  throw new ByError('AMBIGUOUS_ID', `${found.length} ${kind}s begin like ${text}.`, {
    hint: 'Write more of the id.',
    details: {candidates: found.slice(0, CANDIDATES)},
  });
}
