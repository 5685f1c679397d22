/** `by pending list|show|release|drop`. */
import {dropByHand, releaseByHand, type HandOutcome} from '../availability/release-by-hand.js';
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import {timesOf} from '../protocol/delivery.js';
import {findHeld, heldTypes, listHeld, type HeldDelivery} from '../registry/pending-deliveries.js';
import {onlineMembers} from '../store/presence.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {checkedId} from './ids.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {actor} from './replay-dead-letters.js';
import {suggest} from './suggest.js';
import {isoTime} from './time.js';

export async function listForPeople(
  store: Store,
  printer: Printer,
  output: string,
  filter: {readonly agentType: string | undefined; readonly limit: number},
) {
  if (filter.agentType !== undefined) checkedId(filter.agentType, 'agent type');
  const [{deliveries, hasMore}, types] = await Promise.all([listHeld(store, filter), heldTypes(store)]);
  if (output === 'name') for (const {entryId} of deliveries) printer.out(entryId);
  else {
    showRows(printer, deliveries, await serverTimeMs(store), await workersOnline(store, deliveries));
    if (deliveries.length === 0) printer.note('Nothing is held back.');
    else if (hasMore) printer.note(paint.dim(`the first ${deliveries.length}; more with --limit`));
  }
  return {deliveries: deliveries.map(heldView), hasMore, agentTypes: types};
}

/** How many there are for each agent type. */
async function workersOnline(
  store: Store,
  deliveries: readonly HeldDelivery[],
): Promise<ReadonlyMap<string, number>> {
  const types = [...new Set(deliveries.map(({agentType}) => agentType))].filter(type => type !== '');
  const members = await Promise.all(types.map(type => onlineMembers(store, type)));
  return new Map(types.map((type, at) => [type, members[at]?.workerIds.length ?? 0]));
}

function showRows(
  printer: Printer,
  deliveries: readonly HeldDelivery[],
  now: number,
  online?: ReadonlyMap<string, number>,
): void {
  printer.table(deliveries, [
    {header: 'ENTRY', value: ({entryId}) => entryId},
    {header: 'AGE', value: ({at}) => formatDuration(now - at), align: 'right'},
    {header: 'AGENT TYPE', value: ({agentType}) => agentType || '-'},
    ...(online === undefined
      ? []
      : [
          {
            header: 'ONLINE',
            value: ({agentType}: HeldDelivery) => String(online.get(agentType) ?? 0),
            align: 'right' as const,
          },
        ]),
    {header: 'PLACE', value: placeText},
    {header: 'PRIO', value: ({delivery}) => String(delivery?.priority ?? '-'), align: 'right'},
    {header: 'EXECUTION', value: ({delivery}) => delivery?.executionId || '-'},
    {header: 'SESSION', value: ({delivery}) => delivery?.sessionId || '-'},
    {header: 'USER', value: ({delivery}) => delivery?.userCode || '-'},
  ]);
}

const placeText = ({place, unreadable}: HeldDelivery): Text =>
  unreadable !== '' ? paint.red('unreadable') : place === 'held' ? place : paint.yellow(place);

