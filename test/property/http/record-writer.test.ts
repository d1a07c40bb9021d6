// Records written as bytes are the JSON that a slow and simple writer would make.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { RecordWriter } from "../../../src/http/record-writer.ts";
import { encodeHeaders, putRecord, RecordCursor, recordSize } from "../../../src/model/record.ts";

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.string({ unit: "binary", maxLength: 40 }).map((text) => new TextEncoder().encode(text)),
  fc.string({ maxLength: 200 }).map((text) => new TextEncoder().encode(text)),
);
const record = fc.record({
  value: bytes,
  key: fc.option(bytes, { nil: undefined }),
  headers: fc.option(fc.constant({ "ce-id": '1"', "ce-type": "é" }), { nil: undefined }),
});

function stored(
  key: Uint8Array | undefined,
  headers: Record<string, string> | undefined,
  value: Uint8Array,
) {
  const packed = headers === undefined ? undefined : encodeHeaders(Object.entries(headers));
  const into = new Uint8Array(recordSize(key?.length ?? -1, packed?.length ?? -1, value.length));
  putRecord(into, 0, key, packed, value, 0, value.length);
  const cursor = new RecordCursor().reset(into, 0, into.length);
  expect(cursor.next()).toBe(true);
  return cursor;
}

const decode = (content: Uint8Array) =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(content);
const base64 = (content: Uint8Array) => Buffer.from(content).toString("base64");

test("text and base64 are what a plain JSON writer makes of the same bytes", () => {
  const writer = new RecordWriter();
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 5 }),
      fc.maxSafeNat(),
      fc.boolean(),
      (records, offset, isBase64) => {
        writer.reset(3, isBase64 ? "b64" : "text");
        writer.text("[");
        for (const [i, { key, headers, value }] of records.entries()) {
          if (i > 0) writer.comma();
          writer.record(offset, 1000 + i, stored(key, headers, value));
        }
        writer.text("]");

        const expected = records.map(({ key, headers, value }, i) => ({
          offset,
          partition: 3,
          timestamp_ms: 1000 + i,
          ...(isBase64 ? { value_b64: base64(value) } : { value: decode(value) }),
          ...(key !== undefined && (isBase64 ? { key_b64: base64(key) } : { key: decode(key) })),
          ...(headers !== undefined && { headers }),
        }));
        const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
          writer.view(),
        );
        expect(JSON.parse(text)).toEqual(expected);
        // Also the order of the fields.
        expect(Object.keys(JSON.parse(text)[0])).toEqual(Object.keys(expected[0] ?? {}));
      },
    ),
    { numRuns: 3000 },
  );
});

test("every byte survives base64, at every length modulo 3", () => {
  const writer = new RecordWriter();
  for (let length = 0; length < 300; length++) {
    const value = Uint8Array.from({ length }, (_, i) => (i * 7 + length) % 256);

    writer.reset(0, "b64").record(0, 0, stored(undefined, undefined, value));

    const { value_b64 } = JSON.parse(new TextDecoder().decode(writer.view()));
    expect(Buffer.from(value_b64, "base64").equals(value)).toBe(true);
  }
});

test("a value that is all escapes, or all broken, has room", () => {
  const writer = new RecordWriter();
  for (const byte of [0, 34, 92, 255]) {
    const value = new Uint8Array(300_000).fill(byte);

    writer.reset(0, "text").record(0, 0, stored(value, undefined, value));

    const { value: text } = JSON.parse(new TextDecoder().decode(writer.view()));
    expect(text).toBe(decode(value));
  }
});
