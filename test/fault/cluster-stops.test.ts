// Stops that are meant: a leader that goes hands over first, and a cluster that is restarted node by node never refuses a client
// that asks again.

import { expect, test } from "bun:test";
import { Prng } from "../../src/lib/prng.ts";
import { makeTopic, write } from "../support/cluster-client.ts";
import { ClusterLoad } from "../support/cluster-load.ts";
import { startCluster } from "../support/cluster-process.ts";

const TEST_MS_MAX = 90_000;
const TOPIC = "stops";
/** No election by timeout takes place within this time: whoever leads sooner was handed it. */
const ELECTION_MS = 3000;

test(
  "SIGTERM of the leader: another one leads before any election timeout, and the exit status is 0",
  async () => {
    await using cluster = await startCluster({
      env: { RF_HA_ELECTION_TIMEOUT_MS: String(ELECTION_MS) },
    });
    await makeTopic(cluster, TOPIC);
    const leader = await cluster.leader();
    expect((await write(leader, TOPIC, "before")).status).toBe(200);
    const others = cluster.nodes.filter((node) => node !== leader);

    const asked = performance.now();
    const exit = leader.kill("SIGTERM");
    const next = await cluster.leader(others);
    expect((await write(next, TOPIC, "after")).fields).toMatchObject({ offset: 1, synced: true });
    const tookMs = performance.now() - asked;

    expect(await exit).toEqual({ code: 0, signal: null });
    expect(tookMs).toBeLessThan(ELECTION_MS);
    console.log(`hand-over by SIGTERM: the next write after ${tookMs.toFixed(0)} ms`);
  },
  TEST_MS_MAX,
);

test(
  "a rolling restart under load, followers first and the leader last, loses no write and no read goes back",
  async () => {
    await using cluster = await startCluster();
    const random = new Prng(6);
    await using load = new ClusterLoad(cluster, {
      topic: TOPIC,
      partitions: 3,
      clients: 10,
      random,
    });
    await load.createTopic();
    load.start();
    await load.more(50);

    const order = [...(await cluster.followers()), await cluster.leader()];
    for (const node of order) {
      expect(await node.kill("SIGTERM")).toEqual({ code: 0, signal: null });
      await load.more(30);
      node.start();
      await cluster.ready();
      const leader = await cluster.leader();
      await cluster.until(`${node.id} has caught up`, async () => {
        const lag = (await leader.haMetrics()).get(`ayder_ha_peer_lag_entries{peer="${node.id}"}`);
        return node === leader || (lag !== undefined && lag < 100);
      });
      await load.more(30);
    }
    await load.stop();
    expect(await load.check(true)).toEqual([]);

    const fates = [...load.refusals.keys()].filter((name) => name.startsWith("504"));
    // A leader that goes finishes what it has taken: nobody is left without an answer.
    expect(fates).toEqual([]);
  },
  TEST_MS_MAX,
);
