// npm run soak: workers are killed, suspended and stopped at random while work comes in, and orchestrators (`by serve`) killed with
// runs under way; afterwards every accepted send and every task is accounted for. One JSON line on standard output is the
// verdict; exit 1 if a promise was broken.
//
//   --minutes 2     how long work comes in
//   --seed 1        same seed, same faults and same work (not the same interleaving)
//   --workers 4     --concurrency 20   --rate 20 (tasks a second)   --lease-ms 3000
//   --kill-every-ms 1000   a worker is killed so often on average; half as often each it is suspended, and stopped: of four
//                   workers two are there at a time, and two cores are busy with starting them. More work than that leaves
//                   waits until attempts are used up and tasks are given up as not delivered, which ends them, but not well
//   --poison 0      how many tasks kill every worker they meet; they must become dead letters, and nothing else may
//   --orchestrators 2   --task-rate 3 (tasks of the run layer a second; 0: none)
//   --redis-url     default: a redis-server of its own, from the PATH
import {spawn} from 'node:child_process';
import {mkdtemp, rm} from 'node:fs/promises';
import {connect, createServer} from 'node:net';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {setTimeout as sleep} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {GatewayClient, openStore} from '../dist/src/index.js';
import {AgentAPI, AgentService} from '../dist/src/orchestration/index.js';

const note = text => process.stderr.write(`${text}\n`);
const number = text => ({type: 'string', default: String(text)});
const values = flagsOf({
  ...{minutes: number(2), seed: number(1), workers: number(4), concurrency: number(20), rate: number(20)},
  ...{
    'lease-ms': number(3000),
    'kill-every-ms': number(1000),
    poison: number(0),
    orchestrators: number(2),
    'task-rate': number(3),
    'redis-url': {type: 'string'},
  },
});
const minutes = Number(values.minutes);
const leaseMs = Number(values['lease-ms']);
const count = Number(values.workers);
const AGENT = 'soak';
const GROUP = 'agent_engines';
const MAX_ATTEMPTS = 5;
const WORKSPACE = 'default';
const FINAL_TASK = ['done', 'error', 'cancelled', 'dropped'];
const random = generator(Number(values.seed));
const between = (from, to) => from + random() * (to - from);

const server = values['redis-url'] === undefined ? await privateServer() : undefined;
const url = values['redis-url'] ?? server.url;
const store = openStore({url, name: 'soak'});
const client = new GatewayClient(store);
const api = new AgentAPI({runtime: new AgentService({store})});

/** Everything the workers said about an execution: id -> starts. */
const starts = new Map();
/** Attempts of an execution as its record has them: id -> crashed, failed and handed back. */
const pastAttempts = new Map();
/** When a worker died without notice: worker id -> Unix ms. */
const killedAt = new Map();
/** Workers that were suspended. */
const suspended = new Set();
/** Workers that had no processor for as long as their lease. */
const lapsed = new Set();
/** How workers ended that said so: worker id -> 'stopped', 'lease-lost', ... */
const ends = new Map();
const faults = {kill: 0, suspend: 0, stop: 0, serve_kill: 0};
/** Processes that ended by a fault of their own: no fault of ours explains one. */
let fell = 0;
let serial = 0;
let isOver = false;
const live = new Set();
const slots = Array.from({length: count}, () => keepWorker());
const serving = new Set();
const taskRate = Number(values['task-rate']);
if (taskRate > 0) await api.createAgent(WORKSPACE, {agentKey: AGENT, concurrency: 50});
for (let i = 0; taskRate > 0 && i < Number(values.orchestrators); i++) slots.push(keepOrchestrator());