/** A delivery as `--json` prints it, without its command. */
function heldView({entryId, place, agentType, at, delivery, unreadable}: HeldDelivery) {
  const {commandPayload: _command, metadata: _metadata, ...rest} = delivery ?? {};
  const notBefore = delivery && timesOf(delivery).notBefore;
  const times = notBefore === undefined ? {} : {notBefore};
  return {entryId, place, agentType, at, unreadable, ...times, ...rest};
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function showForPeople(store: Store, printer: Printer, id: string) {
  const held = await requireHeld(store, id);
  const {delivery} = held;
  const [now, online] = await Promise.all([
    serverTimeMs(store),
    held.agentType === '' ? undefined : onlineMembers(store, held.agentType),
  ]);
  showFacts(printer, [
    ['entry', held.entryId],
    ['held back', `${isoTime(held.at)}  ${formatDuration(now - held.at)} ago`],
    ['place', held.place === 'held' ? 'the queue of its agent type' : 'not taken by a manager yet'],
    ['agent type', `${held.agentType || '-'}  ${online?.workerIds.length ?? 0} online`],
    held.unreadable === '' ? undefined : ['undeliverable', held.unreadable],
    ...(delivery === undefined
      ? []
      : ([
          ['execution', delivery.executionId || '-'],
          ['session', `${delivery.sessionId}  message ${delivery.messageId}`],
          ['priority', String(delivery.priority)],
          notBeforeFact(timesOf(delivery).notBefore, now),
          delivery.userCode === '' ? undefined : (['user', delivery.userCode] as const),
          delivery.region === '' ? undefined : (['region', delivery.region] as const),
        ] as const)),
  ]);
  const command = delivery?.commandPayload ?? {};
  if (Object.keys(command).length > 0) {
    printer.out(paint.bold('command'));
    printer.block(JSON.stringify(command, null, 2));
  }
  return {
    ...heldView(held),
    workersOnline: online?.workerIds ?? [],
    metadata: opaque(delivery?.metadata ?? {}),
    command: opaque(command),
  };
}

/** When the first exhausted worker was to recover: nobody is woken before. */
const notBeforeFact = (at: number | undefined, now: number) =>
  at === undefined
    ? undefined
    : ([
        'not before',
        `${isoTime(at)}${at > now ? `  in ${formatDuration(Math.ceil(at - now))}` : ''}`,
      ] as const);

async function requireHeld(store: Store, id: string): Promise<HeldDelivery> {
  const held = await findHeld(store, checkedId(id, 'delivery'));
  if (held !== undefined) return held;
  throw new ByError('NOT_FOUND', `No pending delivery "${id}" is held back.`, {
    hint: 'It was released, given up or cancelled; see `by pending list`.',
    next: ['by pending list'],
  });
}

export interface HeldSelection {
  readonly ids: readonly string[];
  readonly agentType: string | undefined;
  readonly limit: number;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  confirm(question: string): Promise<boolean>;
}

/** @throws {ByError} USAGE, INVALID_INPUT, NOT_FOUND, INPUT_NEEDED, CONFLICT if the person says no, PARTIAL. */
export async function releaseForPeople(store: Store, printer: Printer, request: HeldSelection) {
  const {deliveries, hasMore} = await selected(store, request);
  showRows(printer, deliveries, await serverTimeMs(store));
  if (deliveries.length === 0 || request.dryRun)
    return untouched(printer, deliveries, {hasMore, dryRun: request.dryRun}, 'released');
  const online = await workersOnline(store, deliveries);
  const asleep = [...online].filter(([, count]) => count === 0).map(([type]) => type);
  if (asleep.length > 0) {
    const question = `Nobody is online for ${asleep.join(', ')}. Put ${counted(deliveries)} on the queue?`;
    if (!(await request.confirm(question))) throw refused('Nothing was released.');
  }
  return carryOut(printer, request, {deliveries, hasMore}, 'released', held =>
    releaseByHand(store, held, systemClock()),
  );
}

/** @throws {ByError} as {@link releaseForPeople}. */
export async function dropForPeople(
  store: Store,
  printer: Printer,
  request: HeldSelection & {readonly reason: string},
) {
  const {deliveries, hasMore} = await selected(store, request);
  showRows(printer, deliveries, await serverTimeMs(store));
  if (deliveries.length === 0 || request.dryRun)
    return untouched(printer, deliveries, {hasMore, dryRun: request.dryRun}, 'given up');
  if (!(await request.confirm(`Give up ${counted(deliveries)}? The commands go to the dead letters.`)))
    throw refused('Nothing was given up.');
  const by = actor();
  const reason = `${request.reason} (given up by ${by})`;
  return carryOut(printer, request, {deliveries, hasMore}, 'given up', held =>
    dropByHand(store, held, {reason, by, now: systemClock()}),
  );
}

interface Selected {
  readonly deliveries: readonly HeldDelivery[];
  readonly hasMore: boolean;
}

async function selected(store: Store, {ids, agentType, limit}: HeldSelection): Promise<Selected> {
  if ((ids.length === 0) === (agentType === undefined)) {
    throw new ByError('USAGE', 'Say which deliveries: by their ids, or all of an agent type.', {
      hint: 'Name entries of `by pending list`, or give --agent TYPE.',
      next: ['by pending list'],
    });
  }
  if (agentType === undefined) {
    const found = await Promise.all([...new Set(ids)].map(id => requireHeld(store, id)));
    const unique = new Map(found.map(held => [held.entryId, held]));
    return {deliveries: [...unique.values()], hasMore: false};
  }
  const listed = await listHeld(store, {agentType: checkedId(agentType, 'agent type'), limit});
  if (listed.deliveries.length > 0) return listed;
  const near = suggest(
    agentType,
    (await heldTypes(store)).map(type => type.agentType),
  );
  throw new ByError('NOT_FOUND', `Nothing is held back for "${agentType}".`, {
    hint: near === null ? 'See what is with `by pending list`.' : `Did you mean "${near}"?`,
    next: ['by pending list'],
  });
}

function untouched(
  printer: Printer,
  deliveries: readonly HeldDelivery[],
  facts: {readonly hasMore: boolean; readonly dryRun: boolean},
  verb: string,
) {
  printer.note(`Nothing was ${verb}. Without --dry-run it is ${counted(deliveries)}.`);
  return {...facts, items: deliveries.map(held => ({...heldView(held), result: 'untouched' as const}))};
}

async function carryOut(
  printer: Printer,
  {dryRun, signal}: HeldSelection,
  {deliveries, hasMore}: Selected,
  verb: 'released' | 'given up',
  act: (held: HeldDelivery) => Promise<HandOutcome>,
) {
  const items: (ReturnType<typeof heldView> & {readonly result: HandOutcome})[] = [];
  for (const held of deliveries) {
    if (signal.aborted) break;
    const result = await act(held);
    items.push({...heldView(held), result});
    const isDone = result === 'done';
    printer.out(
      isDone ? paint.green(printer.symbol('ok')) : paint.yellow(printer.symbol('warning')),
      ` ${held.entryId}  ${isDone ? verb : OUTCOMES[result]}`,
    );
  }
  const done = items.filter(({result}) => result === 'done').length;
  const answer = {dryRun, hasMore, done, items};
  if (done < deliveries.length) {
    throw new ByError('PARTIAL', `${deliveries.length - done} of ${deliveries.length} were not ${verb}.`, {
      hint: 'The list says why; see `by pending list` for what is left.',
      details: answer,
    });
  }
  if (hasMore) printer.note(paint.dim('There are more: run it again, or raise --limit.'));
  return answer;
}

const OUTCOMES: Readonly<Record<Exclude<HandOutcome, 'done'>, string>> = {
  gone: 'somebody else was faster',
  ended: 'its execution has ended: removed',
  full: 'the dead letters are full',
  unreadable: 'holds no command that could be released; drop it',
};

const counted = (rows: readonly unknown[]): string =>
  `${rows.length} ${rows.length === 1 ? 'delivery' : 'deliveries'}`;

const refused = (message: string) => new ByError('CONFLICT', message, {hint: 'Answer yes, or give --yes.'});
