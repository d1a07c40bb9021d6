// A leader that is cut off: what becomes of its writes, its log, its keys and its refusals, and what the next one makes of
// them.

import { expect, test } from "bun:test";
import type { Result } from "../../../src/lib/result.ts";
import type { Refusal } from "../../../src/model/errors.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

/** A cluster whose leader has a topic with one record, and is cut off. */
function cutOff(): {
  readonly cluster: SimCluster;
  readonly topic: number;
  readonly old: SimMember;
} {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "first");
  cluster.settle();
  const old = cluster.leader();
  cluster.isolate(old);
  return { cluster, topic, old };
}

/** Waits until another node than `old` leads. */
function next(cluster: SimCluster, old: SimMember): SimMember {
  cluster.until(() => cluster.live().some((node) => node !== old && node.replica.isLeading));
  cluster.until(() => !old.replica.isLeading);
  return cluster.leader();
}

/** Hands leadership to a node. */
function handTo(cluster: SimCluster, to: SimMember): void {
  cluster.good(cluster.leader().broker.transferLeadership(to.id));
  cluster.until(() => to.replica.isLeading);
}

test("a write that has its place in the log of a deposed leader ends with an unknown outcome", () => {
  const { cluster, topic, old } = cutOff();
  const waiter = old.send(topic, "sealed");
  cluster.until(() => old.replica.log.syncedIndex === old.replica.raft.lastIndex);
  next(cluster, old);

  expect(old.refused(waiter)).toMatchObject({ code: "timeout", fields: { outcome: "unknown" } });
});

test("a write that never got a place in the log of a deposed leader is sent on", () => {
  const { cluster, topic, old } = cutOff();
  old.disk.isStalled = true;
  const sealed = old.send(topic, "sealed");
  cluster.until(() => !old.replica.log.isIdle);
  const open = old.send(topic, "open");
  next(cluster, old);

  expect(old.refused(sealed).code).toBe("timeout");
  expect(old.refused(open).code).toBe("not_leader");

  old.disk.isStalled = false;
  cluster.heal();
  cluster.settle();

  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["first"]);
});

test("a deposed leader that hears its successor sends what never got a place to it", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const old = cluster.leader();
  // It is heard by nobody, and hears the others.
  for (const other of cluster.followers()) cluster.network.block(old.id, other.id);
  old.disk.isStalled = true;
  old.send(topic, "sealed");
  cluster.until(() => !old.replica.log.isIdle);
  const open = old.send(topic, "open");
  cluster.until(() => old.isAnswered(open));
  cluster.until(() => old.replica.writeGate()?.code === "redirect_to_leader");
  const late = old.send(topic, "late");

  expect(["not_leader", "redirect_to_leader"]).toContain(old.refused(open).code);
  expect(old.refused(late).fields).toEqual({ leader_url: `http://${cluster.leader().id}` });
});

test("the tail that only a deposed leader had is cut off when it returns, and its offsets are given to others", () => {
  const { cluster, topic, old } = cutOff();
  for (let i = 0; i < 3; i += 1) old.send(topic, `lost ${i}`);
  cluster.until(() => old.replica.log.syncedIndex > old.replica.raft.commitIndex);
  const leader = next(cluster, old);
  const { firstOffset } = leader.stored(leader.send(topic, "kept"));
  cluster.heal();
  cluster.settle();

  expect(firstOffset).toBe(1);
  expect(old.hasSaid("log_truncated")).toBe(true);
  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["first", "kept"]);
  for (const node of cluster.nodes) expect(node.entries()).toEqual(leader.entries());

  // It stays cut off, also for a start that reads the log from the beginning.
  old.powerLoss();
  old.start();
  cluster.settle();

  expect(old.texts(topic)).toEqual(["first", "kept"]);
  expect(old.entries()).toEqual(cluster.leader().entries());
});

test("a tail that is being written when it must go is never seen again", () => {
  const { cluster, topic, old } = cutOff();
  old.disk.isStalled = true;
  for (let i = 0; i < 3; i += 1) {
    old.send(topic, `lost ${i}`);
    cluster.pass(20);
  }
  const leader = next(cluster, old);
  leader.stored(leader.send(topic, "kept"));
  cluster.heal();
  cluster.until(() => old.hasSaid("log_truncated"));
  old.powerLoss();
  old.start();
  cluster.settle();

  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["first", "kept"]);
});

