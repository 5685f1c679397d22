/**
 * Agent types as MCP tools. A call sends to the agent and waits for its answer; what takes longer than a client waits, or
 * asks a person, is gone on with by the two tools beside, in this process or another: all state is in Redis.
 */
import {createHash} from 'node:crypto';
import {
  CLIENT_CAPABILITIES_META_KEY,
  inputRequired,
  inputResponse,
  type CallToolResult,
  type InputRequiredResult,
  type McpServer,
  type RegisteredTool,
  type RequestStateCodec,
  type ServerContext,
} from '@modelcontextprotocol/server';
import {z} from 'zod';
import type {GatewayClient} from '../../client/client.js';
import type {OpenQuestion} from '../../availability/questions.js';
import {ByError} from '../../errors.js';
import {objectOf} from '../../protocol/fields.js';
import type {RoutePolicy} from '../../protocol/routing.js';
import {begin, placeOfExecution, pursue, type Outcome, type Place} from './pursue.js';

export interface AgentTools {
  /** On whose behalf; its store's connections are shared by all. */
  readonly client: GatewayClient;
  readonly userCode: string;
  readonly policy: RoutePolicy;
  /** Milliseconds one call waits before it says that the agent is still at work. */
  readonly waitMs: number;
  /** A client that takes back its call cancels the execution. */
  readonly cancels: boolean;
  /** Seals what a client brings back with a person's answer. */
  readonly state: RequestStateCodec<Asked>;
}

/** A request whose agent asks, and what. */
export interface Asked extends Place {
  /** '' from a worker of another SDK. */
  readonly questionId: string;
}

export const ANSWER_TOOL = 'answer_agent';
export const WAIT_TOOL = 'wait_for_agent';

/** Names of tools are narrower than those of agent types: clients take letters, digits, _ and -, 64 of them. */
const MAX_NAME = 64;

/** @returns the tool's name for each agent type; different for different agent types. */
export function toolNames(agentTypes: readonly string[]): ReadonlyMap<string, string> {
  const taken = new Map<string, string>([
    [ANSWER_TOOL, ''],
    [WAIT_TOOL, ''],
  ]);
  const names = new Map<string, string>();
  for (const type of [...agentTypes].sort()) {
    const plain = type.replaceAll(/[^\w-]/g, '_');
    const isFree = plain.length <= MAX_NAME && !taken.has(plain);
    const digest = createHash('sha256').update(type).digest('hex').slice(0, 8);
    const name = isFree ? plain : `${plain.slice(0, MAX_NAME - digest.length - 1)}_${digest}`;
    taken.set(name, type);
    names.set(type, name);
  }
  return names;
}

const OUTPUT = z.object({
  status: z
    .string()
    .describe('COMPLETED, RUNNING (still at work), WAITING_USER (asks a question), FAILED, CANCELLED'),
  session_id: z.string(),
  execution_id: z.string(),
  answer: z.string().optional(),
  question: z
    .object({question_id: z.string(), prompt: z.string(), choices: z.array(z.string()).optional()})
    .optional(),
  error_code: z.string().optional(),
});

type Result = CallToolResult | InputRequiredResult;

/** The tool of one agent type. */
export function registerAgent(
  server: McpServer,
  name: string,
  agentType: string,
  tools: AgentTools,
): RegisteredTool {
  const description = `Ask the agent "${agentType}" and wait for its answer.`;
  return server.registerTool(
    name,
    {
      ...{title: agentType, description, outputSchema: OUTPUT},
      inputSchema: z.object({
        message: z.string().min(1).describe('What the agent is asked, as text.'),
        session_id: z
          .string()
          .optional()
          .describe('Continue the conversation of an earlier call; leave it out for a new one.'),
      }),
      annotations: {readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true},
    },
    ({message, session_id: sessionId}, ctx) =>
      told(async () => {
        const place = await placeIn(tools, ctx, () =>
          begin(tools.client, {
            ...{agentType, content: message, policy: tools.policy},
            ...(sessionId === undefined ? {} : {sessionId}),
          }),
        );
        return goOn(server, tools, place, ctx);
      }),
  );
}

