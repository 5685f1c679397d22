/** `by plugin check PATH`. */
import {resolve} from 'node:path';
import {secretsFromEnv} from '../config/load.js';
import {ByError} from '../errors.js';
import {checkPlugins, type CheckedPlugins} from '../plugins/check-plugin.js';
import {showFindings} from './findings.js';
import {paint, type Printer} from './printer.js';
import {redact, rememberSecret} from '../redact.js';

export interface RunCheckPlugin {
  readonly printer: Printer;
  readonly path: string;
  readonly agentTypes: readonly string[];
  /** Of the project the plugin belongs to. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number;
  /** Warnings count too. */
  readonly strict: boolean;
}

/** @throws {ByError} FINDINGS; PLUGIN_LOAD_FAILED, DENIED: as the worker would. */
export async function runCheckPlugin(run: RunCheckPlugin): Promise<CheckedPlugins & {readonly path: string}> {
  const {printer, agentTypes, settings} = run;
  const path = resolve(run.path);
  secretsFromEnv().forEach(rememberSecret);
  const {printed, ...checked} = await checkPlugins({path, agentTypes, settings}, run.timeoutMs);
  const findings = checked.findings.map(finding => ({...finding, text: redact(finding.text)}));
  showFindings(printer, findings);
  if (printed !== '')
    printer.note(paint.dim('It printed while it was loaded: '), redact(printed).trim().slice(0, 500));
  const bad = findings.filter(({level}) => level === 'problem' || (run.strict && level === 'warning'));
  const answer = {path, ...checked, findings};
  if (bad.length === 0) return answer;
  throw new ByError(
    'FINDINGS',
    `${run.path}: ${bad.length} of ${findings.length} lines name something wrong.`,
    {
      hint: 'The line below each says what to do.',
      details: {...answer},
    },
  );
}
