// How long nobody can write when a leader dies: kills one leader after the other under load, by SIGKILL, and takes the time to
// the first answer to a write that was sent after the kill.
// Usage: bun bench/cluster-failover.ts [--kills 50] [--nodes 3] [--clients 8] [--name cluster-failover]

import { parseArgs } from "node:util";
import { Prng } from "../src/lib/prng.ts";
import { ClusterLoad } from "../test/support/cluster-load.ts";
import { startMeasured } from "./cluster-nodes.ts";
import { circumstances, keepResult } from "./load/report.ts";
import { benchDirectory } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    nodes: { type: "string", default: "3" },
    clients: { type: "string", default: "8" },
    name: { type: "string", default: "cluster-failover" },
  },
});
const WRITES = 50;

const around = await circumstances(benchDirectory);
await using measured = await startMeasured({ nodes: Number(values.nodes) });
const { cluster } = measured;
await using load = new ClusterLoad(cluster, {
  topic: "failover",
  partitions: 3,
  clients: Number(values.clients),
  random: new Prng(1),
});
await load.createTopic();
const nextWriteMs: number[] = [];
const readyMs: number[] = [];
for (let kill = 0; kill < Number(values.kills); kill++) {
  load.start();
  await load.more(WRITES);
  const leader = await cluster.leader();
  const killedMs = performance.now();
  await leader.kill("SIGKILL");
  await load.more(WRITES);
  nextWriteMs.push(load.firstAfter(killedMs));
  const startedMs = performance.now();
  leader.start();
  await cluster.ready();
  readyMs.push(performance.now() - startedMs);
  await load.stop();
}
const faults = await load.check(true);
if (faults.length > 0) throw new Error(faults.slice(0, 5).join("\n"));

const summary = (times: readonly number[]): Record<string, number> => {
  const sorted = times.toSorted((left, right) => left - right);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { best: at(0), median: at(0.5), p90: at(0.9), worst: at(1) };
};
const result = { nextWrite: summary(nextWriteMs), ready: summary(readyMs) };
console.log(`${nextWriteMs.length} kills, ms to the next accepted write`, result.nextWrite);
console.log("ms until the killed node is ready again", result.ready);
const path = await keepResult(values.name, {
  ...around,
  settings: values,
  ...result,
  nextWriteMs: nextWriteMs.map(Math.round),
});
console.log(`kept in ${path}`);
