/**
 * The commands of dead letters: in the letter; in the bytes of the entry it was made from; or, for letters that other
 * SDKs wrote without them, in the wakeup stream, by the execution's id. cli.md §0.6.
 */
import {objectOf} from '../protocol/fields.js';
import {wholeCommand, type ReadDeadLetter} from '../protocol/deadletter.js';
import {parseEnvelope, readable} from '../protocol/limits.js';
import type {StoredDeadLetter} from '../store/dead-letters.js';
import {commandsOfWakeups} from '../store/find-entry.js';
import type {Store} from '../store/store.js';

type Doc = Readonly<Record<string, unknown>>;

/** Where a dead letter's command was found. */
export type Payload =
  | {readonly kind: 'kept'; readonly document: Doc}
  | {readonly kind: 'recovered'; readonly document: Doc}
  | {readonly kind: 'lost'};

/** Wakeup requests that are searched, the newest first. */
const WAKEUPS = 20_000;
const LOST: Payload = {kind: 'lost'};

/** @returns for each entry's id where its command is. */
export async function findPayloads(
  store: Store,
  entries: readonly StoredDeadLetter[],
): Promise<Map<string, Payload>> {
  const found = new Map<string, Payload>();
  const missing: {id: string; executionId: string}[] = [];
  for (const {id, letter} of entries) {
    const payload = letter === undefined ? LOST : ownPayload(letter);
    found.set(id, payload);
    if (payload.kind === 'lost' && letter !== undefined && letter.executionId !== '')
      missing.push({id, executionId: letter.executionId});
  }
  if (missing.length === 0) return found;
  const executions = new Set(missing.map(({executionId}) => executionId));
  const commands = await commandsOfWakeups(store, executions, WAKEUPS);
  for (const {id, executionId} of missing) {
    const document = commands.get(executionId);
    if (document !== undefined) found.set(id, {kind: 'recovered', document});
  }
  return found;
}

function ownPayload({commandPayload, xData}: ReadDeadLetter): Payload {
  if (Object.keys(commandPayload).length > 0) return {kind: 'kept', document: commandPayload};
  const command = wholeCommand(xData);
  const document = Object.keys(command).length > 0 ? command : commandInside(xData);
  return Object.keys(document).length > 0 ? {kind: 'recovered', document} : LOST;
}

/** The entry may have been a wakeup or a delivery that something else was wrong with. */
function commandInside(xData: string): Doc {
  return objectOf(readable(() => parseEnvelope(xData))?.['command_payload']);
}