const accepted = [];
/** Tasks of the run layer: `{taskId, runId, sessionId}`. */
const tasks = [];
const poisoned = new Set();
const endAt = Date.now() + minutes * 60_000;
const troubles = [makeTrouble(), ...(taskRate > 0 ? [submitTasks(), killOrchestrators()] : [])];
let poisonLeft = Number(values.poison);
while (Date.now() < endAt) {
  const isPoison = poisonLeft > 0 && random() < 0.02;
  const content = JSON.stringify({...workOf(between, random), poison: isPoison});
  const sent = await client.send({agentType: AGENT, content, policy: 'SEND_ANYWAY'});
  accepted.push(sent);
  if (isPoison) {
    poisonLeft--;
    poisoned.add(sent.executionId);
  }
  await sleep(between(0, 2000 / Number(values.rate)));
}
await Promise.all(troubles);
note(`sent ${accepted.length}, accepted ${tasks.length} tasks, waiting for the rest`);
await drained(accepted, 60_000 + 40 * leaseMs);
await tasksDrained(60_000 + 40 * leaseMs);
isOver = true;
await Promise.all(slots);
const verdict = await judge();
console.log(JSON.stringify(verdict));
store.close();
await server?.stop();
process.exit(verdict.ok ? 0 : 1);

/** One place for a worker: whenever its process ends, another begins. */
async function keepWorker() {
  while (!isOver) {
    const options = {
      url,
      leaseMs,
      concurrency: Number(values.concurrency),
      workerId: `soak-${++serial}`,
    };
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('soak-worker.js', import.meta.url)), JSON.stringify(options)],
      {stdio: ['ignore', 'pipe', process.env.SOAK_LOG ? 'inherit' : 'ignore']},
    );
    const one = {child, workerId: options.workerId};
    live.add(one);
    createInterface({input: child.stdout}).on('line', line => heard(JSON.parse(line), options.workerId));
    const exit = new Promise(resolve => child.once('close', resolve));
    const watch = (async () => {
      while (!isOver && child.exitCode === null && child.signalCode === null) await sleep(50);
      if (isOver) child.kill('SIGTERM');
    })();
    await exit;
    live.delete(one);
    // One that is suspended while it starts finds its connections timed out.
    if (child.exitCode > 0 && !suspended.has(one.workerId)) fell++;
    await watch;
  }
}

/** One place for an orchestrator, as for a worker. */
async function keepOrchestrator() {
  while (!isOver) {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('soak-serve.js', import.meta.url)), JSON.stringify({url})],
      {stdio: ['pipe', 'ignore', process.env.SOAK_LOG ? 'inherit' : 'ignore']},
    );
    serving.add(child);
    let isGone = false;
    const exit = new Promise(resolve => child.once('close', resolve)).then(() => (isGone = true));
    while (!isOver && !isGone) await sleep(50);
    if (!isGone) child.kill('SIGTERM');
    await exit;
    serving.delete(child);
    if (child.exitCode > 0) fell++;
  }
}

/** Half as often as workers: it takes a moment until one is there again, and runs are to be under way then. */
async function killOrchestrators() {
  const chance = generator(Number(values.seed) + 1);
  while (Date.now() < endAt) {
    await sleep(chance() * 4 * Number(values['kill-every-ms']));
    const victims = [...serving];
    const victim = victims[Math.floor(chance() * victims.length)];
    if (victim?.kill('SIGKILL')) faults.serve_kill++;
  }
}

/** Every one with a key, so that one that is made twice would be another task. */
async function submitTasks() {
  const chance = generator(Number(values.seed) + 2);
  const within = (from, to) => from + chance() * (to - from);
  while (Date.now() < endAt) {
    const message = JSON.stringify(workOf(within, chance));
    const {task, runId} = await api.acceptAgentCommand(WORKSPACE, {
      ...{agentType: AGENT, message, idempotencyKey: `task-${tasks.length}`},
    });
    tasks.push({taskId: task.taskId, runId, sessionId: task.sessionId});
    await sleep(within(0, 2000 / taskRate));
  }
}

/** What an agent is to do: mostly little, now and then much, and to fail once at times. */
function workOf(within, chance) {
  return {
    ...{ms: Math.round(within(20, chance() < 0.05 ? 8000 : 800)), chunks: Math.ceil(within(1, 10))},
    failures: chance() < 0.05 ? 1 : 0,
  };
}

