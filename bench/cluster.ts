// What replication costs: three nodes of the binary on this machine, each write synced by a majority, beside a single node, the
// same with TLS between the nodes, and etcd where it is installed. All are up at once and measured in turns.
// Usage: bun bench/cluster.ts [--rounds 5] [--seconds 3] [--connections 64] [--bytes 64] [--rate-seconds 10]
//        [--without tls,etcd] [--name cluster]; AYDER_BINARY names another binary.

import { parseArgs } from "node:util";
import {
  type CpuFigures,
  type LoadOptions,
  type LoadResult,
  produceWork,
  runLoad,
  type Work,
} from "../src/load/mod.ts";
import { metrics } from "../test/support/node-client.ts";
import { NODES, startMeasured, TARGET } from "./cluster-nodes.ts";
import { circumstances, keepResult, median, milliseconds, printTable } from "./load/report.ts";
import {
  type Contender,
  demandGood,
  runRounds,
  STANDING_HEADER,
  standingRow,
  standings,
} from "./load/rounds.ts";
import { benchDirectory } from "./load/servers.ts";
import { etcd, putWork } from "./peers/etcd.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    connections: { type: "string", default: "64" },
    bytes: { type: "string", default: "64" },
    "rate-seconds": { type: "string", default: "10" },
    without: { type: "string", default: "" },
    name: { type: "string", default: "cluster" },
  },
});
const WARMUP_MS = 1000;
const connections = Number(values.connections);
const valueBytes = Number(values.bytes);

/** Somebody who takes writes, in any number of processes. */
interface Measured {
  readonly name: string;
  /** Where writes go: the leader. */
  readonly url: string;
  readonly work: Work;
  readonly pids: readonly number[];
  /** Nodes whose `/metrics` tell how often they synced, the leader first. */
  readonly synced: readonly string[];
}

/** One slice, with what all processes used together and how often each node synced. */
interface ClusterSlice extends LoadResult {
  readonly server: CpuFigures;
  readonly recordsPerSync: readonly number[];
}

const options = (measured: Measured): LoadOptions => ({
  url: measured.url,
  work: measured.work,
  connections,
  durationMs: Number(values.seconds) * 1000,
  warmupMs: 0,
  protocol: "http1",
  serverPids: measured.pids,
});

async function slice(measured: Measured): Promise<ClusterSlice> {
  const syncsBefore = await syncs(measured);
  const result = demandGood(await runLoad(options(measured)));
  const syncsAfter = await syncs(measured);
  if (result.server === undefined) throw new Error("Cannot compare without processor time");
  return {
    ...result,
    server: result.server,
    recordsPerSync: syncsAfter.map((count, i) => {
      const made = count - (syncsBefore[i] ?? 0);
      return Math.round((result.records / Math.max(1, made)) * 10) / 10;
    }),
  };
}

const syncs = (measured: Measured): Promise<number[]> =>
  Promise.all(
    measured.synced.map(
      async (url) => (await metrics(url, ["ayder_log_sync_duration_seconds_count"]))[0] ?? 0,
    ),
  );

async function startNodes(
  stack: AsyncDisposableStack,
  name: string,
  nodes: number,
  isTls: boolean,
): Promise<Measured> {
  const { cluster, leader } = stack.use(await startMeasured({ nodes, isTls }));
  const followers = cluster.nodes.filter((node) => node !== leader);
  return {
    name,
    url: leader.url,
    work: produceWork(TARGET, valueBytes),
    pids: [leader, ...followers].map((node) => node.process.pid),
    synced: [leader, ...followers].map((node) => node.url),
  };
}

async function main(): Promise<void> {
  const around = await circumstances(benchDirectory);
  await using stack = new AsyncDisposableStack();
  const without = values.without.split(",");
  const all = [
    await startNodes(stack, "one node", 1, false),
    await startNodes(stack, "three nodes", NODES, false),
  ];
  if (!without.includes("tls")) all.push(await startNodes(stack, "three nodes, TLS", NODES, true));
  const missing = without.includes("etcd") ? "left out" : etcd.missing();
  const versions = new Map<string, unknown>();
  if (missing === undefined) {
    const { url, pids, version, command } = stack.use(await etcd.start(NODES));
    all.push({ name: "etcd, three nodes", url, work: putWork(valueBytes), pids, synced: [] });
    versions.set("etcd", { version, command });
  } else console.log(`without etcd: ${missing}`);

  const contenders = all.map(
    (measured): Contender<ClusterSlice> => ({
      name: measured.name,
      slice: () => slice(measured),
    }),
  );
  for (const measured of all) await runLoad({ ...options(measured), durationMs: WARMUP_MS });
  const slices = await runRounds(contenders, Number(values.rounds));
  const table = standings(contenders, slices);
  printTable(STANDING_HEADER, table.map(standingRow));

  const halves = [];
  for (const [i, measured] of all.entries()) {
    const ratePerSecond = Math.round((table[i]?.medianPerSecond ?? 0) / 2);
    const durationMs = Number(values["rate-seconds"]) * 1000;
    const result = await runLoad({
      ...options(measured),
      durationMs,
      warmupMs: WARMUP_MS,
      ratePerSecond,
    });
    const own = slices.get(measured.name) ?? [];
    const recordsPerSync = measured.synced.map((_, node) =>
      median(own.map((one) => one.recordsPerSync[node] ?? 0)),
    );
    halves.push({ name: measured.name, ratePerSecond, recordsPerSync, latency: result.latency });
  }
  printTable(
    ["at half rate, ms", "rate", "p50", "p99", "p99.9", "records per sync"],
    halves.map(({ name, ratePerSecond, latency, recordsPerSync }) => [
      name,
      ratePerSecond.toLocaleString("en-US"),
      ...[latency.p50, latency.p99, latency.p99_9].map(milliseconds),
      recordsPerSync.map((records) => records.toFixed(1)).join(" / "),
    ]),
  );
  const path = await keepResult(values.name, {
    ...around,
    settings: values,
    versions: Object.fromEntries(versions),
    table,
    halves,
    slices: Object.fromEntries(slices),
  });
  console.log(`kept in ${path}`);
}

await main();
