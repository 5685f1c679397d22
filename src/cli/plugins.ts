/** `by plugin list|reload`. */
import {awaitReload, reloadPlugins} from '../client/reload.js';
import {ByError} from '../errors.js';
import type {PluginReport} from '../protocol/config-snapshot.js';
import {RELOAD_SUCCESS, type ReloadAck} from '../protocol/reload.js';
import {listWorkers} from '../registry/listing.js';
import {readReports} from '../store/plugin-state.js';
import type {Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {checkedId} from './ids.js';
import {paint, type Printer, type Text} from './printer.js';
import {relativeTime} from './time.js';

/** One plugin of one worker. */
interface PluginRow {
  readonly report: PluginReport;
  readonly plugin: PluginReport['plugins'][number] | undefined;
}

/** What plugins workers have, and how their hooks fare. */
export async function listPlugins(
  store: Store,
  printer: Printer,
  {agentType, output, hooks}: {readonly agentType?: string | undefined; output: string; hooks: boolean},
) {
  const type = agentType === undefined ? undefined : checkedId(agentType, 'agent type');
  const workers = (await listWorkers(store)).filter(
    ({agentTypes}) => type === undefined || agentTypes.includes(type),
  );
  const reports = await readReports(
    store,
    workers.map(({workerId}) => workerId),
  );
  if (output === 'name') {
    const names = new Set(reports.flatMap(({plugins}) => plugins.map(({name}) => name)));
    for (const name of [...names].sort()) printer.out(name);
  } else if (hooks) showHooks(printer, reports);
  else showPlugins(printer, reports);
  if (printer.mode === 'text' && output !== 'name') {
    if (reports.length === 0) printer.note(nobody(workers.length, type));
    for (const {worker_id: worker, problem} of reports)
      if (problem !== '') printer.note(paint.red(`${worker} goes on with a kept configuration: `), problem);
  }
  return {workers: reports.map(reportView)};
}

/** For programs: names that are data stand in values, where no spelling is changed. */
const reportView = ({reloads, plugins, schema: _schema, ...report}: PluginReport) => ({
  ...report,
  reloads: Object.entries(reloads).map(([agentType, version]) => ({agentType, version})),
  plugins: plugins.map(plugin => ({
    ...plugin,
    hooks: Object.entries(plugin.hooks).map(([hook, count]) => ({hook, ...count})),
  })),
});

const nobody = (workers: number, type: string | undefined): string => {
  const of = type === undefined ? '' : ` of "${type}"`;
  return workers === 0
    ? `No worker${of} is known here. Start one: by worker run FILE --plugin PATH`
    : `No worker${of} has plugins (${workers} known). Give it some: by worker run FILE --plugin PATH`;
};

function showPlugins(printer: Printer, reports: readonly PluginReport[]): void {
  const rows = reports.flatMap((report): PluginRow[] =>
    report.plugins.length === 0
      ? [{report, plugin: undefined}]
      : report.plugins.map(plugin => ({report, plugin})),
  );
  const total = ({plugin}: PluginRow, count: 'calls' | 'failures' | 'timeouts') =>
    Object.values(plugin?.hooks ?? {}).reduce((sum, hook) => sum + hook[count], 0);
  const counted = (row: PluginRow, count: 'failures' | 'timeouts'): Text => {
    const sum = total(row, count);
    return sum === 0 ? '0' : paint.red(String(sum));
  };
  printer.table(rows, [
    {header: 'WORKER', value: ({report}) => report.worker_id},
    {header: 'PLUGIN', value: ({plugin}) => plugin?.name ?? paint.red('none loaded')},
    {header: 'VERSION', value: ({plugin}) => plugin?.version ?? '-'},
    {header: 'CONFIG', value: ({report}) => configText(report)},
    {header: 'RELOAD', value: ({report}) => reloadsText(report), align: 'right'},
    {header: 'CALLS', value: row => String(total(row, 'calls')), align: 'right'},
    {header: 'FAILED', value: row => counted(row, 'failures'), align: 'right'},
    {header: 'LATE', value: row => counted(row, 'timeouts'), align: 'right'},
    {header: 'SEEN', value: ({report}) => relativeTime(report.at, Date.now())},
    {
      header: 'FROM',
      value: ({plugin}) => (plugin === undefined ? '-' : plugin.source || 'code'),
      shrink: true,
    },
  ]);
}

/** The same text is the same configuration, on every worker. */
function configText({config_version: version, hash, problem}: PluginReport): Text {
  const short = hash.replace('sha256:', '').slice(0, 8);
  return problem === '' ? `${version} ${short}` : paint.red(`kept ${short}`);
}

const reloadsText = ({reloads}: PluginReport): string => String(Math.max(0, ...Object.values(reloads)));

function showHooks(printer: Printer, reports: readonly PluginReport[]): void {
  const rows = reports.flatMap(report =>
    report.plugins.flatMap(plugin =>
      Object.entries(plugin.hooks).map(([hook, count]) => ({
        worker: report.worker_id,
        plugin: plugin.name,
        hook,
        count,
      })),
    ),
  );
  printer.table(rows, [
    {header: 'WORKER', value: row => row.worker},
    {header: 'PLUGIN', value: row => row.plugin},
    {header: 'HOOK', value: row => row.hook},
    {header: 'CALLS', value: row => String(row.count.calls), align: 'right'},
    {header: 'FAILED', value: row => String(row.count.failures), align: 'right'},
    {header: 'LATE', value: row => String(row.count.timeouts), align: 'right'},
    {
      header: 'MEAN',
      value: row => milliseconds(row.count.total_ms / Math.max(1, row.count.calls)),
      align: 'right',
    },
    {header: 'MAX', value: row => milliseconds(row.count.max_ms), align: 'right'},
  ]);
}

const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : Math.round(ms)} ms`;

export interface RunReload {
  readonly agentType: string;
  readonly reason: string;
  /** Undefined: do not wait. */
  readonly waitMs: number | undefined;
  readonly signal: AbortSignal;
}

/** @throws {ByError} AGENT_TYPE_UNAVAILABLE if nobody is online, PARTIAL if not all of them have reloaded. */
export async function runReload(store: Store, printer: Printer, run: RunReload) {
  const agentType = checkedId(run.agentType, 'agent type');
  const sent = await reloadPlugins(store, agentType, {reason: run.reason});
  const facts = {reloadId: sent.reloadId, agentType, workerIds: sent.workerIds};
  if (sent.dispatchedCount === 0) {
    throw new ByError(
      'AGENT_TYPE_UNAVAILABLE',
      `No worker of "${agentType}" is online to reload its plugins.`,
      {
        hint: 'Those that start load their plugins as they are now.',
        next: ['by agent list'],
        details: facts,
      },
    );
  }
  if (run.waitMs === undefined) {
    printer.out(`told ${workers(sent.dispatchedCount)} of "${agentType}" to reload (${sent.reloadId})`);
    printer.note('See what came of it with: by plugin list, or wait for it with --wait 10s');
    return facts;
  }
  const {acks, missing} = await awaitReload(store, sent, {waitMs: run.waitMs, signal: run.signal});
  const failed = acks.filter(({status}) => status !== RELOAD_SUCCESS);
  printer.table(rowsOf(acks, missing), [
    {header: 'WORKER', value: row => row.workerId},
    {header: 'ANSWER', value: row => answerText(row.status)},
    {
      header: 'CONFIG',
      value: row => (row.status === 'missing' ? '-' : `${row.versionBefore} to ${row.versionAfter}`),
    },
    {header: 'ERROR', value: row => row.error, shrink: true},
  ]);
  const answer = {...facts, acks, failed: failed.map(({workerId}) => workerId), missing};
  if (failed.length === 0 && missing.length === 0) return answer;
  const parts = [
    ...(failed.length > 0 ? [`${workers(failed.length)} could not`] : []),
    ...(missing.length > 0
      ? [`${workers(missing.length)} did not answer within ${formatDuration(run.waitMs)}`]
      : []),
  ];
  throw new ByError('PARTIAL', `Not all reloaded: ${parts.join(', ')}.`, {
    hint:
      failed.length > 0
        ? 'They serve on with what they had. Correct the plugin (`by plugin check PATH` tries it) and reload again.'
        : 'Workers of SDKs without plugins do not answer; one that is cut off makes up for it when it is back.',
    details: answer,
  });
}

const workers = (count: number): string => `${count} ${count === 1 ? 'worker' : 'workers'}`;

type AnswerRow = Pick<ReloadAck, 'workerId' | 'status' | 'versionBefore' | 'versionAfter' | 'error'>;

const rowsOf = (acks: readonly ReloadAck[], missing: readonly string[]): AnswerRow[] => [
  ...acks,
  ...missing.map(workerId => ({workerId, status: 'missing', versionBefore: 0, versionAfter: 0, error: ''})),
];

function answerText(status: string): Text {
  if (status === RELOAD_SUCCESS) return paint.green('reloaded');
  return status === 'missing' ? paint.yellow('no answer') : paint.red('failed');
}
