// A voter that has lost what it had: nothing that it says counts until the others have made it a voter again, whatever its
// earlier life had promised.

import { expect, test } from "bun:test";
import { SimCluster } from "../../support/sim-cluster.ts";

/** A cluster in which a write is on the leader and on one follower, which is then wiped; the other one lacks it. */
function promiseLost(): {
  readonly cluster: SimCluster;
  readonly topic: number;
} & Record<"leader" | "wiped" | "behind", SimCluster["nodes"][number]> {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [wiped, behind] = cluster.followers();
  behind.kill();
  leader.stored(leader.send(topic, "acknowledged"));
  cluster.until(() => wiped.texts(topic).length === 1);
  wiped.wipe();
  return { cluster, topic, leader, wiped, behind };
}

test("a wiped voter does not elect one that lacks what its earlier life had acknowledged", () => {
  const { cluster, topic, leader, wiped, behind } = promiseLost();
  leader.kill();
  wiped.start();
  behind.start();
  cluster.pass(20_000);

  // It knows the cluster by now, and has no say in it.
  expect(wiped.hasReplica).toBe(true);
  expect(wiped.replica.raft.isFenced).toBe(true);
  expect(behind.replica.raft.role).not.toBe("leader");

  leader.start();
  cluster.settle();

  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["acknowledged"]);
  expect(wiped.replica.raft.isFenced).toBe(false);
  expect(wiped.replica.membership.voters).toEqual(["n1", "n2", "n3"]);
});

test("a wiped voter commits nothing with its leader alone", () => {
  const { cluster, topic, leader, wiped, behind } = promiseLost();
  const { commitIndex } = leader.replica.raft;
  wiped.start();
  const waiter = leader.send(topic, "not yet");
  cluster.until(() => wiped.hasReplica);
  cluster.pass(10_000);

  expect(leader.replica.raft.commitIndex).toBe(commitIndex);
  expect(leader.refused(waiter).code).toBe("timeout");

  behind.start();
  cluster.settle();

  for (const node of cluster.nodes) expect(node.texts(topic)[0]).toBe("acknowledged");
});

test("a leader no longer counts what a wiped voter had acknowledged, once it meets its new life", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "x");
  cluster.settle();
  const leader = cluster.leader();
  const [wiped] = cluster.followers();
  const matchOf = (): number => leader.replica.raft.progress.get(wiped.id)?.matchIndex ?? -1;
  expect(matchOf()).toBe(leader.replica.raft.lastIndex);
  wiped.wipe();
  wiped.start();
  cluster.until(() => leader.hasSaid("member_returned_empty"));

  // Before the membership that says so is anything but proposed.
  expect(leader.replica.membership.voters).toContain(wiped.id);
  expect(matchOf()).toBe(0);
});

test("a wiped voter that all the others meet is a learner first, and a voter when it has what they have", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  for (let i = 0; i < 10; i += 1) cluster.produce(topic, `${i}`);
  const [wiped] = cluster.followers();
  const leader = cluster.leader();
  wiped.wipe();
  wiped.start();
  cluster.until(() => leader.replica.membership.learners.includes(wiped.id));

  expect(leader.replica.membership.voters).toHaveLength(2);
  cluster.until(() => wiped.hasReplica);
  const member = leader.replica.membership.members.find(({ nodeId }) => nodeId === wiped.id);
  expect(member).toMatchObject({ isReturning: true, incarnation: wiped.replica.self.incarnation });

  let texts = 0;
  cluster.until(() => {
    const isVoter = leader.replica.membership.voters.includes(wiped.id);
    if (!isVoter) texts = wiped.texts(topic).length;
    return isVoter;
  });
  cluster.settle();

  expect(texts).toBe(10);
  expect(wiped.replica.membership.voters).toEqual(["n1", "n2", "n3"]);
});

test("a voter that is wiped again and again before it has caught up votes again in the end", () => {
  const cluster = SimCluster.ready({ latencyMsMax: 10 });
  const topic = cluster.topic("t");
  for (let i = 0; i < 10; i += 1) cluster.produce(topic, `${i}`);
  const [wiped] = cluster.followers();
  for (let i = 0; i < 12; i += 1) {
    wiped.wipe();
    wiped.start();
    cluster.pass(i * 100);
  }
  cluster.settle();

  expect(wiped.replica.membership.voters).toEqual(["n1", "n2", "n3"]);
  expect(wiped.texts(topic)).toHaveLength(10);
});

test("what an earlier life of a node sent, and comes late, counts for nothing", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [wiped, other] = cluster.followers();
  const held: Parameters<typeof leader.transport.forge>[0][] = [];
  leader.transport.tap = (delivery) => {
    if (delivery.kind !== "message" || delivery.from.nodeId !== wiped.id) return delivery;
    held.push(delivery);
    return undefined;
  };
  cluster.produce(topic, "x");
  cluster.until(() => held.length > 3);
  leader.transport.tap = (delivery) => delivery;
  wiped.wipe();
  wiped.start();
  cluster.until(() => leader.replica.membership.learners.includes(wiped.id));
  other.disk.isStalled = true;
  const { commitIndex } = leader.replica.raft;
  leader.send(topic, "y");
  for (const delivery of held) leader.transport.forge(delivery);
  cluster.pass(300);

  expect(leader.replica.raft.commitIndex).toBe(commitIndex);
  other.disk.isStalled = false;
  cluster.settle();
  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["x", "y"]);
});

test("nodes that are wiped one after the other leave everything with the others each time", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  for (const [i, node] of [...cluster.nodes, ...cluster.nodes].entries()) {
    cluster.produce(topic, `${i}`, { idempotencyKey: `key ${i}` });
    cluster.settle();
    node.wipe();
    cluster.produce(topic, `without ${node.id}`);
    node.start();
    cluster.settle();
  }
  const hash = cluster.leader().broker.stateHash();

  for (const node of cluster.nodes) {
    expect(node.texts(topic)).toHaveLength(12);
    expect(node.broker.stateHash()).toEqual(hash);
    expect(node.replica.membership.voters).toEqual(["n1", "n2", "n3"]);
  }
});
