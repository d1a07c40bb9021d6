// Commands as bytes: what is put is read, and no bytes whatever make the cursor throw, run on or look past the end.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByteWriter, encodeText, viewOf } from "../../../src/lib/bytes.ts";
import {
  CHUNK_COMMAND_BYTES,
  COMMAND,
  CommandCursor,
  type ControlCommand,
  putChunk,
  putCommand,
  putGroupCommitted,
  putRemembered,
  type Remembered,
} from "../../../src/model/command-codec.ts";

const u16 = fc.nat({ max: 0xff_ff });
const u32 = fc.nat({ max: 0xff_ff_ff_ff });
const u64 = fc.maxSafeNat();
const name = fc.string({ unit: fc.constantFrom(..."abcXYZ019._-"), minLength: 1, maxLength: 120 });
const control: fc.Arbitrary<ControlCommand> = fc.oneof(
  fc.record({
    kind: fc.constant("settings" as const),
    idempotencyTtlMs: u64,
    idempotencyKeysMax: u64,
  }),
  fc.record({
    kind: fc.constant("topicCreated" as const),
    topicId: u32,
    partitions: u16,
    mode: fc.nat({ max: 255 }),
    createdMs: u64,
    name,
  }),
  fc.record({ kind: fc.constant("topicDeleted" as const), topicId: u32 }),
  fc.record({
    kind: fc.constant("retentionSet" as const),
    topicId: u32,
    partition: u16,
    ttlMs: u64,
    maxBytes: u64,
  }),
  fc.record({
    kind: fc.constant("progressed" as const),
    topicId: u32,
    partition: u16,
    nextOffset: u64,
    bytesAdded: u64,
  }),
  fc.record({
    kind: fc.constant("floorRaised" as const),
    topicId: u32,
    partition: u16,
    startOffset: u64,
    bytesBelow: u64,
  }),
);
const remembered: fc.Arbitrary<Remembered> = fc.record({
  topicId: u32,
  partition: u16,
  count: u32,
  firstOffset: u64,
  timestampMs: u64,
  fingerprintLow: u32,
  fingerprintHigh: u32,
  detail: fc.uint8Array({ maxLength: 40 }),
});

const cursorOf = (bytes: Uint8Array): CommandCursor =>
  new CommandCursor().reset(bytes, viewOf(bytes), 0, bytes.length);

test("control commands are read as they were put, one behind the other", () => {
  fc.assert(
    fc.property(fc.array(control, { maxLength: 20 }), (list) => {
      const writer = new ByteWriter(16);
      for (const command of list) putCommand(writer, command);
      const cursor = cursorOf(writer.written().slice());
      const read: (ControlCommand | undefined)[] = [];
      while (cursor.next()) read.push(cursor.control());
      expect(cursor.isBroken).toBe(false);
      expect(read).toEqual(list);
    }),
  );
});

test("commits, keys and chunks are read in place as they were put", () => {
  fc.assert(
    fc.property(
      u32,
      u16,
      u64,
      name,
      remembered,
      fc.uint8Array({ maxLength: 256 }),
      (topicId, partition, offset, group, outcome, key) => {
        const writer = new ByteWriter();
        putGroupCommitted(writer, topicId, partition, offset, encodeText(group));
        putRemembered(writer, outcome, key);
        const at = writer.reserve(CHUNK_COMMAND_BYTES);
        putChunk(viewOf(writer.bytes), at, topicId, partition, offset, 7, 1234, 0xde_ad_be_ef);
        const cursor = cursorOf(writer.written().slice());

        expect(cursor.next()).toBe(true);
        expect([cursor.kind, cursor.topicId, cursor.partition, cursor.committedOffset]).toEqual([
          COMMAND.groupCommitted,
          topicId,
          partition,
          offset,
        ]);
        expect(cursor.bytes.slice(cursor.groupStart, cursor.bodyEnd).toHex()).toBe(
          encodeText(group).toHex(),
        );
        expect(cursor.next()).toBe(true);
        const read = { ...outcome, topicId: 0 };
        cursor.remembered(read);
        expect(read).toEqual(outcome);
        expect(cursor.bytes.slice(cursor.rememberedKeyStart, cursor.bodyEnd)).toEqual(key);
        expect(cursor.next()).toBe(true);
        expect([
          cursor.chunkBaseOffset,
          cursor.chunkCount,
          cursor.chunkDataBytes,
          cursor.chunkChecksum,
        ]).toEqual([offset, 7, 1234, 0xde_ad_be_ef]);
        expect(cursor.next()).toBe(false);
        expect(cursor.isBroken).toBe(false);
      },
    ),
  );
});

test("any bytes end the cursor, within their bounds and without a throw", () => {
  const outcome: Remembered = {
    topicId: 0,
    partition: 0,
    count: 0,
    firstOffset: 0,
    timestampMs: 0,
    fingerprintLow: 0,
    fingerprintHigh: 0,
    detail: new Uint8Array(0),
  };
  // Small lengths and known kinds, so that many steps succeed.
  const likely = fc
    .array(fc.tuple(fc.constantFrom(...Object.values(COMMAND), 99), fc.nat({ max: 60 })))
    .map((heads) =>
      heads.flatMap(([kind, length]) => [kind, length, 0, 0, ...Array(length).fill(kind)]),
    );
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    likely.map((list) => Uint8Array.from(list)),
  );
  fc.assert(
    fc.property(noise, fc.nat({ max: 20 }), (bytes, cut) => {
      const end = Math.max(0, bytes.length - cut);
      const cursor = new CommandCursor().reset(bytes, viewOf(bytes), 0, end);
      let last = 0;
      while (cursor.next()) {
        expect(cursor.bodyEnd).toBeGreaterThan(last);
        expect(cursor.bodyEnd).toBeLessThanOrEqual(end);
        last = cursor.bodyEnd;
        cursor.control();
        if (cursor.kind === COMMAND.remembered) cursor.remembered(outcome);
        if (cursor.kind === COMMAND.chunk) expect(cursor.chunkCount).toBeGreaterThanOrEqual(0);
        if (cursor.kind === COMMAND.groupCommitted)
          expect(cursor.groupStart).toBeLessThanOrEqual(cursor.bodyEnd);
      }
    }),
    { numRuns: 2000 },
  );
});
