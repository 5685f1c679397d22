import {expect, test} from 'vitest';
import {newEventId, newHexUuid, newMessageId} from '../src/ids.js';

test('a hex UUID is one of version 4, and none comes twice', () => {
  const ids = Array.from({length: 5000}, newHexUuid);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  expect(new Set(ids).size).toBe(ids.length);
});

test('ids of different kinds share no random bits, however they are mixed', () => {
  const parts = Array.from({length: 2000}, () => [
    newMessageId().slice(4),
    newEventId().toLowerCase(),
  ]).flat();
  expect(new Set(parts.map(part => part.slice(0, 12))).size).toBe(parts.length);
});
