// Who belongs to the cluster, as it is changed: one node at a time, in force only where it is saved.

import { expect, test } from "bun:test";
import { mayChangeConfiguration } from "../../../src/raft/mod.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

/** What is said of a node to add it. */
const requestOf = (node: SimMember): Parameters<SimMember["broker"]["addNode"]>[0] => ({
  nodeId: node.id,
  address: `${node.id}:7000`,
  httpUrl: `http://${node.id}`,
  priority: 100,
});

/** Three voters and a fourth node that waits to be asked. */
function withSpare(): { readonly cluster: SimCluster; readonly topic: number } {
  const cluster = SimCluster.ready({ spares: 1 });
  const topic = cluster.topic("t");
  for (let i = 0; i < 5; i += 1) cluster.produce(topic, `${i}`);
  cluster.node(4).start();
  cluster.pass(2000);
  return { cluster, topic };
}

const changeOf = (
  cluster: SimCluster,
  act: "add" | "promote" | "remove",
  node: SimMember,
): number => {
  const { broker } = cluster.leader();
  if (act === "add") return cluster.good(broker.addNode(requestOf(node))).index;
  const answer = act === "promote" ? broker.promoteNode(node.id) : broker.removeNode(node.id);
  return cluster.good(answer).index;
};

test("a node that nobody added belongs to nothing, and waits", () => {
  const { cluster } = withSpare();

  expect(cluster.node(4).hasReplica).toBe(false);
  expect(cluster.leader().replica.membership.voters).toEqual(["n1", "n2", "n3"]);
});

test("an added node listens and does not vote; a promoted one does", () => {
  const { cluster, topic } = withSpare();
  const spare = cluster.node(4);
  changeOf(cluster, "add", spare);
  cluster.settle();

  expect(spare.texts(topic)).toHaveLength(5);
  expect(spare.replica.membership).toMatchObject({
    voters: ["n1", "n2", "n3"],
    learners: ["n4"],
  });
  expect(spare.probe.cluster().role).toBe("learner");

  // Two of three voters are gone: a learner makes no majority.
  const [first, second] = cluster.followers();
  first.kill();
  second.kill();
  const leader = cluster.leader();
  const waiter = leader.send(topic, "x");
  expect(leader.refused(waiter).code).toBe("timeout");
  first.start();
  second.start();
  cluster.settle();

  changeOf(cluster, "promote", spare);
  cluster.settle();

  for (const { replica } of cluster.nodes)
    expect(replica.membership).toMatchObject({ voters: ["n1", "n2", "n3", "n4"], learners: [] });
  // Of four, three are a majority.
  const [, , third] = [...cluster.followers()];
  third?.kill();
  cluster.produce(topic, "y");
});

test("a learner that is not heard of is not made a voter, and may be once it has caught up", () => {
  const { cluster } = withSpare();
  const spare = cluster.node(4);
  spare.kill();
  changeOf(cluster, "add", spare);
  cluster.until(() => !cluster.leader().replica.isSavingMembership);

  expect(cluster.refusal(cluster.leader().broker.promoteNode("n4"))).toBe("not_ready");
  spare.start();
  cluster.settle();

  changeOf(cluster, "promote", spare);
  expect(cluster.leader().replica.membership.voters).toContain("n4");
});

test("a removed node is not waited for any more, and leads nobody", () => {
  const { cluster, topic } = withSpare();
  const [removed, other] = cluster.followers();
  changeOf(cluster, "remove", removed);
  other.disk.isStalled = true;
  const leader = cluster.leader();
  const waiter = leader.send(topic, "x");
  cluster.pass(500);

  // Of two voters, both are the majority.
  expect(leader.isAnswered(waiter)).toBe(false);
  other.disk.isStalled = false;
  leader.stored(waiter);
  cluster.pass(5000);
  expect(removed.replica.raft.role).toBe("follower");
  expect(leader.replica.isLeading).toBe(true);
});

