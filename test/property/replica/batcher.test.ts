// Entries as the batcher builds them: what a walk through the bytes finds is what was added, partition by partition.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { Prng } from "../../../src/lib/prng.ts";
import {
  ENTRY_HEADER_BYTES,
  FRAME_BYTES,
  putFrame,
  SEGMENT_DATA_START,
} from "../../../src/log/format.ts";
import { CHAIN_START, scanSegment } from "../../../src/log/segment-scan.ts";
import { TailBuffer } from "../../../src/log/tail-buffer.ts";
import { COMMAND, CommandCursor, putCommand } from "../../../src/model/command-codec.ts";
import { RecordCursor } from "../../../src/model/record.ts";
import { Batcher } from "../../../src/replica/batcher.ts";
import { SegmentBuilder } from "../../support/segment-builder.ts";
import { SimDirectory } from "../../support/sim-directory.ts";
import { simDisk } from "../../support/sim-node.ts";

interface Act {
  readonly kind: "records" | "command" | "seal" | "take" | "noOp";
  readonly topicId: number;
  readonly partition: number;
  readonly values: readonly Uint8Array[];
}

const act: fc.Arbitrary<Act> = fc.record({
  kind: fc.constantFrom(
    "records",
    "records",
    "records",
    "records",
    "command",
    "seal",
    "take",
    "noOp",
  ),
  topicId: fc.constantFrom(1, 2, 70_000),
  partition: fc.constantFrom(0, 1, 255),
  values: fc.array(fc.uint8Array({ maxLength: 900 }), { minLength: 1, maxLength: 4 }),
});

const requestOf = (values: readonly Uint8Array[]) => {
  const body = new Uint8Array(values.reduce((sum, value) => sum + value.length, 0));
  const ranges = new Int32Array(2 * values.length);
  let at = 0;
  for (const [i, value] of values.entries()) {
    body.set(value, at);
    ranges.set([at, at + value.length], 2 * i);
    at += value.length;
  }
  return {
    topicId: 0,
    partition: 0,
    ack: "configured" as const,
    key: undefined,
    idempotencyKey: undefined,
    expectedOffset: -1,
    headers: undefined,
    body,
    ranges,
    count: values.length,
  };
};

