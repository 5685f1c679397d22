import {readFileSync} from 'node:fs';
import {expect, test} from 'vitest';
import {ByError, errorCodes} from '../src/errors.js';

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');

test('docs/errors.md has one heading for each code, with its exit code', () => {
  const sections = [...page.matchAll(/^## (\S+)\n\nExit (\d+)\./gm)].map(match => [
    match[1],
    Number(match[2]),
  ]);
  expect(sections).toEqual(errorCodes.map(code => [code, new ByError(code, '', {hint: ''}).exitCode]));
});
