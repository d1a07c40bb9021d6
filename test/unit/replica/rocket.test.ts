// Rocket topics on one node: answered without the disk, bounded in memory, and never an offset twice, whatever ends.

import { describe, expect, test } from "bun:test";
import { Prng } from "../../../src/lib/prng.ts";
import type { RocketLimits } from "../../../src/replica/rocket-ring.ts";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const BLOCK = 65_536;
const LIMITS: RocketLimits = { bytesMax: 4 << 20, partitionBytesMax: 2 << 20 };

const rocketNode = (rocket = LIMITS): SimNode => SimNode.ready(simDisk(), { rocket });

/** Makes a rocket topic and gives its id. */
const rocketTopic = (node: SimNode, name: string, partitions = 1, rules = {}): number =>
  node.good(
    node.broker.createTopic({ name, partitions, mode: "rocket", ttlMs: 0, maxBytes: 0, ...rules }),
  ).topicId;

/** A batch of so many records of one byte. */
const batch = (count: number) => {
  const ranges = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) ranges.set([0, 1], 2 * i);
  return { ranges, count };
};

test("a record is answered within the call, once offsets are reserved, and nothing is written for it", () => {
  const node = rocketNode();
  const topic = rocketTopic(node, "t");
  expect(node.produce(topic, "first")).toBe(0);
  node.rest();
  const { lastIndex } = node.replica.raft;

  const waiter = node.send(topic, "second");

  expect(node.outcomes.get(waiter)).toEqual({
    firstOffset: 1,
    count: 1,
    partition: 0,
    raftIndex: 0,
    synced: -1,
    duplicate: -1,
  });
  node.rest();
  expect(node.replica.raft.lastIndex).toBe(lastIndex);
  expect(node.texts(topic)).toEqual(["first", "second"]);
});

test("the next block is reserved when half of the present one is used, and nobody waits for it", () => {
  const node = rocketNode();
  const topic = rocketTopic(node, "t");
  node.produce(topic, "x", batch(BLOCK / 2 - 1));
  node.rest();
  const { lastIndex } = node.replica.raft;
  expect(node.replica.state.byId(topic)?.nextOffset[0]).toBe(BLOCK);

  node.produce(topic, "x", batch(1));
  node.rest();

  expect(node.replica.raft.lastIndex).toBe(lastIndex + 1);
  expect(node.replica.state.byId(topic)?.nextOffset[0]).toBe(2 * BLOCK);
});

test("a batch larger than a block waits until all of it is reserved, and those behind it keep their turn", () => {
  const node = rocketNode();
  const topic = rocketTopic(node, "t");
  const large = node.send(topic, "x", batch(100_000));
  const small = node.send(topic, "y");

  expect(node.outcome(large)).toMatchObject({ firstOffset: 0, count: 100_000 });
  expect(node.outcome(small)).toMatchObject({ firstOffset: 100_000 });
});

test("offsets never go back over lives, by crash and by restart, from log, deltas and base", () => {
  for (let seed = 1; seed <= 4; seed++) {
    const prng = new Prng(seed);
    const limits = { segmentBytes: 1 << 16, slabBytes: 1 << 14, mergeBytesMin: 1 };
    let node = SimNode.ready(simDisk(seed), { rocket: LIMITS, limits });
    const topic = rocketTopic(node, "t", 2);
    const sealed = node.topic("s");
    const ends = [0, 0];
    for (let life = 0; life < 8; life++) {
      for (let i = 0; i < 6; i++) {
        const partition = prng.below(2);
        const count = 1 + prng.below(40_000);
        const first = node.produce(topic, "x", { ...batch(count), partition });
        expect(first).toBeGreaterThanOrEqual(ends[partition] ?? 0);
        ends[partition] = first + count;
        for (let j = prng.below(6); j > 0; j--) node.produce(sealed, new Uint8Array(8000));
        if (prng.below(3) === 0) node.rest();
      }
      const options = { rocket: LIMITS, limits };
      node = prng.below(2) === 0 ? node.crashed(options) : node.restarted(options);
      for (const [partition, end] of ends.entries()) {
        const { startOffset, nextOffset, bytes } = node.broker.partition(topic, partition);
        expect({ isEmpty: startOffset === nextOffset, bytes }).toEqual({ isEmpty: true, bytes: 0 });
        expect(nextOffset).toBeGreaterThanOrEqual(end);
        expect(nextOffset % BLOCK).toBe(0);
      }
    }
  }
});

