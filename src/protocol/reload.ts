/** Acknowledgements of RELOAD_PLUGINS: spec §6.11. */
import {z} from 'zod';
import {createHeader, type Header} from './header.js';
import {parseUntrustedObject} from './limits.js';
import {integer, text, wire} from './wire.js';

export const RELOAD_SUCCESS = 'success';
export const RELOAD_FAILURE = 'failure';

export const ReloadAck = wire(
  z.object({
    reloadId: text(),
    workerId: text(),
    /** `success` or `failure`. */
    status: text(),
    reason: text(),
    versionBefore: integer(),
    versionAfter: integer(),
    /** '' unless it failed. */
    error: text(),
  }),
);
export type ReloadAck = z.output<typeof ReloadAck>;

export const encodeReloadAck = (ack: ReloadAck): string => JSON.stringify(z.encode(ReloadAck, ack));

/** @throws {ProtocolError} as parseUntrusted; NOT_AN_OBJECT. */
export const readReloadAck = (data: string | Uint8Array): ReloadAck =>
  z.decode(ReloadAck, {...parseUntrustedObject(data)});

/** Header of a RELOAD_PLUGINS: spec §3.6. */
export function reloadHeader(agentType: string, metadata: Readonly<Record<string, unknown>> = {}): Header {
  return createHeader({sessionId: `reload:${agentType}`, targetAgentType: agentType, metadata});
}
