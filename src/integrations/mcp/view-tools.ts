/** Looking at a deployment by MCP: who is there, what waits, what went wrong. Nothing here changes anything. */
import type {McpServer} from '@modelcontextprotocol/server';
import {z} from 'zod';
import {ByError} from '../../errors.js';
import type {ExecutionRecord} from '../../protocol/execution.js';
import {listAgents} from '../../registry/agents.js';
import {listWorkers} from '../../registry/listing.js';
import {knownAgentTypes, listQueues} from '../../registry/queues.js';
import {listSessions, showSession} from '../../registry/sessions.js';
import {countDeadLetters, findDeadLetter, listDeadLetters} from '../../store/dead-letters.js';
import {requireOwn} from '../../store/ownership.js';
import type {Store} from '../../store/store.js';
import {told} from './agent-tools.js';

const ANNOTATIONS = {readOnlyHint: true, openWorldHint: false};
const LIMIT = z.number().int().min(1).max(200).default(20);
/** Keys of a server a listing of sessions looks at: there is no index of them. */
const LOOK_AT_KEYS = 10_000;

/** @param userCode whose sessions are shown; '' shows an operator everything. */
export function registerViews(server: McpServer, store: Store, userCode: string): void {
  server.registerTool(
    'list_agents',
    {
      ...{title: 'Agents', annotations: ANNOTATIONS},
      description:
        'Agent types of this deployment: who serves them, whether commands reach them, how many are held back.',
    },
    () => told(async () => answer({agents: await listAgents(store)})),
  );
  server.registerTool(
    'show_session',
    {
      ...{title: 'A session', annotations: ANNOTATIONS},
      description:
        'What a session did and does: its executions with their states, times and errors, oldest first.',
      inputSchema: z.object({session_id: z.string()}),
    },
    ({session_id: sessionId}) =>
      told(async () => {
        await requireOwn(store, sessionId, userCode);
        const session = await showSession(store, sessionId);
        if (session === undefined || session.state === 'empty')
          throw unknown('session', sessionId, 'list_sessions');
        const {records, lastEvent: _event, ...facts} = session;
        return answer({...facts, executions: records.map(executionView)});
      }),
  );
  // The rest is about everybody's work.
  if (userCode === '') registerOperatorViews(server, store);
}

function registerOperatorViews(server: McpServer, store: Store): void {
  server.registerTool(
    'list_workers',
    {
      ...{title: 'Workers', annotations: ANNOTATIONS},
      description: 'Processes that run agents: their agent types, state and lease.',
    },
    () => told(async () => answer({workers: await listWorkers(store)})),
  );
  server.registerTool(
    'list_queues',
    {
      ...{title: 'Queues', annotations: ANNOTATIONS},
      description: 'What waits for each agent type, and what its workers have in hand: find what is stuck.',
    },
    () => told(async () => answer({queues: await listQueues(store, await knownAgentTypes(store))})),
  );
  server.registerTool(
    'list_sessions',
    {
      ...{title: 'Sessions', annotations: ANNOTATIONS},
      description: 'The sessions heard of last, newest first.',
      inputSchema: z.object({limit: LIMIT}),
    },
    ({limit}) => told(async () => answer({...(await listSessions(store, {limit, look: LOOK_AT_KEYS}))})),
  );
  server.registerTool(
    'list_dead_letters',
    {
      ...{title: 'Dead letters', annotations: ANNOTATIONS},
      description:
        'Commands that failed for good and are kept, newest first, with the reason; not their content.',
      inputSchema: z.object({limit: LIMIT}),
    },
    ({limit}) =>
      told(async () => {
        const [entries, total] = await Promise.all([listDeadLetters(store, limit), countDeadLetters(store)]);
        return answer({
          total,
          dead_letters: entries.map(({id, letter}) => ({id, ...without(letter, 'commandPayload', 'xData')})),
        });
      }),
  );
  server.registerTool(
    'show_dead_letter',
    {
      ...{title: 'A dead letter', annotations: ANNOTATIONS},
      description: 'One dead letter with its whole command and the history of its attempts.',
      inputSchema: z.object({id: z.string()}),
    },
    ({id}) =>
      told(async () => {
        const found = /^\d+-\d+$/.test(id) ? await findDeadLetter(store, id) : undefined;
        if (found === undefined) throw unknown('dead letter', id, 'list_dead_letters');
        return answer({...found});
      }),
  );
}

/** What a record says to people: what other SDKs and recovery note beside stays out. */
const executionView = ({extra: _extra, timeline, ...record}: ExecutionRecord) => ({
  ...record,
  timeline: timeline.map(({status, timestamp}) => ({status, timestamp})),
});

function without<T extends object>(value: T | undefined, ...keys: readonly (keyof T)[]): object {
  return Object.fromEntries(Object.entries(value ?? {}).filter(([key]) => !keys.includes(key as keyof T)));
}

const unknown = (what: string, id: string, tool: string) =>
  new ByError('NOT_FOUND', `There is no ${what} "${id.slice(0, 100)}".`, {
    hint: `See what there is with ${tool}.`,
  });

const answer = (doc: Readonly<Record<string, unknown>>) => ({
  content: [{type: 'text' as const, text: JSON.stringify(doc)}],
});