test("entries hold what was added, in order per partition, each chunk in one piece", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 80, size: "max" }), (acts) => {
      const disk = simDisk();
      let index = 0;
      let now = 1000;
      const batcher = new Batcher({
        tail: new TailBuffer(disk, 1 << 14, 1 << 14),
        chain: CHAIN_START,
        writeBytesMax: 1 << 22,
        nextIndex: () => ({ index: ++index, term: 1 }),
      });
      const time = (): number => ++now;
      const wanted = new Map<string, string[]>();
      const next = new Map<string, number>();
      let commands = 0;
      let noOps = 0;
      const segment = new SegmentBuilder(1, { fileBytes: 1 << 22 });
      const write = (): void => {
        for (let sealed = batcher.take(); sealed !== undefined; sealed = batcher.take()) {
          batcher.queue.shift();
          const { slab, start, end, entryCount, firstIndex, previousChecksum } = sealed;
          putFrame(
            slab.bytes,
            slab.view,
            start,
            {
              position: segment.position,
              entryBytes: end - start - FRAME_BYTES,
              entryCount,
              syncedIndex: 0,
              firstIndex,
              previousChecksum,
              commitIndex: 0,
            },
            segment.salt,
          );
          segment.bytes.set(slab.bytes.subarray(start, end), segment.position);
          segment.position += end - start;
        }
        expect(batcher.isEmpty).toBe(true);
      };
      for (const { kind, topicId, partition, values } of acts) {
        const key = `${topicId}/${partition}`;
        switch (kind) {
          case "records": {
            const request = requestOf(values);
            const base = next.get(key) ?? 0;
            batcher.open(Batcher.dataBytes(request), time);
            batcher.addRecords(topicId, partition, base, request);
            next.set(key, base + values.length);
            const list = wanted.get(key) ?? [];
            wanted.set(key, [...list, ...values.map((value) => value.toHex())]);
            break;
          }
          case "command":
            batcher.open(64, time);
            batcher.addCommand((writer) => putCommand(writer, { kind: "topicDeleted", topicId }));
            commands += 1;
            break;
          case "seal":
            if (batcher.isOpen) batcher.seal();
            break;
          case "noOp":
            batcher.addNoOp(time);
            noOps += 1;
            break;
          case "take":
            write();
            break;
        }
      }
      write();

      const files = new SimDirectory(new Prng(1), 4096, 2 ** 30);
      segment.putInto(files);
      const found = new Map<string, string[]>();
      const seen = { commands: 0, noOps: 0 };
      let lastTime = 0;
      const cursor = new CommandCursor();
      const records = new RecordCursor();
      const options = {
        salt: segment.salt,
        from: SEGMENT_DATA_START,
        end: segment.bytes.length,
        chain: CHAIN_START,
      };
      const result = scanSegment(files, segment.name, options, (bytes, view, at, header) => {
        let data = at + ENTRY_HEADER_BYTES;
        const start = data + header.dataBytes;
        const chunks = new Set<string>();
        let count = 0;
        let kinds = 0;
        expect(header.timestampMs).toBeGreaterThan(lastTime);
        lastTime = header.timestampMs;
        if (header.kind === 2) seen.noOps += 1;
        cursor.reset(bytes, view, start, start + header.commandBytes);
        while (cursor.next()) {
          kinds += 1;
          if (cursor.kind !== COMMAND.chunk) {
            seen.commands += 1;
            continue;
          }
          const key = `${cursor.topicId}/${cursor.partition}`;
          expect(chunks.has(key)).toBe(false);
          chunks.add(key);
          const list = found.get(key) ?? [];
          expect(cursor.chunkBaseOffset).toBe(list.length);
          records.reset(bytes, data, data + cursor.chunkDataBytes);
          while (records.next())
            list.push(bytes.slice(records.valueStart, records.valueEnd).toHex());
          found.set(key, list);
          count += cursor.chunkCount;
          data += cursor.chunkDataBytes;
        }
        expect([header.recordCount, header.commandCount]).toEqual([count, kinds]);
      });
      expect(result.fault).toBeUndefined();
      expect(result.chain.index).toBe(index);
      expect(found).toEqual(wanted);
      expect(seen).toEqual({ commands, noOps });
    }),
    { numRuns: 150 },
  );
});

test("one request is one entry however large, and small ones share entries of up to a mebibyte", () => {
  let index = 0;
  const batcher = new Batcher({
    tail: new TailBuffer(simDisk(), 1 << 22, 1 << 22),
    chain: CHAIN_START,
    writeBytesMax: 1 << 24,
    nextIndex: () => ({ index: ++index, term: 1 }),
  });
  const sealed: number[] = [];
  batcher.onSeal = ({ index }) => sealed.push(index);
  const add = (bytes: number, offset: number): void => {
    const request = requestOf([new Uint8Array(bytes)]);
    batcher.open(Batcher.dataBytes(request), () => 1);
    batcher.addRecords(1, 0, offset, request);
  };
  for (let i = 0; i < 10; i++) add(200_000, i);
  expect(sealed).toEqual([1]);
  add(3 << 20, 10);
  add(10, 11);
  batcher.seal();

  expect(sealed).toEqual([1, 2, 3, 4]);
});

test("no write is larger than a fresh segment, also behind a request that fills one", () => {
  let index = 0;
  // No multiple of a page, so that the memory of a large request is larger than the largest write.
  const writeBytesMax = 100_001;
  const batcher = new Batcher({
    tail: new TailBuffer(simDisk(), 1 << 14, 1 << 14),
    chain: CHAIN_START,
    writeBytesMax,
    nextIndex: () => ({ index: ++index, term: 1 }),
  });
  let offset = 0;
  for (const bytes of [writeBytesMax - 1024, 900, 900, 20, 900]) {
    const request = requestOf([new Uint8Array(bytes)]);
    batcher.open(Batcher.dataBytes(request), () => 1);
    batcher.addRecords(1, 0, offset++, request);
  }

  const sizes: number[] = [];
  for (let write = batcher.take(); write !== undefined; write = batcher.take()) {
    sizes.push(write.end - write.start);
    batcher.queue.shift();
  }
  expect(sizes.length).toBeGreaterThan(1);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(writeBytesMax);
});
