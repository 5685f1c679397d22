/** `by agent list|show`. */
import {ByError} from '../errors.js';
import {agentRow, listAgents, type AgentRow} from '../registry/agents.js';
import {allAgentTypes, knownAgentTypes, showQueue} from '../registry/queues.js';
import type {CircuitRecord, FallbackRecord} from '../store/admission.js';
import type {Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {checkedId} from './ids.js';
import {paint, type Printer, type Text} from './printer.js';
import {showWorkerStatus} from './show-worker-status.js';
import {suggest} from './suggest.js';

export async function listForPeople(store: Store, printer: Printer, output: string) {
  const agents = await listAgents(store);
  if (output === 'name') for (const {agentType} of agents) printer.out(agentType);
  else {
    printer.table(agents, [
      {header: 'AGENT TYPE', value: row => row.agentType},
      {header: 'ONLINE', value: onlineText, align: 'right'},
      {header: 'SUSPENDED', value: row => String(row.suspended), align: 'right'},
      {header: 'CIRCUIT', value: row => circuitText(row.circuit)},
      {header: 'FALLBACK', value: row => fallbackText(row.fallback)},
      {header: 'HELD BACK', value: row => String(row.heldBack), align: 'right'},
      {header: 'WORKERS', value: row => row.workerIds.join(', ') || '-', shrink: true},
    ]);
    if (agents.length === 0) printer.note('No agent type is known here. Start a worker: by worker run FILE');
  }
  return {agents: agents.map(agentView)};
}

/** Work that nobody takes up is what an operator looks for. */
const onlineText = ({online, heldBack}: AgentRow): Text =>
  online === 0 && heldBack > 0 ? paint.red(String(online)) : String(online);

function circuitText(circuit: CircuitRecord | undefined): Text {
  if (circuit === undefined) return '-';
  if (!circuit.readable) return paint.red('unreadable');
  return circuit.open ? paint.red('open') : 'closed';
}

function fallbackText(fallback: FallbackRecord | undefined): Text {
  if (fallback === undefined) return '-';
  return fallback.selectedAgentType === '' ? paint.red('unreadable') : fallback.selectedAgentType;
}

const agentView = ({circuit, fallback, ...row}: AgentRow) => ({
  ...row,
  circuit: circuit ?? null,
  fallback: fallback ?? null,
});

/**
 * One agent type, or if there is none of that name the worker that has it.
 * @param history how many notes about a worker are shown.
 * @throws {ByError} INVALID_INPUT, NOT_FOUND.
 */
export async function showForPeople(store: Store, printer: Printer, type: string, history: number) {
  const agentType = checkedId(type, 'agent type');
  const [row, queue] = await Promise.all([agentRow(store, agentType), showQueue(store, agentType)]);
  const isKnown =
    queue !== undefined || row.suspended > 0 || row.circuit !== undefined || row.fallback !== undefined;
  if (!isKnown && !(await knownAgentTypes(store)).includes(agentType)) {
    const worker = await showWorkerStatus(store, printer, agentType, history);
    if (worker !== undefined) return worker;
    throw await unknownAgent(store, agentType);
  }
  showFacts(printer, [
    ['agent type', agentType],
    [
      'workers online',
      row.workerIds.length === 0 ? onlineText(row) : `${row.online}: ${row.workerIds.join(', ')}`,
    ],
    row.suspended === 0 ? undefined : ['suspended', paint.yellow(String(row.suspended))],
    ['circuit', [circuitText(row.circuit), aboutText(row.circuit)]],
    ['fallback', [fallbackText(row.fallback), lifetimeText(row.fallback)]],
    ['queue', `${queue?.depth ?? 0}, ${queue?.pending ?? 0} of them with workers`],
    ['held back', String(row.heldBack)],
  ]);
  const {consumerList: _consumers, groups: _groups, ...depth} = queue ?? {};
  return {...agentView(row), queue: queue === undefined ? null : depth};
}

const aboutText = (circuit: CircuitRecord | undefined): string =>
  circuit === undefined
    ? ''
    : `  ${circuit.reason === '' ? '' : `"${circuit.reason}"  `}${circuit.source}${lifetimeText(circuit)}`;

/** How long a record stays. */
export const lifetimeText = (record: {readonly expiresInMs: number | null} | undefined): string =>
  record === undefined || record.expiresInMs === null
    ? ''
    : `  for ${formatDuration(record.expiresInMs)} more`;

async function unknownAgent(store: Store, agentType: string): Promise<ByError> {
  const near = suggest(agentType, await allAgentTypes(store));
  return new ByError('NOT_FOUND', `Nothing is known of an agent type or a worker "${agentType}".`, {
    hint: near === null ? 'See what there is with `by agent list`.' : `Did you mean "${near}"?`,
    next: ['by agent list'],
  });
}
