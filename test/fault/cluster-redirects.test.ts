// Where writes go: a node that does not lead stores nothing, whatever the URL looks like, and says where to go instead.

import { expect, test } from "bun:test";
import { makeTopic, producePath, send, sendOn, valuesOf } from "../support/cluster-client.ts";
import { startCluster } from "../support/cluster-process.ts";

const TEST_MS_MAX = 60_000;
const TOPIC = "redirects";

/** Every route that changes something, with and without a query. */
const WRITES: readonly (readonly [method: "POST" | "DELETE", path: string, body: unknown])[] = [
  ["POST", `/broker/topics/${TOPIC}/produce`, "value"],
  ["POST", `/broker/topics/${TOPIC}/produce?partition=0`, "value"],
  [
    "POST",
    `/broker/topics/${TOPIC}/produce?partition=0&idempotency_key=a%20b%2Fc&timeout_ms=500`,
    "value",
  ],
  ["POST", `/broker/topics/${TOPIC}/produce-ndjson?partition=0`, "one\ntwo"],
  ["POST", "/broker/topics/none/produce?partition=0", "value"],
  ["POST", "/broker/topics", { name: "new", partitions: 1 }],
  ["POST", "/broker/topics?a=b", { name: "new", partitions: 1 }],
  ["POST", "/broker/commit", { topic: TOPIC, group: "g", partition: 0, offset: 0 }],
  ["POST", "/broker/commit?a=b", { topic: TOPIC, group: "g", partition: 0, offset: 0 }],
  ["POST", "/broker/retention", { topic: TOPIC, ttl_ms: 1000 }],
  ["POST", "/broker/delete-before", { topic: TOPIC, partition: 0, before_offset: 1 }],
  ["DELETE", `/broker/topics/${TOPIC}`, undefined],
  ["POST", "/ha/membership/remove?a=b", { node_id: "node1" }],
];

test(
  "a follower sends every write to the leader, with its query, and stores nothing of it",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    const leader = await cluster.leader();
    const before = await cluster.same();

    for (const follower of await cluster.followers())
      for (const [method, path, body] of WRITES) {
        const reply = await send(follower, method, path, body);
        const location = `${leader.url}${path}`;
        expect({ path, status: reply.status, location: reply.headers.get("location") }).toEqual({
          path,
          status: 307,
          location,
        });
        expect(reply.headers.get("retry-after")).toBe("1");
        expect(reply.fields).toMatchObject({
          ok: false,
          error: "redirect_to_leader",
          leader_url: leader.url,
          redirect: { status: 307, location },
        });
      }
    expect(await cluster.same()).toEqual(before);

    const [follower] = await cluster.followers();
    if (follower === undefined) throw new Error("Nobody follows");
    const path = producePath(TOPIC, { key: "a b/c&d=?" });
    expect((await sendOn(cluster, follower, path, "value")).fields).toMatchObject({ offset: 0 });
    expect((await sendOn(cluster, follower, path, "value")).fields).toMatchObject({
      duplicate: true,
    });
    await cluster.same();
    for (const node of cluster.nodes) expect(await valuesOf(node, TOPIC)).toEqual(["value"]);
  },
  TEST_MS_MAX,
);

test(
  "a commit that was sent to a follower is on every node, and still there when the leader is gone",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    const [follower] = await cluster.followers();
    if (follower === undefined) throw new Error("Nobody follows");
    for (const value of ["a", "b", "c"]) await sendOn(cluster, follower, producePath(TOPIC), value);
    const group = { topic: TOPIC, group: "g", partition: 0, offset: 1 };
    expect((await sendOn(cluster, follower, "/broker/commit?x=1", group)).status).toBe(200);

    await (await cluster.leader()).kill("SIGKILL");
    await cluster.leader();

    for (const node of cluster.running) {
      const path = `/broker/consume/${TOPIC}/g/0?consistency=linearizable`;
      const { fields } = await send(node, "GET", path);
      expect(fields).toMatchObject({ committed_offset: 1, count: 1, next_offset: 3 });
    }
  },
  TEST_MS_MAX,
);

test(
  "nodes are found by name, and HTTP listens wherever it was told to",
  async () => {
    await using cluster = await startCluster({ hostName: "localhost" });
    await makeTopic(cluster, TOPIC);

    const [follower] = await cluster.followers();
    if (follower === undefined) throw new Error("Nobody follows");
    const reply = await sendOn(cluster, follower, producePath(TOPIC), "value");

    expect(reply.status).toBe(200);
    const members = await cluster.members(follower);
    for (const node of cluster.nodes) {
      expect(Number(new URL(node.url).port)).not.toBe(node.raftPort + 1);
      expect(members).toContainEqual(
        expect.objectContaining({
          node_id: node.id,
          advertise_addr: `localhost:${node.raftPort}`,
          http_addr: node.url,
        }),
      );
    }
  },
  TEST_MS_MAX,
);

test(
  "RF_HTTP_ADVERTISE is where redirects lead, and RF_HA_REDIRECT_STATUS how",
  async () => {
    await using cluster = await startCluster({
      env: { RF_HA_REDIRECT_STATUS: "308" },
      envOf: (node) => ({ RF_HTTP_ADVERTISE: `https://broker${node}.example:8443` }),
    });
    const leader = await cluster.leader();
    const [follower] = await cluster.followers();
    if (follower === undefined) throw new Error("Nobody follows");

    const reply = await send(follower, "POST", producePath(TOPIC), "value");

    expect(reply.status).toBe(308);
    expect(reply.headers.get("location")).toBe(
      `https://broker${leader.number}.example:8443${producePath(TOPIC)}`,
    );
  },
  TEST_MS_MAX,
);
