/** Logs outlive whoever reads them first, so what looks like a secret is hidden when it is written. */

const HIDDEN = '***';

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/\b(bearer\s+)[\w.~+/=-]{8,}/gi, `$1${HIDDEN}`],
  // Prefixes that vendors give their keys so that they are recognised.
  [/\b(?:sk|pk|rk)-[\w-]{16,}|\bgh[pousr]_\w{20,}|\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b/g, HIDDEN],
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s/:@]*:)[^\s/@]+@/gi, `$1${HIDDEN}@`],
];

export const maskSecrets = (text: string): string =>
  PATTERNS.reduce((masked, [pattern, by]) => masked.replace(pattern, by), text);
