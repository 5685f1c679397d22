/** The value of a worker's lease: spec §5.1. That the key exists is the liveness test, not its age. */
import {integerOf} from './fields.js';
import {isObject, parseUntrusted} from './limits.js';

export interface Presence {
  /** 32 hex digits; null for leases of workers that have none. */
  readonly token: string | null;
  /** Unix milliseconds; 0 between the claim and the first heartbeat. */
  readonly lastSeen: number;
  /** Best guess, possibly ''. */
  readonly ipAddress: string;
}

export interface ReadPresence extends Presence {
  /** Written by an SDK that stored no JSON object. */
  readonly legacy: boolean;
  readonly online: boolean;
}

export function encodePresence({token, lastSeen, ipAddress}: Presence): string {
  return JSON.stringify({version: 1, token, last_seen: lastSeen, ip_address: ipAddress});
}

/** Reads every value there can be, and never throws. `null` is an absent key. */
export function decodePresence(value: string | null): ReadPresence {
  if (value === null) return {token: null, lastSeen: 0, ipAddress: '', legacy: false, online: false};
  let doc: unknown;
  try {
    doc = parseUntrusted(value);
  } catch {
    // Not JSON, or not within the limits: an old worker stored its bare token, so the text itself says who it is.
    return legacy(value);
  }
  if (isObject(doc)) {
    const lastSeen = integerOf(doc['last_seen'], 0);
    const token = doc['token'];
    return {
      token: token === undefined || token === null ? null : asText(token),
      lastSeen,
      ipAddress: typeof doc['ip_address'] === 'string' ? doc['ip_address'] : '',
      legacy: false,
      online: lastSeen > 0,
    };
  }
  return legacy(doc === 1 ? null : asText(doc));
}

const legacy = (token: string | null): ReadPresence => ({
  token,
  lastSeen: 0,
  ipAddress: '',
  legacy: true,
  online: true,
});

const asText = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
