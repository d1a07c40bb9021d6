// What reclaiming decides: when the state is merged for it, what it leaves alone, and that a step of it costs little.

import { describe, expect, test } from "bun:test";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const KIB = 1024;
const LIMITS = {
  segmentBytes: 64 * KIB,
  reserveBytes: 64 * KIB,
  slabBytes: 16 * KIB,
  tailBytes: 16 * KIB,
  segmentsKept: 0,
};

/** Lets time and background work go on. */
function pass(node: SimNode, times: number): void {
  for (let i = 0; i < times; i += 1) {
    node.clock.pass(100);
    node.replica.tick();
    node.until(() => node.disk.pending === 0 && !node.isTurnRequested);
  }
}

/** Writes so many segments' worth into a topic and deletes all of it but the last record. */
function waste(node: SimNode, topic: number, segments: number): void {
  for (let i = 0; i < segments * 8; i += 1) node.produce(topic, new Uint8Array(8000));
  const { nextOffset } = node.broker.partition(topic, 0);
  const request = { topic: "flow", partition: 0, beforeOffset: nextOffset - 1 };
  node.good(node.broker.deleteBefore(request));
  pass(node, 20);
}

describe("the base", () => {
  test("is merged for a dead segment when it weighs little", () => {
    const node = SimNode.ready(simDisk(), { limits: { ...LIMITS, mergeBytesMin: 1 << 30 } });
    const flow = node.topic("flow");
    waste(node, flow, 3);

    expect(node.replica.log.counts.merges).toBeGreaterThan(0);
    expect(node.replica.log.counts.reclaimedFiles).toBeGreaterThan(1);
  });

  test("is not merged for less than it weighs", () => {
    const node = SimNode.ready(simDisk(), { limits: { ...LIMITS, mergeBytesMin: 1 << 30 } });
    const flow = node.topic("flow");
    // About 600 KiB of keys: ten segments' worth.
    const idempotencyKey = (i: number): string => `${i}`.padStart(200, "k");
    for (let i = 0; i < 2500; i += 1) node.send(flow, "x", { idempotencyKey: idempotencyKey(i) });
    node.rest();
    node.broker.compact();
    pass(node, 20);
    const { merges, reclaimedBytes } = node.replica.log.counts;
    const rounds = 20;
    for (let i = 0; i < rounds; i += 1) waste(node, flow, 2);
    const after = node.replica.log.counts;

    expect(after.reclaimedBytes - reclaimedBytes).toBeGreaterThan(600 * KIB);
    expect(after.merges).toBeGreaterThan(merges);
    expect((after.merges - merges) * 600 * KIB).toBeLessThan(
      rounds * 2 * LIMITS.segmentBytes * 1.2,
    );
  });
});

test("the newest sealed segments stay, however dead", () => {
  const node = SimNode.ready(simDisk(), {
    limits: { ...LIMITS, mergeBytesMin: 1, segmentsKept: 3 },
  });
  const flow = node.topic("flow");
  waste(node, flow, 8);
  node.broker.compact();
  pass(node, 30);

  const sealed = node.replica.log.segments.all().filter(({ isDerived }) => isDerived);
  expect(sealed).toHaveLength(3);
  expect(node.replica.log.firstIndex).toBe(sealed[0]?.firstIndex ?? 0);
  expect(node.replica.log.counts.compactedIndex).toBe(node.replica.log.firstIndex - 1);
});

test("what is half alive is left alone", () => {
  const node = SimNode.ready(simDisk(), { limits: { ...LIMITS, mergeBytesMin: 1 } });
  const flow = node.topic("flow");
  const kept = node.topic("kept");
  for (let i = 0; i < 40; i += 1) {
    node.produce(flow, new Uint8Array(3000));
    node.produce(kept, new Uint8Array(5000).fill(i));
  }
  node.good(node.broker.deleteBefore({ topic: "flow", partition: 0, beforeOffset: 40 }));
  node.broker.compact();
  pass(node, 30);

  expect(node.replica.log.counts.archives).toBe(0);
  expect(node.replica.log.counts.reclaimedFiles).toBe(0);
  expect(node.replica.log.counts.deadBytes).toBeGreaterThan(0);
});

test("small archives side by side are joined", () => {
  const node = SimNode.ready(simDisk(), { limits: { ...LIMITS, mergeBytesMin: 1 } });
  const flow = node.topic("flow");
  const kept = node.topic("kept");
  for (let i = 0; i < 24; i += 1) {
    node.produce(kept, `kept ${i}`);
    waste(node, flow, 1);
  }
  node.broker.compact();
  pass(node, 30);

  const { archives } = node.replica.log.counts;
  expect(archives).toBeGreaterThan(0);
  expect(archives).toBeLessThan(8);
  expect(node.texts(kept)).toEqual(Array.from({ length: 24 }, (_, i) => `kept ${i}`));
});