test("a retry with its key is stored once: the new leader knows the key with the offset of the first", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "first");
  const old = cluster.leader();
  // Nothing gets back to the leader: the others have the write, and it never learns of that.
  for (const other of cluster.followers()) cluster.network.block(other.id, old.id);
  const waiter = old.send(topic, "once", { idempotencyKey: "k" });
  const leader = next(cluster, old);

  expect(old.refused(waiter).code).toBe("timeout");
  expect(leader.stored(leader.send(topic, "once", { idempotencyKey: "k" }))).toMatchObject({
    firstOffset: 1,
    duplicate: 1,
    synced: -1,
  });
  cluster.heal();
  cluster.settle();
  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["first", "once"]);
});

test("a retry with its key is stored, once, when the first write was lost with its leader", () => {
  const { cluster, topic, old } = cutOff();
  const waiter = old.send(topic, "again", { idempotencyKey: "k" });
  const leader = next(cluster, old);
  expect(old.refused(waiter).code).toBe("timeout");
  const retries = [1, 2, 3].map(() => leader.send(topic, "again", { idempotencyKey: "k" }));

  expect(retries.map((retry) => leader.stored(retry).duplicate)).toEqual([0, 1, 1]);
  expect(retries.map((retry) => leader.stored(retry).firstOffset)).toEqual([1, 1, 1]);
  cluster.heal();
  cluster.settle();
  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["first", "again"]);
});

test("a deposed leader forgets the keys that were under way, and leads again without them", () => {
  const { cluster, topic, old } = cutOff();
  // Far enough behind in its log that the next leaders do not get there before it leads again.
  for (let i = 0; i < 10; i += 1) {
    old.send(topic, `lost ${i}`);
    cluster.pass(5);
  }
  old.send(topic, "x", { idempotencyKey: "k" });
  cluster.pass(5);
  const { lastIndex } = old.replica.raft;
  next(cluster, old);
  cluster.heal();
  cluster.settle();
  handTo(cluster, old);
  expect(old.replica.appliedIndex).toBeLessThan(lastIndex);
  const stored = old.stored(old.send(topic, "x", { idempotencyKey: "k" }));

  expect(stored).toMatchObject({ duplicate: 0, firstOffset: 1 });
  expect(old.texts(topic)).toEqual(["first", "x"]);
});

test("a key is answered with its first offset by whoever leads, also after all have started again", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "first");
  cluster.produce(topic, "keyed", { idempotencyKey: "k" });
  cluster.produce(topic, "last");
  for (const node of cluster.nodes) node.kill();
  for (const node of cluster.nodes) node.start();
  for (const node of cluster.nodes) {
    cluster.settle();
    if (!node.replica.isLeading) handTo(cluster, node);
    expect(node.stored(node.send(topic, "keyed", { idempotencyKey: "k" }))).toMatchObject({
      firstOffset: 1,
      duplicate: 1,
    });
    expect(node.refused(node.send(topic, "other", { idempotencyKey: "k" })).code).toBe(
      "idempotency_key_reused",
    );
  }
});

test("a leader that cannot confirm that it leads refuses nothing by what it last knew", () => {
  const { cluster, topic, old } = cutOff();
  const { broker } = old;
  const create = { partitions: 2, mode: "sealed" as const, ttlMs: 0, maxBytes: 0 };
  const answers: Promise<Result<unknown, Refusal>>[] = [
    broker.createTopic({ name: "t", ...create }),
    broker.deleteTopic("nothing"),
    broker.setRetention({ topic: "nothing", partition: undefined, ttlMs: 1, maxBytes: undefined }),
    broker.commit({ topic: "t", group: "g", partition: 0, offset: 5 }),
    broker.commit({ topic: "nothing", group: "g", partition: 0, offset: 0 }),
  ];
  const waiters = [
    old.send(topic, "x", { expectedOffset: 7 }),
    old.send(topic, "x", { expectedOffset: 0 }),
  ];
  next(cluster, old);
  const codes = [
    ...answers.map((answer) => cluster.refusal(answer)),
    ...waiters.map((waiter) => old.refused(waiter).code),
  ];

  for (const code of codes) expect(["not_leader", "redirect_to_leader", "timeout"]).toContain(code);
});

test("a leader that can confirm that it leads refuses by what is committed", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  const leader = cluster.leader();
  const create = { name: "t", partitions: 2, mode: "sealed" as const, ttlMs: 0, maxBytes: 0 };
  const stored = leader.send(topic, "x");
  const refused = leader.send(topic, "y", { expectedOffset: 0 });

  expect(leader.refused(refused)).toMatchObject({
    code: "offset_mismatch",
    fields: { next_offset: 1 },
  });
  expect(leader.synced(stored)).toEqual([1]);
  expect(cluster.refusal(leader.broker.createTopic(create))).toBe("topic_exists");
  expect(cluster.refusal(leader.broker.deleteTopic("nothing"))).toBe("topic_not_found");
});
