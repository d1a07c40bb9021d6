// Many writes at once share a write to the disk, on the leader and on the followers: more load costs less per write, and a lone
// write waits for nobody.

import { expect, test } from "bun:test";
import { makeTopic, write } from "../support/cluster-client.ts";
import { type ClusterNode, startCluster } from "../support/cluster-process.ts";
import { metrics } from "../support/node-client.ts";

const TEST_MS_MAX = 60_000;
const TOPIC = "batches";
const AT_ONCE = 64;
const ROUNDS = 20;
const LONE_WRITES = 100;

const syncsOf = async (node: ClusterNode): Promise<number> =>
  (await metrics(node.url, ["ayder_log_sync_duration_seconds_count"]))[0] ?? 0;

test(
  "writes that wait together are synced together, everywhere",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    const leader = await cluster.leader();
    const before = await Promise.all(cluster.nodes.map(syncsOf));

    const lone: number[] = [];
    for (let i = 0; i < LONE_WRITES; i++) {
      const sent = performance.now();
      expect((await write(leader, TOPIC, "lone")).status).toBe(200);
      lone.push(performance.now() - sent);
    }
    const between = await Promise.all(cluster.nodes.map(syncsOf));
    const begun = performance.now();
    for (let round = 0; round < ROUNDS; round++) {
      const replies = await Promise.all(
        Array.from({ length: AT_ONCE }, () => write(leader, TOPIC, "together")),
      );
      expect(replies.every(({ fields }) => fields.synced === true)).toBe(true);
    }
    const perSecond = (1000 * ROUNDS * AT_ONCE) / (performance.now() - begun);
    await cluster.same();
    const after = await Promise.all(cluster.nodes.map(syncsOf));

    const loneMs = lone.toSorted((left, right) => left - right)[LONE_WRITES >> 1] ?? 0;
    for (const [i, node] of cluster.nodes.entries()) {
      const syncs = (after[i] ?? 0) - (between[i] ?? 0);
      expect({ node: node.id, few: syncs < (ROUNDS * AT_ONCE) / 4 }).toEqual({
        node: node.id,
        few: true,
      });
    }
    // Not in turn: at the pace of lone writes it would take so many times as long.
    expect(perSecond).toBeGreaterThan(3 * (1000 / loneMs));
    console.log(
      `a lone write ${loneMs.toFixed(1)} ms, ${AT_ONCE} at once ${perSecond.toFixed(0)}/s, syncs ` +
        `${before.map((count, i) => `${(between[i] ?? 0) - count} and ${(after[i] ?? 0) - (between[i] ?? 0)}`).join(", ")}`,
    );
  },
  TEST_MS_MAX,
);
