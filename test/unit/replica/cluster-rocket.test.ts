// Rocket topics in a cluster: whoever leads has the records, and no offset is ever given twice, not even by two that both
// believe to lead.

import { expect, test } from "bun:test";
import { Prng } from "../../../src/lib/prng.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

const BLOCK = 65_536;

/** Makes a rocket topic and gives its id. */
const rocketTopic = (cluster: SimCluster, name: string): number =>
  cluster.good(
    cluster
      .leader()
      .broker.createTopic({ name, partitions: 1, mode: "rocket", ttlMs: 0, maxBytes: 0 }),
  ).topicId;

/** A batch of so many records of one byte. */
const batch = (count: number) => {
  const ranges = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) ranges.set([0, 1], 2 * i);
  return { ranges, count };
};

const range = (node: SimMember, topic: number) => node.broker.partition(topic, 0);

test("records lie with the leader alone; the next one begins behind the block, and the old one has nothing left", () => {
  const cluster = SimCluster.ready();
  const topic = rocketTopic(cluster, "t");
  const old = cluster.leader();
  for (let i = 0; i < 10; i++) cluster.produce(topic, `${i}`);
  cluster.settle();

  expect(range(old, topic)).toMatchObject({ startOffset: 0, nextOffset: 10 });
  expect(old.broker.leaderGate()).toBeUndefined();
  for (const follower of cluster.followers()) {
    expect(range(follower, topic)).toEqual({ startOffset: BLOCK, nextOffset: BLOCK, bytes: 0 });
    expect(follower.broker.leaderGate()?.code).toBe("redirect_to_leader");
  }

  const [to] = cluster.followers();
  cluster.good(old.broker.transferLeadership(to.id));
  cluster.until(() => to.replica.isLeading);

  expect(range(old, topic)).toEqual({ startOffset: BLOCK, nextOffset: BLOCK, bytes: 0 });
  expect(cluster.produce(topic, "later")).toBe(BLOCK);
  expect(range(to, topic)).toMatchObject({ startOffset: BLOCK, nextOffset: BLOCK + 1 });
  cluster.settle();
  const hashes = cluster.nodes.map((node) => node.broker.stateHash().hash);
  expect(new Set(hashes).size).toBe(1);
});

test("a leader that is cut off ends its service, and what it gave away meanwhile is given to nobody else", () => {
  const cluster = SimCluster.ready();
  const topic = rocketTopic(cluster, "t");
  const old = cluster.leader();
  cluster.produce(topic, "a");
  cluster.isolate(old);
  const waiter = old.send(topic, "b");
  expect(old.stored(waiter).firstOffset).toBe(1);

  const [one, other] = cluster.followers();
  cluster.until(() => one.replica.isLeading || other.replica.isLeading);
  cluster.until(() => !old.replica.isLeading);
  expect(range(old, topic).bytes).toBe(0);
  expect(old.broker.leaderGate()).toBeDefined();

  expect(cluster.produce(topic, "c")).toBe(BLOCK);
  cluster.heal();
  cluster.settle();
  expect(cluster.produce(topic, "d")).toBeGreaterThan(BLOCK);
});

test("a reader that waits at a leader is woken when it leads no more", () => {
  const cluster = SimCluster.ready();
  const topic = rocketTopic(cluster, "t");
  cluster.produce(topic, "a");
  const old = cluster.leader();
  let isWoken = false;
  old.broker.onRecords(topic, 0, 1, () => {
    isWoken = true;
  });
  const [to] = cluster.followers();

  cluster.good(old.broker.transferLeadership(to.id));

  cluster.until(() => isWoken);
});

test("no offset is given twice, whatever becomes of leaders, and each of them gives its own in order", () => {
  for (let seed = 1; seed <= 6; seed++) {
    const cluster = SimCluster.ready({}, seed);
    const topic = rocketTopic(cluster, "t");
    const prng = new Prng(seed);
    const given: { readonly first: number; readonly end: number }[] = [];
    const last = new Map<string, number>();
    for (let round = 0; round < 40; round++) {
      // Everybody that believes to lead is asked, also one that is cut off.
      for (const node of cluster.live()) {
        if (!node.replica.isLeading) continue;
        const count = 1 + prng.below(20_000);
        const waiter = node.send(topic, "x", batch(count));
        if (prng.below(2) === 0) cluster.pass(prng.below(20));
        if (!node.isAnswered(waiter) || node.isSentOn(waiter)) continue;
        const first = node.stored(waiter).firstOffset;
        const life = `${node.id} ${node.replica.raft.term}`;
        expect(first).toBeGreaterThanOrEqual(last.get(life) ?? 0);
        last.set(life, first + count);
        given.push({ first, end: first + count });
      }
      const victim = cluster.node(1 + prng.below(3));
      const fate = prng.below(8);
      if (fate === 0) cluster.isolate(victim);
      else if (fate === 1) cluster.heal();
      else if (fate === 2) {
        cluster.heal();
        if (prng.below(2) === 0) victim.restart();
        else {
          victim.powerLoss();
          victim.start();
        }
      }
      cluster.pass(prng.below(400));
    }
    given.sort((left, right) => left.first - right.first);
    for (const [i, { first }] of given.entries())
      expect(first, `seed ${seed}`).toBeGreaterThanOrEqual(given[i - 1]?.end ?? 0);
    expect(given.length).toBeGreaterThan(10);
  }
});
