// How many nodes must have a write on disk before it is answered, and what the answer says when they have not: nodes that stand
// still are alive for their peers and sync nothing.

import { expect, test } from "bun:test";
import {
  makeTopic,
  type Reply,
  send,
  valuesOf,
  type WriteOptions,
  write,
} from "../support/cluster-client.ts";
import { type ClusterNode, startCluster } from "../support/cluster-process.ts";

const TEST_MS_MAX = 60_000;
const TOPIC = "concerns";
/** Time that a write is given which cannot be had in time. */
const SHORT_MS = 400;
/** The leader alone was asked: a majority may have been as quick as it, or not. */
const QUICK = expect.stringMatching(/^200 (true|false)$/);

/** What a reply says of its write. */
const said = ({ status, fields }: Reply): string =>
  status === 200 ? `200 ${fields.synced}` : `${status} ${fields.error} ${fields.outcome}`;

/** One write with each `ack`, at once. */
async function withEach(leader: ClusterNode, timeoutMs: number, of: string): Promise<string[]> {
  const acks: readonly WriteOptions[] = [{ ack: "leader" }, { ack: "majority" }, { ack: "all" }];
  const replies = await Promise.all(
    acks.map((ack) =>
      write(leader, TOPIC, `${of} ${ack.ack}`, { ...ack, timeoutMs, key: `${of} ${ack.ack}` }),
    ),
  );
  return replies.map(said);
}

test(
  "ack says per request who must have synced: all nodes, a majority, the leader alone; a reply never says synced of less",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    const leader = await cluster.leader();
    const [first, second] = await cluster.followers();

    expect(await withEach(leader, 5000, "three")).toEqual([QUICK, "200 true", "200 true"]);

    first?.pause();
    expect(await withEach(leader, SHORT_MS, "two")).toEqual([QUICK, "200 true", "200 false"]);

    second?.pause();
    const unknown = "504 timeout unknown";
    expect(await withEach(leader, SHORT_MS, "one")).toEqual(["200 false", unknown, unknown]);

    first?.resume();
    second?.resume();
    await cluster.ready();
    // What was unknown is told by a repeat under its key, and stored once.
    const again = await cluster.until("the repeats are answered", async () => {
      const replies = await withEach(await cluster.leader(), 5000, "one");
      return replies.every((reply) => reply.startsWith("200")) ? replies : undefined;
    });
    expect(again).toHaveLength(3);
    await cluster.same();
    for (const node of cluster.nodes) {
      const values = await valuesOf(node, TOPIC);
      expect(new Set(values).size).toBe(values.length);
      expect(values.toSorted()).toEqual(
        ["three", "two", "one"]
          .flatMap((of) => [`${of} all`, `${of} leader`, `${of} majority`])
          .toSorted(),
      );
    }
  },
  TEST_MS_MAX,
);

const CONFIGURED = [
  {
    concern: { RF_HA_WRITE_CONCERN: "1" },
    nodes: 3,
    whole: QUICK,
    oneAway: QUICK,
    twoAway: "200 false",
  },
  {
    concern: { RF_HA_SYNC_MODE: "async" },
    nodes: 3,
    whole: QUICK,
    oneAway: QUICK,
    twoAway: "200 false",
  },
  { concern: {}, nodes: 3, whole: "200 true", oneAway: "200 true", twoAway: "504 timeout unknown" },
  {
    concern: { RF_HA_WRITE_CONCERN: "2" },
    nodes: 3,
    whole: "200 true",
    oneAway: "200 true",
    twoAway: "504 timeout unknown",
  },
  {
    concern: { RF_HA_WRITE_CONCERN: "3" },
    nodes: 3,
    whole: "200 true",
    oneAway: "200 false",
    twoAway: "504 timeout unknown",
  },
  {
    concern: { RF_HA_SYNC_MODE: "sync-all" },
    nodes: 3,
    whole: "200 true",
    oneAway: "200 false",
    twoAway: "504 timeout unknown",
  },
  // A number below the majority is the majority; one above it is that number.
  {
    concern: { RF_HA_WRITE_CONCERN: "2" },
    nodes: 5,
    whole: "200 true",
    oneAway: "200 true",
    twoAway: "200 true",
  },
  {
    concern: { RF_HA_WRITE_CONCERN: "4" },
    nodes: 5,
    whole: "200 true",
    oneAway: "200 true",
    twoAway: "200 false",
  },
] as const;

