/** The run layer in Redis: look at what a decision rests on, and write it if that still holds. */
import {newHexUuid} from '../ids.js';
import {RunAttempt} from '../protocol/orchestration/attempt.js';
import {PendingInput} from '../protocol/orchestration/input.js';
import {createRunKeys, type RunKeys} from '../protocol/orchestration/keys.js';
import {AgentPool} from '../protocol/orchestration/pool.js';
import {readRecord} from '../protocol/orchestration/record.js';
import {AgentRun} from '../protocol/orchestration/run.js';
import {AgentTask} from '../protocol/orchestration/task.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

/** One workspace of a deployment. */
export interface Workspace {
  readonly store: Store;
  readonly name: string;
  readonly keys: RunKeys;
}

export const openWorkspace = (store: Store, name: string): Workspace => ({
  ...{store, name},
  keys: createRunKeys({prefix: store.keys.prefix}),
});

/** What any decision rests on, as it was at one moment. */
export interface Ground {
  /** Redis's clock, Unix milliseconds. */
  readonly nowMs: number;
  readonly pool: AgentPool | undefined;
  /** Attempts of the pool under way. */
  readonly inflight: number;
  /** The first two runs that want the session: the first has it. */
  readonly heads: readonly string[];
  /** What waits behind the first. */
  readonly second: ReadyAttempt | undefined;
  /** The attempt that has the session; '' for none. */
  readonly holder: string;
  /** The session's last fence. */
  readonly fence: number;
  /** Until when its worker has said that it is at work; 0 if it never did. */
  readonly leaseUntilMs: number;
}

/** A task, and what a decision about it rests on. */
export interface Work extends Ground {
  readonly task: AgentTask;
  readonly run: AgentRun | undefined;
  readonly attempt: RunAttempt | undefined;
  /** What was said to the run, in its order. */
  readonly inputs: readonly PendingInput[];
}

export interface ReadyAttempt {
  readonly attemptId: string;
  readonly place: string;
  readonly pool: string;
  readonly score: string;
}

const lookScript = defineScript({
  file: 'orch-look.lua',
  reads: true,
  keys: ['base'],
  args: ['kind', 'id', 'pool'],
  reply: texts,
});

const RETRY = {retryForMs: 5000};

/** @returns undefined where there is no such task, run or attempt. */
export async function lookAt(
  workspace: Workspace,
  kind: 'task' | 'run' | 'att',
  id: string,
): Promise<Work | undefined> {
  const {ground, task, run, attempt, inputs} = await look(workspace, {kind, id, pool: ''});
  const known = readRecord(AgentTask, task);
  if (known === undefined) return undefined;
  return {
    ...ground,
    task: known,
    run: readRecord(AgentRun, run),
    attempt: readRecord(RunAttempt, attempt),
    inputs: inputs
      .flatMap(text => readRecord(PendingInput, text) ?? [])
      .sort((a, b) => (a.inputId < b.inputId ? -1 : 1)),
  };
}

/** What accepting a task rests on. */
export const lookAround = async (workspace: Workspace, sessionId: string, pool: string): Promise<Ground> =>
  (await look(workspace, {kind: 'new', id: sessionId, pool})).ground;

async function look(
  {store, name, keys}: Workspace,
  args: {readonly kind: string; readonly id: string; readonly pool: string},
) {
  const reply = await lookScript(store.commands, {keys: {base: keys.orchBase(name)}, args}, RETRY);
  const [now, task, run, attempt, pool, inflight, first = '', second = '', ...more] = reply;
  const [
    attemptId = '',
    place = '',
    itsPool = '',
    score = '',
    holder = '',
    fence = '',
    until = '',
    ...inputs
  ] = more;
  const ground: Ground = {
    nowMs: Number(now),
    pool: readRecord(AgentPool, pool),
    inflight: Number(inflight),
    heads: [first, second].filter(head => head !== ''),
    second: attemptId === '' ? undefined : {attemptId, place, pool: itsPool, score},
    holder,
    fence: Number(fence),
    leaseUntilMs: Number(until),
  };
  return {ground, task, run, attempt, inputs};
}

const commitScript = defineScript({file: 'orch-commit.lua', keys: [], args: ['token'], reply: texts});

type Word = string | number;

/** What is to be written, and what must still hold. */
export class Change {
  private readonly keys: string[];
  private readonly checks: (readonly Word[])[] = [];
  private readonly writes: (readonly Word[])[] = [];

  /** @param guard the hash that remembers that the change was made. */
  constructor(guard: string) {
    this.keys = [guard];
  }

  /** The place of a key, counted from one. */
  private at(key: string): number {
    const known = this.keys.indexOf(key);
    return known >= 0 ? known + 1 : this.keys.push(key);
  }

  /** The field of a hash must have this value; '' where it may not be there. */
  unlessChanged(key: string, field: string, value: Word): this {
    this.checks.push(['field', this.at(key), field, value]);
    return this;
  }

  unlessThere(key: string): this {
    this.checks.push(['absent', this.at(key)]);
    return this;
  }

  /** The string must be this; '' where there may be none. */
  unlessOther(key: string, text: string): this {
    this.checks.push(['value', this.at(key), text]);
    return this;
  }

  /** The sorted set must have fewer members. */
  ifRoom(key: string, limit: number): this {
    this.checks.push(['room', this.at(key), limit]);
    return this;
  }

  /** These must be the first two members of the sorted set, or all there are. */
  ifHeads(key: string, members: readonly string[]): this {
    this.checks.push(['head', this.at(key), members.join(',')]);
    return this;
  }

  write(command: string, key: string, ...args: readonly Word[]): this {
    this.writes.push([command, this.at(key), ...args]);
    return this;
  }

  /** Add to a stream under the next number of a counter. */
  append(
    stream: string,
    counter: {readonly hash: string; readonly field: string},
    cap: number,
    document: string,
  ): this {
    this.writes.push(['APPEND', this.at(stream), this.at(counter.hash), counter.field, cap, document]);
    return this;
  }

  get parts(): {readonly keys: readonly string[]; readonly words: readonly Word[]} {
    const counted = (lists: readonly (readonly Word[])[]) => [
      lists.length,
      ...lists.flatMap(list => [list.length, ...list]),
    ];
    return {keys: this.keys, words: [...counted(this.checks), ...counted(this.writes)]};
  }
}

/** @returns false if what it was decided on has changed: nothing was written. Safe to repeat. */
export async function commit({store}: Workspace, change: Change): Promise<boolean> {
  const {keys, words} = change.parts;
  const [verdict] = await commitScript(
    store.commands,
    {keys: {}, args: {token: newHexUuid()}, moreKeys: keys, moreArgs: words},
    RETRY,
  );
  return verdict === 'done';
}
