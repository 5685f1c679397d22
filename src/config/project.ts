/** A project's by.config file: what it may say, and how it is read. */
import {readFile} from 'node:fs/promises';
import {dirname, resolve} from 'node:path';
import {z} from 'zod';
import {ByError, messageOf} from '../errors.js';
import {ID_PATTERN} from '../ids.js';
import {HistoryConfig} from './history.js';
import {findProjectFile} from './find-project.js';
import {importModule} from './import-module.js';
import {TracingConfig} from './tracing.js';

const Id = z.string().regex(ID_PATTERN, 'letters, digits and . _ : @ - only');

/** A path, or in a config that is code a plugin or a function that makes some; what it is, is looked at when it is loaded. */
const PluginEntry = z.union(
  [
    z.string().min(1),
    z.custom<object>(value => typeof value === 'function' || (typeof value === 'object' && value !== null)),
  ],
  'neither a path nor a plugin',
);

export const ProjectConfig = z.strictObject({
  /** Without a password: that belongs in BY_REDIS_URL. */
  redisUrl: z.string().optional(),
  keySchema: z.literal(['v1', 'v2']).optional(),
  /** Folder for the sessions' files, relative to the config file. Default `.by/workspaces`. */
  workspaceRoot: z.string().min(1).optional(),
  /** In a config that is code: opens the files of a session (`ctx.files`), for example in a bucket. Default: its workspace. */
  files: z.custom<(owner: never) => object>(value => typeof value === 'function', 'no function').optional(),
  history: HistoryConfig.optional(),
  /** For all workers, in the order of registration: files and folders relative to the config file, plugins, functions. */
  plugins: z.array(PluginEntry).optional(),
  /** Handed to every plugin as it is. */
  pluginSettings: z.record(z.string(), z.unknown()).optional(),
  /** Where traces of workers and of `by send` go. Default: nowhere. */
  tracing: TracingConfig.optional(),
  workers: z
    .array(
      z.strictObject({
        /** File that exports the agents, relative to the config file. */
        entry: z.string().min(1),
        /** What it serves, so that a provider knows whom to start without loading it. */
        agentTypes: z.array(Id).min(1),
        /** Executions at once. Default 50. */
        concurrency: z.int().positive().optional(),
        /** Default: made from the entry. */
        workerId: Id.optional(),
        /** It keeps free for on-call work: while it has some it begins nothing else. Default false. */
        reserveOnCall: z.boolean().optional(),
        /** Starts an execution has, in all, before it becomes a dead letter; an agent may say otherwise. Default 5. */
        maxAttempts: z.int().positive().optional(),
        /** Milliseconds a silent worker keeps its id and its work. From 500, default 15,000. */
        leaseMs: z.int().min(500).optional(),
        /** Beside those for all workers, after them. */
        plugins: z.array(PluginEntry).optional(),
        /** When executions that fail open the circuit of their agent type. Default: never. */
        circuit: z
          .strictObject({
            /** The share that fails. */
            rate: z.number().positive().max(1),
            /** Ends within the window before it may open. Default 20. */
            min: z.int().positive().optional(),
            /** Milliseconds that are looked back, at most an hour. Default 60,000. */
            windowMs: z.int().min(1000).max(3_600_000).optional(),
            /** Milliseconds before one command may try again, at most a day. Default 30,000. */
            openMs: z.int().min(1000).max(86_400_000).optional(),
          })
          .optional(),
      }),
    )
    .default([]),
});
export type ProjectConfig = z.output<typeof ProjectConfig>;

/** For by.config.ts: gives the editor the types; the check is made when the file is loaded. */
export function defineConfig(config: z.input<typeof ProjectConfig>): z.input<typeof ProjectConfig> {
  return config;
}

export interface Project {
  /** Folder of the config file. */
  readonly dir: string;
  readonly file: string;
  readonly config: ProjectConfig;
}

/** What a project says of one of its workers. */
export type ProjectWorker = ProjectConfig['workers'][number];

/** @returns the worker of that file, if the project names it. @param entry a full path. */
export const workerOfEntry = ({dir, config}: Project, entry: string): ProjectWorker | undefined =>
  config.workers.find(worker => resolve(dir, worker.entry) === entry);

/** Plugins of all workers, then those of this one; paths are full. */
export const pluginsOf = ({dir, config}: Project, worker: ProjectWorker | undefined): (string | object)[] =>
  [...(config.plugins ?? []), ...(worker?.plugins ?? [])].map(source =>
    typeof source === 'string' ? resolve(dir, source) : source,
  );

/**
 * Read the project's config. A code file is run: it is the user's own.
 * @returns undefined if there is none.
 * @throws {ByError} INVALID_CONFIG, naming file and place.
 */
export async function loadProject(from: string): Promise<Project | undefined> {
  const file = findProjectFile(from);
  if (file === undefined) return undefined;
  const raw = file.endsWith('.json') ? await readJson(file) : await importDefault(file);
  const parsed = ProjectConfig.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const place = issue?.path.length ? ` at ${issue.path.join('.')}` : '';
    throw new ByError('INVALID_CONFIG', `${file}${place}: ${issue?.message ?? 'is not valid'}`, {
      hint: 'Correct the file; docs/configuration.md lists what it may hold.',
    });
  }
  return {dir: dirname(file), file, config: parsed.data};
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as unknown;
  } catch (error) {
    throw new ByError('INVALID_CONFIG', `${file}: ${messageOf(error)}`, {
      hint: 'Correct the file.',
      cause: error,
    });
  }
}

async function importDefault(file: string): Promise<unknown> {
  try {
    const module = await importModule(file);
    return module['default'];
  } catch (error) {
    throw new ByError('INVALID_CONFIG', `${file} can not be loaded: ${messageOf(error)}`, {
      hint: 'Correct the file; run with --verbose for the whole error.',
      cause: error,
    });
  }
}
