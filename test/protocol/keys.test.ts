import {describe, expect, test} from 'vitest';
import type {ByError} from '../../src/errors.js';
import {autoGroupName, createKeys, selectKeySchema, type Keys} from '../../src/protocol/keys.js';

/** Every key there is, each made from the ids `a`, `b`, `c`. */
function everyKey(keys: Keys): string[] {
  const {
    schema: _schema,
    prefix: _prefix,
    tsTrace,
    workerIdOfLease: _lease,
    workerIdOfAdmin: _admin,
    agentTypeOfDenied: _denied,
    agentTypeOfOnCall: _onCall,
    sessionIdOfRegistry: _session,
    sessionIdOfHistory: _history,
    ...named
  } = keys;
  const makers: ((...ids: string[]) => string)[] = [...Object.values(named), ...Object.values(tsTrace)];
  return makers.map(make => make('a', 'b', 'c'));
}

const schemas = ['v1', 'v2'] as const;

describe('keys', () => {
  test.each(schemas)('in %s every key carries the prefix, also those without a schema', schema => {
    const keys = everyKey(createKeys({schema, prefix: 't1:'}));
    expect(keys.filter(key => !/^t1:(byai_gateway|by_framework):/.test(key))).toEqual([]);
    // Keys of ours may name another key, which carries it too.
    expect(keys.map(key => key.replaceAll('t1:', ''))).toEqual(everyKey(createKeys({schema})));
  });

  test('v2 keys all start with their schema, except the metrics keys, which both share', () => {
    const keys = everyKey(createKeys({schema: 'v2'})).filter(key => !key.startsWith('by_framework:obs:'));
    expect(keys.filter(key => !key.startsWith('byai_gateway:v2:'))).toEqual([]);
  });

  test.each(schemas)('in %s no two keys are the same, but for the TypeScript traces in v2', schema => {
    const {tsTrace: _aliases, ...own} = createKeys({schema});
    const keys = everyKey({...own, tsTrace: {}} as unknown as Keys);
    expect(new Set(keys).size).toBe(keys.length);
  });

  test.each(schemas)('in %s a registry gives back its session, and nothing else does', schema => {
    const keys = createKeys({schema, prefix: 'p:'});
    expect(keys.sessionIdOfRegistry(keys.sessionRegistry('s:1'))).toBe('s:1');
    expect(keys.sessionIdOfRegistry(keys.sessionDataStream('s'))).toBeUndefined();
    expect(keys.sessionIdOfRegistry(keys.checkpoint('s', 'c'))).toBeUndefined();
    expect(keys.sessionIdOfHistory(keys.history('s:1'))).toBe('s:1');
    expect(keys.sessionIdOfHistory(keys.journal('s', 'e'))).toBeUndefined();
    expect(keys.historyPattern().replace('*', 's')).toBe(keys.history('s'));
    expect(keys.sessionPattern().replace('*', 's')).toBe(keys.sessionRegistry('s'));
    expect(keys.agentTypeOfOnCall(keys.onCallStream('t:1'))).toBe('t:1');
    expect(keys.agentTypeOfOnCall(keys.ctrlStream('t'))).toBeUndefined();
    expect(keys.ctrlStreamPattern().replace('*', 't')).toBe(keys.ctrlStream('t'));
  });

  test.each(schemas)(
    'in %s a lease and an admin hash give back their worker, and nothing else does',
    schema => {
      const keys = createKeys({schema, prefix: 'p:'});
      expect(keys.workerIdOfLease(keys.workerLease('w:1'))).toBe('w:1');
      expect(keys.workerIdOfAdmin(keys.workerAdmin('w:1'))).toBe('w:1');
      expect(keys.workerIdOfLease(keys.workerAdmin('w'))).toBeUndefined();
      expect(keys.workerIdOfAdmin(keys.adminWorkers())).toBeUndefined();
      expect(keys.workerIdOfLease(keys.workerLease(''))).toBeUndefined();
      expect(keys.workerIdOfLease(createKeys({schema}).workerLease('w'))).toBeUndefined();
      const other = createKeys({schema: schema === 'v1' ? 'v2' : 'v1', prefix: 'p:'});
      expect(keys.workerIdOfLease(other.workerLease('w'))).toBeUndefined();
    },
  );

  test('a prefix with glob characters is taken literally by the scan patterns', () => {
    const keys = createKeys({prefix: 'a*[b]?\\'});
    expect(keys.leasePattern()).toBe('a\\*\\[b\\]\\?\\\\byai_gateway:registry:worker:online:*');
  });

  test('in v2 keys that one script touches carry one hash tag', () => {
    const keys = createKeys({schema: 'v2'});
    const tagOf = (key: string) => /\{([^}]*)\}/.exec(key)?.[1];
    expect([keys.pendingQueue('writer'), keys.pendingPayloads('writer')].map(tagOf)).toEqual([
      'writer',
      'writer',
    ]);
    expect(tagOf(keys.sessionOutbox('s'))).toBe('s');
    expect(tagOf(keys.wakeupWaiters('writer', 'u', ''))).toBe(keys.wakeupDedupe('writer', 'u', ''));
    expect(tagOf(keys.appendedOnce(keys.ctrlStream('writer'), 't'))).toBe(keys.ctrlStream('writer'));
    expect(tagOf(keys.appendedOnce(keys.workerCtrlStream('w'), 't'))).toBe('w');
    expect([keys.taskGroup('g'), keys.taskGroupResults('g')].map(tagOf)).toEqual(['g', 'g']);
    expect(
      [keys.sessionRegistry('s'), keys.sessionDataStream('s'), keys.checkpoint('s', 'c')].map(tagOf),
    ).toEqual(['s', 's', 's']);
  });

  test('keys of our own stay below control_plane', () => {
    const keys = createKeys();
    expect([
      keys.pendingQueue('writer'),
      keys.pendingPayloads('writer'),
      keys.pendingTypes(),
      keys.wakeupWaiters('writer', '', 'eu'),
      keys.sessionOutbox('s'),
      keys.openOutboxes(),
      keys.appendedOnce(keys.deadletter(), 't'),
      keys.deadletterReplay('1-0'),
      keys.deadletterAudit(),
    ]).toEqual([
      'byai_gateway:control_plane:by:pending:writer',
      'byai_gateway:control_plane:by:pending:writer:payloads',
      'byai_gateway:control_plane:by:pending_types',
      'byai_gateway:control_plane:by:wakeup_waiters:byai_gateway:control_plane:wakeup:dedupe:writer:_:eu',
      'byai_gateway:control_plane:by:outbox:s',
      'byai_gateway:control_plane:by:open_outboxes',
      'byai_gateway:control_plane:by:once:byai_gateway:control_plane:mgmt:deadletter:t',
      'byai_gateway:control_plane:mgmt:deadletter:replay:1-0',
      'byai_gateway:control_plane:mgmt:deadletter:audit',
    ]);
  });

  test('an empty user code or region becomes a placeholder in the dedupe key', () => {
    expect(createKeys().wakeupDedupe('writer', '', '')).toMatch(/:writer:_:_$/);
  });
});

describe('selectKeySchema', () => {
  test('an explicit version wins over a cluster', () => {
    expect(selectKeySchema({REDIS_KEY_SCHEMA_VERSION: 'v1', REDIS_CLUSTER_HOST: 'h:1'})).toBe('v1');
  });

  test('a cluster host selects v2, the connection mode selects nothing', () => {
    expect(selectKeySchema({REDIS_CLUSTER_HOST: 'h:1'})).toBe('v2');
    expect(selectKeySchema({REDIS_MODE: 'cluster'})).toBe('v1');
  });

  test('empty counts as unset, and any other text is refused by code', () => {
    expect(selectKeySchema({REDIS_KEY_SCHEMA_VERSION: '', REDIS_CLUSTER_HOST: ''})).toBe('v1');
    expect(() => selectKeySchema({REDIS_KEY_SCHEMA_VERSION: 'V2'})).toThrow(
      expect.objectContaining({code: 'KEY_SCHEMA'}) as ByError,
    );
  });
});

test('an automatic group name does not depend on the order of the agent types, and leaves them as they are', () => {
  const types = ['b', 'a'];
  expect(autoGroupName(types)).toBe(autoGroupName(['a', 'b']));
  expect(types).toEqual(['b', 'a']);
});
