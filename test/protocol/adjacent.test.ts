import {describe, expect, test} from 'vitest';
import {
  emptyConfigsSnapshot,
  EMPTY_CONFIGS_SNAPSHOT,
  isPickledSnapshot,
} from '../../src/protocol/agent-config.js';
import {contentText, decodeContent, encodeContent} from '../../src/protocol/content.js';
import {pickInstance, serviceUrl, type ServiceInstance} from '../../src/protocol/discovery.js';
import {groupReceipt, groupResultField} from '../../src/protocol/task-group.js';
import {createHeader} from '../../src/protocol/header.js';
import {readHistoryPoint} from '../../src/protocol/metrics.js';
import {isSampled, sanitize, spanIds, traceMetaOfSpan} from '../../src/protocol/trace.js';

const instance: ServiceInstance = {
  id: 'svc:1',
  host: '10.0.0.1',
  port: 80,
  protocol: 'http',
  pathPrefix: '/api/',
  weight: 1,
  metadata: {},
};

describe('service discovery', () => {
  test.each([
    ['/api/', '/v1/x', 'http://10.0.0.1:80/api/v1/x'],
    [null, '', 'http://10.0.0.1:80/'],
    ['', 'x/', 'http://10.0.0.1:80/x'],
  ])('prefix %j and path %j make %s', (pathPrefix, path, url) => {
    expect(serviceUrl({...instance, pathPrefix}, path)).toBe(url);
  });

  test('an IPv6 host stands in brackets', () => {
    expect(serviceUrl({...instance, host: '::1', pathPrefix: null})).toBe('http://[::1]:80/');
  });

  test('instances are taken in turn, or at random, and nobody from none', () => {
    expect([0, 1, 2].map(turn => pickInstance(['a', 'b'], 'round-robin', turn))).toEqual(['a', 'b', 'a']);
    expect(pickInstance(['a', 'b'], 'random', 0, () => 0.99)).toBe('b');
    expect(pickInstance<string>([], 'round-robin')).toBeUndefined();
  });
});

describe('traces', () => {
  test('a rate of one keeps every trace, of zero none', () => {
    expect([isSampled('t', 1), isSampled('t', 0)]).toEqual([true, false]);
  });

  test('the earliest start and the latest update win', () => {
    const span = {
      traceId: 't',
      spanId: spanIds.execute('e'),
      operation: 'x',
      startTs: 10,
      endTs: 5,
      status: 'COMPLETED',
    };
    expect(traceMetaOfSpan(span, {start_ts: '0', updated_at: '7'})).toMatchObject({
      start_ts: '10',
      updated_at: '10',
    });
    expect(traceMetaOfSpan(span, {start_ts: '3', updated_at: '99'})).toMatchObject({
      start_ts: '3',
      updated_at: '99',
    });
  });

  test('secrets do not get into them', () => {
    expect(sanitize({'api-key': 1, note: 'my PASSWORD is x', ok: [true, null]}, 10)).toEqual({
      'api-key': '[REDACTED]',
      note: '[REDACTED]',
      ok: [true, null],
    });
  });
});

describe('agent configs', () => {
  test('the empty snapshot is a pickle we never load', () => {
    expect(isPickledSnapshot(EMPTY_CONFIGS_SNAPSHOT)).toBe(true);
    expect(() => emptyConfigsSnapshot(-1)).toThrow(RangeError);
    expect(() => emptyConfigsSnapshot(65_536)).toThrow(RangeError);
  });
});

describe('typed messages', () => {
  test('are found again after the wire', () => {
    const message = {role: 'user', content: {text: 'look', files: [], resources: []}};
    expect(decodeContent(encodeContent(message))).toEqual(message);
  });

  test('have a text for people in every form', () => {
    expect(contentText('a')).toBe('a');
    expect(contentText([{role: 'user', content: 'a'}, {role: 'user', content: {text: 'b'}}, 5])).toBe('a\nb');
  });
});

describe('task groups', () => {
  test('keep results by child, so that replies to one caller do not overwrite each other', () => {
    const reply = (child: string) =>
      createHeader({sessionId: 's', messageId: 'msg-caller', parentMessageId: child});
    expect([groupResultField(reply('msg-a')), groupResultField(reply('msg-b'))]).toEqual(['msg-a', 'msg-b']);
    expect(groupResultField(reply(''))).toBe('msg-caller');
  });

  test('of nobody are empty', () => {
    expect(groupReceipt('tg-1', [])).toEqual({status: 'EMPTY', task_group_id: ''});
  });
});

test('a point of history by TypeScript or Java has six fields, the rest is 0', () => {
  expect(readHistoryPoint('{"generated_at":5,"workers_online":2}')).toMatchObject({
    generatedAt: 5,
    workersOnline: 2,
    successRatioPpm: 0,
  });
});
