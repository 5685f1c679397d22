/** Calling hooks: each within its time, counted, and never in the way of the work it looks on at. */
import {within} from '../clock.js';
import {messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {HOOK_NAMES, type HookCall, type HookName, type Plugin} from './plugin.js';

export const DEFAULT_HOOK_TIMEOUT_MS = 5000;
/** One that fails with every task warns as often, not more. */
const WARN_EVERY_MS = 60_000;

/** How often a hook ran, and how that went. */
export interface HookCount {
  readonly calls: number;
  /** Those that threw; without {@link timeouts}. */
  readonly failures: number;
  readonly timeouts: number;
  readonly totalMs: number;
  readonly maxMs: number;
}

type Counting = {-readonly [K in keyof HookCount]: HookCount[K]};

/** One call of a hook that is over. */
export interface HookNote {
  readonly plugin: string;
  readonly hook: HookName;
  readonly ms: number;
  readonly outcome: 'ok' | 'failed' | 'late';
}

/** By plugin and hook, for the life of the worker: a reload goes on counting. */
export class HookStatistics {
  private readonly counts = new Map<string, Map<HookName, Counting>>();

  note({plugin, hook, ms, outcome}: HookNote): void {
    const hooks = this.counts.get(plugin) ?? new Map<HookName, Counting>();
    this.counts.set(plugin, hooks);
    const count = hooks.get(hook) ?? {calls: 0, failures: 0, timeouts: 0, totalMs: 0, maxMs: 0};
    hooks.set(hook, count);
    count.calls++;
    if (outcome === 'failed') count.failures++;
    if (outcome === 'late') count.timeouts++;
    count.totalMs += ms;
    count.maxMs = Math.max(count.maxMs, ms);
  }

  of(plugin: string): Readonly<Partial<Record<HookName, HookCount>>> {
    return Object.fromEntries(
      [...(this.counts.get(plugin) ?? [])].map(([hook, count]) => [hook, {...count}]),
    );
  }
}

/** The rate of warnings, for the life of the worker. */
class Warnings {
  private readonly last = new Map<string, {at: number; hidden: number}>();

  /** @returns how many were left out since the last, or undefined if this one is too. */
  due(name: string): number | undefined {
    const now = performance.now();
    const last = this.last.get(name);
    if (last !== undefined && now - last.at < WARN_EVERY_MS) {
      last.hidden++;
      return undefined;
    }
    this.last.set(name, {at: now, hidden: 0});
    return last?.hidden ?? 0;
  }
}

/** What outlives a reload. */
export class HookKeeper {
  readonly statistics = new HookStatistics();
  readonly warnings = new Warnings();

  constructor(
    readonly log: Logger,
    readonly timeoutMs = DEFAULT_HOOK_TIMEOUT_MS,
    /** Told of every call that was counted. */
    private readonly onCall?: (note: HookNote) => void,
  ) {}

  note(note: HookNote): void {
    this.statistics.note(note);
    this.onCall?.(note);
  }
}

interface Hooked {
  readonly plugin: string;
  readonly timeoutMs: number;
  readonly call: (args: readonly unknown[]) => unknown;
}

/** The hooks of a worker's plugins, in the order of registration. */
export class Hooks {
  private readonly table = new Map<HookName, Hooked[]>();

  constructor(
    plugins: readonly Plugin[],
    private readonly keeper: HookKeeper,
  ) {
    for (const hook of HOOK_NAMES) {
      const all = plugins.filter(plugin => plugin[hook] !== undefined);
      if (all.length > 0)
        this.table.set(
          hook,
          all.map(plugin => this.hooked(plugin, hook)),
        );
    }
  }

  /** Whether any plugin is told of it. */
  has(...hooks: readonly HookName[]): boolean {
    return hooks.some(hook => this.table.has(hook));
  }

  /** Call a hook of each plugin, one after the other. Resolves when all have answered or used up their time. */
  async run(hook: HookName, ...args: readonly unknown[]): Promise<void> {
    for (const hooked of this.table.get(hook) ?? []) await this.runOne(hook, hooked, args);
  }

  private hooked(plugin: Plugin, hook: HookName): Hooked {
    return {
      plugin: plugin.manifest.name,
      timeoutMs: plugin.hookTimeoutMs ?? this.keeper.timeoutMs,
      call: args =>
        (plugin[hook] as (...all: readonly unknown[]) => unknown).apply(plugin, args as unknown[]),
    };
  }

  private async runOne(hook: HookName, {plugin, timeoutMs, call}: Hooked, args: readonly unknown[]) {
    const startedAt = performance.now();
    const note = (outcome: HookNote['outcome']) =>
      this.keeper.note({plugin, hook, ms: performance.now() - startedAt, outcome});
    const late = new AbortController();
    try {
      const answer = call([...args, {signal: late.signal} satisfies HookCall]);
      const isInTime = isThenable(answer) ? await within(timeoutMs, answer) : true;
      note(isInTime ? 'ok' : 'late');
      if (isInTime) return;
      late.abort(new DOMException(`${hook} took longer than ${timeoutMs} ms`, 'TimeoutError'));
      this.warn(plugin, hook, `took longer than ${timeoutMs} ms`);
    } catch (error) {
      note('failed');
      this.warn(plugin, hook, messageOf(error));
    }
  }

  private warn(plugin: string, hook: HookName, error: string): void {
    const hidden = this.keeper.warnings.due(`${plugin} ${hook}`);
    if (hidden === undefined) return;
    const more = hidden === 0 ? {} : {not_shown: hidden};
    this.keeper.log.warn('a hook of a plugin failed; the work goes on', {plugin, hook, error, ...more});
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as {then?: unknown}).then === 'function';
