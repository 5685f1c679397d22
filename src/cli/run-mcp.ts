/** `by mcp`: an MCP server in the foreground, for one client on a pipe or many over HTTP. */
import {GatewayClient} from '../client/client.js';
import {aborted} from '../clock.js';
import {mcpTokenFromEnv} from '../config/load.js';
import {ByError, messageOf} from '../errors.js';
import {parseHealthAddress} from '../observe/health-server.js';
import {checkServer, type Store} from '../store/store.js';
import {paint, type Printer} from './printer.js';
import {rememberSecret} from '../redact.js';
import {printedLog} from './tracing.js';
import {requirePolicy} from './send-input.js';
import {secretIn} from './secret-file.js';

export interface RunMcp {
  readonly store: Store;
  readonly printer: Printer;
  readonly signal: AbortSignal;
  /** Whether a person sits at standard input. */
  readonly isTerminal: boolean;
  readonly version: string;
  readonly agents: readonly string[] | 'all';
  readonly views: boolean;
  readonly policy: string;
  readonly waitMs: number;
  readonly cancels: boolean;
  readonly userCode: string | undefined;
  /** `HOST:PORT`, or a port of this machine; undefined: standard input and output. */
  readonly http: string | undefined;
  readonly hostnames: readonly string[];
  readonly tokenFile: string | undefined;
}

/** Ends when the client leaves, or by a signal. @throws {ByError} USAGE, INVALID_CONFIG, CONFLICT, INVALID_INPUT. */
export async function runMcp(run: RunMcp): Promise<void> {
  const {store, printer, agents, views, waitMs, cancels, userCode, version} = run;
  if (!views && agents.length === 0) {
    throw new ByError('USAGE', 'There is nothing for a client to do.', {
      hint: 'Name agents with --agent or --all-agents, or leave out --no-views.',
    });
  }
  if (run.http === undefined && run.isTerminal) {
    throw new ByError(
      'USAGE',
      'Standard input is a terminal; an MCP client starts this command with pipes.',
      {
        hint: 'Put it into the client, as its command: by, with the arguments mcp --all-agents. Or serve with --http 8931.',
      },
    );
  }
  const policy = requirePolicy(run.policy);
  const mcp = await loadMcp();
  await checkServer(store);
  // Standard output belongs to the protocol.
  const log = printedLog(printer);
  const factory = mcp.mcpServerFactory(new GatewayClient(store), {
    ...{agents, views, policy, waitMs, cancels, version, log},
    ...(userCode === undefined ? {} : {userCode}),
  });
  const lends =
    agents === 'all' ? 'every agent type' : agents.length === 0 ? 'views only' : agents.join(', ');
  if (run.http === undefined) {
    printer.note(paint.dim(`MCP on standard input and output: ${lends}`));
    const serving = mcp.serveMcpStdio(factory, {log});
    await Promise.race([serving.done, aborted(run.signal)]);
    await serving.close();
    return;
  }
  const token = await tokenOf(run.tokenFile);
  const serving = await mcp.serveMcpHttp(factory, {
    ...parseHealthAddress(run.http),
    ...{hostnames: run.hostnames, log},
    ...(token === undefined ? {} : {token}),
  });
  printer.note(
    'MCP at ',
    paint.bold(serving.url),
    paint.dim(`  ${lends}${token === undefined ? '' : ', with a token'}`),
  );
  await aborted(run.signal);
  await serving.close();
}

async function loadMcp() {
  try {
    return await import('../integrations/mcp/index.js');
  } catch (cause) {
    if (!/@modelcontextprotocol/.test(messageOf(cause))) throw cause;
    throw new ByError('INVALID_CONFIG', 'The packages of the Model Context Protocol are not installed.', {
      hint: 'Install them where by is: npm install @modelcontextprotocol/server @modelcontextprotocol/node',
      cause,
    });
  }
}

async function tokenOf(file: string | undefined): Promise<string | undefined> {
  const token = file === undefined ? mcpTokenFromEnv() : await secretIn(file, '--token-file');
  if (token !== undefined) rememberSecret(token);
  return token;
}
