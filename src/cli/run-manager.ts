/** `by manager run` and `by provider mock`: a manager in the foreground, a line for everything it decides. */
import {readFile} from 'node:fs/promises';
import {httpProvider} from '../availability/http-provider.js';
import {
  MANAGER_ROLES,
  MAX_AT_ONCE,
  startManager,
  type ManagerBeat,
  type ManagerOptions,
  type ManagerRole,
} from '../availability/manager.js';
import {describeRequest, mockProvider, parseMockMode, type MockMode} from '../availability/mock-provider.js';
import {ProcessPool, type StartCommand} from '../availability/process-pool.js';
import {processProvider} from '../availability/process-provider.js';
import type {Provider} from '../availability/provider.js';
import {wakeupSecretFromEnv} from '../config/load.js';
import {loadProject} from '../config/project.js';
import {projectWorkers} from '../dev/project-workers.js';
import {ByError, messageOf} from '../errors.js';
import {createLogger, type Logger} from '../log.js';
import {parseHealthAddress, startHealthServer, type HealthAddress} from '../observe/health-server.js';
import {ManagerWatch} from '../observe/manager-health.js';
import {refuseEviction} from '../store/durability.js';
import {checkServer, type Store} from '../store/store.js';
import type {PendingDelivery} from '../protocol/delivery.js';
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';
import {connectionSettings} from './connect.js';
import type {ConnectionChoice} from './flags.js';
import {paint, type Printer} from './printer.js';
import {rememberSecret} from './redact.js';
import {clockTime} from './time.js';

interface Foreground {
  readonly store: Store;
  readonly connection: ConnectionChoice;
  readonly printer: Printer;
  /** The first signal: finish what is under way. */
  readonly signal: AbortSignal;
  /** The second: finish nothing more. */
  readonly force: AbortSignal;
}

/** How it runs as a service. */
interface Service {
  /** Where it says how it is; undefined for nowhere. */
  readonly health?: HealthAddress | undefined;
  /** Milliseconds that wakeups under way get at the end. Default 0. */
  readonly drainMs?: number;
  /** End after the first wakeup. */
  readonly once?: boolean;
}

export interface RunManager extends Foreground {
  /** `TYPE=CMD` pairs. */
  readonly start: readonly string[];
  /** Ask this service in place of starting anything here. */
  readonly wakeupUrl: string | undefined;
  readonly wakeupSecretFile: string | undefined;
  readonly allowLoopback: boolean;
  readonly pendingDeadlineMs: number;
  /** Empty: all. */
  readonly roles: readonly ManagerRole[];
  /** `HOST:PORT`, or a port of this machine. */
  readonly health: string | undefined;
  readonly drainMs: number;
}

/** @throws {ByError} USAGE, INVALID_INPUT, CONFLICT for a health address that is taken, and what connecting throws. */
export async function runManager(run: RunManager): Promise<{wakeups: number}> {
  const {wakeupUrl, pendingDeadlineMs, drainMs} = run;
  const health = run.health === undefined ? undefined : parseHealthAddress(run.health);
  const roles = run.roles.length === 0 ? MANAGER_ROLES : run.roles;
  const provider =
    wakeupUrl === undefined ? await startingProvider(run) : await askingProvider(run, wakeupUrl);
  return inForeground(run, provider, {pendingDeadlineMs, roles}, {health, drainMs});
}

/** A provider that asks a service, signed with a secret that is on no command line. */
async function askingProvider(run: RunManager, url: string): Promise<Provider> {
  const {wakeupSecretFile: file, allowLoopback} = run;
  const secret = file === undefined ? wakeupSecretFromEnv() : await secretIn(file);
  if (secret === undefined) {
    throw new ByError('USAGE', 'No secret was given to sign the requests to the service with.', {
      hint: 'Name a file with --wakeup-secret-file, or set BY_WAKEUP_SECRET. To make one: openssl rand -hex 32',
    });
  }
  rememberSecret(secret);
  return httpProvider({url, secret, allowLoopback});
}

