/** Threads that run a file of this package, built or not. */
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';
import {Worker, type WorkerOptions} from 'node:worker_threads';
import {codeFile, isBuilt} from './package-info.js';

/** @param path of the file from the package's root, without its extension. */
export function startThread(
  path: string,
  options: Pick<WorkerOptions, 'workerData' | 'resourceLimits'>,
): Worker {
  if (isBuilt()) return new Worker(codeFile(`${path}.js`), options);
  // From source (tests, tsx) the thread has to learn TypeScript first: tsx's own `--import` does not reach into threads.
  const tsx = new URL(
    './dist/esm/api/index.mjs',
    pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json')),
  );
  const thread = pathToFileURL(codeFile(`${path}.ts`));
  const script = `import(${JSON.stringify(tsx.href)}).then(({register}) => { register(); return import(${JSON.stringify(thread.href)}); })`;
  return new Worker(script, {...options, eval: true});
}
