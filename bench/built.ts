/** A module of the bench as users' code is run: bundled without names for what needs none, beside the packages it uses. */
import {mkdtemp, rm} from 'node:fs/promises';
import {join} from 'node:path';
import {pathToFileURL} from 'node:url';
import {build} from 'esbuild';

const root = join(import.meta.dirname, '..');

/** @param file of this folder. */
export async function importBuilt(file: string): Promise<unknown> {
  const folder = await mkdtemp(join(root, 'dist', 'bench-'));
  try {
    const outfile = join(folder, 'built.js');
    await build({
      ...{entryPoints: [join(import.meta.dirname, file)], outfile, bundle: true, packages: 'external'},
      ...{platform: 'node', format: 'esm', target: 'node20', logLevel: 'warning'},
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(folder, {recursive: true, force: true});
  }
}