function heard(doc, workerId) {
  if (doc.what === 'lapsed') lapsed.add(workerId);
  if (doc.what === 'ended') ends.set(workerId, doc.end);
  if (doc.what !== 'start') return;
  const known = starts.get(doc.id) ?? [];
  known.push({...doc, workerId});
  starts.set(doc.id, known);
}

async function makeTrouble() {
  while (Date.now() < endAt) {
    // Two of four faults are kills.
    await sleep(between(0, Number(values['kill-every-ms'])));
    const victims = [...live];
    const victim = victims[Math.floor(random() * victims.length)];
    const what = random();
    if (victim === undefined) continue;
    if (what < 0.5) {
      faults.kill++;
      killedAt.set(victim.workerId, Date.now());
      victim.child.kill('SIGKILL');
    } else if (what < 0.75) {
      faults.stop++;
      victim.child.kill('SIGTERM');
    } else {
      faults.suspend++;
      suspended.add(victim.workerId);
      victim.child.kill('SIGSTOP');
      void sleep(leaseMs * between(0.2, 2)).then(() => victim.child.kill('SIGCONT'));
    }
  }
}

async function drained(sent, ms) {
  const until = Date.now() + ms;
  let open = sent;
  while (open.length > 0 && Date.now() < until) {
    await sleep(250);
    const still = [];
    for (const one of open) {
      const record = await client.find(one.sessionId, one.messageId);
      if (!['COMPLETED', 'FAILED', 'CANCELLED'].includes(record?.status)) still.push(one);
    }
    open = still;
  }
}

async function tasksDrained(ms) {
  const until = Date.now() + ms;
  let open = tasks;
  while (open.length > 0 && Date.now() < until) {
    await sleep(250);
    const still = [];
    for (const one of open) {
      const {status} = await api.getTask(WORKSPACE, one.taskId);
      if (!FINAL_TASK.includes(status)) still.push(one);
    }
    open = still;
  }
}

/** Why a record is FAILED that no poison failed: its attempts were used up by our faults, or something is wrong. */
function strike(record) {
  // Five times with a worker we killed or suspended, or that had no processor for a whole lease, is what the limit
  // of attempts is for; a failure of the agent counts too.
  const counted = record.extra.x_attempts.filter(({ended}) => ended !== 'handed_back');
  const strange = counted.filter(({ended, worker_id: id}) => ended === 'crashed' && !mayCrash(id));
  note(`dead: ${JSON.stringify(record)}`);
  if (counted.length >= MAX_ATTEMPTS && strange.length === 0) return 'struck_out';
  for (const {worker_id: id} of strange) note(`not by us: ${id} ended ${ends.get(id) ?? 'without a word'}`);
  return 'wrongly_dead';
}

/**
 * Each task has ended, and ended well unless its executions were struck out; none was sent that is no attempt's, and no more
 * than one completed.
 */
async function judgeTasks() {
  const found = {ended: 0, done: 0, lost: 0, double: 0, wrong: 0, struck_out: 0, given_up: 0, attempts: 0};
  for (const {taskId, runId, sessionId} of tasks) {
    const {status} = await api.getTask(WORKSPACE, taskId);
    const attempts = await api.listRunAttempts(WORKSPACE, runId);
    const fields = await store.commands.run(redis => redis.hgetall(store.keys.sessionRegistry(sessionId)));
    const ids = Object.keys(fields).filter(field => field.startsWith('exec:'));
    const records = await Promise.all(
      attempts.map(({messageId}) => client.find(sessionId, messageId).catch(() => undefined)),
    );
    for (const record of records) pastAttempts.set(record?.executionId, record?.extra.x_attempts ?? []);
    const failed = records.filter(record => record?.status === 'FAILED').map(strike);
    const completed = records.filter(record => record?.status === 'COMPLETED').length;
    // Nobody took it up for two minutes: there were too few workers for too many suspects.
    const givenUp = attempts.filter(({errorClass}) => errorClass === 'worker_lost').length;
    const known = new Set(attempts.map(({executionId}) => `exec:${executionId}`));
    found.attempts += attempts.length;
    found.given_up += givenUp;
    found.struck_out += failed.filter(why => why === 'struck_out').length;
    if (FINAL_TASK.includes(status)) found.ended++;
    else {
      found.lost++;
      note(`lost: ${taskId} is ${status}: ${JSON.stringify(attempts)}`);
    }
    if (status === 'done') found.done++;
    else if (failed.length + givenUp < 2) found.wrong++;
    if (status !== 'done') note(`task not done: ${JSON.stringify({taskId, status, attempts})}`);
    if (failed.includes('wrongly_dead') || (status === 'done' && completed === 0)) found.wrong++;
    if (completed > 1 || ids.some(id => !known.has(id))) {
      found.double++;
      note(`double: ${taskId}: ${JSON.stringify({attempts, ids})}`);
    }
  }
  // One task for each key, and no other.
  let listed = 0;
  let cursor;
  do {
    const page = await api.listTasks(WORKSPACE, {limit: 200, ...(cursor === undefined ? {} : {cursor})});
    listed += page.items.length;
    cursor = page.cursor;
  } while (cursor !== undefined);
  found.double += Math.abs(listed - tasks.length);
  return found;
}

