/** Secrets out of what is shown or stored for people: spec §9.1 and §9.4. */

export const REDACTED = '[REDACTED]';

const WORDS = ['api_key', 'apikey', 'authorization', 'credential', 'password', 'secret', 'token'] as const;

/** Whether text names a secret. `-` counts as `_`, case does not count. */
export function isSensitive(text: string): boolean {
  const plain = text.toLowerCase().replaceAll('-', '_');
  return WORDS.some(word => plain.includes(word));
}
