/** What `by agents --workers` prints, against the page of its design. */
import {expect, test} from 'vitest';
import {countsOf, showTables} from '../../src/cli/agent-workers.js';
import {Printer} from '../../src/cli/printer.js';
import {aggregateOf, type AgentWorker} from '../../src/registry/agent-workers.js';

const NOW = Date.parse('2026-11-21T13:39:05Z');

const worker = (workerId: string, over: Partial<AgentWorker>): AgentWorker => ({
  ...{workerId, agentTypes: ['researcher'], status: 'idle', stale: false, slotsUsed: 0, slotsMax: 50},
  ...{lastHeartbeatAt: NOW - 1000, exhaustReason: null, recoveryAt: null, origin: 'derived'},
  ...{state: 'online', routable: true, reserved: false, untilRecovery: null},
  ...over,
});

const at = (time: string) => Date.parse(`2026-11-21T${time}Z`);

const WORKERS = [
  worker('res-1', {origin: 'native', lastHeartbeatAt: NOW - 2300}),
  worker('res-2', {status: 'busy', slotsUsed: 49, lastHeartbeatAt: NOW - 4000}),
  worker('res-3', {
    ...{status: 'exhausted', exhaustReason: 'rate_limit', recoveryAt: at('15:02:11'), routable: false},
  }),
  worker('wr-1', {
    ...{agentTypes: ['writer'], status: 'exhausted', exhaustReason: 'billing', recoveryAt: at('14:20:05')},
    ...{origin: 'native', slotsMax: 1, lastHeartbeatAt: NOW - 3000, routable: false},
  }),
  worker('wr-2', {
    ...{agentTypes: ['writer'], stale: true, state: 'stale', slotsMax: 1, lastHeartbeatAt: NOW - 41_000},
    routable: false,
  }),
];

function printed(ascii = false): string {
  let stdout = '';
  const printer = new Printer({
    ...{stdout: {write: (text: string) => (stdout += text)}, stderr: {write: () => undefined}},
    ...{mode: 'text', color: {stdout: false, stderr: false}, isQuiet: false, isVerbose: false},
    ...{columns: undefined, ascii, isOutputTerminal: false},
  });
  const agents = ['researcher', 'writer'].map(type => ({
    ...aggregateOf(type, WORKERS, NOW),
    workers: countsOf(type, WORKERS),
  }));
  showTables(printer, agents, WORKERS, NOW);
  return stdout;
}

/** How wide columns are follows from what is in them. */
const words = (text: string) => text.trim().replaceAll(/ +/g, ' ');

test('agent types and workers are shown as people were promised', () => {
  expect(words(printed())).toBe(
    words(`
AGENT TYPE  ROUTABLE  WORKERS                                  FREE  RECOVERY
researcher  yes       3 (1 idle, 1 busy, 1 exhausted)          51    -
writer      no        2 (1 exhausted, 1 stale)                 0     in 41m (14:20:05Z)

WORKER         TYPE        STATUS               SLOTS  HEARTBEAT  NOTE
res-1          researcher  idle                 0/50   2s         native
res-2          researcher  busy                 49/50  4s         derived
res-3          researcher  exhausted            0/50   1s         rate_limit until 15:02:11Z · not enforced (foreign worker)
wr-1           writer      exhausted            0/1    3s         billing until 14:20:05Z · waiting may not fix billing
wr-2           writer      idle (stale 41s)     0/1    41s        not routable; offline in 79s`),
  );
});

test('a terminal without the dot gets a dash', () => {
  expect(printed(true)).toContain('rate_limit until 15:02:11Z - not enforced (foreign worker)');
});
