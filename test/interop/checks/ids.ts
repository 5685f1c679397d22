import {expect} from 'vitest';
import {newMessageId, spanIdHex} from '../../../src/ids.js';
import {autoGroupName} from '../../../src/protocol/keys.js';
import {samplingBucket, traceIdHex} from '../../../src/protocol/trace.js';
import {at, type Family} from '../vectors.js';

export const idsFamily: Family = {
  file: 'ids',
  checks: [
    [/^span_id_hex$/, row => expect(spanIdHex(row.input as string)).toBe(row.expected)],
    [/^trace_id_hex$/, row => expect(traceIdHex(row.input as string)).toBe(row.expected)],
    [/^auto_group_name$/, row => expect(autoGroupName(row.input as string[])).toBe(row.expected)],
    [/^sampling_bucket$/, row => expect(samplingBucket(row.input as string)).toBe(row.expected)],
    [
      /^message_id_shape$/,
      row => {
        // Longer ones are allowed (§0.1), so both must have the shape, not the length.
        const shape = /^msg-[0-9a-f]{8,}$/;
        expect(at(row.expected, 'message_id')).toMatch(shape);
        expect(newMessageId()).toMatch(shape);
      },
    ],
  ],
};