async function secretIn(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new ByError('USAGE', `The secret in ${file} can not be read: ${messageOf(cause)}`, {
      hint: 'Name another file with --wakeup-secret-file.',
      cause,
    });
  }
}

/** A provider that runs commands on this machine. */
async function startingProvider(run: RunManager): Promise<Provider> {
  const commands = new Map(run.start.map(pair => splitPair(pair, '--start')));
  const {url, keySchema} = await connectionSettings(run.connection);
  const project = commands.size > 0 ? undefined : await loadProject(process.cwd());
  const workers = projectWorkers(project, [], process.cwd(), {redisUrl: url, keySchema, drainMs: 25_000});
  if (commands.size === 0 && workers.length === 0) {
    run.printer.warn(
      'No worker can be started: give --start TYPE=CMD, or run where a by.config lists workers. Wakeups will be rejected.',
    );
  }
  return processProvider({
    pool: printingPool(run.printer),
    commandFor: agentType => {
      const command = commands.get(agentType);
      if (command !== undefined) return shellCommand(agentType, command, url, keySchema);
      return workers.find(worker => worker.agentTypes.includes(agentType))?.command;
    },
  });
}

export interface RunMockProvider extends Foreground {
  readonly mode: string;
  /** `TYPE=MODE` pairs. */
  readonly perType: readonly string[];
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly spawn: string | undefined;
  readonly seed: number | undefined;
  readonly once: boolean;
}

export async function runMockProvider(run: RunMockProvider): Promise<{wakeups: number}> {
  const perType = new Map<string, MockMode>();
  for (const pair of run.perType) {
    const [type, mode] = splitPair(pair, '--agent');
    perType.set(type, parseMockMode(mode));
  }
  const mode = parseMockMode(run.mode);
  const {url, keySchema} = await connectionSettings(run.connection);
  const {spawn} = run;
  const provider = mockProvider({
    mode,
    perType,
    delayMs: run.delayMs,
    jitterMs: run.jitterMs,
    ...(run.seed === undefined ? {} : {random: seeded(run.seed)}),
    ...(spawn === undefined
      ? {}
      : {
          start: processProvider({
            pool: printingPool(run.printer),
            commandFor: type => shellCommand(type, spawn, url, keySchema),
          }),
        }),
  });
  return inForeground(run, provider, {}, {once: run.once});
}

async function inForeground(
  run: Foreground,
  provider: Provider,
  options: Omit<ManagerOptions, 'provider'>,
  {health, drainMs = 0, once = false}: Service,
): Promise<{wakeups: number}> {
  const {printer, store, signal} = run;
  const facts = await checkServer(store);
  refuseEviction(facts, store.address);
  const roles = options.roles ?? MANAGER_ROLES;
  const watch = new ManagerWatch({store, beats: roles.flatMap(role => BEATS[role]), full: MAX_AT_ONCE});
  // Before the manager: an address that is taken must not show after something was begun.
  const server = health && (await startHealthServer(health, watch));
  try {
    let wakeups = 0;
    let onceDone: () => void = () => undefined;
    const first = new Promise<void>(resolve => (onceDone = resolve));
    const manager = await startManager(store, {
      ...options,
      provider,
      log: managerLog(printer),
      onBeat: beat => watch.beat(beat),
      onWakeup: (request, decision, elapsedMs, told) => {
        wakeups++;
        watch.wakeup(request, decision, elapsedMs, told);
        tellWakeup(printer, request, decision, elapsedMs);
        onceDone();
      },
      onDelivery: (delivery, outcome) => {
        watch.delivery(delivery.targetAgentType, outcome);
        tellDelivery(printer, delivery, outcome);
      },
    });
    watch.watch(manager);
    printer.note(
      paint.green(printer.symbol('dot')),
      ` ${manager.managerId} on ${store.address} (${facts.embedded ? 'embedded' : facts.version}), provider ${provider.name}`,
      roles.length < MANAGER_ROLES.length ? `, only ${roles.join(' and ')}` : '',
    );
    if (server !== undefined) tellHealth(printer, server);
    const toldToEnd = new Promise<void>(resolve => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), {once: true});
    });
    await Promise.race(once ? [toldToEnd, first] : [toldToEnd]);
    watch.drain();
    if (manager.underWay > 0 && drainMs > 0)
      printer.note(paint.dim(`finishing ${manager.underWay} that are under way …`));
    run.force.addEventListener('abort', () => void manager.stop(), {once: true});
    await manager.stop({drainMs});
    return {wakeups};
  } finally {
    await server?.close();
  }
}

