/**
 * Adding one entry to a list of a by.config file, whose text stays as its owner wrote it. A pure function over the text:
 * whoever writes the result reads it back, because code can say anything.
 */
import {ByError} from '../errors.js';

export interface ConfigEntry {
  readonly list: 'workers' | 'plugins';
  readonly value: string | Readonly<Record<string, string | readonly string[]>>;
}

/** @returns the new text, or undefined if this file does not say plainly where its list is. */
export function withEntry(text: string, entry: ConfigEntry, isJson: boolean): string | undefined {
  return isJson ? inJson(text, entry) : inCode(text, entry);
}

/** As it is written in code: `{entry: './src/a.ts', agentTypes: ['a']}`. */
export function entryAsCode({value}: ConfigEntry): string {
  if (typeof value === 'string') return quoted(value);
  const fields = Object.entries(value).map(
    ([name, one]) => `${name}: ${typeof one === 'string' ? quoted(one) : `[${one.map(quoted).join(', ')}]`}`,
  );
  return `{${fields.join(', ')}}`;
}

const quoted = (text: string) => `'${text.replace(/['\\]/g, '\\$&')}'`;

function inJson(text: string, {list, value}: ConfigEntry): string {
  const config = JSON.parse(text) as Record<string, unknown>;
  const there = config[list] ?? [];
  if (!Array.isArray(there)) {
    throw new ByError('INVALID_CONFIG', `"${list}" of the config file is no list.`, {
      hint: 'Correct the file; docs/configuration.md lists what it may hold.',
    });
  }
  const indent = /^([ \t]+)"/m.exec(text)?.[1] ?? '  ';
  return `${JSON.stringify({...config, [list]: [...(there as unknown[]), value]}, null, indent)}\n`;
}

function inCode(text: string, entry: ConfigEntry): string | undefined {
  const code = withoutTexts(text);
  const lists = [...code.matchAll(new RegExp(`\\b${entry.list}:\\s*\\[`, 'g'))];
  // Workers may have plugins of their own: only the outermost list is the project's.
  const outermost = lists.filter(({index}) => depthAt(code, index) === outerDepth(code));
  const [found, ...others] = outermost;
  if (others.length > 0) return undefined;
  if (found !== undefined) return intoList(text, code, found.index + found[0].length, entryAsCode(entry));
  const config = [...code.matchAll(/\bdefineConfig\(\s*\{|\bexport default\s*\{/g)];
  const [start] = config;
  if (start === undefined || config.length > 1) return undefined;
  const at = start.index + start[0].length;
  return `${text.slice(0, at)}\n  ${entry.list}: [${entryAsCode(entry)}],${text.slice(at)}`;
}

/** @param start right after the list's bracket. */
function intoList(text: string, code: string, start: number, item: string): string | undefined {
  const end = closing(code, start);
  if (end === undefined) return undefined;
  const last = code.slice(start, end).trimEnd();
  const body = text.slice(start, start + last.length);
  if (last === '') return `${text.slice(0, start)}${item}${text.slice(end)}`;
  const comma = last.endsWith(',') ? '' : ',';
  const isSpread = code.slice(start, end).includes('\n');
  const indent = /\n([ \t]*)\S/.exec(code.slice(start, end))?.[1] ?? '    ';
  // What follows the last item may be a comment, which stays where it is.
  const rest = text.slice(start + last.length, end);
  const added = isSpread ? `\n${indent}${item},` : ` ${item}`;
  return `${text.slice(0, start)}${body}${comma}${added}${rest}${text.slice(end)}`;
}

/** The text with strings and comments blanked out, so that places in it are those of the text. */
function withoutTexts(text: string): string {
  return text.replace(
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g,
    part => {
      const isComment = part.startsWith('//') || part.startsWith('/*');
      // A string leaves something behind: an item of a list is not nothing.
      return part.replace(/[^\n]/g, isComment ? ' ' : '"');
    },
  );
}

/** @returns where the bracket that is open at `from` is closed. */
function closing(code: string, from: number): number | undefined {
  let depth = 1;
  for (let at = from; at < code.length; at++) {
    if ('([{'.includes(code[at] ?? '')) depth++;
    else if (')]}'.includes(code[at] ?? '') && --depth === 0) return at;
  }
  return undefined;
}

function depthAt(code: string, place: number): number {
  let depth = 0;
  for (const char of code.slice(0, place)) {
    if ('([{'.includes(char)) depth++;
    else if (')]}'.includes(char)) depth--;
  }
  return depth;
}

/** How deep the fields of the config are: in `defineConfig({…})` two brackets, in a bare object one. */
const outerDepth = (code: string) => (/\bdefineConfig\(/.test(code) ? 2 : 1);
