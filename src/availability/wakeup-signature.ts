/** The signature of a wakeup sent over HTTP: how we make it, and how its receiver checks it. */
import {createHmac, randomBytes, timingSafeEqual} from 'node:crypto';

/** How far a request's timestamp may lie from the receiver's clock, in seconds. */
export const SIGNATURE_WINDOW_S = 300;
/** Shorter secrets could be guessed. In bytes. */
export const MIN_SECRET_BYTES = 32;

const HEADERS = {timestamp: 'by-timestamp', nonce: 'by-nonce', signature: 'by-signature'} as const;
/** Says what was signed how, so that another way can be told apart one day. */
const VERSION = 'v1';

type Body = string | Uint8Array;

/** The three headers of a signed request. @param now Unix milliseconds. */
export function signWakeup(body: Body, secret: string, now: number): Record<string, string> {
  const timestamp = String(Math.floor(now / 1000));
  const nonce = randomBytes(16).toString('hex');
  return {
    [HEADERS.timestamp]: timestamp,
    [HEADERS.nonce]: nonce,
    [HEADERS.signature]: `${VERSION}=${mac(body, secret, timestamp, nonce).toString('hex')}`,
  };
}

function mac(body: Body, secret: string, timestamp: string, nonce: string): Buffer {
  return createHmac('sha256', secret).update(`${timestamp}.${nonce}.`).update(body).digest();
}

/** The nonces of one window, so that a request that was listened to can not be sent again. One for each receiver. */
export class SeenNonces {
  private readonly seen = new Map<string, number>();

  /** @param now Unix milliseconds. @returns whether this nonce is new; it is not the next time. */
  add(nonce: string, now: number): boolean {
    // In the order they came, so the oldest are first.
    for (const [old, at] of this.seen) {
      if (now - at <= 2 * SIGNATURE_WINDOW_S * 1000) break;
      this.seen.delete(old);
    }
    if (this.seen.has(nonce)) return false;
    this.seen.set(nonce, now);
    return true;
  }
}

export interface VerifyWakeup {
  /** The request's headers, names in lower case, as node:http gives them. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body as it came, byte by byte: before it is parsed. */
  readonly body: Body;
  /** What was given to the provider; several while one replaces another. */
  readonly secret: string | readonly string[];
  /** Nonces seen before. Without it a request can be sent again within the window. */
  readonly nonces?: SeenNonces;
  /** Unix milliseconds. Default: now. */
  readonly now?: number;
}

export type WakeupVerdict =
  | {readonly ok: true}
  /** Answer 401, and tell the sender no more than that. */
  | {readonly ok: false; readonly reason: 'unsigned' | 'expired' | 'wrong-signature' | 'repeated'};

/** For receivers: whether a request comes from a manager that knows the secret, just now, for the first time. */
export function verifyWakeupSignature({
  headers,
  body,
  secret,
  nonces,
  now = Date.now(),
}: VerifyWakeup): WakeupVerdict {
  const timestamp = headers[HEADERS.timestamp];
  const nonce = headers[HEADERS.nonce];
  const signature = headers[HEADERS.signature];
  if (typeof timestamp !== 'string' || typeof nonce !== 'string' || typeof signature !== 'string')
    return {ok: false, reason: 'unsigned'};
  if (!/^\d{1,12}$/.test(timestamp) || !/^[0-9a-f]{32}$/.test(nonce)) return {ok: false, reason: 'unsigned'};
  const [version, hex = ''] = signature.split('=', 2);
  if (version !== VERSION || !/^[0-9a-f]{64}$/.test(hex)) return {ok: false, reason: 'unsigned'};
  if (Math.abs(now / 1000 - Number(timestamp)) > SIGNATURE_WINDOW_S) return {ok: false, reason: 'expired'};
  const given = Buffer.from(hex, 'hex');
  const secrets = typeof secret === 'string' ? [secret] : secret;
  // Each is compared, whichever fits: how long it takes tells nothing.
  const fits = secrets.map(one => one !== '' && timingSafeEqual(mac(body, one, timestamp, nonce), given));
  if (!fits.includes(true)) return {ok: false, reason: 'wrong-signature'};
  // Last, so that nobody without the secret can fill the memory.
  if (nonces?.add(nonce, now) === false) return {ok: false, reason: 'repeated'};
  return {ok: true};
}