/** What goes on with a call that has not ended: waiting for it, and answering what it asks. */
export function registerGoingOn(server: McpServer, tools: AgentTools): void {
  const ids = {
    session_id: z.string().describe('As the call of the agent told it.'),
    execution_id: z.string().describe('As the call of the agent told it.'),
  };
  const placeOf = (given: {session_id: string; execution_id: string}) =>
    placeOfExecution(tools.client.store, tools.userCode, given.session_id, given.execution_id);
  server.registerTool(
    WAIT_TOOL,
    {
      title: 'Wait for an agent',
      description: 'Go on waiting for an agent that was still at work when its call returned.',
      inputSchema: z.object(ids),
      outputSchema: OUTPUT,
      annotations: {readOnlyHint: true, openWorldHint: false},
    },
    (given, ctx) =>
      told(async () => goOn(server, tools, await placeIn(tools, ctx, () => placeOf(given)), ctx)),
  );
  server.registerTool(
    ANSWER_TOOL,
    {
      title: "Answer an agent's question",
      description:
        "Give a person's answer to what an agent asks, and wait for what it says to it. Ask the person; do not make answers up.",
      inputSchema: z.object({
        ...ids,
        answer: z.string().min(1),
        question_id: z.string().optional().describe('Which question, if several are open.'),
      }),
      outputSchema: OUTPUT,
      annotations: {readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false},
    },
    (given, ctx) =>
      told(async () => {
        const place = await placeIn(tools, ctx, async () => {
          const asked = await placeOf(given);
          await tools.client.reply({
            ...{sessionId: asked.sessionId, content: given.answer},
            executionId: await askerOf(tools.client, asked, given.question_id),
            ...(given.question_id === undefined ? {} : {questionId: given.question_id}),
          });
          return asked;
        });
        return goOn(server, tools, place, ctx);
      }),
  );
}

/** The request a call is about: begun or found by `first`, unless the client comes back with a person's answer to it. */
async function placeIn(tools: AgentTools, ctx: ServerContext, first: () => Promise<Place>): Promise<Place> {
  const asked = ctx.mcpReq.requestState<Asked>();
  return asked === undefined ? first() : takeAnswer(tools, asked, ctx);
}

/** Who asks may be an agent further down. */
async function askerOf(client: GatewayClient, place: Place, questionId: string | undefined): Promise<string> {
  const open = await client.questions(place.sessionId);
  const named = questionId === undefined ? open : open.filter(question => question.questionId === questionId);
  const own = named.find(({executionId}) => executionId === place.executionId);
  return (own ?? named[0])?.executionId ?? place.executionId;
}

/** Hand over what the person said in the client's own form. */
async function takeAnswer(
  {client}: AgentTools,
  {questionId, ...place}: Asked,
  {mcpReq}: ServerContext,
): Promise<Place> {
  const response = inputResponse(mcpReq.inputResponses, 'answer');
  if (response.kind !== 'elicit') return place;
  const executionId = await askerOf(client, place, questionId);
  const named = {sessionId: place.sessionId, executionId, ...(questionId === '' ? {} : {questionId})};
  if (response.action === 'accept') {
    const answer = response.content?.['answer'];
    if (typeof answer === 'string' && answer !== '') await client.reply({...named, content: answer});
  } else if (response.action === 'decline') {
    await client.reply({...named, status: 'DECLINED'});
  } else {
    await client.cancel({
      sessionId: place.sessionId,
      messageId: place.messageId,
      reason: 'cancelled by the person asked',
    });
  }
  return place;
}

