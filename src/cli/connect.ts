/** How a command gets its store: flags, environment, the project, a running `by dev`, localhost. */
import {connectionFromEnv} from '../config/load.js';
import type {ConnectionSettings} from '../config/connection.js';
import {findDev} from '../config/dev-file.js';
import {openStore, type Store} from '../store/store.js';
import type {ConnectionChoice} from './flags.js';

export interface Connected {
  readonly store: Store;
  readonly settings: ConnectionSettings;
}

/** @throws {ByError} INVALID_CONFIG, KEY_SCHEMA. Redis itself is asked by the first command. */
export async function connectionSettings(
  choice: ConnectionChoice,
  cwd = process.cwd(),
): Promise<ConnectionSettings> {
  const flags = {
    flagUrl: choice.redisUrl,
    password: choice.redisPassword,
    flagKeySchema: choice.keySchema,
    durability: choice.durability,
  };
  const first = connectionFromEnv(flags);
  if (first.source !== 'default') return first;
  // Only now: the project's config may be TypeScript, and loading it costs more than the rest of a small command.
  const {findProjectFile} = await import('../config/find-project.js');
  const config =
    findProjectFile(cwd) === undefined ? undefined : (await import('../config/project.js')).loadProject(cwd);
  const project = (await config)?.config;
  return connectionFromEnv({
    ...flags,
    configUrl: project?.redisUrl,
    configKeySchema: project?.keySchema,
    devUrl: findDev(cwd)?.url,
  });
}

export async function connect(choice: ConnectionChoice): Promise<Connected> {
  const settings = await connectionSettings(choice);
  return {store: openStore({...settings, name: 'by-cli'}), settings};
}
