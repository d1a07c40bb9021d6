// When a write is answered: what is committed, what is applied, and how widely a write must be synced for what was asked.

import { expect, test } from "bun:test";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

/** Nodes on whose disk an entry is. */
const holders = (cluster: SimCluster, index: number): number =>
  cluster.live().filter(({ replica }) => replica.log.syncedIndex >= index).length;

function stall(...nodes: readonly SimMember[]): void {
  for (const { disk } of nodes) disk.isStalled = true;
}

function goOn(...nodes: readonly SimMember[]): void {
  for (const { disk } of nodes) disk.isStalled = false;
}

test("a write is answered only after a majority has synced it", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [first, second] = cluster.followers();
  stall(first, second);
  const waiter = leader.send(topic, "x");
  cluster.pass(2000);

  expect(leader.replica.isLeading).toBe(true);
  expect(holders(cluster, leader.replica.raft.lastIndex)).toBe(1);
  expect(leader.isAnswered(waiter)).toBe(false);
  expect(leader.texts(topic)).toEqual([]);

  goOn(first);
  const { raftIndex, synced } = leader.stored(waiter);

  expect(synced).toBe(1);
  expect(holders(cluster, raftIndex)).toBe(2);
});

test("no write of many is answered before a majority has synced it, whatever the disks and the network do", () => {
  const cluster = SimCluster.ready({ latencyMsMax: 20 });
  const topic = cluster.topic("t");
  const leader = cluster.leader();
  const [first, second] = cluster.followers();
  const waiters: number[] = [];
  let told = 0;
  const look = (): boolean => {
    for (; told < waiters.length && leader.isAnswered(waiters[told] ?? 0); told += 1) {
      const { raftIndex } = leader.stored(waiters[told] ?? 0);
      expect(holders(cluster, raftIndex)).toBeGreaterThanOrEqual(2);
    }
    return told === 60;
  };
  for (let i = 0; i < 60; i += 1) {
    waiters.push(leader.send(topic, `${i}`));
    if (i % 7 === 0) stall(i % 2 === 0 ? first : second);
    const untilMs = cluster.nowMs + 5;
    cluster.until(() => look() || cluster.nowMs >= untilMs);
    goOn(first, second);
  }
  cluster.until(look);

  expect(told).toBe(60);
});

test("a leader counts itself only after its own sync", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [first, second] = cluster.followers();
  second.kill();
  stall(leader);
  const waiter = leader.send(topic, "x");
  cluster.until(() => holders(cluster, leader.replica.raft.lastIndex) === 1);
  cluster.pass(200);

  expect(first.replica.log.syncedIndex).toBe(leader.replica.raft.lastIndex);
  expect(leader.replica.raft.commitIndex).toBeLessThan(leader.replica.raft.lastIndex);
  expect(leader.isAnswered(waiter)).toBe(false);

  goOn(leader);

  expect(leader.stored(waiter).synced).toBe(1);
});

test("a leader applies and answers nothing beyond its own sync, though the others have committed it", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  stall(leader);
  const waiter = leader.send(topic, "x");
  const { replica } = leader;
  cluster.until(() => replica.raft.commitIndex > replica.log.syncedIndex);
  cluster.pass(200);

  expect(replica.appliedIndex).toBe(replica.log.syncedIndex);
  expect(replica.appliedIndex).toBeLessThan(replica.raft.commitIndex);
  expect(leader.isAnswered(waiter)).toBe(false);

  goOn(leader);

  expect(leader.stored(waiter).synced).toBe(1);
});

