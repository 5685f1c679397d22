import {readFileSync} from 'node:fs';
import {describe, expect, test} from 'vitest';
import {allKeys, KEY_RULES, keyPattern, ruleMatcher, type KeyBound} from '../../src/protocol/key-rules.js';

/** What `allKeys` gives besides makers of keys. */
const NO_KEYS = [
  'schema',
  'prefix',
  // Written by the TypeScript SDK, under names of its own.
  'tsTrace',
  'leasePattern',
  'workerIdOfLease',
  'adminPattern',
  'workerIdOfAdmin',
  'deniedPattern',
  'agentTypeOfDenied',
  'agentTypeOfOnCall',
  'ctrlStreamPattern',
  'sessionPattern',
  'sessionIdOfRegistry',
  'historyPattern',
  'sessionIdOfHistory',
  'orchBase',
];

function boundText(bound: KeyBound): string {
  switch (bound.kind) {
    case 'ttl':
      return `lifetime ${bound.seconds.toLocaleString('en')} s`;
    case 'ended':
      return `lifetime ${bound.seconds.toLocaleString('en')} s after the end`;
    case 'cap':
      return `about ${bound.entries.toLocaleString('en')} entries`;
    case 'settled':
      return 'what is settled leaves it';
    case 'members':
      return 'its members live';
    case 'operator':
      return 'until an operator removes it';
    case 'foreign':
      return '-';
  }
}

describe('the rules of the keys', () => {
  test('every key has one', () => {
    const names = Object.keys(allKeys({})).filter(name => !NO_KEYS.includes(name));
    expect(KEY_RULES.map(rule => rule.name).sort()).toEqual(names.sort());
  });

  test.each(['v1', 'v2'] as const)(
    'in %s each key finds its own, also with ids that look like another',
    schema => {
      const keys = allKeys({schema, prefix: 't:'});
      const ruleOf = ruleMatcher(schema, 't:');
      for (const {name} of KEY_RULES) {
        const make = (keys as unknown as Record<string, (...ids: string[]) => string>)[name]!;
        expect(ruleOf(make('a:1', 'b', 'c'))?.name).toBe(name);
      }
      expect(ruleOf(keys.pendingPayloads('x:payloads'))?.name).toBe('pendingPayloads');
      for (const stream of [keys.workerCtrlStream('w'), keys.ctrlStream('x'), keys.deadletter()])
        expect(
          [keys.appendedOnce(stream, 'session:1-1'), keys.recoveryTurn(stream)].map(key => ruleOf(key)?.name),
        ).toEqual(['appendedOnce', 'recoveryTurn']);
      expect(ruleOf(keys.ctrlStream(''))).toBeUndefined();
      expect(ruleOf('t:byai_gateway:something')).toBeUndefined();
      expect(ruleOf(keys.wakeup().slice(2))).toBeUndefined();
    },
  );

  test('docs/keys.md says the same', () => {
    const page = readFileSync(new URL('../../docs/keys.md', import.meta.url), 'utf8');
    const rows = [
      ...page.matchAll(/^\| `([^`]+)` +\| (\w+) +\| ([^|]+?) +\| ([^|]+?) +\| ([^|]+?) +\|$/gm),
    ].map(([, pattern, type, owner, bound]) => [pattern, type, owner, bound].join(' | '));
    expect(rows).toEqual(
      KEY_RULES.map(({name, type, owner, bound}) =>
        [keyPattern(name, 'v1'), type, owner, boundText(bound)].join(' | '),
      ),
    );
  });
});
