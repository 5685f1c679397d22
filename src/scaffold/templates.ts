/** The templates that ship with the package, and their files with the names filled in. */
import {existsSync} from 'node:fs';
import {readdir, readFile} from 'node:fs/promises';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {ByError} from '../errors.js';

export interface Template {
  readonly name: string;
  readonly summary: string;
}

export const templates: readonly Template[] = [
  {name: 'worker', summary: 'one worker that streams an answer, with its tests'},
];

/** What the tokens of a template stand for: `{{name}}` and so on. */
export interface TemplateValues {
  readonly name: string;
  readonly agentType: string;
  /** What `dependencies` says for by-toolkit. */
  readonly toolkit: string;
}

export interface ProjectFile {
  /** Relative to the project, with forward slashes. */
  readonly path: string;
  readonly content: string;
}

/** npm leaves out files with these names when it packs, so templates store them under others. */
const STORED_AS: Readonly<Record<string, string>> = {
  _gitignore: '.gitignore',
  _editorconfig: '.editorconfig',
};

/** @throws {ByError} INVALID_INPUT for a template we do not have, naming those we do. */
export function findTemplate(name: string): Template {
  const template = templates.find(one => one.name === name);
  if (template) return template;
  throw new ByError('INVALID_INPUT', `The template "${name}" is not available in this version.`, {
    hint: `Available: ${templates.map(one => one.name).join(', ')}.`,
    next: ['by init --list-templates'],
    details: {available: templates.map(one => one.name)},
  });
}

/** @returns All files of the template, rendered: package.json first, the others by path. */
export async function renderTemplate(template: Template, values: TemplateValues): Promise<ProjectFile[]> {
  const folder = path.join(templatesFolder(), template.name);
  const paths = await filesUnder(folder, '');
  const files = await Promise.all(
    paths.map(async stored => ({
      path: stored.replace(/[^/]+$/, name => STORED_AS[name] ?? name),
      content: fillIn(await readFile(path.join(folder, stored), 'utf8'), values, stored),
    })),
  );
  const rank = ({path: name}: ProjectFile) => (name === 'package.json' ? '' : name);
  return files.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

/** The package's own folder is the first above this file that has templates: `src/` and `dist/src/` differ in depth. */
function templatesFolder(): string {
  const here = path.dirname(fileURLToPath(import.meta.url));
  for (let folder = here; folder !== path.dirname(folder); folder = path.dirname(folder)) {
    const candidate = path.join(folder, 'templates');
    if (existsSync(path.join(folder, 'package.json')) && existsSync(candidate)) return candidate;
  }
  throw new ByError('INTERNAL', 'The templates of by-toolkit are missing.', {
    hint: 'Install by-toolkit again.',
  });
}

async function filesUnder(folder: string, prefix: string): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(path.join(folder, prefix), {withFileTypes: true})) {
    const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) files.push(...(await filesUnder(folder, name)));
    else files.push(name);
  }
  return files.sort();
}

function fillIn(text: string, values: TemplateValues, file: string): string {
  return text.replace(/\{\{(\w+)\}\}/g, (_, token: string) => {
    if (!Object.hasOwn(values, token))
      throw new Error(`template file ${file} has an unknown token {{${token}}}`);
    const value = values[token as keyof TemplateValues];
    // Names are safe in any file; the version of the toolkit is free text, and only package.json has it.
    return file.endsWith('.json') ? JSON.stringify(value).slice(1, -1) : value;
  });
}
