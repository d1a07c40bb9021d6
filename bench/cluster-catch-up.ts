// A follower that was away while many records were written: how long it takes to have them all, and what writers notice of that
// while the leader serves at half of what it can.
// Usage: bun bench/cluster-catch-up.ts [--records 8000000] [--bytes 64] [--files] [--connections 64] [--seconds 10]
//        [--name cluster-catch-up]; with --files the follower is sent files in place of entries.

import { parseArgs } from "node:util";
import { batchWork, produceWork, runLoad } from "../src/load/mod.ts";
import { NODES, startMeasured, TARGET } from "./cluster-nodes.ts";
import { circumstances, keepResult, median, milliseconds, printTable } from "./load/report.ts";
import { benchDirectory } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    records: { type: "string", default: "8000000" },
    bytes: { type: "string", default: "64" },
    files: { type: "boolean", default: false },
    connections: { type: "string", default: "64" },
    seconds: { type: "string", default: "10" },
    name: { type: "string", default: "cluster-catch-up" },
  },
});
const BATCH_RECORDS = 1000;
const FILL_MS = 1000;
const CAPACITY_MS = 3000;
/** Latency is taken in slices: what happens in the one in which the follower arrives is not lost among the others. */
const SLICE_MS = 1000;
/** So few entries behind is as near as anyone is under load. */
const LAG_ENTRIES = 1000;
const CATCH_UP_MS_MAX = 600_000;

const around = await circumstances(benchDirectory);
await using measured = await startMeasured({
  nodes: NODES,
  env: values.files ? { RF_HA_CATCH_UP_BYTES: "1048576" } : {},
});
const { cluster, leader } = measured;
const follower = cluster.nodes.find((node) => node !== leader);
if (follower === undefined) throw new Error("Nobody follows");
const lines = Number(values.bytes);
const base = {
  url: leader.url,
  connections: Number(values.connections),
  warmupMs: 0,
  protocol: "http1",
} as const;
const work = produceWork(TARGET, lines);

const capacity = (await runLoad({ ...base, work, durationMs: CAPACITY_MS })).repliesPerSecond;
const ratePerSecond = Math.round(capacity / 2);
await follower.kill("SIGKILL");
let behind = 0;
const batch = { ...base, connections: 4, work: batchWork(TARGET, lines, BATCH_RECORDS) };
while (behind < Number(values.records)) {
  behind += (await runLoad({ ...batch, durationMs: FILL_MS })).records;
  process.stderr.write(`\r${behind} records behind`);
}
process.stderr.write("\n");

/** One slice of the load. */
const slice = async (): Promise<{ p50: number; p99: number; p99_9: number; max: number }> => {
  const result = await runLoad({ ...base, work, durationMs: SLICE_MS, ratePerSecond });
  const { p50, p99, p99_9, max } = result.latency;
  return { p50, p99, p99_9, max };
};
const slices = async (isOver: () => boolean): Promise<Awaited<ReturnType<typeof slice>>[]> => {
  const all = [];
  do all.push(await slice());
  while (!isOver());
  return all;
};
const enough = (): (() => boolean) => {
  const until = performance.now() + Number(values.seconds) * 1000;
  return () => performance.now() > until;
};

const before = await slices(enough());
const startedMs = performance.now();
follower.start();
let caughtUpMs: number | undefined;
const watch = cluster
  .until(
    "the follower has caught up",
    async () => {
      if (!(await follower.isReady())) return undefined;
      const metrics = await leader.haMetrics();
      const lag = metrics.get(`ayder_ha_peer_lag_entries{peer="${follower.id}"}`);
      return lag !== undefined && lag < LAG_ENTRIES;
    },
    CATCH_UP_MS_MAX,
  )
  .then(() => {
    caughtUpMs = performance.now() - startedMs;
  });
const during = await slices(() => caughtUpMs !== undefined);
await watch;
const after = await slices(enough());
await cluster.same();

const row = (name: string, of: typeof before): string[] => [
  name,
  String(of.length),
  ...(["p50", "p99", "p99_9"] as const).map((key) =>
    milliseconds(median(of.map((one) => one[key]))),
  ),
  milliseconds(Math.max(...of.map(({ p99 }) => p99))),
  milliseconds(Math.max(...of.map(({ max }) => max))),
];
console.log(
  `${behind} records behind, caught up in ${((caughtUpMs ?? 0) / 1000).toFixed(2)} s, ` +
    `${ratePerSecond} writes a second meanwhile`,
);
printTable(
  ["ms", "seconds", "p50", "p99", "p99.9", "worst p99", "max"],
  [row("before", before), row("during", during), row("after", after)],
);
const path = await keepResult(values.name, {
  ...around,
  settings: values,
  behind,
  ratePerSecond,
  caughtUpMs,
  before,
  during,
  after,
});
console.log(`kept in ${path}`);