/** Which loops a role has. */
const BEATS: Readonly<Record<ManagerRole, readonly ManagerBeat[]>> = {
  wakeups: ['wakeups'],
  pending: ['pending', 'releases'],
  sweeps: ['sweeps'],
};

/** For a person what goes wrong, for a program JSON lines: both on standard error. */
function managerLog(printer: Printer): Logger {
  if (printer.mode !== 'text') return createLogger();
  return createLogger({
    level: 'warn',
    write: (_line, _level, message, {manager_id: _id, ...fields}) =>
      printer.err(paint.yellow(`${message} ${JSON.stringify(fields)}`)),
  });
}

function tellWakeup(
  printer: Printer,
  request: WakeupRequest,
  decision: WakeupDecision,
  elapsedMs: number,
): void {
  const {status, reason} = decision;
  printer.out(
    paint.dim(clockTime(Date.now())),
    ` wakeup   ${describeRequest(request)} ${printer.symbol('arrow')} `,
    status === 'READY' ? paint.green(status) : paint.yellow(status),
    ` (${elapsedMs}ms) ${reason}`,
  );
  const {targetAgentType: agentType, executionId} = request;
  printer.event({type: 'wakeup', agentType, executionId, decision: status, reason, elapsedMs});
}

function tellDelivery(
  printer: Printer,
  {targetAgentType: agentType, executionId}: PendingDelivery,
  outcome: string,
): void {
  printer.out(paint.dim(clockTime(Date.now())), ` pending  ${agentType} ${executionId} ${outcome}`);
  printer.event({type: 'pending', agentType, executionId, outcome});
}

function tellHealth(printer: Printer, {host, port}: HealthAddress): void {
  const shown = host.includes(':') ? `[${host}]` : host;
  printer.note(paint.dim(`  http://${shown}:${port}/healthz  /readyz  /metrics`));
  if (!['127.0.0.1', '::1', 'localhost'].includes(host))
    printer.warn(
      `${shown}:${port} can be read by everybody who reaches it: agent types and how much waits for them.`,
    );
}

function printingPool(printer: Printer): ProcessPool {
  return new ProcessPool({
    onLine: (name, line) => printer.out(paint.dim(name.padEnd(12)), ' ', line),
    onExit: (name, code, expected) => {
      if (!expected) printer.warn(`the process for ${name} ended with code ${code ?? 'none'}`);
    },
  });
}

/** The operator's own command line, run by the shell as it was typed. */
function shellCommand(agentType: string, command: string, redisUrl: string, keySchema: string): StartCommand {
  const env = {
    ...process.env,
    BY_REDIS_URL: redisUrl,
    REDIS_KEY_SCHEMA_VERSION: keySchema,
    BY_AGENT_TYPE: agentType,
  };
  // exec: signals must reach the worker, not a shell in front of it.
  return process.platform === 'win32'
    ? {name: agentType, file: 'cmd', args: ['/c', command], env}
    : {name: agentType, file: 'sh', args: ['-c', `exec ${command}`], env};
}

function splitPair(pair: string, flag: string): [string, string] {
  const at = pair.indexOf('=');
  if (at > 0 && at < pair.length - 1) return [pair.slice(0, at), pair.slice(at + 1)];
  throw new ByError('USAGE', `"${pair}" is not TYPE=VALUE.`, {hint: `Write for example ${flag} ocr=…`});
}

/** A small generator with a known sequence (mulberry32), so that a run can be repeated. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
