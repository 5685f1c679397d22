/** `by add` without its command line: new files in a project that is there, and their place in its by.config. */
import {existsSync} from 'node:fs';
import {readFile, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {importFresh} from '../config/import-fresh.js';
import {loadProject, type Project} from '../config/project.js';
import {ByError} from '../errors.js';
import {entryAsCode, withEntry, type ConfigEntry} from './edit-config.js';
import {agentTypeOf, agentTypeProblem, projectNameProblem, refuse} from './names.js';
import {renderPart, type Part, type ProjectFile} from './templates.js';
import {alreadyThere, writeProject} from './write-project.js';

export interface Addition {
  /** Absolute: the folder of the project. */
  readonly dir: string;
  readonly part: Part;
  readonly name: string;
  readonly agentType: string;
  readonly files: readonly ProjectFile[];
  /** What its by.config is to say; undefined if nothing. */
  readonly config: ConfigChange | undefined;
}

export interface ConfigChange {
  /** Relative to the project. */
  readonly file: string;
  readonly list: ConfigEntry['list'];
  /** To be added to that list, as code. */
  readonly item: string;
  readonly before: string;
  /** Undefined if the file does not say plainly where its list is: then a person has to add it. */
  readonly after: string | undefined;
}

export interface AddChoice {
  readonly part: Part;
  readonly name: string;
  /** Default: of a test what the worker serves, else made from the name. */
  readonly agentType: string | undefined;
}

/**
 * Checks everything and renders the files; writes nothing.
 * @throws {ByError} USAGE outside of a project, INVALID_INPUT, NOT_FOUND for a test of what is not there, CONFLICT if a file is there.
 */
export async function planAddition({part, name, agentType}: AddChoice, cwd: string): Promise<Addition> {
  refuse(projectNameProblem(name), 'NAME');
  if (agentType !== undefined) refuse(agentTypeProblem(agentType), '--agent-type');
  const project = await loadProject(cwd);
  if (project === undefined) {
    throw new ByError('USAGE', 'There is no by.config here or above: this is no project.', {
      hint: 'Go to your project, or make one.',
      next: ['by init my-agent'],
    });
  }
  const tested = part === 'test' ? workerOf(project, name) : undefined;
  const values = {
    name,
    agentType: agentType ?? tested?.agentType ?? agentTypeOf(name),
    entry: tested?.entry ?? '',
  };
  const files = await renderPart(part, values);
  const taken = files.map(file => file.path).filter(file => existsSync(path.join(project.dir, file)));
  if (taken.length > 0) throw alreadyThere(taken);
  const config = await configChange(project, part, name, values.agentType);
  return {dir: project.dir, part, name, agentType: values.agentType, files, config};
}

/** All files or none; nothing that was there is changed but the config, which is put back if it reads otherwise than it should. */
export async function carryOut({dir, files, config}: Addition): Promise<'edited' | 'by-hand' | 'unchanged'> {
  const after = config?.after;
  const edited = config === undefined || after === undefined ? [] : [{path: config.file, content: after}];
  await writeProject([...files, ...edited], {directory: dir, shown: '.', state: 'occupied'}, file =>
    edited.some(({path: own}) => own === file),
  );
  if (config === undefined) return 'unchanged';
  if (after === undefined) return 'by-hand';
  if (await reads(path.join(dir, config.file), config)) return 'edited';
  await writeFile(path.join(dir, config.file), config.before);
  return 'by-hand';
}

/** The worker of the config that is called so: by its file, or by what it serves. */
function workerOf({config, file}: Project, name: string): {entry: string; agentType: string} {
  const worker = config.workers.find(
    ({entry, agentTypes}) =>
      path.basename(entry).replace(/\.\w+$/, '') === name ||
      agentTypes.some(type => type === name || type === agentTypeOf(name)),
  );
  const [agentType] = worker?.agentTypes ?? [];
  if (worker !== undefined && agentType !== undefined) return {entry: worker.entry, agentType};
  throw new ByError('NOT_FOUND', `${path.basename(file)} has no worker "${name}" to test.`, {
    hint: `Name one by its file or its agent type: ${config.workers.flatMap(({agentTypes}) => agentTypes).join(', ') || 'there is none yet'}.`,
    next: [`by add worker ${name}`],
  });
}

async function configChange(
  project: Project,
  part: Part,
  name: string,
  agentType: string,
): Promise<ConfigChange | undefined> {
  const entry = entryFor(project, part, name, agentType);
  if (entry === undefined) return undefined;
  const before = await readFile(project.file, 'utf8');
  return {
    ...{file: path.basename(project.file), list: entry.list, before},
    item: entryAsCode(entry),
    after: withEntry(before, entry, project.file.endsWith('.json')),
  };
}

function entryFor(
  {config, dir}: Project,
  part: Part,
  name: string,
  agentType: string,
): ConfigEntry | undefined {
  const file = `./src/${name}.ts`;
  switch (part) {
    case 'worker':
      return {list: 'workers', value: {entry: file, agentTypes: [agentType]}};
    case 'plugin': {
      // A folder that is in the list brings whatever is in it.
      const isThere = (config.plugins ?? []).some(
        source => typeof source === 'string' && path.resolve(dir, source) === path.join(dir, 'src'),
      );
      return isThere ? undefined : {list: 'plugins', value: file};
    }
    case 'provider':
    case 'test':
      return undefined;
  }
}

/** Whether the file, as it is now, says what it was given. */
async function reads(file: string, {list, item}: ConfigChange): Promise<boolean> {
  if (file.endsWith('.json')) return true;
  try {
    const {default: config} = (await importFresh(file)) as {
      default?: Record<string, readonly unknown[] | undefined>;
    };
    const entries = (config?.[list] ?? []) as readonly ConfigEntry['value'][];
    return entries.some(value => sameCode(value, item, list));
  } catch {
    // Whatever it is, it is not what was there: the old text is put back.
    return false;
  }
}

const sameCode = (value: ConfigEntry['value'], item: string, list: ConfigEntry['list']) =>
  (typeof value === 'string' || typeof value === 'object') && entryAsCode({list, value}) === item;
