// Reads in a cluster: what a node may answer, when it may say that it is ready, and what it does without a leader.

import { expect, test } from "bun:test";
import type { Result } from "../../../src/lib/result.ts";
import { SimCluster } from "../../support/sim-cluster.ts";

test("a linearizable read at a follower waits until what was committed before it is applied there", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const [follower] = cluster.followers();
  follower.disk.isStalled = true;
  cluster.produce(topic, "x");
  const answers: Result<undefined, unknown>[] = [];
  follower.replica.reads.barrier(60_000, (answer) => answers.push(answer));
  cluster.pass(2000);

  expect(follower.texts(topic)).toEqual([]);
  expect(answers).toEqual([]);

  follower.disk.isStalled = false;
  cluster.until(() => answers.length > 0);

  expect(answers[0]?.ok).toBe(true);
  expect(follower.texts(topic)).toEqual(["x"]);
});

test("a linearizable read at a leader sees every write that was answered", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  for (let i = 0; i < 5; i += 1) {
    cluster.produce(topic, `${i}`);
    for (const node of cluster.nodes) {
      cluster.good(node.broker.readBarrier(5000));
      expect(node.texts(topic)).toHaveLength(i + 1);
    }
  }
});

test("a deposed leader answers no linearizable read", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const old = cluster.leader();
  cluster.isolate(old);
  // Asked while it still takes itself for the leader, and while another one takes writes.
  const early = old.broker.readBarrier(5000);
  cluster.until(() => cluster.live().some((node) => node !== old && node.replica.isLeading));
  const late = old.broker.readBarrier(3000);
  cluster.until(() => !old.replica.isLeading);
  cluster.produce(topic, "x");

  expect(cluster.refusal(early)).toBe("no_quorum");
  expect(cluster.refusal(late)).toBe("no_quorum");
});

test("without a leader a linearizable read ends with no_quorum when its time is up", () => {
  const cluster = SimCluster.ready();
  const [first, second] = cluster.followers();
  cluster.leader().kill();
  second.kill();
  cluster.pass(2000);
  const asked = cluster.nowMs;
  const answer = first.broker.readBarrier(700);

  expect(cluster.refusal(answer)).toBe("no_quorum");
  expect(cluster.nowMs - asked).toBeWithin(700, 800);
});

test("a linearizable read outlives a change of leaders", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "x");
  const [first] = cluster.followers();
  cluster.leader().kill();
  const answer = first.broker.readBarrier(10_000);

  cluster.good(answer);
  expect(first.texts(topic)).toEqual(["x"]);
});

test("a follower that starts again is not ready before it has applied what the leader had committed", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  const [follower] = cluster.followers();
  follower.kill();
  for (let i = 0; i < 20; i += 1) cluster.produce(topic, `${i}`);
  cluster.isolate(follower);
  follower.start();
  cluster.pass(5000);

  expect(follower.broker.status()).toMatchObject({ ready: false, reason: "no_leader" });

  follower.disk.isStalled = true;
  cluster.heal();
  cluster.pass(5000);

  expect(follower.broker.status()).toMatchObject({ ready: false, reason: "replaying" });

  follower.disk.isStalled = false;
  cluster.until(() => follower.replica.isReady);

  expect(follower.texts(topic)).toHaveLength(20);
});

test("a node that was ready goes on serving what is committed when the leader is gone", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  for (let i = 0; i < 5; i += 1) cluster.produce(topic, `${i}`);
  cluster.settle();
  const [first, second] = cluster.followers();
  cluster.leader().kill();
  second.kill();
  cluster.pass(10_000);

  expect(first.broker.status().ready).toBe(true);
  expect(first.texts(topic)).toEqual(["0", "1", "2", "3", "4"]);
  expect(first.replica.writeGate()?.code).toBe("not_leader");
});

test("nothing is seen at any node that is not committed", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [first, second] = cluster.followers();
  cluster.block(first, leader);
  cluster.block(second, leader);
  leader.send(topic, "x", { ack: "leader" });
  cluster.until(() => leader.replica.log.syncedIndex > leader.replica.raft.commitIndex);

  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual([]);
});

test("a reader that waits at a follower is woken by what is committed there", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const [follower] = cluster.followers();
  let woken = 0;
  follower.broker.onRecords(topic, 0, 0, () => {
    woken += 1;
    expect(follower.texts(topic)).toEqual(["x"]);
  });
  cluster.pass(500);

  expect(woken).toBe(0);
  cluster.produce(topic, "x");
  cluster.until(() => woken > 0);
  expect(woken).toBe(1);
});
