// What a produce is answered, and what is in the log for it: once per key, at the offset it was told, durable.

import { describe, expect, test } from "bun:test";
import { type ProduceOutcome, SimNode, simDisk } from "../../support/sim-node.ts";

const stored = (outcome: ProduceOutcome): Exclude<ProduceOutcome, { refused: unknown }> => {
  if ("refused" in outcome) throw new Error(`Refused: ${outcome.refused.code}`);
  return outcome;
};

describe("a key", () => {
  test("sent twice at once yields one record, and both answers its offset", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    const first = node.send(topic, "once", { idempotencyKey: "k" });
    const second = node.send(topic, "once", { idempotencyKey: "k" });

    expect(stored(node.outcome(first))).toMatchObject({ firstOffset: 0, duplicate: 0, synced: 1 });
    expect(stored(node.outcome(second))).toMatchObject({
      firstOffset: 0,
      duplicate: 1,
      synced: -1,
      raftIndex: 0,
    });
    expect(node.texts(topic)).toEqual(["once"]);
  });

  test("gives the original offset after a crash and after a restart from derived files", () => {
    const options = { limits: { segmentBytes: 1 << 16, slabBytes: 1 << 14, mergeBytesMin: 1 } };
    let node = SimNode.ready(simDisk(), options);
    const topic = node.topic("t");
    node.produce(topic, "keyed", { idempotencyKey: "k" });
    for (let i = 0; i < 30; i++) node.produce(topic, new Uint8Array(8000));
    node.rest();
    expect(node.replica.log.counts.merges).toBeGreaterThan(0);
    node = node.crashed(options);

    const again = stored(node.outcome(node.send(topic, "keyed", { idempotencyKey: "k" })));
    expect(again).toMatchObject({ firstOffset: 0, duplicate: 1 });
    expect(node.broker.partition(topic, 0).nextOffset).toBe(31);
  });

  test("with other bytes is refused, in flight and stored alike", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    node.send(topic, "one", { idempotencyKey: "k" });

    expect(node.refusedProduce(topic, "two", { idempotencyKey: "k" })).toBe(
      "idempotency_key_reused",
    );
    expect(node.refusedProduce(topic, "two", { idempotencyKey: "k" })).toBe(
      "idempotency_key_reused",
    );
    expect(node.refusedProduce(topic, "one", { idempotencyKey: "k", key: "x" })).toBe(
      "idempotency_key_reused",
    );
    expect(node.texts(topic)).toEqual(["one"]);
  });

  test("belongs to its topic, and a duplicate is known before the expected offset is looked at", () => {
    const node = SimNode.ready(simDisk());
    const [left, right] = [node.topic("a"), node.topic("b")];
    node.produce(left, "x", { idempotencyKey: "k" });

    expect(node.produce(right, "y", { idempotencyKey: "k" })).toBe(0);
    const again = node.send(left, "x", { idempotencyKey: "k", expectedOffset: 77 });
    expect(stored(node.outcome(again))).toMatchObject({ firstOffset: 0, duplicate: 1 });
  });

  test("may be used again once its time is over, and stands for the later record then", () => {
    const settings = { idempotencyTtlMs: 1000, idempotencyKeysMax: 1e6 };
    let node = SimNode.ready(simDisk(), { settings });
    const topic = node.topic("t");
    node.produce(topic, "a", { idempotencyKey: "k" });
    node.clock.pass(2000);

    expect(node.produce(topic, "a", { idempotencyKey: "k" })).toBe(1);
    node = node.crashed({ settings });
    const again = stored(node.outcome(node.send(topic, "a", { idempotencyKey: "k" })));
    expect(again).toMatchObject({ firstOffset: 1, duplicate: 1 });
  });

  test("leaves by count when the table is full, and is counted", () => {
    const settings = { idempotencyTtlMs: 1e9, idempotencyKeysMax: 3 };
    const node = SimNode.ready(simDisk(), { settings });
    const topic = node.topic("t");
    for (const key of ["a", "b", "c", "d", "e"]) node.produce(topic, key, { idempotencyKey: key });

    expect(node.replica.state.keys.size).toBe(3);
    expect(node.replica.state.keysDroppedEarly).toBe(2);
    const last = stored(node.outcome(node.send(topic, "e", { idempotencyKey: "e" })));
    expect(last.duplicate).toBe(1);
    const first = stored(node.outcome(node.send(topic, "a", { idempotencyKey: "a" })));
    expect(first).toMatchObject({ duplicate: 0, firstOffset: 5 });
  });
});

describe("a refusal", () => {
  test("of an expected offset tells the next one, counting what is under way", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    node.send(topic, "a");
    node.send(topic, "b", { expectedOffset: 1 });
    const refused = node.outcome(node.send(topic, "c", { expectedOffset: 1 }));

    expect(refused).toMatchObject({
      refused: { code: "offset_mismatch", fields: { next_offset: 2 } },
    });
    expect(node.texts(topic)).toEqual(["a", "b"]);
  });

  test("waits until what it was computed from is durable", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    node.rest();
    node.disk.isStalled = true;
    node.send(topic, "a");
    const waiter = node.send(topic, "b", { expectedOffset: 0 });
    node.clock.pass(5000);
    node.replica.tick();

    expect(node.outcomes.has(waiter)).toBe(false);
    node.disk.isStalled = false;
    expect(node.outcome(waiter)).toMatchObject({ refused: { code: "offset_mismatch" } });
  });

  test("names what is missing", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t", 2);

    expect(node.refusedProduce(999, "x")).toBe("topic_not_found");
    expect(node.refusedProduce(topic, "x", { partition: 2 })).toBe("partition_not_found");
  });

  test("meets every request before the node is ready and after it stops", () => {
    const node = new SimNode(simDisk());
    expect(node.refusedProduce(1, "x")).toBe("not_ready");
    node.until(() => node.replica.isReady);
    const topic = node.topic("t");
    const last = node.send(topic, "last");
    node.replica.stop();

    expect(node.refusedProduce(topic, "late")).toBe("not_ready");
    expect(stored(node.outcome(last)).firstOffset).toBe(0);
  });
});

