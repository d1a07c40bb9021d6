// Nodes that come back: with everything, with less than the others, with nothing. Nobody does anything but start them.

import { expect, test } from "bun:test";
import {
  fill,
  isRefused,
  makeTopic,
  names,
  send,
  store,
  valuesOf,
  write,
} from "../support/cluster-client.ts";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster-process.ts";
import { call } from "../support/node-client.ts";
import { storedWrites } from "../support/node-data.ts";
import { SMALL_SEGMENTS } from "../support/node-process.ts";

const TEST_MS_MAX = 90_000;
const TOPIC = "return";

/** Indexes of the log as they lie on a node's disk, in the order of its files. */
const indexesOn = (node: ClusterNode): readonly number[] =>
  storedWrites(node.dataDir).flatMap(({ entries }) => entries.map(({ index }) => index));

/** Bytes that the leader has sent to a node. */
const sentTo = async (leader: ClusterNode, node: ClusterNode): Promise<number> =>
  (await leader.haMetrics()).get(`ayder_ha_peer_sent_bytes_total{peer="${node.id}"}`) ?? 0;

async function oneFollower(cluster: Cluster): Promise<ClusterNode> {
  const [follower] = await cluster.followers();
  if (follower === undefined) throw new Error("Nobody follows");
  return follower;
}

test(
  "a follower that comes back is sent what it missed and nothing else, and stores nothing twice",
  async () => {
    await using cluster = await startCluster({ env: SMALL_SEGMENTS });
    await makeTopic(cluster, TOPIC);
    await fill(cluster, TOPIC, 4 << 20);
    await cluster.same();
    const leader = await cluster.leader();
    const follower = await oneFollower(cluster);

    for (let round = 0; round < 4; round++) {
      await follower.kill(round % 2 === 0 ? "SIGKILL" : "SIGTERM");
      await store(cluster, TOPIC, names(`round ${round}`, 3));
      const before = await sentTo(leader, follower);
      follower.start();
      await cluster.ready();
      await cluster.same();
      expect((await sentTo(leader, follower)) - before).toBeLessThan(100_000);
    }

    const expected = await valuesOf(leader, TOPIC);
    expect(await valuesOf(follower, TOPIC)).toEqual(expected);
    await Promise.all(cluster.nodes.map((node) => node.kill("SIGTERM")));
    for (const node of cluster.nodes) {
      const indexes = indexesOn(node);
      expect(new Set(indexes).size).toBe(indexes.length);
      expect(indexes).toEqual(indexes.toSorted((left, right) => left - right));
    }
  },
  TEST_MS_MAX,
);

for (const [how, catchUpBytes, event] of [
  ["entry by entry", "1073741824", "peer_connected"],
  ["with files", "1048576", "files_installed"],
] as const) {
  test(
    `a node that lost its disk is filled ${how}, has no vote meanwhile, and votes again`,
    async () => {
      await using cluster = await startCluster({
        env: { ...SMALL_SEGMENTS, RF_HA_CATCH_UP_BYTES: catchUpBytes },
      });
      await makeTopic(cluster, TOPIC);
      await fill(cluster, TOPIC, 5 << 20);
      const leader = await cluster.leader();
      const follower = await oneFollower(cluster);
      await follower.kill("SIGKILL");
      await store(cluster, TOPIC, names("away", 5));
      follower.wipe();

      follower.start();
      await store(cluster, TOPIC, names("meanwhile", 5));

      await follower.line(event);
      await cluster.ready();
      await leader.line("member_votes_again");
      await cluster.until("it votes", async () =>
        (await cluster.members(follower)).every((member) => member.is_voter),
      );
      await cluster.same();
      expect(await valuesOf(follower, TOPIC)).toEqual(await valuesOf(leader, TOPIC));
      // It counts: with it the other follower may go.
      const other = cluster.nodes.find((node) => node !== leader && node !== follower);
      await other?.kill("SIGKILL");
      expect((await write(leader, TOPIC, "with it")).fields).toMatchObject({ synced: true });
    },
    TEST_MS_MAX,
  );
}

