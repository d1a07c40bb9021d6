// The turns of a node: one write at a time, a frame when it is quiet, background work that ends, and an end when the disk
// or the log is not what it was.

import { expect, test } from "bun:test";
import { FatalError } from "../../../src/lib/fatal.ts";
import { fileName } from "../../../src/log/format.ts";
import { SimCrash } from "../../support/sim-disk.ts";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const SMALL = { limits: { segmentBytes: 1 << 16, slabBytes: 1 << 14, tailBytes: 1 << 14 } };

/** The reason with which a node stops while `act` goes on. */
function reasonOf(act: () => void): string {
  try {
    act();
    return "none";
  } catch (error) {
    if (!(error instanceof FatalError)) throw error;
    return error.reason;
  }
}

test("after a write one frame makes it certain, and then the disk is left alone", () => {
  const node = SimNode.ready(simDisk());
  node.produce(node.topic("t"), "x");
  node.rest();
  const { writes } = node.replica.log.probe;
  expect(node.replica.log.needsIdleFrame(node.replica.raft.commitIndex)).toBe(false);
  for (let i = 0; i < 100; i++) {
    node.clock.pass(50);
    node.replica.tick();
    node.disk.completeAll();
  }

  expect(node.replica.log.probe.writes).toBe(writes);
});

test("what arrives while a write is in flight shares the next one", () => {
  const node = SimNode.ready(simDisk());
  const topic = node.topic("t");
  node.rest();
  const { writes } = node.replica.log.probe;
  node.disk.isStalled = true;
  node.send(topic, "first");
  node.until(() => !node.replica.log.isIdle);
  const later = Array.from({ length: 50 }, (_, i) => node.send(topic, `${i}`));
  node.disk.isStalled = false;
  for (const waiter of later) node.outcome(waiter);

  expect(node.replica.log.probe.writes - writes).toBeLessThanOrEqual(3);
});

test("a sync that fails stops the node, and nothing of it is acknowledged", () => {
  const node = SimNode.ready(simDisk());
  const topic = node.topic("t");
  node.rest();
  node.disk.failNextSync();
  const waiter = node.send(topic, "x");

  expect(reasonOf(() => node.outcome(waiter))).toBe("sync_failed");
  expect(node.outcomes.has(waiter)).toBe(false);
});

test("damage that a read meets is served to nobody, stops the node, and the next start refuses", () => {
  let node = SimNode.ready(simDisk(), SMALL);
  const topic = node.topic("t");
  for (let i = 0; i < 20; i++) node.produce(topic, new Uint8Array(8000).fill(i));
  node.rest();
  node = node.restarted(SMALL);
  node.rest();
  node.disk.corruptSyncedSector(fileName(1, "log"), 30_000);

  expect(reasonOf(() => node.values(topic))).toBe("log_corrupt");
  expect(reasonOf(() => node.rest())).toBe("log_corrupt");
  expect(reasonOf(() => node.restarted(SMALL))).toBe("log_corrupt");
});

test("damage that background work meets stops the node as well", () => {
  const node = SimNode.ready(simDisk(), SMALL);
  const topic = node.topic("t");
  for (let i = 0; i < 3; i++) node.produce(topic, new Uint8Array(8000));
  node.disk.corruptSyncedSector(fileName(1, "log"), 8000);
  const fill = (): void => {
    for (let i = 0; i < 20; i++) node.produce(topic, new Uint8Array(8000));
    node.rest();
  };

  expect(reasonOf(fill)).toBe("log_corrupt");
});

test("segments are rolled, derived and merged while writing goes on, and start takes them up", () => {
  const limits = { ...SMALL.limits, mergeBytesMin: 100 };
  let node = SimNode.ready(simDisk(), { limits });
  const topic = node.topic("t");
  for (let i = 0; i < 80; i++)
    node.produce(topic, `${i}`.padEnd(6000, "."), { idempotencyKey: `${i}` });
  node.rest();
  const { rolls } = node.replica.log.probe;
  const { merges } = node.replica.log.counts;
  expect(rolls).toBeGreaterThan(5);
  expect(merges).toBeGreaterThan(0);
  expect(node.replica.log.counts.underived).toBe(0);
  node = node.crashed({ limits });

  expect(node.replica.replayedEntries).toBeLessThan(20);
  expect(node.texts(topic).map((text) => Number.parseInt(text, 10))).toEqual([...Array(80).keys()]);
  expect(node.replica.state.keys.size).toBe(80);
});

test("the segment that a start waits for is small, and what does not fit into it stands in the next", () => {
  const limits = { ...SMALL.limits, startSegmentBytes: 5000 };
  let node = SimNode.ready(simDisk(), { limits });
  expect(node.disk.files.size(fileName(1, "log"))).toBe(5000);
  const topic = node.topic("t");
  node.produce(topic, "x".repeat(30_000));
  node.produce(topic, "y");
  node = node.crashed({ limits });
  node.produce(topic, "z".repeat(30_000));

  expect(node.texts(topic)).toEqual(["x".repeat(30_000), "y", "z".repeat(30_000)]);
  expect(node.replica.log.counts.segments).toBe(2);
});

test("segments may become larger from one start to the next, wherever the power fails", () => {
  const large = { limits: { ...SMALL.limits, segmentBytes: 1 << 18 } };
  for (let primitives = 0; primitives < 120; primitives++) {
    let node = SimNode.ready(simDisk(primitives), SMALL);
    const topic = node.topic("t");
    node.produce(topic, "small");
    node.rest();
    node = node.crashed(large);
    let isAnswered = false;
    try {
      node.disk.crashAfterPrimitives(primitives);
      // Too large for the segment that was prepared before.
      node.produce(topic, "y".repeat(100_000));
      isAnswered = true;
      node.rest();
    } catch (error) {
      if (!(error instanceof SimCrash)) throw error;
    }
    node = node.crashed(large);

    const texts = node.texts(topic);
    expect(texts[0]).toBe("small");
    if (isAnswered) expect(texts.length).toBe(2);
  }
});

test("a reader that waits is woken by its record, and by the end of its topic", () => {
  const node = SimNode.ready(simDisk());
  const topic = node.topic("t", 2);
  node.topic("other");
  const woken: string[] = [];
  node.broker.onRecords(topic, 0, 0, () => woken.push("first"));
  node.broker.onRecords(topic, 0, 1, () => woken.push("second"));
  node.broker.onRecords(topic, 1, 5, () => woken.push("gone"));
  node.broker.onRecords(topic, 1, 0, () => woken.push("never"))();
  expect(woken).toEqual([]);
  node.produce(topic, "x");
  node.rest();
  expect(woken).toEqual(["first"]);
  node.broker.onRecords(topic, 0, 0, () => woken.push("there already"));
  expect(woken).toEqual(["first"]);
  node.rest();
  expect(woken).toEqual(["first", "there already"]);
  node.good(node.broker.deleteTopic("t"));
  node.rest();

  expect(woken.slice(2).sort()).toEqual(["gone", "second"]);
  expect(node.replica.wishes.size).toBe(0);
});

test("a node is not ready before it leads with an entry of its own applied", () => {
  const node = new SimNode(simDisk());
  expect(node.broker.status()).toMatchObject({ ready: false, lastSyncedBatchId: 0 });
  node.replica.tick();
  expect(node.broker.status().ready).toBe(false);
  node.disk.isStalled = true;
  node.disk.completeAll();
  expect(node.broker.status().ready).toBe(false);
  node.disk.isStalled = false;
  node.until(() => node.replica.isReady);

  expect(node.replica.appliedIndex).toBeGreaterThan(0);
});