test("a group is durable, and is checked against what is reserved", () => {
  let node = rocketNode();
  const topic = rocketTopic(node, "t");
  node.produce(topic, "x");
  const commit = (offset: number) =>
    node.broker.commit({ topic: "t", group: "g", partition: 0, offset });

  node.good(commit(0));
  node.good(commit(BLOCK - 1));
  expect(node.refusal(commit(BLOCK))).toBe("invalid_parameter");

  node = node.crashed({ rocket: LIMITS });
  expect(node.broker.committedOffset(topic, 0, "g")).toBe(BLOCK - 1);
  // The next record of the group's partition is behind what it has committed.
  expect(node.produce(topic, "y")).toBe(BLOCK);
});

describe("the memory", () => {
  test("of a partition is bounded: its oldest records leave", () => {
    const node = rocketNode();
    const topic = rocketTopic(node, "t");
    const value = new Uint8Array(10_000);
    for (let i = 0; i < 500; i++) node.produce(topic, value);

    const { startOffset, nextOffset, bytes } = node.broker.partition(topic, 0);
    expect(nextOffset).toBe(500);
    expect(bytes).toBeLessThanOrEqual(LIMITS.partitionBytesMax);
    expect(bytes).toBeGreaterThan(LIMITS.partitionBytesMax - 11_000);
    expect(nextOffset - startOffset).toBe(209);
    expect(node.broker.rocket.counts.evicted).toBe(startOffset);
  });

  test("of all is bounded: the oldest records leave, and what a quiet partition got last stays", () => {
    const node = rocketNode();
    const topic = rocketTopic(node, "t", 5);
    for (let i = 0; i < 1500; i++)
      node.produce(topic, new Uint8Array(10_000), { partition: i % 4 });
    node.produce(topic, "quiet", { partition: 4 });
    for (let i = 0; i < 20; i++) node.produce(topic, new Uint8Array(10_000), { partition: i % 4 });

    expect(node.broker.rocket.counts.bytes).toBeLessThanOrEqual(LIMITS.bytesMax);
    expect(node.texts(topic, 4)).toEqual(["quiet"]);
  });

  test("comes back when a topic is deleted", () => {
    const node = rocketNode();
    const topic = rocketTopic(node, "t");
    for (let i = 0; i < 100; i++) node.produce(topic, new Uint8Array(10_000));
    expect(node.good(node.broker.deleteTopic("t")).deletedRecords).toBe(100);

    const again = rocketTopic(node, "t");
    expect(again).not.toBe(topic);
    expect(node.produce(again, "x")).toBe(0);
    expect(node.texts(again)).toEqual(["x"]);
    expect(node.broker.rocket.counts.bytes).toBeLessThan(2 << 20);
  });

  test("takes no request of more than half of a partition", () => {
    const node = rocketNode();
    const topic = rocketTopic(node, "t");

    expect(node.refusedProduce(topic, new Uint8Array((1 << 20) + 1))).toBe("payload_too_large");
  });
});

describe("retention", () => {
  const pass = (node: SimNode): void => {
    node.broker.retentionPass.start();
    node.rest();
  };

  test("by size and by age holds", () => {
    const node = rocketNode();
    const bySize = rocketTopic(node, "size", 1, { maxBytes: 5000 });
    const byAge = rocketTopic(node, "age", 1, { ttlMs: 1000 });
    for (let i = 0; i < 100; i++) node.produce(bySize, new Uint8Array(100));
    node.produce(byAge, "old");
    node.clock.pass(1500);
    node.produce(byAge, "new");

    pass(node);

    expect(node.broker.partition(bySize, 0).bytes).toBeLessThanOrEqual(5000);
    expect(node.broker.partition(bySize, 0).startOffset).toBeGreaterThan(0);
    expect(node.texts(byAge)).toEqual(["new"]);
  });

  test("delete-before drops what is below, never past the end", () => {
    const node = rocketNode();
    const topic = rocketTopic(node, "t");
    for (const value of ["a", "b", "c"]) node.produce(topic, value);
    const before = (beforeOffset: number) =>
      node.broker.deleteBefore({ topic: "t", partition: 0, beforeOffset });

    expect(node.good(before(1))).toMatchObject({ deletedCount: 1 });
    expect(node.texts(topic)).toEqual(["b", "c"]);
    expect(node.good(before(1000))).toMatchObject({ deletedCount: 2 });
    node.produce(topic, "d");
    expect(node.broker.partition(topic, 0)).toMatchObject({ startOffset: 3, nextOffset: 4 });
  });
});

test("a reader that waits is woken by a record, and by the end of the topic", () => {
  const node = rocketNode();
  const topic = rocketTopic(node, "t");
  node.produce(topic, "a");
  let woken = 0;
  node.broker.onRecords(topic, 0, 1, () => {
    woken += 1;
  });
  node.rest();
  expect(woken).toBe(0);

  node.produce(topic, "b");
  node.until(() => woken === 1);

  node.broker.onRecords(topic, 0, 2, () => {
    woken += 1;
  });
  node.good(node.broker.deleteTopic("t"));
  node.until(() => woken === 2);
});
