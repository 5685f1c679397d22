// One plain line from the test runner's summary: `N passed, N failed`.
import {readFileSync} from 'node:fs';

const text = readFileSync(process.argv[2], 'utf8').replaceAll(/\u001b\[[0-9;]*m/g, '');
const summary = [...text.matchAll(/^\s*Tests\s+(.*)$/gm)].at(-1)?.[1] ?? '';
const count = word => Number(new RegExp(`(\\d+) ${word}`).exec(summary)?.[1] ?? 0);
if (count('passed') === 0) {
  console.error('No test ran.');
  process.exit(1);
}
console.log(`${count('passed')} passed, ${count('failed')} failed`);
