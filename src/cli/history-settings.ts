/** Where a command finds the history: environment, else the project's config. */
import {findProjectFile} from '../config/find-project.js';
import type {HistoryConfig, HistorySettings} from '../config/history.js';
import {historyFromEnv} from '../config/load.js';
import {rememberSecret} from '../redact.js';

/** @throws {ByError} INVALID_CONFIG. */
export async function historySettings(cwd = process.cwd()): Promise<HistorySettings> {
  const project =
    findProjectFile(cwd) === undefined
      ? undefined
      : await import('../config/project.js').then(({loadProject}) => loadProject(cwd));
  return knownHistory(project?.config.history);
}

/** The same, where the project was read. Its password is kept out of all that is shown. */
export function knownHistory(config: HistoryConfig | undefined): HistorySettings {
  const settings = historyFromEnv(config);
  if (settings.backend === 'postgres') rememberPassword(new URL(settings.url));
  return settings;
}

/** As it is written, and as it is meant. */
function rememberPassword({password}: URL): void {
  rememberSecret(password);
  try {
    rememberSecret(decodeURIComponent(password));
  } catch {
    // Not encoded by anybody: then it is what it says.
  }
}
