// Who is no member: whatever is sent to a node's port for its peers, nothing of it gets into the log, and the log of the node
// says who was turned away and why.

import { expect, test } from "bun:test";
import { ClusterTransport, type ClusterTransportOptions } from "../../src/cluster/mod.ts";
import { createLogger } from "../../src/lib/logger.ts";
import { encodeRaft } from "../../src/replica/peer-codec.ts";
import { makeAuthority } from "../support/certificates.ts";
import { makeTopic, send, store, valuesOf } from "../support/cluster-client.ts";
import {
  type Cluster,
  type ClusterNode,
  makeCluster,
  startCluster,
} from "../support/cluster-process.ts";
import { waitUntil } from "../support/node-process.ts";

const TEST_MS_MAX = 60_000;
const TOPIC = "strangers";
const SECRET = "the secret that the nodes have";

/** Connects as if it were `as`, with what it has to prove it, and tells the node of a later term and of entries. */
function pretend(
  node: ClusterNode,
  as: ClusterNode,
  proof: Pick<ClusterTransportOptions, "secret" | "tls">,
): AsyncDisposable {
  const transport = new ClusterTransport({
    host: "127.0.0.1",
    port: 0,
    ...proof,
    logger: createLogger({ level: "error", room: "test", write: () => undefined, now: Date.now }),
  });
  const clusterId = node.lines.find((line) => line.cluster_id !== undefined)?.cluster_id ?? "";
  transport.introduce({ nodeId: as.id, clusterId, incarnation: "1".repeat(32), httpUrl: as.url });
  transport.setPeers([{ nodeId: node.id, host: node.raftHost, port: node.raftPort }]);
  const from = as.id;
  const to = node.id;
  const claim = { kind: "heartbeat", from, to, term: 1000, commitIndex: 1000, round: 1 } as const;
  const timer = setInterval(() => {
    transport.send(node.id, "urgent", [encodeRaft(claim, Date.now())]);
  }, 10);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await transport.close();
    },
  };
}

/** Writes raw bytes to the port for peers, and gives what came back before it was closed. */
async function raw(node: ClusterNode, bytes: Uint8Array): Promise<void> {
  let isClosed = false;
  const socket = await Bun.connect({
    hostname: node.raftHost,
    port: node.raftPort,
    socket: {
      data: () => undefined,
      close: () => {
        isClosed = true;
      },
      error: () => undefined,
    },
  });
  socket.write(bytes);
  await waitUntil("the stranger is turned away", () => isClosed, 10_000);
}

/** 200 bytes that look like a frame: a length, a checksum that holds, and something behind. */
function forgedFrame(): Uint8Array {
  const bytes = new Uint8Array(200);
  crypto.getRandomValues(bytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length - 8, true);
  view.setUint32(4, Bun.hash.crc32(bytes.subarray(8)), true);
  return bytes;
}

/** Nothing has changed, and the cluster goes on. */
async function untouched(cluster: Cluster, hash: unknown, term: number | undefined): Promise<void> {
  expect(await cluster.same()).toEqual(hash as never);
  const leader = await cluster.leader();
  expect((await leader.haMetrics()).get("ayder_ha_term")).toBe(term as number);
  await store(cluster, TOPIC, ["after"]);
}

test.each([
  { name: "a secret", isTls: false },
  { name: "TLS", isTls: true },
])(
  "$name: forged frames, HTTP requests and false members change nothing and are named in the log",
  async ({ isTls }) => {
    await using cluster = await startCluster({
      isTls,
      env: isTls ? {} : { RF_HA_SECRET: SECRET },
    });
    await makeTopic(cluster, TOPIC);
    await store(cluster, TOPIC, ["before"]);
    const hash = await cluster.same();
    const leader = await cluster.leader();
    const term = (await leader.haMetrics()).get("ayder_ha_term");
    const [absent] = await cluster.followers();
    if (absent === undefined) throw new Error("Nobody follows");
    await absent.kill("SIGKILL");

    for (const node of cluster.running) {
      await raw(node, forgedFrame());
      await raw(node, Buffer.from("POST /broker/topics HTTP/1.1\r\nhost: a\r\n\r\n{}"));
      expect(await node.line("peer_refused")).toMatchObject({ peer: "stranger" });
      const others = await makeAuthority([absent.id]);
      // One that knows the ids of all, but not the secret; one with a certificate of another authority.
      await using _ = pretend(node, absent, {
        tls: isTls ? others.pathsOf(absent.id) : undefined,
        secret: isTls ? undefined : "a secret that they do not have",
      });
      const reason = isTls ? "wrong_certificate" : "wrong_secret";
      await cluster.until("it is turned away", () =>
        node.newLines.some((line) => line.event === "peer_refused" && line.reason === reason),
      );
      others.clean();
    }

    absent.start();
    await cluster.ready();
    await untouched(cluster, hash, term);
    // Local reads of a follower may be a heartbeat behind.
    await cluster.same();
    for (const node of cluster.nodes)
      expect(await valuesOf(node, TOPIC)).toEqual(["before", "after"]);
  },
  TEST_MS_MAX,
);

