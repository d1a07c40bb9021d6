// How a cluster begins: once, by all of its nodes, and never a second time by those who have forgotten it.

import { expect, test } from "bun:test";
import { META_FILE } from "../../../src/log/metadata.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

/** File primitives of joining a cluster, and some of the start that follows. */
const JOIN_PRIMITIVES = 24;

/** The clusters that nodes say they belong to; empty for a node that belongs to none. */
function clusterIds(nodes: readonly SimMember[]): string[] {
  const ids = nodes.map(({ disk }) => {
    const bytes = new Uint8Array(disk.files.size(META_FILE) ?? 0);
    disk.files.read(META_FILE, 0, bytes);
    const [text = "{}"] = new TextDecoder().decode(bytes).split("\n");
    return (JSON.parse(text) as { clusterId: string }).clusterId;
  });
  return [...new Set(ids)];
}

const foundings = (cluster: SimCluster): string[] =>
  cluster.nodes.flatMap(({ id, said }) =>
    said.filter(({ event }) => event === "founds_cluster").map(() => id),
  );

test("a cluster is founded once, when every node of the list is there, and by the one of highest priority", () => {
  const cluster = new SimCluster({ priorities: [100, 300, 200] });
  cluster.node(1).start();
  cluster.node(2).start();
  cluster.pass(10_000);

  expect(cluster.live()).toEqual([]);
  expect(clusterIds([cluster.node(1), cluster.node(2)])).toEqual([""]);

  cluster.node(3).start();
  cluster.settle();

  expect(foundings(cluster)).toEqual(["n2"]);
  expect(clusterIds(cluster.nodes)).toHaveLength(1);
  expect(cluster.node(1).replica.membership.voters).toEqual(["n1", "n2", "n3"]);
});

test("the node that is told to founds the cluster, whatever its priority", () => {
  const cluster = SimCluster.ready({ priorities: [100, 300, 200], bootstrap: "n3" });

  expect(foundings(cluster)).toEqual(["n3"]);
});

test("a bootstrap node that was wiped joins the cluster that the others have", () => {
  const cluster = SimCluster.ready({ bootstrap: "n1" });
  const topic = cluster.topic("t");
  cluster.produce(topic, "kept");
  const ids = clusterIds(cluster.nodes);
  cluster.node(1).wipe();
  cluster.node(1).start();
  cluster.settle();

  expect(foundings(cluster)).toEqual(["n1"]);
  expect(clusterIds(cluster.nodes)).toEqual(ids);
  expect(cluster.node(1).texts(topic)).toEqual(["kept"]);
});

test("a wiped bootstrap node that meets nobody founds nothing", () => {
  const cluster = SimCluster.ready({ bootstrap: "n1" });
  for (const node of cluster.nodes) node.kill();
  cluster.node(1).wipe();
  cluster.node(1).start();
  cluster.pass(10_000);

  expect(cluster.node(1).hasReplica).toBe(false);
  expect(foundings(cluster)).toEqual(["n1"]);

  cluster.node(2).start();
  cluster.node(3).start();
  cluster.settle();

  expect(foundings(cluster)).toEqual(["n1"]);
  expect(clusterIds(cluster.nodes)).toHaveLength(1);
});

test("an empty node never votes: two wiped nodes and one that is left elect nobody and found nothing", () => {
  const cluster = SimCluster.ready();
  const ids = clusterIds(cluster.nodes);
  for (const node of cluster.followers()) {
    node.wipe();
    node.start();
  }
  cluster.pass(20_000);

  expect(cluster.live().some(({ replica }) => replica.raft.role === "leader")).toBe(false);
  expect(foundings(cluster)).toHaveLength(1);
  expect(clusterIds(cluster.nodes)).toEqual(ids);
});

test("nodes of different lists do not form a cluster, and say so", () => {
  const cluster = new SimCluster();
  cluster.node(3).list = ["n2", "n3"];
  for (const node of cluster.nodes) node.start();
  cluster.pass(10_000);

  expect(cluster.live()).toEqual([]);
  expect(cluster.node(2).hasSaid("other_node_list")).toBe(true);
  expect(cluster.node(3).hasSaid("other_node_list")).toBe(true);
  expect(clusterIds(cluster.nodes)).toEqual([""]);
});

test("a power failure anywhere in the founding leaves one cluster, once the step is repeated", () => {
  for (const i of [1, 2]) {
    for (let primitives = 1; primitives <= JOIN_PRIMITIVES; primitives += 1) {
      // The first node founds, the second is told.
      const cluster = new SimCluster({ bootstrap: "n1" }, primitives);
      for (const node of cluster.nodes) node.start();
      cluster.node(i).disk.crashAfterPrimitives(primitives);
      cluster.until(() => cluster.crashed.length > 0);
      cluster.pass(1000);
      cluster.node(i).start();
      cluster.settle();

      expect(clusterIds(cluster.nodes)).toHaveLength(1);
      for (const { replica } of cluster.nodes)
        expect(replica.membership.voters).toEqual(["n1", "n2", "n3"]);
    }
  }
});
