/** Redis's glob patterns: `*`, `?`, `[abc]`, `[^a-z]` and `\` to escape. */

/** Compile once, test many keys. */
export function globMatcher(pattern: string): (text: string) => boolean {
  if (pattern === '*') return () => true;
  if (!/[*?[\\]/.test(pattern)) return text => text === pattern;
  return text => matches(pattern, 0, text, 0);
}

/** Whether `pattern` from `p` on matches `text` from `t` on. A later star makes the earlier ones final, so it is linear in practice. */
function matches(pattern: string, p: number, text: string, t: number): boolean {
  let starP = -1;
  let starT = -1;
  for (;;) {
    if (p < pattern.length) {
      const code = pattern[p];
      if (code === '*') {
        starP = ++p;
        starT = t;
        continue;
      }
      if (t < text.length) {
        const next = matchOne(pattern, p, text.charCodeAt(t));
        if (next > 0) {
          p = next;
          t++;
          continue;
        }
      }
    } else if (t === text.length) {
      return true;
    }
    if (starP < 0 || starT >= text.length) return false;
    p = starP;
    t = ++starT;
  }
}

/** @returns Where the pattern goes on if its element at `p` takes this character, or 0. */
function matchOne(pattern: string, p: number, code: number): number {
  const first = pattern[p];
  if (first === '?') return p + 1;
  if (first === '\\' && p + 1 < pattern.length) return pattern.charCodeAt(p + 1) === code ? p + 2 : 0;
  if (first !== '[') return pattern.charCodeAt(p) === code ? p + 1 : 0;

  let at = p + 1;
  const negated = pattern[at] === '^';
  if (negated) at++;
  let found = false;
  // An unclosed class ends with the pattern.
  while (at < pattern.length && pattern[at] !== ']') {
    if (pattern[at] === '\\' && at + 1 < pattern.length) {
      at++;
      if (pattern.charCodeAt(at) === code) found = true;
    } else if (pattern[at + 1] === '-' && at + 2 < pattern.length) {
      const a = pattern.charCodeAt(at);
      const b = pattern.charCodeAt(at + 2);
      if (code >= Math.min(a, b) && code <= Math.max(a, b)) found = true;
      at += 2;
    } else if (pattern.charCodeAt(at) === code) {
      found = true;
    }
    at++;
  }
  return found === negated ? 0 : Math.min(at + 1, Math.max(pattern.length, 1));
}