test("a leader that is removed takes its removal to the others, and one of them leads", () => {
  const { cluster, topic } = withSpare();
  const old = cluster.leader();
  changeOf(cluster, "remove", old);
  cluster.until(() => !old.replica.isLeading);
  const leader = cluster.leader();

  expect(leader).not.toBe(old);
  expect(leader.replica.membership.voters).not.toContain(old.id);
  cluster.produce(topic, "x");
  cluster.pass(10_000);
  expect(leader.replica.isLeading).toBe(true);
  expect(old.replica.raft.role).toBe("follower");
});

test("one change at a time: another one is refused until the first is answered, and taken from then on", () => {
  const { cluster } = withSpare();
  const leader = cluster.leader();
  const [first] = cluster.followers();
  const added = leader.broker.addNode(requestOf(cluster.node(4)));
  const refused = leader.broker.removeNode(first.id);

  expect(cluster.refusal(refused)).toBe("change_in_progress");
  cluster.good(added);
  // The leader still saves the first, and notes then that the new node has come: nobody is asked to come again for that.
  cluster.good(leader.broker.removeNode(first.id));
  expect(leader.replica.membership.voters).not.toContain(first.id);
});

test("a change that waits for one of the leader's own ends with the lead", () => {
  const { cluster } = withSpare();
  const old = cluster.leader();
  changeOf(cluster, "add", cluster.node(4));
  // It notes that the new node has come, which nobody will confirm.
  cluster.until(() => !old.replica.isSavingMembership && !mayChangeConfiguration(old.replica.raft));
  cluster.isolate(old);
  const removed = old.broker.removeNode(cluster.followers()[0].id);
  cluster.until(() => !old.replica.isLeading);

  expect(["not_leader", "not_ready"]).toContain(cluster.refusal(removed));
  cluster.heal();
  cluster.settle();
  // It is not done behind the back of whoever was told so.
  expect(cluster.leader().replica.membership.voters).toEqual(["n1", "n2", "n3"]);
  changeOf(cluster, "remove", cluster.followers()[0]);
});

test("whoever is added again keeps address, priority and vote; another address or priority is refused by name", () => {
  const { cluster } = withSpare();
  const leader = cluster.leader();
  const spare = cluster.node(4);
  changeOf(cluster, "add", spare);
  const before = leader.replica.membership;
  const voter = before.members.find(({ nodeId }) => nodeId === "n2");
  const { nodeId, address } = voter ?? { nodeId: "", address: "" };

  const again = leader.broker.addNode({ nodeId, address });
  expect(cluster.good(again)).toMatchObject({ isVoter: true });
  expect(cluster.good(leader.broker.addNode(requestOf(spare)))).toMatchObject({ isVoter: false });
  for (const other of [
    { nodeId, address: "elsewhere:1" },
    { nodeId, address, priority: 7 },
    // A new name at somebody's address: one of the two would never be reached.
    { nodeId: "n9", address },
  ])
    expect(cluster.refusal(leader.broker.addNode(other))).toBe("node_exists");
  expect(leader.replica.membership.members.filter(({ nodeId: id }) => id !== "n4")).toEqual(
    before.members.filter(({ nodeId: id }) => id !== "n4"),
  );
});

test("a node that knows that it was removed is not ready and has no leader, until it is added again", () => {
  const { cluster, topic } = withSpare();
  const [removed] = cluster.followers();
  changeOf(cluster, "remove", removed);
  cluster.until(() => removed.replica.raft.isFenced);

  expect(removed.broker.status()).toMatchObject({ ready: false, reason: "removed" });
  expect(removed.probe.cluster()).toMatchObject({
    isReady: false,
    hasFreshQuorum: false,
    leaderId: "",
    leaderUrl: "",
  });
  cluster.pass(20_000);
  expect(removed.broker.status().ready).toBe(false);

  changeOf(cluster, "add", removed);
  cluster.produce(topic, "x");
  cluster.until(() => removed.broker.status().ready);
  expect(removed.texts(topic)).toHaveLength(6);
});

