// Leadership that changes hands without a failure: by wish, by priority, at the end of a node, and when a disk is full or
// stands still.

import { expect, test } from "bun:test";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

/** Milliseconds in which no election by timeout could have taken place. */
const BEFORE_TIMEOUT_MS = 250;

/** The disk of a node has no room for another segment. */
function fillUp(node: SimMember): void {
  node.disk.files.freeBytesLimit = 1 << 12;
}

test("a leader hands over when it is asked to, at once, and nothing is lost", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  const old = cluster.leader();
  const [to] = cluster.followers();
  const waiters = Array.from({ length: 10 }, (_, i) => old.send(topic, `${i}`));
  const asked = cluster.nowMs;
  const answer = old.broker.transferLeadership(to.id);
  const during = old.send(topic, "during");
  cluster.until(() => to.replica.isLeading);

  expect(cluster.nowMs - asked).toBeLessThan(BEFORE_TIMEOUT_MS);
  cluster.good(answer);
  for (const waiter of waiters) old.stored(waiter);
  expect(["not_leader", "redirect_to_leader"]).toContain(old.refused(during).code);
  cluster.settle();
  for (const node of cluster.nodes)
    expect(node.texts(topic)).toEqual(Array.from({ length: 10 }, (_, i) => `${i}`));
});

test("a leader under load hands over to whom it was asked to, and every write that it took is stored", () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const cluster = SimCluster.ready({}, seed);
    const topic = cluster.topic("t");
    const old = cluster.leader();
    const [to] = cluster.followers();
    cluster.settle();
    const waiters: number[] = [];
    for (let i = 0; i < 30; i += 1) {
      waiters.push(old.send(topic, `${i}`));
      // The last ones have no place in the log yet; in some rounds there are no others.
      if (seed % 2 === 0 && i < 25) cluster.pass(1);
    }
    cluster.good(old.broker.transferLeadership(to.id));
    for (const waiter of waiters) old.stored(waiter);
    cluster.until(() => to.replica.isLeading);

    expect(to.replica.raft.term).toBe(2);
    expect(to.texts(topic)).toHaveLength(30);
  }
});

test("a transfer to a node that cannot take over ends, and the leader goes on", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  const leader = cluster.leader();
  const [to] = cluster.followers();
  cluster.isolate(to);

  expect(cluster.refusal(leader.broker.transferLeadership(to.id))).toBe("timeout");
  expect(leader.replica.isLeading).toBe(true);
  leader.stored(leader.send(topic, "x"));
});

test("only a voter is handed to, and one transfer is under way at a time", () => {
  const cluster = SimCluster.ready();
  const { broker } = cluster.leader();
  const [first, second] = cluster.followers();
  first.disk.isStalled = true;
  cluster.leader().send(cluster.topic("t"), "x");
  cluster.until(() => first.replica.raft.lastIndex > first.replica.log.syncedIndex);

  expect(cluster.refusal(broker.transferLeadership("n9"))).toBe("not_found");
  const waiting = broker.transferLeadership(first.id);
  expect(["change_in_progress", "not_leader"]).toContain(
    cluster.refusal(broker.transferLeadership(second.id)),
  );
  first.disk.isStalled = false;
  cluster.good(waiting);
});

test("a node of higher priority is given the leadership once it has everything, and keeps it", () => {
  const cluster = SimCluster.ready({ priorities: [100, 100, 200] });
  const third = cluster.node(3);
  cluster.until(() => third.replica.isLeading, 20_000);
  const topic = cluster.topic("t");
  third.kill();
  cluster.produce(topic, "x");
  third.start();
  cluster.until(() => third.hasReplica && third.replica.isLeading, 30_000);
  const { term } = third.replica.raft;
  cluster.pass(30_000);

  expect(third.replica.raft).toMatchObject({ term, role: "leader" });
  expect(third.texts(topic)).toEqual(["x"]);
});

