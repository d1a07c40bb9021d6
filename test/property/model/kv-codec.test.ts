// Keys as commands: what is put is read back, and any bytes are read within their bounds or refused.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByteWriter, viewOf } from "../../../src/lib/bytes.ts";
import { COMMAND, CommandCursor } from "../../../src/model/command-codec.ts";
import { KvReader, kvCasOf, kvKeyOf, putKvDeleted, putKvPut } from "../../../src/model/kv-codec.ts";

const cursorOf = (bytes: Uint8Array): CommandCursor =>
  new CommandCursor().reset(bytes, viewOf(bytes), 0, bytes.length);
const u32 = fc.nat({ max: 0xff_ff_ff_ff });
const cas = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const time = fc.maxSafeNat();

test("a put and a deletion are read in place as they were put", () => {
  fc.assert(
    fc.property(
      u32,
      cas,
      time,
      fc.uint8Array({ minLength: 1, maxLength: 1024 }),
      fc.uint8Array({ maxLength: 3000 }),
      fc.boolean(),
      (namespaceId, number, deadlineMs, key, value, isExpired) => {
        const writer = new ByteWriter();
        putKvPut(writer, { namespaceId, key, cas: number }, deadlineMs, value);
        putKvDeleted(writer, { namespaceId, key, cas: number }, isExpired);
        const cursor = cursorOf(writer.written().slice());
        const reader = new KvReader();

        expect(cursor.next()).toBe(true);
        expect(reader.read(cursor)).toBe(true);
        expect([reader.isPut, reader.namespaceId, reader.cas, reader.deadlineMs]).toEqual([
          true,
          namespaceId,
          number,
          deadlineMs,
        ]);
        expect(reader.bytes.slice(reader.keyStart, reader.keyEnd)).toEqual(key);
        expect(reader.bytes.slice(reader.valueStart, reader.valueEnd)).toEqual(value);
        expect([kvKeyOf(cursor).toHex(), kvCasOf(cursor)]).toEqual([key.toHex(), number]);
        expect(cursor.next()).toBe(true);
        expect(reader.read(cursor)).toBe(true);
        expect([reader.isPut, reader.isExpired, reader.deadlineMs]).toEqual([false, isExpired, 0]);
        expect(kvKeyOf(cursor).toHex()).toBe(key.toHex());
        expect(cursor.next()).toBe(false);
      },
    ),
  );
});

test("any bytes are read within their bounds, or refused", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(COMMAND.kvPut, COMMAND.kvDeleted),
      fc.uint8Array({ maxLength: 80 }),
      (kind, body) => {
        const bytes = new Uint8Array(4 + body.length);
        bytes[0] = kind;
        bytes[1] = body.length;
        bytes.set(body, 4);
        const cursor = cursorOf(bytes);
        const reader = new KvReader();
        if (!cursor.next() || !reader.read(cursor)) return;
        expect(reader.keyStart).toBeLessThanOrEqual(reader.keyEnd);
        expect(reader.keyEnd).toBeLessThanOrEqual(reader.valueEnd);
        expect(reader.valueEnd).toBeLessThanOrEqual(bytes.length);
      },
    ),
  );
});
