/** The only reader of the process's environment: below here everything is handed in. */
import {resolveConnection, type ConnectionSettings, type ConnectionSources} from './connection.js';

/** {@link resolveConnection} with this process's environment. */
export const connectionFromEnv = (sources: Omit<ConnectionSources, 'env'>): ConnectionSettings =>
  resolveConnection({...sources, env: process.env});

/** The secret that signs requests to a service that starts workers; undefined if none is set. */
export const wakeupSecretFromEnv = (): string | undefined => process.env['BY_WAKEUP_SECRET'] || undefined;