// Where there are certificates, secrets prove nothing and are not asked for: these are without, whatever the other tests have.
test(
  "a node with another secret, and one of another cluster, are never ready and disturb nobody",
  async () => {
    await using cluster = await startCluster({ isTls: false, env: { RF_HA_SECRET: SECRET } });
    await makeTopic(cluster, TOPIC);
    const [node] = await cluster.followers();
    if (node === undefined) throw new Error("Nobody follows");
    const leader = await cluster.leader();
    await node.kill("SIGTERM");

    node.start({ RF_HA_SECRET: "another secret altogether" });
    expect(await node.line("refused_by_peer")).toMatchObject({ reason: "wrong_secret" });
    expect(await node.line("peer_refused")).toMatchObject({ reason: "wrong_secret" });
    expect(await send(node, "GET", "/ready")).toMatchObject({
      status: 503,
      fields: { reason: "no_leader" },
    });
    expect((await leader.haMetrics()).get(`ayder_ha_peer_connected{peer="${node.id}"}`)).toBe(0);
    await store(cluster, TOPIC, ["without it"]);
    await node.kill("SIGTERM");
    node.start();
    await cluster.ready();

    await using other = await startCluster({ isTls: false, env: { RF_HA_SECRET: SECRET } });
    const twin = other.node(node.number);
    await twin.kill("SIGTERM");
    await node.kill("SIGTERM");
    node.wipe();
    Bun.spawnSync(["cp", "-r", `${twin.dataDir}/.`, node.dataDir]);
    node.start();
    await node.line("other_cluster");
    await cluster.until("the others have said so", () =>
      leader.lines.some(({ event, peer }) => event === "other_cluster" && peer === node.id),
    );
    expect((await send(node, "GET", "/ready")).status).toBe(503);
    await store(cluster, TOPIC, ["still without it"]);
  },
  TEST_MS_MAX,
);

test(
  "nodes with another secret, or another list, wait for each other and say why; mended, they form the cluster",
  async () => {
    await using cluster = await makeCluster({ isTls: false, env: { RF_HA_SECRET: SECRET } });
    const [first, second, third] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    first.start();
    second.start();
    third.start({ RF_HA_SECRET: "another secret altogether" });

    for (const node of [first, second])
      expect(await node.line("peer_refused")).toMatchObject({
        peer: third.id,
        reason: "wrong_secret",
      });
    expect(await send(first, "GET", "/ready")).toMatchObject({
      status: 503,
      fields: { reason: "waiting_for_peers" },
    });
    expect((await first.haMetrics()).size).toBe(0);
    await third.kill("SIGTERM");
    const list = [second, third].map((node) => `${node.id}:${node.raftAddress}:100`).join(",");
    third.start({ RF_HA_NODES: list });
    await second.line("other_node_list");
    await third.line("other_node_list");
    const count = (): number =>
      second.newLines.filter(({ event }) => event === "other_node_list").length;
    const until = performance.now() + 1000;
    await cluster.until("it was said again and again", () => performance.now() > until);
    expect(count()).toBe(1);
    await third.kill("SIGTERM");
    third.start();

    await cluster.ready();
    await makeTopic(cluster, TOPIC);
    await store(cluster, TOPIC, ["together"]);
  },
  TEST_MS_MAX,
);
