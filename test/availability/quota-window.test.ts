/** A limit on what a user sends: counted as it is accepted, by Redis's clock, and obeyed by every SDK's router. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {readQuota as quotaIn} from '../../src/protocol/routing.js';
import {clearQuota, listAdmission, readQuota, setQuota, setQuotaLimit} from '../../src/store/admission.js';
import {countForUser, takeBackCount} from '../../src/store/quota-limits.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachServer, describeCluster, describeEachStore, until} from '../support/stores.js';

const HOUR = 3_600_000;
const REASON = '2 an hour';

async function bringOnline(store: Store, agentType: string) {
  const lease = {workerId: `w-${agentType}`, token: 't', ipAddress: '', ttlMs: 25_000};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes: [agentType], join: true, nowMs: 1});
}

const byUser = {agentType: 'ocr', content: 'x', userCode: 'u-1'} as const;
const over = {code: 'TENANT_QUOTA_EXCEEDED', message: expect.stringContaining(REASON) as string};

describeEachStore('a limit on what a user sends', at => {
  async function limited(limit = 2, windowMs = HOUR) {
    const store = at.open();
    await bringOnline(store, 'ocr');
    await setQuotaLimit(store, 'u-1', {limit, windowMs, reason: REASON});
    return {store, client: new GatewayClient(store)};
  }

  test('is used up by accepted commands; then routers of every SDK refuse until the window ends', async () => {
    const {store, client} = await limited();
    await client.send(byUser);
    expect(await readQuota(store, 'u-1')).toMatchObject({available: true, limit: {used: 1, limit: 2}});
    expect(await at.redis().get(store.keys.userQuota('u-1'))).toBeNull();
    await client.send(byUser);
    const record = await at.redis().get(store.keys.userQuota('u-1'));
    expect(quotaIn(record)).toEqual({available: false, reason: REASON});
    const leftMs = await at.redis().pttl(store.keys.userQuota('u-1'));
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(HOUR);

    const refused = await client.send(byUser).catch((error: unknown) => error);
    expect(refused).toMatchObject(over);
    const {retryAfterMs} = (refused as {details: {retryAfterMs: number}}).details;
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(HOUR);
    await client.send({...byUser, userCode: 'u-2'});
    await client.send({agentType: 'ocr', content: 'by an operator'});
    expect(await readQuota(store, 'u-1')).toMatchObject({source: 'auto', limit: {used: 2}});
  });

  test('begins anew with the first command after its window', async () => {
    const {store, client} = await limited(1, 3000);
    await client.send(byUser);
    await expect(client.send(byUser)).rejects.toMatchObject(over);
    await until(async () => (await readQuota(store, 'u-1'))?.available);
    await client.send(byUser);
    await expect(client.send(byUser)).rejects.toMatchObject(over);
  });

  test('counts whatever the policy does with a command, and nothing that is refused or a repeat', async () => {
    const {store, client} = await limited(4);
    const used = async () => (await readQuota(store, 'u-1'))?.limit?.used;
    const away = {...byUser, agentType: 'away'};
    await expect(client.send(away)).rejects.toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
    expect(await used()).toBe(0);
    await client.send({...away, policy: 'QUEUE_ONLY'});
    expect(await used()).toBe(1);
    await client.send({...away, policy: 'SEND_ANYWAY'});
    expect(await used()).toBe(2);
    await at.redis().set(store.keys.fallback('away'), '{"selected_agent_type":"ocr"}');
    await client.send(away);
    expect(await used()).toBe(3);
    const once = {...byUser, sessionId: 's-1', messageId: 'm-1'};
    await client.send(once);
    expect(await used()).toBe(4);
    expect(await client.send(once)).toMatchObject({duplicate: true});
    for (const policy of ['QUEUE_ONLY', 'SEND_ANYWAY', 'WAKE_AND_WAIT', 'FAIL_FAST'] as const)
      await expect(client.send({...away, policy})).rejects.toMatchObject(over);
    expect(await used()).toBe(4);
  });

  test('is never passed by senders that send beside each other', async () => {
    const {store, client} = await limited(7);
    const other = new GatewayClient(store);
    const ends = await Promise.allSettled(
      Array.from({length: 40}, (_, i) => (i % 2 === 0 ? client : other).send(byUser)),
    );
    expect(ends.filter(end => end.status === 'fulfilled')).toHaveLength(7);
    for (const end of ends) if (end.status === 'rejected') expect(end.reason).toMatchObject(over);
    expect(await at.redis().xlen(store.keys.ctrlStream('ocr'))).toBe(7);
  });

  test('holds though somebody took the record away, and beside what an operator said', async () => {
    const {store, client} = await limited(1);
    await client.send(byUser);
    await at.redis().del(store.keys.userQuota('u-1'));
    await expect(client.send(byUser)).rejects.toMatchObject(over);
    await setQuota(store, 'u-1', {reason: 'not paid'});
    await expect(client.send(byUser)).rejects.toThrow(/not paid/);
    await setQuotaLimit(store, 'u-1', {limit: 5, windowMs: HOUR});
    await expect(client.send(byUser)).rejects.toThrow(/not paid/);
    await setQuota(store, 'u-1', {available: true});
    for (let i = 0; i < 5; i++) await client.send(byUser);
    await expect(client.send(byUser)).rejects.toMatchObject({code: 'TENANT_QUOTA_EXCEEDED'});
  });

  test('begins anew when it is set again or the user is said to be available, and goes when it is cleared', async () => {
    const {store, client} = await limited(1);
    await client.send(byUser);
    await setQuotaLimit(store, 'u-1', {limit: 1, windowMs: HOUR, reason: REASON, forMs: 60_000});
    await client.send(byUser);
    await expect(client.send(byUser)).rejects.toMatchObject(over);
    expect((await readQuota(store, 'u-1'))?.limit?.expiresInMs).toBeGreaterThan(0);
    await setQuota(store, 'u-1', {available: true});
    await client.send(byUser);
    await expect(client.send(byUser)).rejects.toMatchObject(over);
    expect((await listAdmission(store)).quotas).toMatchObject([
      {userCode: 'u-1', limit: {used: 1, limit: 1}},
    ]);
    expect(await clearQuota(store, 'u-1')).toBe(true);
    expect((await listAdmission(store)).quotas).toEqual([]);
    await client.send(byUser);
    await client.send(byUser);
  });

  test('begins anew where the server went on with a clock that is far behind', async () => {
    const {store, client} = await limited(1);
    const ahead = {limit: 1, window_ms: HOUR, reason: REASON, used: 1, ends_at: Date.now() + 3 * HOUR};
    await at.redis().set(store.keys.quotaLimit('u-1'), JSON.stringify(ahead));
    await client.send(byUser);
    await expect(client.send(byUser)).rejects.toMatchObject(over);
  });

  test('that can not be read limits nothing', async () => {
    const {store, client} = await limited(1);
    for (const text of ['100', '{', '{"limit":"1","window_ms":5}', '[]']) {
      await at.redis().set(store.keys.quotaLimit('u-1'), text);
      await client.send(byUser);
    }
  });
});

describeEachServer('a limit on one server', at => {
  test('costs a sender no round trip, whether there is one or not', async () => {
    const store = at.open();
    await bringOnline(store, 'ocr');
    await setQuotaLimit(store, 'u-1', {limit: 10, windowMs: HOUR});
    let trips = 0;
    const counted = Object.create(store.commands) as Store['commands'];
    counted.run = (issue, options) => {
      trips++;
      return store.commands.run(issue, options);
    };
    const client = new GatewayClient({...store, commands: counted});
    await client.send(byUser);
    await client.send({...byUser, userCode: 'u-2'});
    expect(trips).toBe(2);
  });
});

describeCluster('a limit in a cluster', at => {
  test('is never passed by a sender that dies, whatever step it was at', async () => {
    // What it leaves on its way is carried on by workers, of which there is none.
    at.breaksRules('openOutboxes', 'sessionOutbox');
    const points = await atEveryCrash(
      () => at.open(),
      async store => {
        await bringOnline(store, 'ocr');
        await setQuotaLimit(store, 'u-1', {limit: 2, windowMs: HOUR, reason: REASON});
      },
      store => new GatewayClient(store).send({...byUser, sessionId: 's-1', messageId: 'm-1'}),
      async store => {
        const used = (await readQuota(store, 'u-1'))?.limit?.used ?? 0;
        const accepted = await at.redis().hexists(store.keys.sessionRegistry('s-1'), 'msg_map:m-1');
        expect(used).toBeGreaterThanOrEqual(accepted);
        expect(used).toBeLessThanOrEqual(1);
      },
    );
    expect(points).toBeGreaterThan(3);
  });

  test('gives back what was counted for a command that was not accepted', async () => {
    const store = at.open();
    await setQuotaLimit(store, 'u-1', {limit: 1, windowMs: HOUR});
    const counted = await countForUser(store, 'u-1');
    expect(counted).toMatchObject({kind: 'counted'});
    expect(await readQuota(store, 'u-1')).toMatchObject({available: false, limit: {used: 1}});
    if (counted?.kind === 'counted') await takeBackCount(store, 'u-1', counted);
    expect(await readQuota(store, 'u-1')).toMatchObject({available: true, limit: {used: 0}});
    expect(await countForUser(store, 'nobody')).toBeUndefined();
  });
});
