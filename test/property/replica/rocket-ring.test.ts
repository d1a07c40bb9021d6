// The ring of rocket topics against a slow twin: arrays of records, trimmed by the same rules. Whatever is put, read, dropped
// and forgotten, the ring holds an end of what the twin holds, whole, and stays within its budget.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { RecordCursor } from "../../../src/model/record.ts";
import { type RocketPartition, RocketRing } from "../../../src/replica/rocket-ring.ts";

interface TwinRecord {
  readonly offset: number;
  readonly value: string;
  readonly key: string;
  readonly timestampMs: number;
}

type Act =
  | { readonly kind: "append"; readonly partition: number; readonly sizes: readonly number[] }
  | { readonly kind: "before"; readonly partition: number; readonly share: number }
  | { readonly kind: "age"; readonly partition: number; readonly ms: number }
  | { readonly kind: "bytes"; readonly partition: number; readonly bytes: number }
  | { readonly kind: "forget"; readonly partition: number }
  | { readonly kind: "pass"; readonly ms: number };

const partition = fc.nat({ max: 3 });
const size = fc.oneof(
  { weight: 8, arbitrary: fc.nat({ max: 300 }) },
  { weight: 2, arbitrary: fc.nat({ max: 9000 }) },
  { weight: 1, arbitrary: fc.nat({ max: 60_000 }) },
);
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      partition,
      sizes: fc.array(size, { minLength: 1, maxLength: 20 }),
    }),
  },
  fc.record({
    kind: fc.constant("before" as const),
    partition,
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({ kind: fc.constant("age" as const), partition, ms: fc.nat({ max: 200 }) }),
  fc.record({ kind: fc.constant("bytes" as const), partition, bytes: fc.nat({ max: 40_000 }) }),
  fc.record({ kind: fc.constant("forget" as const), partition }),
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.nat({ max: 90_000 }) }),
  },
);

const LIMITS = { bytesMax: 400_000, partitionBytesMax: 150_000 };
const FIRST_OFFSET = 65_536;

const decoder = new TextDecoder();

/** Every record of a partition from `offset` on, in pages as a reader asks for them. */
function readAll(ring: RocketRing, records: RocketPartition, offset: number, page: number) {
  const found: TwinRecord[] = [];
  const cursor = new RecordCursor();
  let next = Math.max(offset, records.startOffset);
  while (next < records.nextOffset) {
    const before = next;
    const end = Math.min(next + page, records.nextOffset);
    for (const slice of ring.read(records, next, page, 1 << 30)) {
      cursor.reset(slice.bytes, slice.start, slice.end);
      let at = slice.baseOffset - 1;
      while (cursor.next()) {
        at += 1;
        if (at < next || at >= end) continue;
        found.push({
          offset: at,
          value: decoder.decode(cursor.bytes.subarray(cursor.valueStart, cursor.valueEnd)),
          key: decoder.decode(cursor.bytes.subarray(cursor.keyStart, cursor.keyEnd)),
          timestampMs: slice.timestampMs + cursor.timestampDelta,
        });
        next = at + 1;
      }
      expect(cursor.isBroken).toBe(false);
      expect(at + 1).toBe(slice.baseOffset + slice.count);
    }
    expect(next).toBeGreaterThan(before);
  }
  return found;
}

test("the ring holds an end of what was put into it, and no more than its budget", () => {
  fc.assert(
    fc.property(
      fc.array(act, { maxLength: 120 }),
      fc.integer({ min: 1, max: 50 }),
      (acts, page) => {
        const ring = new RocketRing(LIMITS);
        const twins = new Map<number, TwinRecord[]>();
        let nowMs = 1_700_000_000_000;
        let serial = 0;
        for (const step of acts) {
          if (step.kind === "pass") {
            nowMs += step.ms;
            continue;
          }
          const records = ring.partition(step.partition, FIRST_OFFSET);
          const twin = twins.get(step.partition) ?? [];
          twins.set(step.partition, twin);
          if (step.kind === "append") {
            const values = step.sizes.map((bytes) => `${serial++}`.padEnd(bytes, "x"));
            const body = new TextEncoder().encode(values.join(""));
            const ranges = new Int32Array(2 * values.length + 6);
            let at = 0;
            for (const [i, value] of values.entries()) {
              ranges.set([at, at + value.length], 2 * i);
              at += value.length;
            }
            const first = records.nextOffset;
            const key = new TextEncoder().encode(`k${step.partition}`);
            const said = ring.append(
              records,
              { key, headers: undefined, body, ranges, count: values.length },
              nowMs,
            );
            expect(said).toBe(first);
            expect(records.nextOffset).toBe(first + values.length);
            for (const [i, value] of values.entries())
              twin.push({
                offset: first + i,
                value,
                key: `k${step.partition}`,
                timestampMs: nowMs,
              });
            expect(records.storedBytes).toBeLessThanOrEqual(LIMITS.partitionBytesMax);
          } else if (step.kind === "before") {
            const { startOffset, nextOffset } = records;
            const floor = startOffset + Math.floor((nextOffset - startOffset) * step.share);
            const dropped = ring.dropBefore(records, floor);
            expect(dropped.records).toBe(floor - startOffset);
            expect(records.startOffset).toBe(floor);
          } else if (step.kind === "age") {
            ring.dropUntil(records, nowMs - step.ms);
            const left = readAll(ring, records, 0, 1000);
            expect(left.every(({ timestampMs }) => timestampMs > nowMs - step.ms)).toBe(true);
          } else if (step.kind === "bytes") {
            const wasEmpty = records.startOffset === records.nextOffset;
            ring.dropToBytes(records, step.bytes);
            const count = records.nextOffset - records.startOffset;
            expect(records.storedBytes <= step.bytes || count === 1).toBe(true);
            // Never the newest one.
            expect(count === 0).toBe(wasEmpty);
          } else {
            ring.forget(step.partition);
            twins.delete(step.partition);
          }
          expect(ring.bytes).toBeLessThanOrEqual(LIMITS.bytesMax);
        }
        for (const [key, twin] of twins) {
          const records = ring.partition(key, FIRST_OFFSET);
          const { startOffset, nextOffset } = records;
          expect(nextOffset).toBe(FIRST_OFFSET + twin.length);
          const kept = twin.filter(({ offset }) => offset >= startOffset);
          expect(readAll(ring, records, 0, page)).toEqual(kept);
          const middle = Math.floor((startOffset + nextOffset) / 2);
          const later = kept.filter(({ offset }) => offset >= middle);
          expect(readAll(ring, records, middle, page)).toEqual(later);
        }
      },
    ),
    { numRuns: 300 },
  );
});
