import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {RawClient, type Wire} from './support/raw-client.js';
import {TwoServers} from './support/two-servers.js';

/** Who sends what: `x` never waits; `a` and `b` may. */
type Step = readonly ['a' | 'b' | 'x', ...string[]];

const group: Step = ['x', 'XGROUP', 'CREATE', 'k', 'g', '$', 'MKSTREAM'];
const readGroup: Step = ['a', 'XREADGROUP', 'GROUP', 'g', 'c', 'BLOCK', '0', 'STREAMS', 'k', '>'];

const stories: Record<string, readonly Step[]> = {
  'XADD wakes a reader of the group, which only then becomes a consumer': [
    group,
    readGroup,
    ['x', 'XINFO', 'CONSUMERS', 'k', 'g'],
    ['x', 'XADD', 'k', '1-1', 'f', 'v'],
    ['x', 'XPENDING', 'k', 'g'],
  ],
  'DEL of the stream releases its group readers': [group, readGroup, ['x', 'DEL', 'k']],
  'so does FLUSHALL': [group, readGroup, ['x', 'FLUSHALL']],
  'and a deadline that is over': [group, readGroup, ['x', 'PEXPIRE', 'k', '-1']],
  'and SET over it': [group, readGroup, ['x', 'SET', 'k', '1']],
  'XGROUP DESTROY releases them with NOGROUP': [group, readGroup, ['x', 'XGROUP', 'DESTROY', 'k', 'g']],
  'XGROUP SETID backwards shows at the next entry': [
    ['x', 'XADD', 'k', '1-1', 'f', 'v'],
    ['x', 'XGROUP', 'CREATE', 'k', 'g', '$'],
    readGroup,
    ['x', 'XGROUP', 'SETID', 'k', 'g', '0'],
    ['x', 'XADD', 'k', '2-2', 'f', 'v'],
  ],
  'readers are served in the order they came, by a script at its end': [
    group,
    ['a', 'XREADGROUP', 'GROUP', 'g', 'c1', 'COUNT', '1', 'BLOCK', '0', 'STREAMS', 'k', '>'],
    ['b', 'XREADGROUP', 'GROUP', 'g', 'c2', 'BLOCK', '0', 'STREAMS', 'k', '>'],
    ['x', 'EVAL', "for i=1,3 do redis.call('XADD', 'k', i .. '-1', 'f', i) end", '0'],
    ['x', 'XPENDING', 'k', 'g'],
  ],
  'XREAD waits for any of its streams': [
    ['a', 'XREAD', 'BLOCK', '0', 'STREAMS', 'k', 'j', '$', '$'],
    ['x', 'XADD', 'j', '1-1', 'f', 'v'],
  ],
  'XREAD does not care that the stream was deleted': [
    ['x', 'XADD', 'k', '1-1', 'f', 'v'],
    ['a', 'XREAD', 'BLOCK', '0', 'STREAMS', 'k', '$'],
    ['x', 'DEL', 'k'],
    ['x', 'XADD', 'k', '1-1', 'f', 'v'],
    ['x', 'XADD', 'k', '2-1', 'f', 'v'],
  ],
  'a list serves two that wait for it, and keeps the rest': [
    ['a', 'BLPOP', 'k', 'j', '0'],
    ['b', 'BLPOP', 'j', 'k', '0'],
    ['x', 'RPUSH', 'j', '1', '2', '3'],
    ['x', 'LRANGE', 'j', '0', '-1'],
  ],
  'a key of another type does not wake': [
    ['a', 'BLPOP', 'k', '0'],
    ['x', 'SET', 'k', '1'],
    ['x', 'DEL', 'k'],
    ['x', 'LPUSH', 'k', 'a', 'b', 'c'],
  ],
  'a transaction serves at its end, in the order of its pushes': [
    ['a', 'BLPOP', 'k', 'j', '0'],
    ['x', 'MULTI'],
    ['x', 'RPUSH', 'j', '1'],
    ['x', 'RPUSH', 'k', '2'],
    ['x', 'EXEC'],
  ],
  'what a transaction took back was never there': [
    ['a', 'BLPOP', 'k', '0'],
    ['x', 'MULTI'],
    ['x', 'RPUSH', 'k', '1'],
    ['x', 'DEL', 'k'],
    ['x', 'EXEC'],
    ['x', 'RPUSH', 'k', '5'],
  ],
  'BLMOVE passes on to who waits for its target': [
    ['a', 'BLMOVE', 'k', 'j', 'LEFT', 'RIGHT', '0'],
    ['b', 'BLPOP', 'j', '0'],
    ['x', 'RPUSH', 'k', '1'],
  ],
  'BLMOVE onto another type is refused when it is served': [
    ['x', 'SET', 'j', 'text'],
    ['a', 'BLMOVE', 'k', 'j', 'LEFT', 'RIGHT', '0'],
    ['x', 'RPUSH', 'k', '1'],
    ['x', 'LRANGE', 'k', '0', '-1'],
  ],
  'sorted sets give from both ends': [
    ['a', 'BZPOPMIN', 'k', '0'],
    ['b', 'BZPOPMAX', 'k', '0'],
    ['x', 'ZADD', 'k', '1', 'a', '2', 'b', '3', 'c'],
  ],
  'BZMPOP and BLMPOP take several': [
    ['a', 'BZMPOP', '0', '2', 'j', 'k', 'MIN', 'COUNT', '2'],
    ['b', 'BLMPOP', '0', '1', 'l', 'RIGHT', 'COUNT', '2'],
    ['x', 'ZADD', 'k', '1', 'a', '2', 'b', '3', 'c'],
    ['x', 'RPUSH', 'l', '1', '2', '3'],
  ],
  'RENAME and COPY wake': [
    ['a', 'BLPOP', 'k', '0'],
    ['b', 'BLPOP', 'j', '0'],
    ['x', 'RPUSH', 'z', '1'],
    ['x', 'COPY', 'z', 'j'],
    ['x', 'RENAME', 'z', 'k'],
  ],
  'what follows a blocked command waits for it': [
    ['a', 'BLPOP', 'k', '0'],
    ['a', 'ECHO', 'after'],
    ['x', 'RPUSH', 'k', '1'],
  ],
  'each kind answers in its own way when the time is up': [
    ['a', 'BLPOP', 'k', '0.01'],
    ['a', 'BLMOVE', 'k', 'j', 'LEFT', 'LEFT', '0.01'],
    ['a', 'XREAD', 'BLOCK', '10', 'STREAMS', 'k', '$'],
    ['a', 'BZPOPMIN', 'k', '0.01'],
    ['a', 'BRPOPLPUSH', 'k', 'j', '0.01'],
    ['a', 'BLMPOP', '0.01', '1', 'k', 'LEFT'],
    ['a', 'WAIT', '1', '10'],
  ],
  'a watched key that changed stops EXEC': [
    ['a', 'WATCH', 'k'],
    ['x', 'SET', 'k', '1'],
    ['a', 'MULTI'],
    ['a', 'GET', 'k'],
    ['a', 'EXEC'],
  ],
};

