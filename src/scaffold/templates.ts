/** The templates that ship with the package, of projects and of what is added to one, with the names filled in. */
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
  {name: 'plugin', summary: 'a plugin with a prompt, a tool and hooks, a worker to try it with, and tests'},
];

export const PARTS = ['worker', 'plugin', 'provider', 'test'] as const;
/** What can be added to a project. */
export type Part = (typeof PARTS)[number];

/**
 * What the tokens of a template stand for: `{{name}}` and so on, and `__name__` in the names of files. Variables of prompts
 * are written alike: `\{{text}}` becomes `{{text}}`.
 */
export type TemplateValues = Readonly<Record<string, string>>;

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

/** @returns All files of the template and those that all projects have, rendered: package.json first, the others by path. */
export async function renderTemplate(
  template: Template,
  values: {
    readonly name: string;
    readonly agentType: string;
    /** What `dependencies` says for by-toolkit. */
    readonly toolkit: string;
  },
): Promise<ProjectFile[]> {
  const files = [...(await render('base', values)), ...(await render(template.name, values))];
  const rank = ({path: name}: ProjectFile) => (name === 'package.json' ? '' : name);
  return files.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

/** @param entry for a test: the file that exports the agents, relative to the project. */
export const renderPart = (
  part: Part,
  values: {readonly name: string; readonly agentType: string; readonly entry: string},
): Promise<ProjectFile[]> => render(`add/${part}`, values);

async function render(template: string, values: TemplateValues): Promise<ProjectFile[]> {
  const folder = path.join(templatesFolder(), template);
  const paths = await filesUnder(folder, '');
  return Promise.all(
    paths.map(async stored => ({
      path: stored
        .replace(/[^/]+$/, name => STORED_AS[name] ?? name)
        .replaceAll('__name__', values['name'] ?? ''),
      content: fillIn(await readFile(path.join(folder, stored), 'utf8'), values, stored),
    })),
  );
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
  return text.replace(/\\?\{\{(\w+)\}\}/g, (written: string, token: string) => {
    if (written.startsWith('\\')) return written.slice(1);
    const value = Object.hasOwn(values, token) ? values[token] : undefined;
    if (value === undefined) throw new Error(`template file ${file} has an unknown token {{${token}}}`);
    // Names are safe in any file. Free text is the version of the toolkit, in package.json, and paths in strings of code.
    if (file.endsWith('.json')) return JSON.stringify(value).slice(1, -1);
    return file.endsWith('.ts') ? value.replace(/['\\]/g, '\\$&') : value;
  });
}
