/** `by status`: the deployment in a few lines. */
import {ByError} from '../../errors.js';
import type {Store} from '../../store/store.js';
import {paint, type Printer} from '../printer.js';
import {agentsSection} from './agents.js';
import {approvalsSection} from './approvals.js';
import {orchestratorSection} from './orchestrators.js';
import {redisSection} from './redis.js';
import {scheduleSection} from './schedules.js';
import {poolsSection, tasksSection} from './tasks.js';
import type {StatusLine, StatusSection, StuckType} from './section.js';

/** In the order of their lines. */
const SECTIONS: readonly StatusSection[] = [
  ...[redisSection, orchestratorSection, agentsSection],
  ...[tasksSection, poolsSection, scheduleSection, approvalsSection],
];

const NAME_WIDTH = 15;

export interface StatusReport {
  readonly sections: Readonly<Record<string, object>>;
  readonly warnings: readonly string[];
}

/** Shows what every section says. @returns what programs read, and the agent types whose work nobody takes. */
export async function showStatus(
  store: Store,
  printer: Printer,
  workspace: string,
): Promise<{readonly report: StatusReport; readonly stuck: readonly StuckType[]}> {
  const lines = (await Promise.all(SECTIONS.map(section => section(store, workspace)))).flat();
  for (const line of lines) printer.out(line.name.padEnd(NAME_WIDTH), line.text);
  const warnings = lines.flatMap(line => line.warnings ?? []);
  for (const [i, warning] of warnings.entries())
    printer.out((i === 0 ? 'warnings' : '').padEnd(NAME_WIDTH), paint.yellow(warning));
  return {report: reportOf(lines, warnings), stuck: lines.flatMap(line => line.stuck ?? [])};
}

const reportOf = (lines: readonly StatusLine[], warnings: readonly string[]): StatusReport => ({
  sections: Object.fromEntries(lines.map(({name, facts}) => [name, facts])),
  warnings,
});

/** @throws {ByError} AGENT_TYPE_EXHAUSTED, AGENT_TYPE_UNAVAILABLE if an agent type has work that nobody takes. */
export function refuseStuck(stuck: readonly StuckType[], report: StatusReport): void {
  const [first] = stuck;
  if (first === undefined) return;
  const isExhausted = stuck.every(({recoverMs}) => recoverMs !== null);
  const names = stuck.map(({agentType}) => `"${agentType}"`).join(', ');
  throw new ByError(
    isExhausted ? 'AGENT_TYPE_EXHAUSTED' : 'AGENT_TYPE_UNAVAILABLE',
    `Work waits, and no worker takes it: ${names}.`,
    {
      hint: isExhausted
        ? 'Wait until a worker recovers, or start another.'
        : 'Start a worker: by worker run FILE',
      next: ['by agent list --workers'],
      details: {stuck, ...report},
    },
  );
}