for (const { concern, nodes, whole, oneAway, twoAway } of CONFIGURED) {
  const [name = "nothing", value = ""] = Object.entries(concern)[0] ?? [];
  test(
    `${nodes} nodes, ${name} ${value}: with two of them stopped a write is answered ${twoAway}`,
    async () => {
      await using cluster = await startCluster({ nodes, env: concern });
      await makeTopic(cluster, TOPIC);
      const leader = await cluster.leader();
      const [first, second] = await cluster.followers();

      expect(said(await write(leader, TOPIC, "a"))).toEqual(whole);
      first?.pause();
      expect(said(await write(leader, TOPIC, "b", { timeoutMs: SHORT_MS }))).toEqual(oneAway);
      second?.pause();
      expect(said(await write(leader, TOPIC, "c", { timeoutMs: SHORT_MS }))).toBe(twoAway);
    },
    TEST_MS_MAX,
  );
}

test(
  "a reader sees a record once a majority has it, whatever its writer asked",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    const leader = await cluster.leader();
    for (const follower of await cluster.followers()) follower.pause();

    expect(said(await write(leader, TOPIC, "early", { ack: "leader" }))).toBe("200 false");
    const consume = `/broker/consume/${TOPIC}/g/0?offset=0`;
    expect((await send(leader, "GET", consume)).fields.messages).toEqual([]);

    for (const node of cluster.nodes) node.resume();
    // It was on the leader's disk alone. Whether it stays is for the nodes to say; all of them say the same.
    await cluster.ready();
    await cluster.leader();
    await cluster.same();
    const shown = await Promise.all(cluster.nodes.map((node) => valuesOf(node, TOPIC)));
    expect(new Set(shown.map(String)).size).toBe(1);
  },
  TEST_MS_MAX,
);

test(
  "with every follower gone no change says that it is stored: topics, rules, floors, commits, keys and transactions wait as records do",
  async () => {
    await using cluster = await startCluster({ env: { RF_WRITE_TIMEOUT_MS: String(SHORT_MS) } });
    await makeTopic(cluster, TOPIC);
    const leader = await cluster.leader();
    for (const value of ["a", "b"]) expect((await write(leader, TOPIC, value)).status).toBe(200);
    expect((await send(leader, "POST", "/kv/app/old", "value")).status).toBe(200);
    for (const follower of await cluster.followers()) follower.pause();

    const replies = await Promise.all([
      write(leader, TOPIC, "c"),
      send(leader, "POST", "/broker/commit", { topic: TOPIC, group: "g", partition: 0, offset: 1 }),
      send(leader, "POST", "/broker/topics", { name: "another", partitions: 1 }),
      send(leader, "POST", "/broker/retention", { topic: TOPIC, ttl_ms: 1000 }),
      send(leader, "POST", "/broker/delete-before", {
        topic: TOPIC,
        partition: 0,
        before_offset: 1,
      }),
      send(leader, "DELETE", `/broker/topics/${TOPIC}`),
      send(leader, "POST", "/kv/app/new", "value"),
      send(leader, "DELETE", "/kv/app/old"),
      send(leader, "POST", "/broker/txn", {
        produce: [{ topic: TOPIC, partition: 0, value: "d" }],
        kv: [{ op: "put", key: "app/both", value: "1" }],
      }),
    ]);

    for (const reply of replies)
      expect(said(reply)).toMatch(/^50[34] (timeout unknown|not_leader|no_quorum)/);
    expect(said(replies[0] as Reply)).toBe("504 timeout unknown");
    expect(said(replies[1] as Reply)).toBe("504 timeout unknown");
  },
  TEST_MS_MAX,
);
