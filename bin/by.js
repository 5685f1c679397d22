#!/usr/bin/env node
// The command `by`. Answers --version itself (oclif alone takes longer to load than that), hands everything else to
// oclif, and owns the end of the process: the exit code, and output that nobody reads any more.
import {existsSync, readFileSync} from 'node:fs';

const root = new URL('../', import.meta.url);
const argv = process.argv.slice(2);

// `by … | head`: a reader that went away is no error. Commands stop by themselves when they notice (signals.ts).
let isReaderGone = false;
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', error => {
    if (error.code !== 'EPIPE') throw error;
    isReaderGone = true;
  });
}

await exit(await main());

async function main() {
  if (asksForVersion(argv)) return printVersion(argv.includes('--json'));
  if (!existsSync(new URL('dist/commands', root))) return notBuilt();

  const {run, settings} = await import('../dist/src/cli/oclif.js');
  // Or NODE_ENV=test and NODE_ENV=development would make oclif look for TypeScript sources.
  settings.enableAutoTranspile = false;
  try {
    await run(asTopic(asHelpFlag(argv)), import.meta.url);
    return process.exitCode ?? 0;
  } catch (error) {
    // Commands print their own errors and throw only the exit code (local-command.ts).
    if (error?.code === 'EEXIT') return error.oclif?.exit ?? 1;
    const {printUnexpected} = await import('../dist/src/cli/unexpected.js');
    return printUnexpected(error, argv);
  }
}

/** @param {string[]} args */
function asksForVersion([first, ...rest]) {
  return ['--version', '-v', '-V', 'version'].includes(first) && rest.every(arg => arg === '--json');
}

/** @param {boolean} isJson */
function printVersion(isJson) {
  const {name, version} = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
  const platform = `${process.platform}-${process.arch}`;
  const data = {name, version, node: process.versions.node, platform};
  process.stdout.write(
    isJson
      ? `${JSON.stringify({ok: true, schema: 'by.version/1', data, warnings: []})}\n`
      : `${name}/${version} ${platform} node-${process.version}\n`,
  );
  return 0;
}

function notBuilt() {
  process.stderr.write('by is not built yet: run `npm run build` first.\n');
  return 1;
}

/** `by agents` is `by agent list`, and `by agents show ocr` is `by agent show ocr`. */
function asTopic([first, ...rest]) {
  if (first !== 'agents') return first === undefined ? [] : [first, ...rest];
  const [second] = rest;
  const isHelp = second === '--help' || second === '-h';
  const isList = second === undefined || (second.startsWith('-') && !isHelp);
  return ['agent', ...(isList ? ['list'] : []), ...rest];
}

/** `by help send` is `by send --help`. */
function asHelpFlag([first, ...rest]) {
  return first === 'help' ? [...rest, '--help'] : [first, ...rest].filter(arg => arg !== undefined);
}

/** Not `process.exit` at once: what was written to a pipe may not be out yet. */
async function exit(code) {
  await Promise.all(
    [process.stdout, process.stderr].map(stream => new Promise(done => stream.write('', done))),
  );
  process.exit(isReaderGone ? 0 : code);
}