async function judge() {
  const {keys, commands} = store;
  const counts = {
    completed: 0,
    lost: 0,
    double: 0,
    disordered: 0,
    struck_out: 0,
    wrongly_dead: 0,
    over_started: 0,
  };
  for (const one of accepted) {
    const record = await client.find(one.sessionId, one.messageId);
    const status = record?.status ?? 'MISSING';
    pastAttempts.set(one.executionId, record?.extra.x_attempts ?? []);
    if (status === 'COMPLETED') counts.completed++;
    else if (status !== 'FAILED') {
      counts.lost++;
      note(`lost: ${JSON.stringify(record)}`);
    }
    if (status === 'FAILED' && !poisoned.has(one.executionId)) counts[strike(record)]++;
    const rows = await commands.run(redis => redis.xrange(keys.sessionDataStream(one.sessionId), '-', '+'));
    const events = rows.map(([, fields]) => JSON.parse(fields[1]));
    const ends = events.filter(event => event.event_type === 'appStreamResponse').length;
    if (ends !== 1) counts.double++;
    const said = events.map(event => /"(\d+)\.(\d+) "/.exec(JSON.stringify(event))).filter(Boolean);
    const order = said.map(([, attempt, i]) => Number(attempt) * 1000 + Number(i));
    const seen = starts.get(one.executionId) ?? [];
    if (order.some((value, i) => i > 0 && value <= order[i - 1])) {
      counts.disordered++;
      note(`disordered: ${JSON.stringify({said: said.map(([text]) => text), rows, seen, record})}`);
    }
    if (record && (record.extra.x_crashes ?? 0) + (record.extra.x_failures ?? 0) > MAX_ATTEMPTS)
      counts.over_started++;
    if (new Set(seen.map(({attempt}) => attempt)).size !== seen.length) counts.over_started++;
  }
  const runLayer = await judgeTasks();
  const stream = keys.ctrlStream(AGENT);
  const left = {
    entries: await commands.run(redis => redis.xlen(stream)),
    pending: (await commands.run(redis => redis.xpending(stream, GROUP)))[0],
    consumers: (await commands.run(redis => redis.call('XINFO', 'CONSUMERS', stream, GROUP))).length,
    ...(await keysLeft()),
  };
  const deadLetters = await commands.run(redis => redis.xlen(keys.deadletter()));
  const recovered = recoveryTimes();
  const broken = ['lost', 'double', 'disordered', 'wrongly_dead', 'over_started'].filter(
    name => counts[name] > 0,
  );
  const ok =
    broken.length === 0 &&
    fell === 0 &&
    runLayer.lost + runLayer.double + runLayer.wrong === 0 &&
    left.entries === 0 &&
    left.pending === 0 &&
    deadLetters === poisoned.size + counts.struck_out + runLayer.struck_out;
  return {
    ...{ok, seed: Number(values.seed), minutes, accepted: accepted.length, ...counts},
    ...{dead: deadLetters, poison: poisoned.size, faults, fell, lease_ms: leaseMs},
    recovered: recovered.atOnce.length,
    recovered_p50_ms: percentile(recovered.atOnce, 50),
    recovered_p99_ms: percentile(recovered.atOnce, 99),
    recovered_alone: recovered.alone.length,
    recovered_alone_p99_ms: percentile(recovered.alone, 99),
    left,
    tasks_accepted: tasks.length,
    ...Object.fromEntries(Object.entries(runLayer).map(([name, value]) => [`tasks_${name}`, value])),
  };
}

