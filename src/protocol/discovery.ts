/** Service discovery: instances of a service, and which of them to call. Spec §9.3. */
import {z} from 'zod';
import {newHexUuid} from '../ids.js';
import {parseUntrustedObject, ProtocolError} from './limits.js';
import {document, integer, text, textOr, textOrNull, wire} from './wire.js';

/** Milliseconds after its last heartbeat an instance still counts as healthy; -1 turns the check off. */
export const HEALTH_THRESHOLD_MS = 30_000;
export const HEARTBEAT_INTERVAL_MS = 10_000;

/** Exactly these keys on the wire: Python and Java refuse any other. */
export const ServiceInstance = wire(
  z.object({
    id: text(),
    host: text(),
    port: integer(),
    protocol: textOr('http'),
    pathPrefix: textOrNull(),
    weight: integer(1),
    metadata: document(),
  }),
);
export type ServiceInstance = z.output<typeof ServiceInstance>;

export const encodeServiceInstance = (instance: ServiceInstance): string =>
  JSON.stringify(z.encode(ServiceInstance, instance));

/** @throws {ProtocolError} as parseUntrusted; NOT_AN_OBJECT; MISSING_FIELD without an id or a host. */
export function readServiceInstance(data: string | Uint8Array): ServiceInstance {
  const instance = z.decode(ServiceInstance, {...parseUntrustedObject(data)});
  if (instance.id === '' || instance.host === '') {
    throw new ProtocolError('MISSING_FIELD', 'The service instance has no id or no host.');
  }
  return instance;
}

/** Ids we give say so, because only of those we know that they have heartbeats: `svc:by-3d5e736b`. */
export const newInstanceId = (service: string): string => `${service}:by-${newHexUuid().slice(0, 8)}`;

export const isOurInstanceId = (id: string): boolean => /:by-[0-9a-f]{8}$/.test(id);

/** @param lastHeartbeat Unix milliseconds, the score in the sorted set of active instances. */
export function isHealthy(lastHeartbeat: number, now: number, thresholdMs = HEALTH_THRESHOLD_MS): boolean {
  return thresholdMs < 0 || lastHeartbeat >= now - thresholdMs;
}

/** `protocol://host:port/prefix/path`, without empty segments. */
export function serviceUrl(instance: ServiceInstance, path = ''): string {
  const host = instance.host.includes(':') ? `[${instance.host}]` : instance.host;
  const segments = [instance.pathPrefix ?? '', path].map(part => part.replace(/^\/+|\/+$/g, ''));
  return `${instance.protocol}://${host}:${instance.port}/${segments.filter(part => part !== '').join('/')}`;
}

export type Strategy = 'random' | 'round-robin';

/**
 * @param turn How many picks came before, for round-robin.
 * @returns undefined if there is none.
 */
export function pickInstance<T>(
  instances: readonly T[],
  strategy: Strategy = 'random',
  turn = 0,
  random: () => number = Math.random,
): T | undefined {
  const index = strategy === 'random' ? Math.floor(random() * instances.length) : turn % instances.length;
  return instances[index];
}

/** HTTP answers worth another attempt. */
export const RETRY_STATUSES: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);
