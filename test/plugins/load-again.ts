/** Run by itself, because the test runner imports in its own way: loads the files of argv, before and after they change. */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {silentLogger} from '../../src/log.js';
import {loadSource} from '../../src/plugins/load-plugins.js';

const [base = '', ...files] = process.argv.slice(2);
const worker = {workerId: 'w-1', agentTypes: ['writer'], settings: {}, log: silentLogger};

const load = async (fresh: boolean) => {
  const names: string[] = [];
  for (const file of files) {
    try {
      names.push(...(await loadSource(file, worker, {fresh})).map(({plugin}) => plugin.manifest.name));
    } catch (error) {
      names.push((error as Error).name);
    }
  }
  process.stdout.write(`${names.join(' ')}\n`);
};

const name = (to: string) => {
  writeFileSync(join(base, 'lib/name.js'), `export const name = '${to}';`);
  writeFileSync(join(base, 'lib/typed.ts'), `export const name: string = '${to}';`);
  writeFileSync(join(base, 'lib/name.cjs'), `module.exports = '${to}';`);
};

name('first');
await load(false);
name('second');
await load(false);
await load(true);
name('third');
await load(true);
name('broken-{');
writeFileSync(join(base, 'lib/name.js'), 'export const {');
await load(true);
name('fixed');
await load(true);