describe("a disk", () => {
  test("that stalls loses nothing and mixes nothing up, however much waits", () => {
    const options = { limits: { slabBytes: 1 << 14, tailBytes: 1 << 14 } };
    let node = SimNode.ready(simDisk(), options);
    const topic = node.topic("t");
    node.disk.isStalled = true;
    const waiters = Array.from({ length: 400 }, (_, i) =>
      node.send(topic, `${i} `.repeat(100 + (i % 50))),
    );
    for (let i = 0; i < 60; i++) {
      node.clock.pass(50);
      node.replica.tick();
    }
    expect(waiters.some((waiter) => node.outcomes.has(waiter))).toBe(false);
    node.disk.isStalled = false;
    const offsets = waiters.map((waiter) => stored(node.outcome(waiter)).firstOffset);
    node = node.crashed(options);

    expect(offsets).toEqual(waiters.map((_, i) => i));
    expect(node.texts(topic)).toEqual(waiters.map((_, i) => `${i} `.repeat(100 + (i % 50))));
  });

  test("that is full refuses records, takes a delete-before, and is written on when there is room", () => {
    const disk = simDisk(1, { freeBytesLimit: 8 << 20 });
    const node = SimNode.ready(disk);
    const topic = node.topic("t");
    node.produce(topic, "before", { idempotencyKey: "k" });
    disk.files.freeBytesLimit = 1000;
    for (let i = 0; i < 40; i++) {
      node.clock.pass(50);
      node.replica.tick();
      node.disk.completeAll();
    }

    expect(node.refusedProduce(topic, "x")).toBe("disk_full");
    const again = stored(node.outcome(node.send(topic, "before", { idempotencyKey: "k" })));
    expect(again.duplicate).toBe(1);
    expect(node.broker.status().readOnly).toBe(true);
    const request = { topic: "t", partition: 0, beforeOffset: 1 };
    expect(node.good(node.broker.deleteBefore(request)).deletedCount).toBe(1);
    disk.files.freeBytesLimit = 8 << 20;
    node.until(() => !node.broker.status().readOnly);
    expect(node.produce(topic, "after")).toBe(1);
  });
});

test("batch ids grow over restarts and crashes, and never start again", () => {
  let node = SimNode.ready(simDisk());
  const topic = node.topic("t");
  const seen: number[] = [];
  for (let life = 0; life < 6; life++) {
    for (let i = 0; i < 3; i++) seen.push(stored(node.outcome(node.send(topic, "x"))).raftIndex);
    expect(node.broker.status().lastSyncedBatchId).toBeGreaterThanOrEqual(seen.at(-1) ?? 0);
    node = life % 2 === 0 ? node.crashed() : node.restarted();
  }

  expect(seen.every((index, i) => i === 0 || index > (seen[i - 1] ?? 0))).toBe(true);
});

test("records of a batch stand side by side, also between those of others", () => {
  const node = SimNode.ready(simDisk());
  const topic = node.topic("t", 2);
  const body = new TextEncoder().encode("onetwothree");
  const ranges = new Int32Array([0, 3, 3, 6, 6, 11]);
  const waiters = [
    node.send(topic, "a"),
    node.send(topic, body, { ranges, count: 3 }),
    node.send(topic, "p1", { partition: 1 }),
    node.send(topic, "b"),
    node.send(topic, body, { ranges, count: 3, partition: 1 }),
  ];
  const offsets = waiters.map((waiter) => stored(node.outcome(waiter)).firstOffset);

  expect(offsets).toEqual([0, 1, 0, 4, 1]);
  expect(node.texts(topic)).toEqual(["a", "one", "two", "three", "b"]);
  expect(node.texts(topic, 1)).toEqual(["p1", "one", "two", "three"]);
  expect(node.crashed().texts(topic, 1)).toEqual(["p1", "one", "two", "three"]);
});

test("without a partition, records go by their key, and in turn when there is none", () => {
  const node = SimNode.ready(simDisk());
  const topic = node.topic("t", 4);
  const partitionOf = (fields: { key?: string }): number =>
    stored(node.outcome(node.send(topic, "x", { partition: -1, ...fields }))).partition;

  expect([1, 2, 3, 4, 5].map(() => partitionOf({}))).toEqual([0, 1, 2, 3, 0]);
  expect(new Set([1, 2, 3].map(() => partitionOf({ key: "same" }))).size).toBe(1);
  const spread = Array.from({ length: 40 }, (_, i) => partitionOf({ key: `k${i}` }));
  expect(new Set(spread).size).toBe(4);
});
