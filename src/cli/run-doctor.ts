/** `by doctor`. */
import {ByError} from '../errors.js';
import {examine, type Check} from '../observe/examine.js';
import type {Store} from '../store/store.js';
import {connectionSettings} from './connect.js';
import type {ConnectionChoice} from './flags.js';
import {levelSign} from './level-sign.js';
import {paint, type Printer} from './printer.js';

/** @throws {ByError} FINDINGS with `strict`, and whatever connecting throws. */
export async function runDoctor(
  store: Store,
  connection: ConnectionChoice,
  printer: Printer,
  strict: boolean,
): Promise<{checks: readonly Check[]}> {
  const {source} = await connectionSettings(connection);
  const checks: Check[] = [
    {name: 'node', level: 'ok', text: process.version},
    {name: 'connection', level: 'ok', text: `${store.address}  (from ${source})`},
    ...(await examine(store)),
  ];
  for (const check of checks) {
    printer.out(levelSign(printer, check.level), ' ', check.name.padEnd(16), ' ', check.text);
    if (check.fix !== undefined) printer.out(' '.repeat(19), paint.dim(check.fix));
  }
  const findings = checks.filter(check => check.level !== 'ok');
  if (strict && findings.length > 0) {
    throw new ByError(
      'FINDINGS',
      `${findings.length} ${findings.length === 1 ? 'thing needs' : 'things need'} attention.`,
      {
        hint: 'Each line above names what to do.',
        details: {checks},
      },
    );
  }
  return {checks};
}
