// Records as bytes: what is written is read, and no bytes whatever make the cursor throw or run on.

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeHeaders,
  encodeHeaders,
  putRecord,
  putVarint,
  RecordCursor,
  recordSize,
  varintSize,
} from "../../../src/model/record.ts";

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const records = fc.array(
  fc.record({
    key: fc.option(bytes(40), { nil: undefined }),
    headers: fc.option(bytes(200), { nil: undefined }),
    value: bytes(300),
  }),
  { maxLength: 20 },
);

test("records that are written back to back are read as they were, and their size is foretold", () => {
  fc.assert(
    fc.property(records, fc.nat({ max: 9 }), (list, before) => {
      const size = list.reduce(
        (sum, { key, headers, value }) =>
          sum + recordSize(key?.length ?? -1, headers?.length ?? -1, value.length),
        0,
      );
      const into = new Uint8Array(before + size);
      let at = before;
      for (const { key, headers, value } of list)
        at = putRecord(into, at, key, headers, value, 0, value.length);
      expect(at).toBe(into.length);

      const cursor = new RecordCursor().reset(into, before, at);
      const slice = (start: number, end: number): Uint8Array | undefined =>
        start < 0 ? undefined : into.slice(start, end);
      const read: unknown[] = [];
      while (cursor.next()) {
        read.push({
          key: slice(cursor.keyStart, cursor.keyEnd),
          headers: slice(cursor.headersStart, cursor.headersEnd),
          value: slice(cursor.valueStart, cursor.valueEnd),
        });
      }
      expect(cursor.isBroken).toBe(false);
      expect(read).toEqual(list);
    }),
  );
});

test("any bytes end the cursor within as many steps, inside their bounds", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
      const cursor = new RecordCursor().reset(noise, 0, noise.length);
      let steps = 0;
      while (cursor.next()) {
        steps += 1;
        expect(cursor.valueEnd).toBeLessThanOrEqual(noise.length);
        expect(cursor.valueStart).toBeLessThanOrEqual(cursor.valueEnd);
      }
      expect(steps).toBeLessThanOrEqual(noise.length);
    }),
    { numRuns: 2000 },
  );
});

test("a record that is cut anywhere is broken, and never another record", () => {
  const value = new Uint8Array(200).fill(3);
  const key = new Uint8Array(9).fill(4);
  const whole = new Uint8Array(recordSize(9, -1, 200));
  putRecord(whole, 0, key, undefined, value, 0, 200);
  for (let end = 1; end < whole.length; end++) {
    const cursor = new RecordCursor().reset(whole, 0, end);
    expect(cursor.next()).toBe(false);
    expect(cursor.isBroken).toBe(true);
  }
});

test("a part of a larger body is stored alone", () => {
  fc.assert(
    fc.property(bytes(100), fc.nat({ max: 100 }), fc.nat({ max: 100 }), (body, left, right) => {
      const start = Math.min(left, right, body.length);
      const end = Math.min(Math.max(left, right), body.length);
      const into = new Uint8Array(recordSize(-1, -1, end - start));
      putRecord(into, 0, undefined, undefined, body, start, end);
      const cursor = new RecordCursor().reset(into, 0, into.length);
      expect(cursor.next()).toBe(true);
      expect(into.slice(cursor.valueStart, cursor.valueEnd)).toEqual(body.slice(start, end));
    }),
  );
});

test("a varint takes as many bytes as it says, up to 2^42", () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 31 - 1 }), fc.nat({ max: 2047 }), (low, high) => {
      const value = high * 2 ** 31 + low;
      const into = new Uint8Array(10);
      expect(putVarint(into, 0, value)).toBe(varintSize(value));
    }),
  );
});

test("headers are unpacked as they were packed, and any bytes unpack to something", () => {
  const pairs = fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 10 });
  fc.assert(
    fc.property(pairs, (list) => {
      const packed = encodeHeaders(list);
      // Lone surrogates have no UTF-8 and come back replaced.
      const expected = list.map((pair) => pair.map((text) => text.toWellFormed()));
      expect(decodeHeaders(packed, 0, packed.length)).toEqual(expected as [string, string][]);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => {
      decodeHeaders(noise, 0, noise.length);
    }),
  );
});