test("a leader that stops finishes what it took and leaves the cluster with another one", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  const old = cluster.leader();
  const waiters = Array.from({ length: 5 }, (_, i) => old.send(topic, `${i}`));
  const stopped = cluster.nowMs;
  old.replica.stop();
  const late = old.send(topic, "late");
  cluster.until(() => old.replica.isIdle);
  old.kill();
  cluster.until(() => cluster.live().some(({ replica }) => replica.isLeading));

  expect(cluster.nowMs - stopped).toBeLessThan(BEFORE_TIMEOUT_MS);
  for (const waiter of waiters) expect(old.stored(waiter).synced).toBe(1);
  expect(old.refused(late).code).toBe("not_ready");
  expect(cluster.leader().texts(topic)).toHaveLength(5);
});

test("a node that stops alone, without anybody to hand over to, ends all the same", () => {
  const cluster = SimCluster.ready();
  const old = cluster.leader();
  for (const node of cluster.followers()) node.kill();
  cluster.pass(100);
  old.replica.stop();
  cluster.until(() => old.replica.isIdle, 5000);
});

test("a leader whose disk is full hands over to one with room, and writes go on", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "before");
  const full = cluster.leader();
  fillUp(full);
  cluster.until(() => !full.replica.isLeading, 30_000);
  cluster.until(() => cluster.leader() !== full);

  expect(full.hasSaid("disk_full")).toBe(true);
  for (let i = 0; i < 5; i += 1) cluster.produce(topic, `${i} ${"x".repeat(30_000)}`);
  expect(cluster.leader()).not.toBe(full);
});

test("a follower whose disk is full holds up nobody, and catches up when it has room again", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const [full] = cluster.followers();
  fillUp(full);
  let tries = 0;
  const run = full.disk.run.bind(full.disk);
  full.disk.run = (job, token) => {
    if (job.kind === "prepare_segment") tries += 1;
    run(job, token);
  };
  const from = cluster.nowMs;
  cluster.pass(2000);
  for (let i = 0; i < 20; i += 1) cluster.produce(topic, `${i} ${"x".repeat(8000)}`);
  const leader = cluster.leader();

  expect(leader.texts(topic)).toHaveLength(20);
  expect(full.replica.log.syncedIndex).toBeLessThan(leader.replica.log.syncedIndex);
  // It looks for room now and then, and does not spend its time on it.
  expect(tries).toBeLessThanOrEqual(1 + (cluster.nowMs - from) / 1000);

  full.disk.files.freeBytesLimit = 2 ** 26;
  cluster.settle();
  expect(full.texts(topic)).toHaveLength(20);
  expect(full.entries()).toEqual(cluster.leader().entries());
});

test("a leader whose disk stands still hands over, also with entries that it could not even begin to write", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const stuck = cluster.leader();
  stuck.disk.isStalled = true;
  const waiter = stuck.send(topic, "x");
  cluster.until(() => !stuck.replica.log.isIdle);
  // A topic has an entry of its own, which has its place in the log and cannot be sent before it is with the disk.
  const request = { name: "u", partitions: 1, mode: "sealed" as const, ttlMs: 0, maxBytes: 0 };
  const answer = stuck.broker.createTopic(request);
  cluster.until(() => cluster.live().some((node) => node !== stuck && node.replica.isLeading));
  cluster.produce(topic, "y");

  expect(cluster.refusal(answer)).toBe("timeout");
  expect(stuck.isAnswered(waiter)).toBe(true);
  stuck.disk.isStalled = false;
  cluster.settle();
  for (const node of cluster.nodes) {
    expect(node.texts(topic).at(-1)).toBe("y");
    expect(node.broker.topic("u")).toBeUndefined();
  }
});

test("a leader whose disk stands still hands over to one that goes on", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const stuck = cluster.leader();
  stuck.disk.isStalled = true;
  const waiter = stuck.send(topic, "x");
  cluster.until(() => cluster.live().some((node) => node !== stuck && node.replica.isLeading));
  const leader = cluster.leader();
  leader.stored(leader.send(topic, "y"));

  expect(stuck.refused(waiter).code).toBe("timeout");
  stuck.disk.isStalled = false;
  cluster.settle();
  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(leader.texts(topic));
});
