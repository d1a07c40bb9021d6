// Bytes that changed on a disk: a member of a cluster gets them back from the others by itself, and one that is alone refuses,
// since it has the only copy.

import { expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { fill, makeTopic, names, send, store, valuesOf } from "../support/cluster-client.ts";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster-process.ts";
import { garble, type StoredEntry, snapshot, storedWrites } from "../support/node-data.ts";
import { runCommand, SMALL_SEGMENTS, within } from "../support/node-process.ts";

const TEST_MS_MAX = 90_000;
const TOPIC = "damage";
/** Exit status of `log_corrupt`. */
const CORRUPT = 3;

/** Entries with records, and where they lie. */
const entriesOf = (node: ClusterNode): readonly (StoredEntry & { readonly path: string })[] =>
  storedWrites(node.dataDir).flatMap(({ path, entries }) =>
    entries.filter((entry) => entry.records > 0).map((entry) => ({ ...entry, path })),
  );

/** Turns one byte of the values of an entry over. */
function damage(entry: (StoredEntry & { readonly path: string }) | undefined): void {
  if (entry === undefined) throw new Error("There is no entry to damage");
  garble(entry.path, entry.position + entry.bytes - 100, 1);
}

/** A cluster with several sealed segments, and a follower that has stopped. */
async function withStoppedFollower(): Promise<{ cluster: Cluster; follower: ClusterNode }> {
  const cluster = await startCluster({ env: SMALL_SEGMENTS });
  try {
    await makeTopic(cluster, TOPIC);
    await fill(cluster, TOPIC, 4 << 20);
    await store(cluster, TOPIC, names("last", 5));
    await cluster.same();
    const [follower] = await cluster.followers();
    if (follower === undefined) throw new Error("Nobody follows");
    await follower.kill("SIGTERM");
    return { cluster, follower };
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

/** All nodes have the same records, and everyone votes. */
async function whole(cluster: Cluster): Promise<void> {
  await cluster.ready(cluster.nodes);
  const leader = await cluster.leader();
  await cluster.until("everybody votes", async () =>
    (await cluster.members(leader)).every((member) => member.is_voter),
  );
  await cluster.same();
  const expected = await valuesOf(leader, TOPIC);
  for (const node of cluster.nodes) expect(await valuesOf(node, TOPIC)).toEqual(expected);
}

test(
  "a byte turned over in a sealed segment of a follower: its entries are fetched from a peer while the node goes on",
  async () => {
    const { cluster, follower } = await withStoppedFollower();
    await using _ = cluster;
    const [first] = entriesOf(follower);
    damage(first);
    follower.start();
    await cluster.ready();

    // The read that finds it is refused, and nothing else is.
    const path = `/broker/consume/${TOPIC}/g/0?offset=0&limit=10`;
    await cluster.until("the damaged records are read", async () => {
      const reply = await send(follower, "GET", path);
      if (reply.status !== 200)
        expect(reply).toMatchObject({ status: 503, fields: { error: "not_ready" } });
      return reply.status === 200;
    });

    const found = await follower.line("segment_damaged");
    const repaired = await follower.line("segment_repaired");
    expect(found).toMatchObject({ room: "replica" });
    expect(repaired.entries).toBeGreaterThan(0);
    const metrics = await follower.haMetrics();
    expect(metrics.get("ayder_ha_repaired_entries_total")).toBe(repaired.entries as number);
    await whole(cluster);
    // What it was made anew from is what everybody has: the next start finds nothing.
    await follower.kill("SIGKILL");
    const inspected = await runCommand(["inspect", follower.dataDir]);
    expect(inspected.code, inspected.output).toBe(0);
    follower.start();
    await whole(cluster);
  },
  TEST_MS_MAX,
);

test(
  "a byte turned over in the newest segment of a follower: it has no vote until a peer has given it back",
  async () => {
    const { cluster, follower } = await withStoppedFollower();
    await using _ = cluster;
    // The first of the last five records: what lies behind it says that it was durable.
    const entry = entriesOf(follower).at(-5);
    damage(entry);

    follower.start();

    await follower.line("log_damaged");
    await follower.line("ready");
    await whole(cluster);
    const leader = await cluster.leader();
    const events = cluster.nodes.flatMap((node) => node.lines.map(({ event }) => event));
    expect(events).toContain("member_returned_empty");
    expect(events).toContain("member_votes_again");
    expect(follower.lines.some(({ event }) => event === "data_set_aside")).toBe(false);
    expect(leader.lines.some(({ event }) => event === "fatal")).toBe(false);
    // Said once: the next start has nothing to say.
    await follower.kill("SIGKILL");
    follower.start();
    await whole(cluster);
    expect(follower.newLines.some(({ event }) => event === "log_damaged")).toBe(false);
  },
  TEST_MS_MAX,
);

for (const [what, name, events] of [
  ["manifest", "manifest", ["data_set_aside"]],
  ["state", "state", ["data_set_aside"]],
  ["meta.json", "meta.json", ["data_set_aside"]],
] as const) {
  test(
    `a follower whose ${what} cannot be read sets its data aside and is filled like a new one`,
    async () => {
      const { cluster, follower } = await withStoppedFollower();
      await using _ = cluster;
      const path = `${follower.dataDir}/${name}`;
      garble(path, 0, Bun.file(path).size);

      follower.start();

      for (const event of events) await follower.line(event);
      await whole(cluster);
      expect(cluster.nodes.flatMap((node) => node.lines.map(({ event }) => event))).toContain(
        "member_returned_empty",
      );
    },
    TEST_MS_MAX,
  );
}

test(
  "where every node has had to set its data aside nobody founds a new cluster over it: the files brought back, it goes on",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    await store(cluster, TOPIC, names("kept", 5));
    await cluster.same();
    await Promise.all(cluster.nodes.map((node) => node.kill("SIGTERM")));
    for (const node of cluster.nodes) {
      cpSync(node.dataDir, `${node.dataDir}-copy`, { recursive: true });
      garble(`${node.dataDir}/state`, 0, Bun.file(`${node.dataDir}/state`).size);
      node.start();
    }

    for (const node of cluster.nodes) await node.line("waits_to_be_filled");
    for (const node of cluster.nodes) await node.line("peer_lost_data");
    // A start later it is still so.
    await cluster.node(0).kill("SIGKILL");
    cluster.node(0).start();
    await cluster.node(0).line("waits_to_be_filled");
    await cluster.node(0).line("peer_lost_data");
    for (const node of cluster.nodes) {
      expect(await send(node, "GET", "/ready")).toMatchObject({
        status: 503,
        fields: { reason: "waiting_for_peers" },
      });
      expect(node.newLines.some(({ event }) => event === "founds_cluster")).toBe(false);
    }

    for (const node of cluster.nodes.slice(0, 2)) {
      await node.kill("SIGTERM");
      node.wipe();
      cpSync(`${node.dataDir}-copy`, node.dataDir, { recursive: true });
      node.start();
    }
    await whole(cluster);
    expect(await valuesOf(cluster.node(2), TOPIC)).toEqual(names("kept", 5));
  },
  TEST_MS_MAX,
);

test(
  "a node that is a cluster by itself sets nothing aside: it ends as log_corrupt, and the next start refuses and names ayder inspect",
  async () => {
    await using cluster = await startCluster({ nodes: 1, env: SMALL_SEGMENTS });
    const node = cluster.node(0);
    await makeTopic(cluster, TOPIC);
    await fill(cluster, TOPIC, 3 << 20);
    await store(cluster, TOPIC, names("last", 5));
    await node.kill("SIGTERM");
    const entries = entriesOf(node);

    // In a sealed segment: found by the read.
    damage(entries[0]);
    node.start();
    await cluster.ready();
    await send(node, "GET", `/broker/consume/${TOPIC}/g/0?offset=0`).catch(() => undefined);
    expect(await within(TEST_MS_MAX, "the node ends", node.process.exited)).toMatchObject({
      code: CORRUPT,
    });
    const before = snapshot(node.dataDir);
    await refuses(node);
    expect(snapshot(node.dataDir)).toEqual(before);
  },
  TEST_MS_MAX,
);

test(
  "a node that is a cluster by itself and finds its newest records damaged refuses to start, and changes nothing",
  async () => {
    await using cluster = await startCluster({ nodes: 1 });
    const node = cluster.node(0);
    await makeTopic(cluster, TOPIC);
    await store(cluster, TOPIC, names("last", 20));
    await node.kill("SIGTERM");
    damage(entriesOf(node)[5]);
    const before = snapshot(node.dataDir);

    await refuses(node);

    expect(snapshot(node.dataDir)).toEqual(before);
  },
  TEST_MS_MAX,
);

async function refuses(node: ClusterNode): Promise<void> {
  node.start();
  expect(await within(TEST_MS_MAX, "the node refuses", node.process.exited)).toMatchObject({
    code: CORRUPT,
  });
  const fatal = node.newLines.find(({ event }) => event === "fatal");
  expect(fatal?.reason).toBe("log_corrupt");
  expect(fatal?.message).toContain("ayder inspect");
  expect(node.newLines.some(({ event }) => event === "data_set_aside")).toBe(false);
}
