/** `agents` of `by status`: agent types and workers in numbers; which of them have work that nobody takes. */
import {aggregateOf, listAgentWorkers, type AgentWorker} from '../../registry/agent-workers.js';
import {knownAgentTypes, listQueues, type QueueSummary} from '../../registry/queues.js';
import {countsText, enforcedText, utcTime} from '../agent-workers.js';
import {paint} from '../text.js';
import type {StatusLine, StatusSection, StuckType} from './section.js';

interface TypeFacts {
  readonly agentType: string;
  readonly routable: boolean;
  readonly earliestRecoveryAt: number | null;
  /** Commands on its stream that nobody has begun, and those held back. */
  readonly waiting: number;
}

export const agentsSection: StatusSection = async (store): Promise<StatusLine[]> => {
  const [{now, workers}, names] = await Promise.all([listAgentWorkers(store), knownAgentTypes(store)]);
  const types = (await listQueues(store, names)).map(queue => typeFacts(queue, workers, now));
  const routable = types.filter(type => type.routable).length;
  const stuck = types.filter(type => !type.routable && type.waiting > 0);
  const foreign = workers.filter(isUnenforced);
  const noun = types.length === 1 ? 'type' : 'types';
  const unroutable = types.length - routable;
  return [
    {
      name: 'agents',
      text: [
        `${types.length} ${noun}: ${routable} routable`,
        unroutable === 0 ? '' : [', ', paint.red(`${unroutable} not`)],
        `   workers ${countsText(workers)}`,
      ],
      facts: {types, workers: workers.length, now},
      warnings: [
        ...types.filter(type => !type.routable).map(type => unroutableLine(type)),
        ...foreign.map(worker => `${worker.workerId}: exhausted, ${enforcedText(worker)}`),
        ...workers.filter(isBilling).map(({workerId}) => `${workerId}: billing, waiting may not fix it`),
      ],
      stuck: stuck.map((type): StuckType => {
        const {agentType, earliestRecoveryAt: at} = type;
        return {agentType, recoverMs: at === null ? null : Math.max(0, at - now)};
      }),
    },
  ];
};

const isUnenforced = ({status, origin, untilRecovery}: AgentWorker): boolean =>
  status === 'exhausted' && origin === 'derived' && untilRecovery !== 'suspended';

const isBilling = ({status, exhaustReason}: AgentWorker): boolean =>
  status === 'exhausted' && exhaustReason === 'billing';

function typeFacts(
  {agentType, waiting, depth, heldBack}: QueueSummary,
  workers: readonly AgentWorker[],
  now: number,
): TypeFacts {
  const {routable, earliestRecoveryAt} = aggregateOf(agentType, workers, now);
  return {agentType, routable, earliestRecoveryAt, waiting: (waiting ?? depth) + heldBack};
}

function unroutableLine({agentType, waiting, earliestRecoveryAt}: TypeFacts): string {
  const work = waiting === 0 ? '' : `, ${waiting} ${waiting === 1 ? 'command waits' : 'commands wait'}`;
  const until = earliestRecoveryAt === null ? '' : ` until ${utcTime(earliestRecoveryAt)}`;
  return `${agentType}: no routable worker${work}${until}`;
}
