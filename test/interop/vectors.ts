/** The interop vectors: what the SDKs were observed to write and read. Spec, appendix B. */
import {readdirSync, readFileSync} from 'node:fs';
import {basename} from 'node:path';
import {fileURLToPath} from 'node:url';

export interface Row {
  /** `file/name`, with `#2`, `#3`... when a name repeats in its file. */
  readonly id: string;
  readonly file: string;
  readonly name: string;
  /** `python@...`, `typescript@...` or `java@...`. */
  readonly sdk: string;
  readonly input: unknown;
  readonly expected: unknown;
}

interface VectorFile {
  readonly vectors: readonly Omit<Row, 'id' | 'file'>[];
}

const folder = fileURLToPath(new URL('vectors/', import.meta.url));

function load(name: string): Row[] {
  const file = basename(name, '.json');
  const {vectors} = JSON.parse(readFileSync(folder + name, 'utf8')) as VectorFile;
  const seen = new Map<string, number>();
  return vectors.map(row => {
    const count = (seen.get(row.name) ?? 0) + 1;
    seen.set(row.name, count);
    return {...row, file, id: `${file}/${row.name}${count === 1 ? '' : `#${count}`}`};
  });
}

export const rows: readonly Row[] = readdirSync(folder).sort().flatMap(load);

export const rowsOf = (file: string): readonly Row[] => rows.filter(row => row.file === file);

export type Doc = Readonly<Record<string, unknown>>;

export const asDoc = (value: unknown): Doc => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`not an object: ${JSON.stringify(value)}`);
  }
  return value as Doc;
};

/** A field of a row, by path. */
export function at(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>((inner, step) => (inner as Record<string | number, unknown>)[step], value);
}

export const failed = (row: Row): boolean => 'error_type' in asDoc(row.expected);

/** One check, for one row; it throws if we differ from what the row demands of us. */
export type Check = (row: Row) => void;

/** Checks of one file: the first whose pattern fits a row's name is the row's. */
export interface Family {
  readonly file: string;
  readonly checks: readonly (readonly [pattern: RegExp, check: Check])[];
}