let servers: TwoServers;
beforeAll(async () => {
  servers = await TwoServers.start();
});
afterAll(() => servers.stop());

/** Tell one story; what each client was answered, in order. */
async function tell(port: number, steps: readonly Step[]): Promise<Record<string, Wire[]>> {
  const [x, a, b] = await Promise.all([1, 2, 3].map(() => RawClient.connect(port)));
  const clients = {x: x!, a: a!, b: b!};
  await clients.x.send('FLUSHALL');
  const heard: Record<string, Wire[]> = {x: [], a: [], b: []};
  const flagsOf = async (id: number) => {
    const info = await clients.x.send('CLIENT', 'LIST', 'ID', String(id));
    const text = typeof info === 'string' ? info : (info as {text: string}).text;
    return /flags=(\w+).*cmd=(\S+)/.exec(text)!;
  };
  const ids = {
    a: (await clients.a.send('CLIENT', 'ID')) as number,
    b: (await clients.b.send('CLIENT', 'ID')) as number,
  };
  const hasWaited = new Set<string>();
  for (const [who, ...words] of steps) {
    const command = `*${words.length}\r\n${words.map(word => `$${word.length}\r\n${word}\r\n`).join('')}`;
    clients[who].write(command);
    if (who === 'x') {
      heard.x!.push(await clients.x.next());
    } else if (!hasWaited.has(who)) {
      // Until the server has read it: it is then the client's last command.
      for (;;) {
        const [, , last = ''] = await flagsOf(ids[who]);
        if (last.split('|')[0] === words[0]!.toLowerCase()) break;
      }
      if (words.some(word => word === '0' || word === 'BLOCK')) hasWaited.add(who);
    }
  }
  for (const who of ['a', 'b'] as const) {
    // Only those that would wait for ever are woken; the others' time comes.
    const forEver = steps.some(([other, ...words]) => other === who && words.includes('0'));
    heard.x!.push(forEver ? await clients.x.send('CLIENT', 'UNBLOCK', String(ids[who])) : 0);
    clients[who].write('*2\r\n$4\r\nECHO\r\n$3\r\nend\r\n');
    for (let reply = await clients[who].next(); reply !== 'end'; reply = await clients[who].next())
      heard[who]!.push(reply);
  }
  for (const client of Object.values(clients)) client.close();
  return heard;
}

describe('waiting, compared with a real redis-server 7.0', () => {
  test.each(Object.entries(stories))('%s', async (_name, steps) => {
    const [real, embedded] = await Promise.all([
      tell(servers.real.port, steps),
      tell(servers.embedded.port, steps),
    ]);
    expect(embedded).toEqual(real);
  });
});
