// The power fails in the middle of writes: whatever was not flushed is gone, in part, torn or out of order, below a real file
// system with its journal. Nothing acknowledged is lost. `POWER_ROUNDS=500` and `POWER_CLUSTER_ROUNDS=100` are the long runs.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { Prng } from "../../src/lib/prng.ts";
import { ClusterLoad } from "../support/cluster-load.ts";
import { makeCluster } from "../support/cluster-process.ts";
import { createTopic } from "../support/node-client.ts";
import { Load } from "../support/node-load.ts";
import { LogOracle } from "../support/node-oracle.ts";
import { program, SMALL_SEGMENTS, startNode } from "../support/node-process.ts";
import { hasPowerCuts, type PowerMount, powerMount } from "../support/power-mount.ts";
import { syncless } from "../support/syncless.ts";
import { CUTS } from "../support/volatile-disk.ts";

const { POWER_ROUNDS = "5", POWER_CLUSTER_ROUNDS = "3", POWER_SEED = "1" } = process.env;
const ROUNDS = Number(POWER_ROUNDS);
const CLUSTER_ROUNDS = Number(POWER_CLUSTER_ROUNDS);
const ROUND_MS_MAX = 60_000;
/** Then everything begins anew on an empty disk. */
const ROUNDS_PER_DISK = 50;
const DISK_MIB = 256;
const PARTITIONS = 4;
const TOPIC = "power";
const CUT_DELAY_MS_MAX = 30;
/** Until a flush was asked for, and was none. */
const FLUSH_MS = 20;

const SETTINGS: readonly Readonly<Record<string, string>>[] = [
  SMALL_SEGMENTS,
  SMALL_SEGMENTS,
  { ...SMALL_SEGMENTS, RF_DISK: "worker" },
];

/** Rounds on one disk; returns the faults, how much was acknowledged, and what the disk lost. */
async function lifetime(rounds: number, random: Prng, command: readonly string[]) {
  const disk = await powerMount(DISK_MIB);
  const dataDir = join(disk.path, "data");
  const oracle = new LogOracle(TOPIC, PARTITIONS);
  const load = new Load({
    topic: TOPIC,
    partitions: PARTITIONS,
    writers: 16,
    largeBytes: 30_000,
    random,
    oracle,
  });
  let kept: readonly string[] = [];
  for (let round = 0; round <= rounds && kept.length === 0; round++) {
    const env = SETTINGS[round % SETTINGS.length] ?? {};
    await using node = await startNode({ dataDir, env, program: command });
    await createTopic(node.url, TOPIC, PARTITIONS);
    await load.retry(node.url);
    await oracle.check(node.url, round % 10 === 0 || round === rounds);
    kept = [...oracle.faults];
    if (round === rounds) break;
    const { ended } = await load.run(node.url, 20 + random.below(130));
    await Bun.sleep(random.below(CUT_DELAY_MS_MAX));
    const when = random.chance(0.3) ? "now" : "flush";
    disk.cut(when, CUTS[random.below(CUTS.length)] ?? "nothing", random.below(2 ** 31));
    await Bun.sleep(FLUSH_MS);
    load.stop();
    await node.kill("SIGKILL");
    await ended;
    await disk.restore();
  }
  return { faults: kept, acknowledged: oracle.acknowledged, ...(await disk.end()) };
}

test.skipIf(!hasPowerCuts)(
  `${ROUNDS} power cuts of one node lose nothing that was acknowledged`,
  async () => {
    const random = new Prng(Number(POWER_SEED));
    const begun = performance.now();
    const total = { acknowledged: 0, flushes: 0, lostWrites: 0, lostBytes: 0 };
    for (let left = ROUNDS; left > 0; left -= ROUNDS_PER_DISK) {
      const life = await lifetime(Math.min(left, ROUNDS_PER_DISK), random, program);
      expect(life.faults, `seed ${POWER_SEED}, ${left} rounds before the end`).toEqual([]);
      for (const name of ["acknowledged", "flushes", "lostWrites", "lostBytes"] as const)
        total[name] += life[name];
      console.log(`${ROUNDS - left} rounds and more: ${JSON.stringify(total)}`);
    }
    const seconds = ((performance.now() - begun) / 1000).toFixed(0);
    console.log(`power loss: ${ROUNDS} rounds in ${seconds} s: ${JSON.stringify(total)}`);
    // The disk did forget something: else nothing was tested.
    expect(total.lostWrites).toBeGreaterThan(0);
  },
  ROUND_MS_MAX * (ROUNDS + 1),
);

test.skipIf(!hasPowerCuts)(
  "a build without its syncs is caught",
  async () => {
    await using build = await syncless();
    const random = new Prng(Number(POWER_SEED));
    // Without syncs a start may find nothing that it can go on with, which is caught as well.
    const found = await lifetime(10, random, build.command).then(
      ({ faults }) => faults,
      (error: unknown) => [String(error)],
    );
    expect(found.length).toBeGreaterThan(0);
    console.log(`without syncs: ${found[0]?.slice(0, 200)}`);
  },
  ROUND_MS_MAX * 10,
);

test.skipIf(!hasPowerCuts)(
  `${CLUSTER_ROUNDS} power cuts of three nodes at once lose nothing that was acknowledged`,
  async () => {
    const random = new Prng(Number(POWER_SEED));
    const disks: PowerMount[] = [];
    for (let i = 0; i < 3; i++) disks.push(await powerMount(2 * DISK_MIB));
    try {
      await using cluster = await makeCluster({
        dataDirOf: (node) => join(disks[node]?.path ?? "", "data"),
        env: { ...SMALL_SEGMENTS, RF_HA_CATCH_UP_BYTES: "1048576", RF_SEGMENTS_KEPT: "20" },
      });
      await using load = new ClusterLoad(cluster, {
        topic: TOPIC,
        partitions: 3,
        clients: 12,
        random,
        flowBytes: 1 << 20,
      });
      for (let round = 0; round < CLUSTER_ROUNDS; round++) {
        for (const node of cluster.nodes) node.start();
        await cluster.ready(cluster.nodes);
        if (round === 0) await load.createTopic();
        load.start();
        await load.more(40 + random.below(40));
        const kind = CUTS[random.below(CUTS.length)] ?? "nothing";
        const when = random.chance(0.3) ? "now" : "flush";
        for (const disk of disks) disk.cut(when, kind, random.below(2 ** 31));
        await Bun.sleep(FLUSH_MS);
        // Who was not about to flush is cut off now: that is later than the others by less than a client can see.
        for (const disk of disks) disk.cut("now", kind, 0);
        await Promise.all(cluster.nodes.map((node) => node.kill()));
        for (const disk of disks) await disk.restore();
        for (const node of cluster.nodes) node.start();
        await cluster.ready(cluster.nodes);
        await load.more(20);
        await load.stop();
        const faults = await load.check(round % 10 === 9);
        if (faults.length > 0) console.error(cluster.report());
        expect(faults.slice(0, 10), `round ${round}, seed ${POWER_SEED}`).toEqual([]);
        await Promise.all(cluster.nodes.map((node) => node.kill()));
        console.log(`round ${round}: ${kind}, ${when}, ${load.oracle.acknowledged} acknowledged`);
      }
    } finally {
      for (const disk of disks) console.log(JSON.stringify(await disk.end()));
    }
  },
  ROUND_MS_MAX * (CLUSTER_ROUNDS + 1),
);