test("a leader that was removed is not ready either", () => {
  const { cluster } = withSpare();
  const old = cluster.leader();
  changeOf(cluster, "remove", old);
  cluster.until(() => !old.replica.isLeading);

  expect(old.broker.status()).toMatchObject({ ready: false, reason: "removed" });
});

test("what makes no sense is refused: unknown nodes, the last voter, names and addresses that are none", () => {
  const cluster = SimCluster.ready();
  const { broker } = cluster.leader();
  const request = { nodeId: "n9", address: "n9:1", httpUrl: "", priority: 100 };

  expect(cluster.refusal(broker.promoteNode("n9"))).toBe("not_found");
  expect(cluster.refusal(broker.removeNode("n9"))).toBe("not_found");
  expect(cluster.refusal(broker.addNode({ ...request, nodeId: "a b" }))).toBe("invalid_parameter");
  expect(cluster.refusal(broker.addNode({ ...request, address: "n9" }))).toBe("invalid_parameter");
  for (let i = 0; i < 2; i += 1) {
    const [other] = cluster
      .followers()
      .filter(({ id }) => cluster.leader().replica.membership.voters.includes(id));
    changeOf(cluster, "remove", other as SimMember);
    cluster.until(() => !cluster.leader().replica.isSavingMembership);
  }
  const last = cluster.leader();
  expect(cluster.refusal(last.broker.removeNode(last.id))).toBe("invalid_parameter");
});

test("a membership survives the end of all nodes", () => {
  const { cluster, topic } = withSpare();
  const [removed] = cluster.followers();
  changeOf(cluster, "add", cluster.node(4));
  cluster.settle();
  changeOf(cluster, "promote", cluster.node(4));
  cluster.settle();
  changeOf(cluster, "remove", removed);
  cluster.until(() => !cluster.leader().replica.isSavingMembership);
  cluster.pass(500);
  const voters = ["n1", "n2", "n3", "n4"].filter((id) => id !== removed.id);
  removed.kill();
  const rest = cluster.nodes.filter((node) => node !== removed);
  for (const node of rest) node.powerLoss();
  for (const node of rest) node.start();
  cluster.settle();

  for (const { replica } of rest) {
    expect(replica.membership.voters).toEqual(voters);
    expect(replica.raft.configuration.voters).toEqual(voters);
  }
  cluster.produce(topic, "x");
});

test("a membership counts only where it is saved: a node that ends in between takes it on when it starts", () => {
  const { cluster } = withSpare();
  const [node] = cluster.followers();
  cluster
    .leader()
    .broker.addNode(requestOf(cluster.node(4)))
    .catch(() => undefined);
  cluster.until(() => node.replica.isSavingMembership);

  expect(node.replica.membership.learners).toEqual(["n4"]);
  expect(node.replica.raft.configuration.learners).toEqual([]);

  node.powerLoss();
  node.start();
  cluster.settle();

  expect(node.replica.raft.configuration.learners).toEqual(["n4"]);
});

test("a power failure anywhere in a change leaves a cluster that takes writes, all of the same membership", () => {
  for (let primitives = 1; primitives <= 8; primitives += 1) {
    for (const who of ["leader", "follower"] as const) {
      const { cluster, topic } = withSpare();
      const node = who === "leader" ? cluster.leader() : cluster.followers()[0];
      cluster
        .leader()
        .broker.addNode(requestOf(cluster.node(4)))
        .catch(() => undefined);
      node.disk.crashAfterPrimitives(primitives);
      cluster.pass(1000);
      if (!node.isUp) node.start();
      cluster.produce(topic, "x");
      const { replica } = cluster.leader();
      cluster.until(() =>
        cluster.founders.every(
          ({ replica: { appliedIndex, isSavingMembership } }) =>
            !isSavingMembership && appliedIndex === replica.raft.lastIndex,
        ),
      );

      for (const founder of cluster.founders) {
        expect(founder.replica.raft.configuration).toEqual(replica.raft.configuration);
        expect(founder.texts(topic)).toHaveLength(6);
      }
    }
  }
});