test(
  "linearizable reads at a node that is just being filled with files are all answered, and show everything",
  async () => {
    await using cluster = await startCluster({
      env: { ...SMALL_SEGMENTS, RF_HA_CATCH_UP_BYTES: "1048576" },
    });
    await makeTopic(cluster, TOPIC);
    await fill(cluster, TOPIC, 5 << 20);
    await store(cluster, TOPIC, ["last"]);
    const follower = await oneFollower(cluster);
    const { length } = await valuesOf(follower, TOPIC);
    await follower.kill("SIGKILL");
    follower.wipe();
    follower.start();

    const path = `/broker/consume/${TOPIC}/g/0?offset=${length - 1}&consistency=linearizable&timeout_ms=5000`;
    let isFull = false;
    let shown = 0;
    const read = async (): Promise<void> => {
      while (!isFull) {
        // Rejects when there is no answer within a second more than it may take.
        const init = { signal: AbortSignal.timeout(6000), keepalive: false };
        const reply = await call(follower.url, path, init).catch((error: unknown) => {
          if (isRefused(error)) return undefined;
          throw error;
        });
        if (reply?.status !== 200) {
          await reply?.text();
          await Bun.sleep(1);
          continue;
        }
        const { messages } = (await reply.json()) as { messages: { value: string }[] };
        expect(messages.map(({ value }) => value)).toEqual(["last"]);
        shown += 1;
      }
    };
    const readers = Array.from({ length: 16 }, read);
    await follower.line("files_installed");
    await cluster.ready();
    await cluster.until("reads are served", () => shown > 50);
    isFull = true;
    await Promise.all(readers);
  },
  TEST_MS_MAX,
);

test(
  "a node that lost its disk founds no second cluster, bootstrap node or not, whoever else is away",
  async () => {
    await using cluster = await startCluster({
      envOf: (node) => (node === 0 ? { RF_HA_BOOTSTRAP_LEADER: "1" } : {}),
    });
    await makeTopic(cluster, TOPIC);
    await store(cluster, TOPIC, ["kept"]);
    const [first, second, third] = [cluster.node(0), cluster.node(1), cluster.node(2)];
    await Promise.all(cluster.nodes.map((node) => node.kill("SIGKILL")));
    first.wipe();
    second.wipe();

    first.start();
    second.start();
    await first.line("waiting_for_peers");
    await second.line("waiting_for_peers");
    await cluster.until("they know each other", () =>
      first.newLines.some(({ event, peer }) => event === "connected_to" && peer === "node2"),
    );
    const reply = await send(first, "GET", "/ready");
    expect(reply).toMatchObject({ status: 503, fields: { reason: "waiting_for_peers" } });

    // The third knows which cluster it is; it is no majority of it, and does not become one by two empty ones.
    third.start();
    await first.line("joins_cluster");
    await second.line("joins_cluster");
    const until = performance.now() + 1500;
    await cluster.until("a few election timeouts have gone by", async () => {
      expect(await cluster.leaderNow()).toBeUndefined();
      return performance.now() > until;
    });
    expect(cluster.nodes.flatMap((node) => node.newLines).map(({ event }) => event)).not.toContain(
      "founds_cluster",
    );
  },
  TEST_MS_MAX,
);

test(
  "a restarted node answers no read before it has caught up, and never shows less than it has shown",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    const follower = await oneFollower(cluster);
    await follower.kill("SIGKILL");
    await store(cluster, TOPIC, names("missed", 20));

    follower.start();
    const path = `/broker/consume/${TOPIC}/g/0?offset=0`;
    await cluster.until("it serves", async () => {
      const reply = await send(follower, "GET", path).catch(() => undefined);
      if (reply?.status === 200) expect(reply.fields.count).toBe(20);
      else if (reply !== undefined) expect(reply.status).toBe(503);
      return reply?.status === 200;
    });
  },
  TEST_MS_MAX,
);
