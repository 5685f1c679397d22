/** `by agent circuit|quota|fallback`: the records by which every SDK's router admits or turns away a command. */
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import {knownAgentTypes} from '../registry/queues.js';
import {
  clearCircuit,
  clearFallback,
  clearQuota,
  listAdmission,
  setCircuit,
  setFallback,
  setQuota,
  setQuotaLimit,
  type CircuitRecord,
  type FallbackRecord,
  type QuotaLimitRecord,
  type QuotaRecord,
} from '../store/admission.js';
import {onlineMembers} from '../store/presence.js';
import type {Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {checkedId} from './ids.js';
import {paint, type Printer, type Text} from './printer.js';
import {actor} from './replay-dead-letters.js';
import {suggest} from './suggest.js';
import {isoTime} from './time.js';

export interface AdmissionChange {
  readonly reason: string;
  /** Undefined: until somebody removes it. */
  readonly forMs: number | undefined;
  readonly dryRun: boolean;
  confirm(question: string): Promise<boolean>;
}

/** @throws {ByError} INVALID_INPUT, INPUT_NEEDED, CONFLICT if the person says no. */
export async function openCircuit(store: Store, printer: Printer, type: string, change: AdmissionChange) {
  const agentType = checkedId(type, 'agent type');
  requireLifetime(change);
  await noteUnknown(store, printer, agentType);
  await ask(change, `Turn away everything that is sent to "${agentType}"${untilText(change)}?`);
  if (!change.dryRun) await setCircuit(store, agentType, {open: true, ...given(change)});
  const what = `circuit of "${agentType}" opened${untilText(change)}`;
  return told(printer, what, {agentType, open: true, ...factsOf(change)});
}

/** @throws {ByError} INVALID_INPUT. */
export async function closeCircuit(store: Store, printer: Printer, type: string) {
  const agentType = checkedId(type, 'agent type');
  const changed = await clearCircuit(store, agentType);
  if (!changed) printer.note(`There was no circuit of "${agentType}".`);
  return changed
    ? told(printer, `circuit of "${agentType}" closed`, {agentType, open: false, changed})
    : {agentType, open: false, changed};
}

/** @throws {ByError} INVALID_INPUT, INPUT_NEEDED, CONFLICT if the person says no. */
export async function changeQuota(
  store: Store,
  printer: Printer,
  user: string,
  change: AdmissionChange & {readonly available: boolean},
) {
  const userCode = checkedId(user, 'user code');
  const {available} = change;
  requireLifetime(change);
  if (!available) await ask(change, `Turn away everything the user "${userCode}" sends${untilText(change)}?`);
  if (!change.dryRun) await setQuota(store, userCode, {available, ...given(change)});
  const what = `quota of "${userCode}" ${available ? 'available' : 'used up'}${untilText(change)}`;
  return told(printer, what, {userCode, available, ...factsOf(change)});
}

/** @throws {ByError} INVALID_INPUT, USAGE for a window without length. */
export async function limitUser(
  store: Store,
  printer: Printer,
  user: string,
  change: AdmissionChange & {readonly limit: number; readonly windowMs: number},
) {
  const userCode = checkedId(user, 'user code');
  const {limit, windowMs, forMs} = change;
  requireLifetime(change);
  if (windowMs < 1) {
    throw new ByError('USAGE', '--window must be longer than nothing.', {
      hint: 'Write for example --window 1m.',
    });
  }
  const rate = `${limit} ${limit === 1 ? 'command' : 'commands'} in ${formatDuration(windowMs)}`;
  const reason = change.reason || `${rate} ${limit === 1 ? 'is' : 'are'} the limit`;
  const lifetime = forMs === undefined ? {} : {forMs};
  if (!change.dryRun) await setQuotaLimit(store, userCode, {limit, windowMs, reason, ...lifetime});
  const what = `quota of "${userCode}": ${rate}${untilText(change)}`;
  return told(printer, what, {userCode, limit, windowMs, ...factsOf({...change, reason})});
}

/** @throws {ByError} INVALID_INPUT. */
export async function removeQuota(store: Store, printer: Printer, user: string) {
  const userCode = checkedId(user, 'user code');
  const changed = await clearQuota(store, userCode);
  if (!changed) printer.note(`There was no quota of "${userCode}".`);
  return changed ? told(printer, `quota of "${userCode}" removed`, {userCode, changed}) : {userCode, changed};
}

/** @throws {ByError} INVALID_INPUT, USAGE for an agent type that would stand in for itself. */
export async function changeFallback(
  store: Store,
  printer: Printer,
  type: string,
  other: string,
  change: Pick<AdmissionChange, 'forMs' | 'dryRun'>,
) {
  const agentType = checkedId(type, 'agent type');
  const selectedAgentType = checkedId(other, 'agent type');
  if (agentType === selectedAgentType) {
    throw new ByError('USAGE', `"${agentType}" can not stand in for itself.`, {
      hint: 'Name another agent type.',
    });
  }
  requireLifetime(change);
  await noteUnknown(store, printer, selectedAgentType);
  if (!(await onlineMembers(store, selectedAgentType)).online)
    printer.warn(`No worker of "${selectedAgentType}" is online: it stands in only while one is.`);
  const {forMs} = change;
  if (!change.dryRun)
    await setFallback(store, agentType, {selectedAgentType, ...(forMs === undefined ? {} : {forMs})});
  const what = `"${selectedAgentType}" stands in for "${agentType}"${untilText(change)}`;
  return told(printer, what, {agentType, selectedAgentType, ...factsOf({...change, reason: ''})});
}

/** @throws {ByError} INVALID_INPUT. */
export async function removeFallback(store: Store, printer: Printer, type: string) {
  const agentType = checkedId(type, 'agent type');
  const changed = await clearFallback(store, agentType);
  if (!changed) printer.note(`Nobody stood in for "${agentType}".`);
  return changed
    ? told(printer, `nobody stands in for "${agentType}" any more`, {agentType, changed})
    : {agentType, changed};
}

function requireLifetime({forMs}: {readonly forMs: number | undefined}): void {
  if (forMs === undefined || forMs >= 1) return;
  throw new ByError('USAGE', '--for must be longer than nothing.', {
    hint: 'Leave it out, and it stays until somebody removes it.',
  });
}

const untilText = ({forMs}: {readonly forMs: number | undefined}): string =>
  forMs === undefined ? '' : ` for ${formatDuration(forMs)}`;

const given = ({reason, forMs}: AdmissionChange) => ({reason, ...(forMs === undefined ? {} : {forMs})});

const factsOf = ({reason, forMs, dryRun}: Omit<AdmissionChange, 'confirm'>) => ({
  reason,
  expiresInMs: forMs ?? null,
  dryRun,
  changed: !dryRun,
});

async function ask(change: AdmissionChange, question: string): Promise<void> {
  if (change.dryRun || (await change.confirm(question))) return;
  throw new ByError('CONFLICT', 'Nothing was changed.', {hint: 'Answer yes, or give --yes.'});
}

/** What was done and by whom goes into the log of whoever runs this: the record is shown to those who are turned away. */
function told<Facts extends object>(
  printer: Printer,
  what: string,
  facts: Facts & {readonly dryRun?: boolean; readonly reason?: string},
) {
  const by = actor();
  const at = isoTime(systemClock());
  if (facts.dryRun === true) printer.note(`Nothing was changed. Without --dry-run: ${what}.`);
  else {
    printer.out(paint.green(printer.symbol('ok')), ` ${what}`);
    const why = facts.reason === undefined || facts.reason === '' ? '' : `  "${facts.reason}"`;
    printer.note(paint.dim(`${at}  by ${by}${why}`));
  }
  return {...facts, actor: by, at};
}

/** A misspelt agent type is otherwise found out when it is too late. */
async function noteUnknown(store: Store, printer: Printer, agentType: string): Promise<void> {
  const known = await knownAgentTypes(store);
  if (known.includes(agentType)) return;
  const near = suggest(agentType, known);
  printer.warn(`No known worker serves "${agentType}"${near === null ? '' : `; did you mean "${near}"?`}`);
}

export async function listCircuits(store: Store, printer: Printer, output: string) {
  const {circuits} = await listAdmission(store);
  if (output === 'name') for (const {agentType} of circuits) printer.out(agentType);
  else {
    printer.table<CircuitRecord>(circuits, [
      {header: 'AGENT TYPE', value: row => row.agentType},
      {header: 'CIRCUIT', value: row => stateText(row.readable, circuitText(row), row.open)},
      {header: 'SET BY', value: row => row.source},
      {header: 'ENDS IN', value: endsText},
      {header: 'REASON', value: row => row.reason || '-', shrink: true},
    ]);
    if (circuits.length === 0) printer.note('There is no circuit.');
  }
  return {circuits};
}

export async function listQuotas(store: Store, printer: Printer, output: string) {
  const {quotas} = await listAdmission(store);
  if (output === 'name') for (const {userCode} of quotas) printer.out(userCode);
  else {
    printer.table<QuotaRecord>(quotas, [
      {header: 'USER', value: row => row.userCode},
      {
        header: 'QUOTA',
        value: row => stateText(row.readable, row.available ? 'available' : 'used up', !row.available),
      },
      {header: 'LIMIT', value: ({limit}) => (limit === null ? '-' : limitText(limit))},
      {header: 'ENDS IN', value: endsText},
      {header: 'REASON', value: row => row.reason || '-', shrink: true},
    ]);
    if (quotas.length === 0) printer.note('There is no quota.');
  }
  return {quotas};
}

export async function listFallbacks(store: Store, printer: Printer, output: string) {
  const {fallbacks} = await listAdmission(store);
  const online = await Promise.all(
    fallbacks.map(
      async ({selectedAgentType: type}) => type !== '' && (await onlineMembers(store, type)).online,
    ),
  );
  const rows = fallbacks.map((row, at) => ({...row, online: online[at] === true}));
  if (output === 'name') for (const {agentType} of rows) printer.out(agentType);
  else {
    printer.table<FallbackRecord & {readonly online: boolean}>(rows, [
      {header: 'AGENT TYPE', value: row => row.agentType},
      {
        header: 'FALLBACK',
        value: row => stateText(row.selectedAgentType !== '', row.selectedAgentType, false),
      },
      {header: 'ONLINE', value: row => (row.online ? paint.green('yes') : paint.yellow('no'))},
      {header: 'ENDS IN', value: endsText},
    ]);
    if (rows.length === 0) printer.note('There is no fallback.');
  }
  return {fallbacks: rows};
}

const circuitText = ({open, halfOpen}: CircuitRecord): string =>
  halfOpen ? 'half-open' : open ? 'open' : 'closed';

const limitText = ({limit, windowMs, used}: QuotaLimitRecord): string =>
  `${used} of ${limit} in ${formatDuration(windowMs)}`;

/** Routers ignore what is no JSON object; an operator must see it. */
const stateText = (readable: boolean, text: string, isBad: boolean): Text =>
  !readable ? paint.red('unreadable') : isBad ? paint.red(text) : text;

const endsText = ({expiresInMs}: {readonly expiresInMs: number | null}): string =>
  expiresInMs === null ? '-' : formatDuration(expiresInMs);
