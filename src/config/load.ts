/** The only reader of the process's environment: below here everything is handed in. */
import {resolveConnection, type ConnectionSettings, type ConnectionSources} from './connection.js';

/** {@link resolveConnection} with this process's environment. */
export const connectionFromEnv = (sources: Omit<ConnectionSources, 'env'>): ConnectionSettings =>
  resolveConnection({...sources, env: process.env});
