/** Keeps secrets out of errors, warnings and logs: guarantees.md §2, "secrets". */

import {snakeCase} from './snake-case.js';

const HIDDEN = '***';

/** Names whose value is a secret. Not a bare `token`: leases, and what models count, are called that too. */
const SECRET_NAME =
  /^(?:.*[_.-])?(?:pass(?:word|wd|phrase)?|secret|api_?key|authorization|credentials?|private_?key|(?:access|refresh|auth|bearer|session)_?token)$/i;

const ASSIGNMENT =
  /\b((?:[a-z0-9]{1,32}[_.-]){0,4}(?:password|passwd|passphrase|secret|api[_-]?key|(?:access|refresh|auth|bearer)[_-]?token))(["']?\s{0,4}[:=]\s{0,4}["']?)([^\s"',;&}]+)/gi;
const AUTHORIZATION = /\b(bearer|basic)\s+[A-Za-z0-9+/_.~-]{8,}=*/gi;

/** Where nothing but a secret that was remembered can be hidden; most of what is logged is like this. */
const PLAIN = /^[\w.#@-]*$/;
/** Before the whole pattern is asked: what every secret name has some of. */
const MAY_BE_SECRET = /pass|secret|key|auth|cred|token/i;

const known = new Set<string>();

/** From now on this value is hidden wherever {@link redact} meets it. Shorter than four characters: ignored. */
export function rememberSecret(value: string): void {
  if (value.length >= 4) known.add(value);
}

/** @returns The text without passwords in URLs, values of secret names, and secrets remembered. */
export function redact(text: string): string {
  let clean = text;
  for (const secret of known) {
    clean = clean.replaceAll(secret, HIDDEN).replaceAll(encodeURIComponent(secret), HIDDEN);
  }
  if (PLAIN.test(clean)) return clean;
  return clean
    .split(/(\s+)/)
    .map(redactUrls)
    .join('')
    .replace(ASSIGNMENT, `$1$2${HIDDEN}`)
    .replace(AUTHORIZATION, `$1 ${HIDDEN}`);
}

/**
 * Everything between the first `:` of the user part and the last `@` of the word: a password may itself hold `@` or
 * `/`, and hiding a little too much is the right mistake.
 */
function redactUrls(word: string): string {
  const scheme = word.indexOf('://');
  const at = word.lastIndexOf('@');
  if (scheme === -1 || at < scheme) return word;
  const colon = word.indexOf(':', scheme + 3);
  if (colon === -1 || colon > at) return word;
  return `${word.slice(0, colon + 1)}${HIDDEN}${word.slice(at)}`;
}

const isSecretName = (name: string) => MAY_BE_SECRET.test(name) && SECRET_NAME.test(snakeCase(name));

/** The same for facts: strings redacted at every depth, values of secret names hidden whole. */
export function redactFacts(value: unknown, name = ''): unknown {
  if (value !== null && value !== undefined && value !== '' && isSecretName(name)) return HIDDEN;
  if (typeof value === 'string') return redact(value);
  if (Array.isArray(value)) return value.map(one => redactFacts(one));
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, redactFacts(one, key)]));
  }
  return value;
}

/** @returns Whether the URL carries a password; false for what is no URL. */
export function hasPassword(url: string): boolean {
  if (redactUrls(url) !== url) return true;
  return URL.canParse(url) && new URL(url).password !== '';
}