/** All keys, and those without a lifetime: of the deployment, of its agents, and of killed workers, which a manager takes out after a day. */
async function keysLeft() {
  const lasting = [];
  let keys = 0;
  let cursor = '0';
  do {
    const [next, names] = await store.commands.run(redis => redis.scan(cursor, 'COUNT', 1000));
    cursor = next;
    keys += names.length;
    for (const name of names)
      if ((await store.commands.run(redis => redis.pttl(name))) === -1) lasting.push(name);
  } while (cursor !== '0');
  const kinds = new Set(
    lasting.map(name => name.replaceAll(/(sess|task|run|att|soak)[-_][0-9A-Za-z]+/g, '$1…')),
  );
  note(`without a lifetime: ${[...kinds].slice(0, 40).join(' ')}`);
  return {keys, lasting: lasting.length};
}

function mayCrash(id) {
  return (
    killedAt.has(id) || suspended.has(id) || lapsed.has(id) || ['lease-lost', 'deaf'].includes(ends.get(id))
  );
}

/**
 * From the moment a worker was killed to the next start of what it ran: at once, and for what was there in two crashes
 * and has to wait for a process of its own. An attempt may die before it has said that it began.
 */
function recoveryTimes() {
  const times = {atOnce: [], alone: []};
  for (const [id, seen] of starts) {
    for (let i = 1; i < seen.length; i++) {
      const at = killedAt.get(seen[i - 1].workerId);
      // Killed later: the next start was a retry, not a recovery.
      if (at === undefined || at > seen[i].at) continue;
      const before = (pastAttempts.get(id) ?? []).filter(({attempt}) => attempt < seen[i].attempt);
      const crashes = before.filter(({ended}) => ended === 'crashed').length;
      // Another took it up and gave it back.
      if (crashes < 2 && seen[i].attempt > seen[i - 1].attempt + 1) continue;
      const ms = seen[i].at - at;
      if (ms > leaseMs + 1000 && crashes < 2) note(`late: ${ms} ms ${JSON.stringify(seen)}`);
      (crashes < 2 ? times.atOnce : times.alone).push(ms);
    }
  }
  for (const list of Object.values(times)) list.sort((x, y) => x - y);
  return times;
}

/** What the command line says; anything else ends the campaign before it begins. */
function flagsOf(options) {
  try {
    const {values: given} = parseArgs({options});
    const wrong = Object.keys(given).find(
      name => name !== 'redis-url' && !(given[name] !== '' && Number(given[name]) >= 0),
    );
    if (wrong === undefined) return given;
    throw new Error(`--${wrong} takes a number, not "${given[wrong]}".`);
  } catch (error) {
    note(
      `${error.message}\nFlags: ${Object.keys(options)
        .map(name => `--${name}`)
        .join(' ')}`,
    );
    process.exit(2);
  }
}

function percentile(sorted, percent) {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? null;
}

/** Mulberry32: small, and the same everywhere. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function privateServer() {
  const dir = await mkdtemp(path.join(tmpdir(), 'by-soak-'));
  const port = await new Promise(resolve => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const {port: free} = probe.address();
      probe.close(() => resolve(free));
    });
  });
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    dir,
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  const child = spawn('redis-server', args, {stdio: 'ignore'});
  const exit = new Promise(resolve => child.once('close', resolve));
  process.once('exit', () => child.kill('SIGKILL'));
  while (!(await answers(port))) await sleep(20);
  return {
    url: `redis://127.0.0.1:${port}/0`,
    async stop() {
      child.kill('SIGKILL');
      await exit;
      await rm(dir, {recursive: true, force: true});
    },
  };
}

function answers(port) {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
