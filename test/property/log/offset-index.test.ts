// The sparse index, growing and in its file, against a list of every chunk: it may point early, never late.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { viewOf } from "../../../src/lib/bytes.ts";
import { newEntryHeader, readEntryHeader } from "../../../src/log/format.ts";
import {
  GrowingIndex,
  IndexFile,
  POINT_SPACING_BYTES,
  partitionKey,
  type SegmentIndex,
} from "../../../src/log/offset-index.ts";
import { CHAIN_START } from "../../../src/log/segment-scan.ts";
import { CLUSTER_ID, encodeEntry } from "../../support/segment-builder.ts";

interface Chunk {
  readonly key: number;
  readonly baseOffset: number;
  readonly count: number;
  readonly bytes: number;
  readonly position: number;
  readonly timestampMs: number;
}

interface Act {
  readonly topicId: number;
  readonly partition: number;
  readonly count: number;
  readonly gapBytes: number;
}

/** An index and the list of what went into it. Partitions begin anywhere, as they do in a later segment. */
function build(acts: readonly Act[]): { readonly index: GrowingIndex; readonly chunks: Chunk[] } {
  const index = new GrowingIndex();
  const chunks: Chunk[] = [];
  const header = newEntryHeader();
  const next = new Map<number, number>();
  let position = 4096;
  let chain = CHAIN_START;
  for (const { topicId, partition, count, gapBytes } of acts) {
    const key = partitionKey(topicId, partition);
    const baseOffset = next.get(key) ?? topicId * 1000;
    const values = Array.from({ length: count }, () => new Uint8Array(3));
    const timestampMs = chain.timestampMs + (gapBytes % 5);
    const entry = encodeEntry(
      { timestampMs, chunks: [{ topicId, partition, baseOffset, values }] },
      chain,
    );
    const view = viewOf(entry.bytes);
    readEntryHeader(view, 0, header);
    index.addEntry(entry.bytes, view, 0, header, position);
    chunks.push({ key, baseOffset, count, bytes: count * 5, position, timestampMs });
    next.set(key, baseOffset + count);
    position += entry.bytes.length + gapBytes;
    ({ chain } = entry);
  }
  return { index, chunks };
}

function check(index: SegmentIndex, chunks: readonly Chunk[], key: number, offset: number): void {
  const own = chunks.filter((chunk) => chunk.key === key);
  const point = index.find(key, offset);
  if (own.length === 0) {
    expect(point).toBeUndefined();
    expect(index.range(key)).toBeUndefined();
    return;
  }
  const [first] = own;
  const last = own.at(-1);
  expect(index.range(key)).toMatchObject({
    firstOffset: first?.baseOffset,
    nextOffset: (last?.baseOffset ?? 0) + (last?.count ?? 0),
    bytes: own.reduce((sum, { bytes }) => sum + bytes, 0),
    firstTimestampMs: first?.timestampMs,
    lastTimestampMs: last?.timestampMs,
  });
  const at = own.find((chunk) => chunk.position === point?.position);
  expect(at?.baseOffset).toBe(point?.baseOffset as number);
  const before = own.filter((chunk) => chunk.position < (point?.position ?? 0));
  expect(point?.bytesBefore).toBe(before.reduce((sum, { bytes }) => sum + bytes, 0));
  // Never late: the wanted offset is not before the point, unless it is before everything.
  expect((point?.baseOffset ?? 0) <= Math.max(offset, first?.baseOffset ?? 0)).toBe(true);
  // Not too early: less than the spacing, and one entry, lies between the point and the wanted chunk.
  const wanted = own.findLast((chunk) => chunk.baseOffset <= offset) ?? first;
  const walked = own.filter(
    (chunk) => chunk.position > (point?.position ?? 0) && chunk.position <= (wanted?.position ?? 0),
  );
  for (const chunk of walked)
    expect(chunk.position - (point?.position ?? 0)).toBeLessThan(POINT_SPACING_BYTES);
  const time = index.findTime(key, wanted?.timestampMs ?? 0);
  expect((time?.timestampMs ?? 0) <= (wanted?.timestampMs ?? 0)).toBe(true);
}

const act: fc.Arbitrary<Act> = fc.record({
  topicId: fc.constantFrom(1, 2, 70_000),
  partition: fc.constantFrom(0, 1, 255),
  count: fc.integer({ min: 1, max: 5 }),
  gapBytes: fc.constantFrom(0, 8, 100_000, 300_000).map((gap) => gap - (gap % 8)),
});

test("points to where an offset is to be looked for, in memory and from its file alike", () => {
  fc.assert(
    fc.property(
      fc.array(act, { maxLength: 60, size: "max" }),
      fc.array(fc.nat({ max: 300 }), { minLength: 5, maxLength: 5 }),
      (acts, offsets) => {
        const { index, chunks } = build(acts);
        const file = IndexFile.open(index.encode(9, CLUSTER_ID), 9, CLUSTER_ID);
        if (file === undefined) throw new Error("The index does not open");
        expect([...file.ranges()].map(({ key }) => key)).toEqual(
          [...new Set(chunks.map(({ key }) => key))].sort((left, right) => left - right),
        );
        for (const topicId of [1, 2, 3, 70_000]) {
          for (const partition of [0, 1, 255]) {
            for (const offset of offsets) {
              const key = partitionKey(topicId, partition);
              check(index, chunks, key, topicId * 1000 + offset);
              check(file, chunks, key, topicId * 1000 + offset);
            }
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("an index file of another segment or cluster, cut, or with any changed bit is none", () => {
  const { index } = build([{ topicId: 1, partition: 0, count: 2, gapBytes: 0 }]);
  const bytes = index.encode(9, CLUSTER_ID);

  expect(IndexFile.open(bytes, 8, CLUSTER_ID)).toBeUndefined();
  expect(IndexFile.open(bytes, 9, "ff".repeat(16))).toBeUndefined();
  for (let end = 0; end < bytes.length; end++)
    expect(IndexFile.open(bytes.slice(0, end), 9, CLUSTER_ID)).toBeUndefined();
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(IndexFile.open(damaged, 9, CLUSTER_ID)).toBeUndefined();
  }
});

test("a chunk that leaves a gap is a broken invariant", () => {
  const { index } = build([{ topicId: 1, partition: 0, count: 2, gapBytes: 0 }]);
  const { bytes } = encodeEntry(
    { chunks: [{ topicId: 1, partition: 0, baseOffset: 1003, values: [new Uint8Array(1)] }] },
    CHAIN_START,
  );
  const header = newEntryHeader();
  readEntryHeader(viewOf(bytes), 0, header);

  expect(() => index.addEntry(bytes, viewOf(bytes), 0, header, 9000)).toThrow("not at 1002");
});
