// A node without room on its disk, whatever its priority: the lead is of no use to it, and it is not given it.

import { expect, test } from "bun:test";
import { SimCluster } from "../../support/sim-cluster.ts";

/** The disk of a node has no room for another segment. */
const FULL_BYTES = 1 << 12;
/** Time for several offers by priority. */
const OFFERS_MS = 60_000;

test("a node of higher priority whose disk is full does not get the lead back before it has room", () => {
  const cluster = SimCluster.ready({ priorities: [200, 100, 100] });
  const full = cluster.node(1);
  cluster.until(() => full.replica.isLeading, 20_000);
  cluster.pass(15_000);
  full.disk.files.freeBytesLimit = FULL_BYTES;
  cluster.until(() => cluster.leader() !== full, 30_000);
  const topic = cluster.topic("t");

  const end = cluster.nowMs + OFFERS_MS;
  for (let i = 0; cluster.nowMs < end; i += 1) {
    cluster.pass(1000);
    expect(full.replica.isLeading).toBe(false);
    cluster.produce(topic, `${i}`);
  }

  full.disk.files.freeBytesLimit = 2 ** 26;
  cluster.until(() => full.replica.isLeading, 30_000);
});

test("where every disk is full the lead stays where it is, and comes to who has room again", () => {
  const cluster = SimCluster.ready();
  cluster.pass(15_000);
  for (const node of cluster.nodes) node.disk.files.freeBytesLimit = FULL_BYTES;
  cluster.until(() => cluster.nodes.every((node) => node.replica.log.isFull), 10_000);
  cluster.pass(30_000);
  const leader = cluster.leader();
  const { term } = leader.replica.raft;
  cluster.pass(OFFERS_MS);
  expect(leader.replica.raft).toMatchObject({ term, role: "leader" });

  const [other] = cluster.followers();
  other.disk.files.freeBytesLimit = 2 ** 26;
  cluster.until(() => other.replica.isLeading, 30_000);
});