async function goOn(server: McpServer, tools: AgentTools, place: Place, ctx: ServerContext): Promise<Result> {
  const {signal, notify} = ctx.mcpReq;
  const progressToken = ctx.mcpReq._meta?.progressToken;
  let progress = 0;
  const onText = (message: string) => {
    if (progressToken === undefined) return;
    const params = {progressToken, progress: ++progress, message};
    // Whoever left hears of no progress.
    notify({method: 'notifications/progress', params}).catch(() => undefined);
  };
  try {
    const outcome = await pursue(tools.client, place, {waitMs: tools.waitMs, signal, onText});
    if (outcome.kind === 'asks' && canAsk(server, ctx)) return await ask(tools, place, outcome.question, ctx);
    return resultOf(place, outcome);
  } catch (error) {
    if (signal.aborted && tools.cancels) {
      const {sessionId, messageId} = place;
      await tools.client.cancel({sessionId, messageId, reason: 'the MCP client took back its call'});
    }
    throw error;
  }
}

/** Whether the client can put a form before its person. */
function canAsk(server: McpServer, {mcpReq}: ServerContext): boolean {
  const envelope: Readonly<Record<string, unknown>> | undefined = mcpReq.envelope;
  const declared = envelope?.[CLIENT_CAPABILITIES_META_KEY];
  return objectOf(declared ?? initialised(server))['elicitation'] !== undefined;
}

/** What a client of the older revisions said when it connected. */
// eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way to know it of them
const initialised = (server: McpServer) => server.server.getClientCapabilities();

async function ask(
  {state}: AgentTools,
  place: Place,
  {questionId, prompt, choices, agentType}: OpenQuestion,
  ctx: ServerContext,
): Promise<InputRequiredResult> {
  const answer = {
    ...{type: 'string' as const, title: 'Answer'},
    ...(choices === undefined ? {} : {enum: [...choices]}),
  };
  return inputRequired({
    inputRequests: {
      answer: inputRequired.elicit({
        message: prompt || `"${agentType}" asks for an answer.`,
        requestedSchema: {type: 'object', properties: {answer}, required: ['answer']},
      }),
    },
    requestState: await state.mint({...place, questionId}, ctx),
  });
}

function resultOf({sessionId, executionId, agentType}: Place, outcome: Outcome): CallToolResult {
  const ids = {session_id: sessionId, execution_id: executionId};
  switch (outcome.kind) {
    case 'answered':
      return result(outcome.text || `"${agentType}" has ended without a word.`, {
        ...{status: 'COMPLETED', ...ids, answer: outcome.text},
      });
    case 'running':
      return result(
        `"${agentType}" is still at work. Call ${WAIT_TOOL} with session_id "${sessionId}" and execution_id "${executionId}" to go on waiting.${
          outcome.text === '' ? '' : `\n\nSo far it said:\n${outcome.text}`
        }`,
        {status: 'RUNNING', ...ids},
      );
    case 'asks': {
      const {prompt, choices, questionId} = outcome.question;
      const among = choices === undefined ? '' : ` (one of: ${choices.join(', ')})`;
      return result(
        `"${outcome.question.agentType}" asks: ${prompt}${among}\nAsk the person, then call ${ANSWER_TOOL} with session_id "${sessionId}", execution_id "${executionId}", question_id "${questionId}" and the answer.`,
        {
          ...{status: 'WAITING_USER', ...ids},
          question: {
            question_id: questionId,
            prompt,
            ...(choices === undefined ? {} : {choices: [...choices]}),
          },
        },
      );
    }
    case 'ended':
      return {
        ...result(
          `"${agentType}" ended ${outcome.status}: ${outcome.message || outcome.code || 'no reason given'}`,
          {
            ...{status: outcome.status, ...ids},
            ...(outcome.code === '' ? {} : {error_code: outcome.code}),
          },
        ),
        isError: true,
      };
  }
}

const result = (text: string, structuredContent: Record<string, unknown>): CallToolResult => ({
  content: [{type: 'text', text}],
  structuredContent,
});

/** What a model can do something about is a result; the rest is an error of the protocol. */
export async function told(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof ByError)) throw error;
    const {code, message, hint} = error;
    return {content: [{type: 'text', text: `${code}: ${message} ${hint}`.trim()}], isError: true};
  }
}
