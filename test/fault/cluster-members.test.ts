// Nodes that are added, promoted and removed while clients write, one at a time, as the documentation tells operators to do it.

import { expect, test } from "bun:test";
import { Prng } from "../../src/lib/prng.ts";
import { fill, makeTopic, names, send, store, valuesOf, write } from "../support/cluster-client.ts";
import { ClusterLoad } from "../support/cluster-load.ts";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster-process.ts";
import { SMALL_SEGMENTS, startNode } from "../support/node-process.ts";

const TEST_MS_MAX = 90_000;
const TOPIC = "members";

const added = (node: ClusterNode) => ({
  node_id: node.id,
  advertise_addr: node.raftAddress,
  http_addr: node.url,
  priority: 100,
});

/** Waits until a learner has everything, by the metric that the documentation names. */
async function caughtUp(cluster: Cluster, node: ClusterNode): Promise<void> {
  const leader = await cluster.leader();
  const there = (await leader.haMetrics()).get("ayder_ha_commit_index") ?? 0;
  await cluster.until(`${node.id} has caught up`, async () => {
    // Few entries behind is not enough: a short log is that from its first entry on, before the node has begun to serve.
    const applied = (await node.haMetrics()).get("ayder_ha_applied_index") ?? 0;
    const metrics = await leader.haMetrics();
    const lag = metrics.get(`ayder_ha_peer_lag_entries{peer="${node.id}"}`);
    const isReplicating = metrics.get(`ayder_ha_peer_state{peer="${node.id}",state="replicate"}`);
    return applied >= there && lag !== undefined && lag < 100 && isReplicating === 1;
  });
}

const roles = async (
  cluster: Cluster,
  by: ClusterNode,
): Promise<Readonly<Record<string, string>>> =>
  Object.fromEntries(
    (await cluster.members(by)).map((member) => [
      member.node_id,
      member.is_voter ? "voter" : member.is_learner ? "learner" : "neither",
    ]),
  );

test(
  "a fourth node joins as a learner, is filled, votes once it is promoted; another one goes; clients lose nothing",
  async () => {
    await using cluster = await startCluster({ spares: 1, env: SMALL_SEGMENTS });
    const random = new Prng(5);
    await using load = new ClusterLoad(cluster, {
      topic: TOPIC,
      partitions: 2,
      clients: 6,
      random,
    });
    await load.createTopic();
    await makeTopic(cluster, "bulk");
    await fill(cluster, "bulk", 3 << 20);
    load.start();
    const fourth = cluster.node(3);
    const leader = await cluster.leader();
    const [leaving] = await cluster.followers();
    if (leaving === undefined) throw new Error("Nobody follows");

    fourth.start();
    await fourth.line("waiting_for_peers");
    const add = await cluster.change("membership/add", added(fourth));
    expect(add).toMatchObject({
      status: 200,
      fields: { ok: true, node_id: "node4", role: "learner" },
    });
    // Again is the same; what belongs to nobody is nobody's.
    expect((await cluster.change("membership/add", added(fourth))).fields).toMatchObject({
      ok: true,
    });
    expect(await cluster.change("membership/promote", { node_id: "node9" })).toMatchObject({
      status: 404,
      fields: { error: "not_found" },
    });
    await caughtUp(cluster, fourth);
    expect(await roles(cluster, leader)).toMatchObject({ node4: "learner" });
    expect((await fourth.haMetrics()).get("ramforge_ha_role")).toBe(3);
    const promote = await cluster.change("membership/promote", { node_id: fourth.id });
    expect(promote.fields).toMatchObject({ ok: true, node_id: "node4", role: "voter" });
    const remove = await cluster.change("membership/remove", { node_id: leaving.id });
    expect(remove.fields).toMatchObject({ ok: true, node_id: leaving.id, removed: true });
    expect(await cluster.change("membership/add", added(fourth))).toMatchObject({
      status: 200,
      fields: { role: "voter" },
    });
    expect(
      await cluster.change("membership/add", { ...added(fourth), advertise_addr: "10.0.0.9:7000" }),
    ).toMatchObject({ status: 409, fields: { error: "node_exists", node_id: "node4" } });
    await cluster.until("the removed node is not ready", async () => {
      const reply = await leaving.ask("/ready");
      return (
        reply.status === 503 && ((await reply.json()) as { reason: string }).reason === "removed"
      );
    });
    const removed = await leaving.haMetrics();
    expect(removed.get("ramforge_ha_fresh_quorum")).toBe(0);
    expect(removed.get("ayder_ha_has_leader")).toBe(0);
    await leaving.kill("SIGTERM");

    await load.more(100);
    await load.stop();
    const faults = await load.check(true);
    expect(faults).toEqual([]);
    expect(await roles(cluster, fourth)).toEqual(
      Object.fromEntries(
        cluster.nodes.filter((node) => node !== leaving).map(({ id }) => [id, "voter"]),
      ),
    );
    // The new one counts: with it and one other, another may go.
    const third = cluster.nodes.find((node) => ![leader, leaving, fourth].includes(node));
    await third?.kill("SIGKILL");
    expect((await write(await cluster.leader(), "bulk", "x")).fields).toMatchObject({
      synced: true,
    });
  },
  TEST_MS_MAX,
);

