// Giving space back against a list of what was produced: whatever was deleted, moved, dropped and restarted in between, every
// record that is alive is read at its offset, byte by byte, and stored bytes are counted as if nothing had ever gone.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fileName } from "../../../src/log/format.ts";
import { recordSize } from "../../../src/model/record.ts";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const SMALL = {
  segmentBytes: 1 << 16,
  slabBytes: 1 << 14,
  tailBytes: 1 << 14,
  mergeBytesMin: 1,
  segmentsKept: 0,
};

/** A value whose every byte tells what it is. */
const contentOf = (id: number, bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (id * 17 + i * 3) & 255);

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("produce" as const),
      topic: fc.nat({ max: 1 }),
      partition: fc.nat({ max: 2 }),
      bytes: fc.oneof(fc.nat({ max: 60 }), fc.nat({ max: 3000 }), fc.nat({ max: 20_000 })),
      count: fc.constantFrom(1, 1, 4, 50),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("raise" as const),
      topic: fc.nat({ max: 1 }),
      partition: fc.nat({ max: 2 }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("delete" as const), topic: fc.nat({ max: 1 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("reclaim" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("restart" as const), isCrash: fc.boolean() }),
  },
);

interface TwinTopic {
  id: number;
  readonly partitions: { readonly records: Uint8Array[]; floor: number }[];
}

/** Lets reclaiming come to its end. */
function reclaim(node: SimNode): void {
  node.broker.compact();
  for (let i = 0; i < 60; i++) {
    node.clock.pass(100);
    node.replica.tick();
    node.until(() => node.disk.pending === 0 && !node.isTurnRequested);
  }
}

const storedBytes = (values: readonly Uint8Array[]): number =>
  values.reduce((sum, { length }) => sum + recordSize(-1, -1, length), 0);

describe("what is alive", () => {
  test("is read as it was produced, whatever was given back around it", () => {
    let runs = 0;
    let archives = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 20, maxLength: 80, size: "max" }),
        fc.nat({ max: 1000 }),
        (steps, seed) => {
          let node = SimNode.ready(simDisk(seed, { reads: "step" }), { limits: SMALL });
          let made = 0;
          const fresh = (): TwinTopic => ({
            id: node.topic(`t${made++}`, 3),
            partitions: Array.from({ length: 3 }, () => ({ records: [], floor: 0 })),
          });
          const topics = [fresh(), fresh()];
          const names = new Map(topics.map(({ id }, i) => [id, `t${i}`]));
          const check = (): void => {
            for (const { id, partitions } of topics)
              for (const [partition, { records, floor }] of partitions.entries()) {
                expect(node.values(id, partition)).toEqual(records.slice(floor));
                const found = node.broker.partition(id, partition);
                expect(found).toEqual({
                  startOffset: floor,
                  nextOffset: records.length,
                  bytes: storedBytes(records.slice(floor)),
                });
              }
          };
          for (const [id, wish] of steps.entries()) {
            const topic = topics["topic" in wish ? wish.topic : 0] as TwinTopic;
            const partition = topic.partitions["partition" in wish ? wish.partition : 0];
            if (partition === undefined) continue;
            switch (wish.kind) {
              case "produce": {
                const { count } = wish;
                const each = Math.floor(wish.bytes / count);
                const body = contentOf(id, each * count);
                const ranges = Int32Array.from(
                  { length: 2 * count },
                  (_, i) => ((i + 1) >> 1) * each,
                );
                node.outcome(
                  node.send(topic.id, body, { partition: wish.partition, count, ranges }),
                );
                for (let i = 0; i < count; i++)
                  partition.records.push(body.slice(i * each, (i + 1) * each));
                break;
              }
              case "raise": {
                const { records, floor } = partition;
                const beforeOffset = floor + Math.floor((records.length - floor) * wish.share);
                const request = {
                  topic: names.get(topic.id) ?? "",
                  partition: wish.partition,
                  beforeOffset,
                };
                const { freedBytes } = node.good(node.broker.deleteBefore(request));
                expect(freedBytes).toBe(storedBytes(records.slice(floor, beforeOffset)));
                partition.floor = beforeOffset;
                break;
              }
              case "delete": {
                node.good(node.broker.deleteTopic(names.get(topic.id) ?? ""));
                const next = fresh();
                names.set(next.id, `t${made - 1}`);
                topics[wish.topic] = next;
                break;
              }
              case "reclaim":
                reclaim(node);
                runs += node.replica.log.counts.reclaimRuns;
                check();
                break;
              case "restart":
                if (!wish.isCrash) node.rest();
                node = wish.isCrash
                  ? node.crashed({ limits: SMALL })
                  : node.restarted({ limits: SMALL });
                check();
                break;
            }
          }
          reclaim(node);
          archives += node.replica.log.counts.archives;
          check();
          node.rest();
          node = node.restarted({ limits: SMALL });
          check();
          // Nothing lies there that nothing needs.
          const known = node.replica.log.segments.all().map(({ sequence }) => sequence);
          const kinds = ["archive", "index"] as const;
          const names_ = node.disk.files.list();
          const stray = names_.filter((name) => kinds.some((kind) => name.endsWith(`.${kind}`)));
          for (const name of stray)
            expect(
              known.some((sequence) => kinds.some((kind) => fileName(sequence, kind) === name)),
            ).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
    console.log(`reclaimed in ${runs} runs, ${archives} archives at the ends`);
    expect(runs).toBeGreaterThan(20);
    expect(archives).toBeGreaterThan(2);
  }, 120_000);
});
