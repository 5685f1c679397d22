/** Where the history of sessions is kept: the environment says so, else the project's config; else in the worker's memory. */
import {z} from 'zod';
import {ByError} from '../errors.js';

export const HISTORY_KINDS = ['off', 'memory', 'redis', 'postgres'] as const;

export const HistoryConfig = z.strictObject({
  /** `redis` is the server the workers use. */
  backend: z.literal(HISTORY_KINDS),
  /** Of PostgreSQL. Without a password: that belongs in BY_HISTORY_URL. */
  url: z.string().min(1).optional(),
});
export type HistoryConfig = z.output<typeof HistoryConfig>;

export type HistorySettings =
  | {readonly backend: 'off' | 'memory' | 'redis'; readonly source: string}
  /** The URL may hold a password: never print it. */
  | {readonly backend: 'postgres'; readonly url: string; readonly source: string};

/**
 * Choose: BY_HISTORY and BY_HISTORY_URL, the SDKs' BYAI_HISTORY_PG_DSN, the config, memory. An address alone means PostgreSQL.
 * @throws {ByError} INVALID_CONFIG for an unknown backend, PostgreSQL without an address, or an address of something else.
 */
export function resolveHistory(
  env: Readonly<Record<string, string | undefined>>,
  config?: HistoryConfig,
): HistorySettings {
  const named = env['BY_HISTORY'] ?? '';
  const backend = named === '' ? undefined : HISTORY_KINDS.find(kind => kind === named);
  if (named !== '' && backend === undefined)
    throw new ByError('INVALID_CONFIG', `BY_HISTORY is "${named.slice(0, 40)}".`, {
      hint: `Set it to ${HISTORY_KINDS.join(', ')}.`,
    });
  const address = addressIn(env, config);
  if (backend !== undefined && backend !== 'postgres') return {backend, source: 'BY_HISTORY'};
  if (backend === 'postgres') return postgres(address, 'BY_HISTORY');
  if (address !== undefined && address.source !== 'by.config') return postgres(address, address.source);
  if (config === undefined) return {backend: 'memory', source: 'default'};
  if (config.backend === 'postgres') return postgres(address, 'by.config');
  if (config.url !== undefined)
    throw new ByError('INVALID_CONFIG', `history of by.config has a url, and ${config.backend} takes none.`, {
      hint: 'Leave it out: history in Redis is kept where the workers are.',
    });
  return {backend: config.backend, source: 'by.config'};
}

interface Address {
  readonly url: string;
  readonly source: string;
}

function addressIn(
  env: Readonly<Record<string, string | undefined>>,
  config: HistoryConfig | undefined,
): Address | undefined {
  const candidates = [
    [env['BY_HISTORY_URL'], 'BY_HISTORY_URL'],
    [env['BYAI_HISTORY_PG_DSN'], 'BYAI_HISTORY_PG_DSN'],
    [config?.url, 'by.config'],
  ] as const;
  const [url, source] = candidates.find(([given]) => given !== undefined && given !== '') ?? [];
  return url === undefined || source === undefined ? undefined : {url, source};
}

function postgres(address: Address | undefined, asked: string): HistorySettings {
  if (address === undefined)
    throw new ByError(
      'INVALID_CONFIG',
      `${asked} asks for history in PostgreSQL, and nothing says where that is.`,
      {
        hint: 'Set BY_HISTORY_URL to postgres://user@host:5432/database; it may carry a password.',
      },
    );
  const {url, source} = address;
  // Python's SQLAlchemy names its driver in the scheme.
  const plain = url.replace(/^postgres(?:ql)?(?:\+[a-z0-9]+)?:/, 'postgres:');
  if (plain.startsWith('postgres://') && URL.canParse(plain))
    return {backend: 'postgres', url: plain, source};
  // The value may hold a password, so it is not repeated.
  throw new ByError('INVALID_CONFIG', `The address from ${source} is no PostgreSQL URL.`, {
    hint: 'Write it as postgres://user@host:5432/database.',
  });
}