test(
  "a leader that is removed hands over and takes no more writes",
  async () => {
    await using cluster = await startCluster({ nodes: 5 });
    await makeTopic(cluster, TOPIC);
    const leader = await cluster.leader();

    const removed = await cluster.change("membership/remove", { node_id: leader.id });

    expect([200, 504]).toContain(removed.status);
    const others = cluster.nodes.filter((node) => node !== leader);
    const next = await cluster.leader(others);
    expect((await write(next, TOPIC, "x")).status).toBe(200);
    expect(Object.keys(await roles(cluster, next))).not.toContain(leader.id);
    expect((await write(leader, TOPIC, "y", { timeoutMs: 500 })).status).not.toBe(200);
  },
  TEST_MS_MAX,
);

test(
  "one change at a time: a second one while the first waits for a majority is refused by name",
  async () => {
    await using cluster = await startCluster({ spares: 2, env: { RF_WRITE_TIMEOUT_MS: "1000" } });
    const leader = await cluster.leader();
    const [first, second] = await cluster.followers();
    first?.pause();
    second?.pause();

    const [one, other] = await Promise.all(
      [3, 4].map((number) =>
        send(leader, "POST", "/ha/membership/add", added(cluster.node(number))),
      ),
    );

    expect([one, other].map((reply) => reply?.fields.error).toSorted()).toEqual([
      "change_in_progress",
      "timeout",
    ]);
  },
  TEST_MS_MAX,
);

test(
  "a node alone that is started with others in its list stays what it was, and takes them one by one",
  async () => {
    await using cluster = await startCluster({ nodes: 1, spares: 2 });
    const first = cluster.node(0);
    await first.kill("SIGTERM");
    first.wipe();
    {
      // Its life before, without any word of clusters.
      await using alone = await startNode({ dataDir: first.dataDir });
      await fetch(`${alone.url}/broker/topics`, {
        method: "POST",
        headers: { authorization: "Bearer dev" },
        body: JSON.stringify({ name: TOPIC, partitions: 1 }),
      });
      for (const value of names("alone", 5)) {
        const url = `${alone.url}/broker/topics/${TOPIC}/produce?partition=0`;
        const headers = { authorization: "Bearer dev" };
        expect((await fetch(url, { method: "POST", headers, body: value })).status).toBe(200);
      }
      await alone.kill("SIGTERM");
    }
    const list = cluster.nodes.map((node) => `${node.id}:${node.raftAddress}:100`).join(",");

    for (const node of cluster.nodes) node.start({ RF_HA_NODES: list });
    await cluster.ready([first]);
    expect(await roles(cluster, first)).toEqual({ node1: "voter" });
    expect((await write(first, TOPIC, "still alone")).fields).toMatchObject({ synced: true });
    for (const node of cluster.nodes.slice(1)) {
      // It may still be starting: that it listens is what is waited for.
      await cluster.until(`${node.id} says that it waits`, async () => {
        const reply = await node.ask("/ready").catch(() => undefined);
        return reply?.status === 503;
      });
      expect((await cluster.change("membership/add", added(node))).status).toBe(200);
      await caughtUp(cluster, node);
      expect((await cluster.change("membership/promote", { node_id: node.id })).status).toBe(200);
    }

    await cluster.ready();
    await cluster.same();
    expect(await roles(cluster, first)).toEqual({ node1: "voter", node2: "voter", node3: "voter" });
    await first.kill("SIGKILL");
    await store(cluster, TOPIC, ["without the first"]);
    for (const node of cluster.running)
      expect(await valuesOf(node, TOPIC)).toEqual([
        ...names("alone", 5),
        "still alone",
        "without the first",
      ]);
  },
  TEST_MS_MAX,
);
