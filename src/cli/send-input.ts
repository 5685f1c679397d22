/** What `by send` is given, checked before anything connects. */
import {readFile} from 'node:fs/promises';
import {ByError, messageOf} from '../errors.js';
import type {Content} from '../protocol/commands.js';
import {isObject} from '../protocol/limits.js';
import {parseRoutePolicy, ROUTE_POLICIES, type RoutePolicy} from '../protocol/routing.js';
import {suggest} from './suggest.js';

const policyNames = ROUTE_POLICIES.map(policy => policy.toLowerCase().replaceAll('_', '-'));

/** @throws {ByError} USAGE, naming the policies. */
export function requirePolicy(text: string): RoutePolicy {
  const policy = parseRoutePolicy(text);
  if (policy) return policy;
  const near = suggest(text, policyNames);
  throw new ByError(
    'USAGE',
    `"${text}" is no route policy.${near === null ? '' : ` Did you mean ${near}?`}`,
    {
      hint: `Policies: ${policyNames.join(', ')}.`,
    },
  );
}

export interface ContentSource {
  readonly argument: string | undefined;
  readonly file: string | undefined;
  readonly isJson: boolean;
  readStdin(): Promise<string>;
}

/** @throws {ByError} USAGE when there is none, or two; INVALID_INPUT for JSON that is no array of objects. */
export async function readContent(source: ContentSource): Promise<Content> {
  const {argument, file} = source;
  if (argument !== undefined && file !== undefined) {
    throw new ByError('USAGE', 'The content was given twice: as an argument and by --file.', {
      hint: 'Give one of them.',
    });
  }
  if (argument === undefined && file === undefined) {
    throw new ByError('USAGE', 'There is nothing to send.', {
      hint: 'Give the text, - for standard input, or --file FILE.',
    });
  }
  const text =
    file !== undefined
      ? await readText(file)
      : argument === '-'
        ? await source.readStdin()
        : (argument ?? '');
  if (!source.isJson) return text;
  const value = parseJson('The content', text);
  if (!Array.isArray(value) || !value.every(isObject)) {
    throw new ByError('INVALID_INPUT', 'The content is JSON, but no array of objects.', {
      hint: 'Write for example [{"role":"user","content":"hello"}], or leave --content-json out to send text.',
    });
  }
  return value;
}

/** `key=value` pairs. @throws {ByError} USAGE for anything else. */
export function readMetadata(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map(pair => {
      const at = pair.indexOf('=');
      if (at < 1) {
        throw new ByError('USAGE', `"${pair}" is not key=value.`, {
          hint: 'Write for example -m tenant=acme.',
        });
      }
      const key = pair.slice(0, at);
      if (key.startsWith('by_')) {
        throw new ByError('USAGE', `Metadata names beginning with by_ are reserved ("${key}").`, {
          hint: 'Choose another name.',
        });
      }
      return [key, pair.slice(at + 1)];
    }),
  );
}

/** @throws {ByError} INVALID_INPUT for what is no JSON object. */
export async function readPayload(text: string | undefined): Promise<Record<string, unknown>> {
  if (text === undefined) return {};
  const value = await readJson('The payload', text);
  if (isObject(value)) return {...value};
  throw new ByError('INVALID_INPUT', 'The payload is no JSON object.', {
    hint: 'Write for example --payload \'{"depth":2}\'.',
  });
}

/** JSON, or the file that `@FILE` names. @param what it is, for people. @throws {ByError} INVALID_INPUT, USAGE. */
export async function readJson(what: string, text: string): Promise<unknown> {
  return parseJson(what, text.startsWith('@') ? await readText(text.slice(1)) : text);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new ByError('USAGE', `${file} can not be read: ${messageOf(error)}`, {
      hint: 'Check the path.',
      cause: error,
    });
  }
}

function parseJson(what: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new ByError('INVALID_INPUT', `${what} is not JSON: ${messageOf(error)}`, {
      hint: 'Correct it at the place named.',
      cause: error,
    });
  }
}