test("a follower applies nothing beyond its own sync, though it knows that it is committed", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const [first] = cluster.followers();
  stall(first);
  for (let i = 0; i < 5; i += 1) cluster.produce(topic, `${i}`);
  const { raft, log } = first.replica;
  cluster.until(() => raft.commitIndex === cluster.leader().replica.raft.lastIndex);

  expect(first.replica.appliedIndex).toBe(log.syncedIndex);
  expect(first.replica.appliedIndex).toBeLessThan(raft.commitIndex);
  expect(first.texts(topic)).toEqual([]);

  goOn(first);
  cluster.until(() => first.replica.appliedIndex === raft.commitIndex);

  expect(first.texts(topic)).toEqual(["0", "1", "2", "3", "4"]);
});

test("the concern `leader` answers after the leader's own sync, and says that it may yet be lost", () => {
  const cluster = SimCluster.ready({ writeConcern: 1 });
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  stall(...cluster.followers());
  const waiter = leader.send(topic, "x");
  leader.stored(waiter);

  expect(holders(cluster, leader.replica.raft.lastIndex)).toBe(1);
  goOn(...cluster.followers());
  cluster.settle();
  expect(leader.synced(waiter)).toEqual([0]);
});

test("the concern `leader` says that a write is safe when the others were faster", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  stall(leader);
  const waiter = leader.send(topic, "x", { ack: "leader" });
  const { raft, log } = leader.replica;
  cluster.until(() => raft.commitIndex > log.syncedIndex);

  expect(leader.isAnswered(waiter)).toBe(false);
  goOn(leader);
  leader.stored(waiter);
  expect(leader.synced(waiter)).toEqual([1]);
});

test("the concern `all` tells first that a write is committed, and later that every voter has it", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [first] = cluster.followers();
  first.kill();
  const waiter = leader.send(topic, "x", { ack: "all" });
  cluster.pass(3000);

  expect(leader.synced(waiter)).toEqual([2]);

  first.start();
  cluster.settle();

  expect(leader.synced(waiter)).toEqual([2, 1]);
});

test("the concern `all` with everybody there is told both at once", () => {
  const cluster = SimCluster.ready({ writeConcern: "all" });
  const topic = cluster.topic("t");
  const leader = cluster.leader();
  const waiter = leader.send(topic, "x");
  cluster.until(() => leader.synced(waiter).length === 2);

  expect(leader.synced(waiter)).toEqual([2, 1]);
  expect(holders(cluster, leader.replica.raft.lastIndex)).toBe(3);
});

test("a number above the majority waits for so many voters", () => {
  const cluster = SimCluster.ready({ voters: 5, writeConcern: 4 });
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [first, second, ...others] = cluster.followers();
  stall(first, second);
  const waiter = leader.send(topic, "x");
  cluster.pass(1000);

  expect(others).toHaveLength(2);
  expect(leader.synced(waiter)).toEqual([2]);

  goOn(first);
  cluster.until(() => leader.synced(waiter).length === 2);

  expect(leader.synced(waiter)).toEqual([2, 1]);
  expect(holders(cluster, leader.replica.raft.lastIndex)).toBe(4);
});

test("a number up to the majority is the majority", () => {
  const cluster = SimCluster.ready({ voters: 5, writeConcern: 2 });
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [first, second, third] = cluster.followers();
  stall(first, second, third as SimMember);
  const waiter = leader.send(topic, "x");
  cluster.pass(1000);

  expect(holders(cluster, leader.replica.raft.lastIndex)).toBe(2);
  expect(leader.isAnswered(waiter)).toBe(false);

  goOn(first);

  expect(leader.stored(waiter).synced).toBe(1);
});

test("a leader that loses its leadership tells those who wait for more nodes what it knows", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [first] = cluster.followers();
  first.kill();
  const committed = leader.send(topic, "committed", { ack: "all" });
  leader.stored(committed);
  cluster.isolate(leader);
  const unknown = leader.send(topic, "unknown", { ack: "all" });
  cluster.until(() => !leader.replica.isLeading);

  expect(leader.synced(committed)).toEqual([2, 0]);
  expect(leader.refused(unknown)).toMatchObject({
    code: "timeout",
    fields: { outcome: "unknown" },
  });
});
