/** `by serve`: an orchestrator in the foreground. */
import {aborted} from '../../clock.js';
import {serveTokenFromEnv} from '../../config/load.js';
import {ByError} from '../../errors.js';
import type {Logger} from '../../log.js';
import {parseHealthAddress} from '../../observe/health-server.js';
import {AgentAPI} from '../../orchestration/api.js';
import {serveHttp, type HttpServing} from '../../orchestration/http/server.js';
import {AgentService, OWN_ROLES} from '../../orchestration/service.js';
import {orphansRole} from '../../orchestration/ack-orphans.js';
import type {RoleName} from '../../orchestration/serve.js';
import {refuseEviction} from '../../store/durability.js';
import {checkServer, type Store} from '../../store/store.js';
import {paint, type Printer} from '../printer.js';
import {rememberSecret} from '../../redact.js';
import {secretIn} from '../secret-file.js';
import {moreRoles, serveLog} from './roles.js';

export interface ServeRequest {
  readonly store: Store;
  readonly printer: Printer;
  readonly workspace: string;
  /** Empty: all. */
  readonly roles: readonly string[];
  readonly signal: AbortSignal;
  readonly force: AbortSignal;
  /** Milliseconds for what is under way when it is told to end. */
  readonly drainMs: number;
  /** Suspend foreign workers while they are exhausted. */
  readonly enforceExhausted: boolean;
  /** Open the circuits of agent types that have only such. */
  readonly openCircuit: boolean;
  /** Settle what dead foreign workers left. */
  readonly ackOrphans: boolean;
  /** `HOST:PORT`, or a port of this machine; undefined: no HTTP. */
  readonly http: string | undefined;
  readonly tokenFile: string | undefined;
  readonly version: string;
}

/** @throws {ByError} what connecting throws; REDIS_REFUSED for a server that evicts keys. */
export async function runServe(request: ServeRequest) {
  const {store, printer, workspace, signal, force, drainMs, enforceExhausted, openCircuit} = request;
  const facts = await checkServer(store);
  refuseEviction(facts, store.address);
  const log = serveLog(printer);
  const more = moreRoles(store, workspace, {log, enforceExhausted, openCircuit});
  const known: readonly string[] = [...OWN_ROLES, ...more.map(({name}) => name)];
  const wanted = wantedRoles(request, known);
  const missing = wanted.find(role => !known.includes(role));
  if (missing !== undefined)
    throw new ByError('USAGE', `There is no role "${missing.slice(0, 40)}" here.`, {
      hint: `Roles: ${known.join(', ')}.`,
    });
  requireRoles(request, wanted);
  const service = new AgentService({store, log});
  const orphans = request.ackOrphans ? [orphansRole(service.deps(workspace))] : [];
  const names = [...wanted, ...orphans.map(({name}) => name)];
  const serving = await openHttp(request, service, log);
  try {
    const running =
      wanted.length === 0
        ? aborted(signal)
        : service.start({
            ...{signal, workspace, roles: wanted as readonly RoleName[]},
            more: [...more.filter(({name}) => wanted.includes(name)), ...orphans],
          });
    printer.note(
      paint.green(printer.symbol('dot')),
      ` orchestrator of workspace ${workspace} on ${store.address} (${facts.embedded ? 'embedded' : facts.version}): ${names.length === 0 ? 'no roles' : names.join(', ')}`,
    );
    if (serving !== undefined) printer.note('  HTTP at ', paint.bold(serving.url));
    printer.event({type: 'started', workspace, roles: names, url: serving?.url ?? null});
    const closing = aborted(signal).then(() => serving?.close(drainMs));
    await Promise.race([Promise.all([running, closing]), drained(signal, force, drainMs)]);
  } finally {
    await serving?.close(0);
  }
  return {workspace, roles: names};
}

/** @throws {ByError} USAGE where nothing would be left to do. */
function wantedRoles({roles, http}: ServeRequest, known: readonly string[]): readonly string[] {
  if (roles.length === 0) return known;
  if (roles.length > 1 || roles[0] !== 'none') return roles;
  if (http !== undefined) return [];
  throw new ByError('USAGE', 'Without roles there is nothing to do.', {
    hint: 'Add --http 8930, or name roles.',
  });
}

/** @throws {ByError} USAGE for a flag that would do nothing. */
function requireRoles(
  {enforceExhausted, openCircuit, ackOrphans}: ServeRequest,
  wanted: readonly string[],
): void {
  const needs = [
    ['--enforce-exhausted', 'status', enforceExhausted],
    ['--open-circuit', 'status', openCircuit],
    ['--ack-orphans', 'sweeper', ackOrphans],
  ] as const;
  const idle = needs.find(([, role, isAsked]) => isAsked && !wanted.includes(role));
  if (idle === undefined) return;
  throw new ByError('USAGE', `${idle[0]} needs the role "${idle[1]}", which is not among --roles.`, {
    hint: `Add ${idle[1]} to --roles, or leave ${idle[0]} out.`,
  });
}

async function openHttp(
  {http, tokenFile, workspace, version}: ServeRequest,
  service: AgentService,
  log: Logger,
): Promise<HttpServing | undefined> {
  if (http === undefined) return undefined;
  const token = tokenFile === undefined ? serveTokenFromEnv() : await secretIn(tokenFile, '--token-file');
  if (token !== undefined) rememberSecret(token);
  const address = parseHealthAddress(http);
  return serveHttp({...address, api: new AgentAPI({runtime: service}), token, workspace, version, log});
}

/** Resolves so long after the signal, or with the second one: what is under way is repaired by others. */
async function drained(signal: AbortSignal, force: AbortSignal, drainMs: number): Promise<void> {
  await new Promise<void>(resolve => {
    force.addEventListener('abort', () => resolve(), {once: true});
    signal.addEventListener('abort', () => setTimeout(resolve, drainMs).unref(), {once: true});
  });
}
