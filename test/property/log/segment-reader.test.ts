// Reading any range of any partition against the list of what was produced: from memory, from segments, over their borders,
// in a node that goes on writing and in one that has just started.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const SMALL = { segmentBytes: 1 << 17, slabBytes: 1 << 15, tailBytes: 1 << 15, mergeBytesMin: 1 };

/** A value whose every byte tells what it is. */
const contentOf = (id: number, bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (id * 17 + i * 3) & 255);

const produce = fc.record({
  partition: fc.nat({ max: 2 }),
  bytes: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 3000 }), fc.nat({ max: 40_000 })),
  count: fc.constantFrom(1, 1, 1, 5, 60),
});
const range = fc.record({
  partition: fc.nat({ max: 2 }),
  from: fc.nat({ max: 1000 }),
  count: fc.nat({ max: 300 }),
});

test("any range is what was produced there, wherever it lies", () => {
  fc.assert(
    fc.property(
      fc.array(produce, { minLength: 10, maxLength: 60, size: "max" }),
      fc.array(range, { maxLength: 12 }),
      fc.constantFrom("microtask", "step"),
      fc.nat({ max: 1000 }),
      (produces, ranges, reads, seed) => {
        let node = SimNode.ready(simDisk(seed, { reads }), { limits: SMALL });
        const topic = node.topic("t", 3);
        const twin: Uint8Array[][] = [[], [], []];
        const check = (): void => {
          for (const { partition, from, count } of ranges) {
            const wanted = (twin[partition] ?? []).slice(from, from + count);
            expect(node.values(topic, partition, from, from + count)).toEqual(wanted);
          }
        };
        for (const [id, { partition, bytes, count }] of produces.entries()) {
          const each = Math.floor(bytes / count);
          const body = contentOf(id, each * count);
          const ranges = Int32Array.from({ length: 2 * count }, (_, i) => ((i + 1) >> 1) * each);
          node.send(topic, body, { partition, count, ranges });
          for (let i = 0; i < count; i++)
            twin[partition]?.push(body.slice(i * each, (i + 1) * each));
          if (id % 20 === 19) {
            node.rest();
            check();
          }
        }
        node.rest();
        check();
        node = node.restarted({ limits: SMALL });
        check();
        for (const partition of [0, 1, 2])
          expect(node.values(topic, partition)).toEqual(twin[partition] ?? []);
      },
    ),
    { numRuns: 40 },
  );
}, 30_000);

test("reads that are under way at once do not mix, while turns go by", () => {
  const node = SimNode.ready(simDisk(3, { reads: "step" }), { limits: SMALL });
  const topic = node.topic("t", 2);
  for (let i = 0; i < 60; i++) node.produce(topic, contentOf(i, 9000), { partition: i % 2 });
  const next = node.restarted({ limits: SMALL });
  const wrong: number[] = [];
  const reads = Array.from({ length: 24 }, (_, i) => {
    const offset = (i * 7) % 28;
    const request = { topicId: topic, partition: i % 2, offset, maxRecords: 6, maxBytes: 1 << 20 };
    return Promise.resolve(next.broker.read(request)).then(({ slices }) => {
      for (const { bytes, start, baseOffset } of slices) {
        const id = baseOffset * 2 + (i % 2);
        const value = contentOf(id, 9000);
        // Flags and two bytes of length stand before it.
        const isSame = Buffer.compare(bytes.subarray(start + 3, start + 9003), value) === 0;
        if (!isSame) wrong.push(i);
      }
      return slices.length;
    });
  });
  for (let i = 0; i < 5; i++) next.send(topic, contentOf(i, 5000));

  expect(next.wait(Promise.all(reads)).every((count) => count > 0)).toBe(true);
  expect(wrong).toEqual([]);
});

describe("records larger than what is read at a time", () => {
  const limits = { segmentBytes: 1 << 23, slabBytes: 1 << 16, tailBytes: 1 << 16 };

  test("come whole, alone and between small ones, after a restart, too", () => {
    let node = SimNode.ready(simDisk(), { limits });
    const topic = node.topic("t");
    const sizes = [10, 300_000, 20, 1_500_000, 1_048_577, 0, 2_500_000, 30];
    for (const [i, bytes] of sizes.entries()) node.produce(topic, contentOf(i, bytes));
    const wanted = sizes.map((bytes, i) => contentOf(i, bytes));
    expect(node.values(topic)).toEqual(wanted);
    node.rest();
    node = node.crashed({ limits });

    expect(node.values(topic)).toEqual(wanted);
    expect(node.values(topic, 0, 4, 5)).toEqual([contentOf(4, 1_048_577)]);
  });

  test("that do not fit a segment are refused, not cut", () => {
    const node = SimNode.ready(simDisk(), { limits: { ...limits, segmentBytes: 1 << 20 } });
    const topic = node.topic("t");

    expect(node.refusedProduce(topic, new Uint8Array(1 << 20))).toBe("payload_too_large");
    expect(node.produce(topic, "small")).toBe(0);
  });
});
