// Durable writes: Ayder beside other systems on the same machine, in the same minutes, in turns, by like clients.
// Usage: bun bench/peers/run.ts [--rounds 7] [--seconds 3] [--sections single,batch,cluster] [--without "etcd,NATS JetStream"]
//        [--in-flight 64] [--bytes 64] [--name peers]; AYDER_BINARY names another binary than the one in dist.
// Writes bench/results/<name>.json and <name>.svg. A peer that is not installed is left out, and said how to install.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { barChart } from "../load/bars.ts";
import { circumstances, keepResult, median, milliseconds, printTable } from "../load/report.ts";
import { type Contender, runRounds } from "../load/rounds.ts";
import { benchDirectory } from "../load/servers.ts";
import { ayder } from "./ayder.ts";
import { ceiling } from "./ceiling.ts";
import { etcd } from "./etcd.ts";
import { nats } from "./nats.ts";
import type { Peer, PeerSlice, PeerWork, RunningPeer } from "./peer.ts";
import { rabbitmq } from "./rabbitmq.ts";
import { redis } from "./redis.ts";

const PEERS: readonly Peer[] = [ayder, redis, nats, etcd, rabbitmq, ceiling];
const BASE = "Ayder, HTTP/1.1";
const WARMUP_MS = 300;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "7" },
    seconds: { type: "string", default: "3" },
    sections: { type: "string", default: "single,batch,cluster" },
    without: { type: "string", default: "" },
    "in-flight": { type: "string", default: "64" },
    bytes: { type: "string", default: "64" },
    name: { type: "string", default: "peers" },
  },
});

/** One kind of work, on so many nodes. */
interface Section {
  readonly key: string;
  readonly title: string;
  readonly nodes: number;
  readonly inFlight: number;
  readonly records: number;
  readonly valueBytes: number;
}

const inFlight = Number(values["in-flight"]);
const valueBytes = Number(values.bytes);
const BATCH = { inFlight: 16, records: 1000, valueBytes: 100 };
const ALL: readonly Section[] = [
  {
    key: "single",
    title: `one node, single records of ${valueBytes} bytes, ${inFlight} in flight`,
    nodes: 1,
    inFlight,
    records: 1,
    valueBytes,
  },
  {
    key: "batch",
    title: `one node, ${BATCH.records} records of ${BATCH.valueBytes} bytes at once, ${BATCH.inFlight} in flight`,
    nodes: 1,
    ...BATCH,
  },
  {
    key: "cluster",
    title: `three nodes, single records of ${valueBytes} bytes, ${inFlight} in flight`,
    nodes: 3,
    inFlight,
    records: 1,
    valueBytes,
  },
];

/** What the rounds say of one way to write. */
interface Standing {
  readonly name: string;
  readonly recordsPerSecond: number;
  readonly lowest: number;
  readonly highest: number;
  /** Of all processes of the server together. */
  readonly cpuMicrosecondsPerRecord: number;
  readonly p50: number;
  readonly p99: number;
  /** Records a second over those of Ayder in the same round; the median of that. */
  readonly ratio: number;
}

function standingOf(
  name: string,
  slices: ReadonlyMap<string, readonly PeerSlice[]>,
  records: number,
): Standing {
  const own = slices.get(name) ?? [];
  const base = slices.get(BASE) ?? [];
  const rates = own.map((slice) => slice.recordsPerSecond);
  return {
    name,
    recordsPerSecond: Math.round(median(rates)),
    lowest: Math.min(...rates),
    highest: Math.max(...rates),
    cpuMicrosecondsPerRecord: median(own.map((slice) => slice.server.microseconds / records)),
    p50: median(own.map((slice) => slice.latency.p50)),
    p99: median(own.map((slice) => slice.latency.p99)),
    ratio: median(rates.map((rate, i) => rate / (base[i]?.recordsPerSecond || Number.NaN))),
  };
}

const count = (value: number): string => Math.round(value).toLocaleString("en-US");

const rowOf = (standing: Standing): string[] => [
  standing.name,
  count(standing.recordsPerSecond),
  `${count(standing.lowest)} - ${count(standing.highest)}`,
  standing.cpuMicrosecondsPerRecord.toFixed(standing.cpuMicrosecondsPerRecord < 10 ? 2 : 1),
  milliseconds(standing.p50),
  milliseconds(standing.p99),
  standing.ratio.toFixed(2),
];

const HEADER = ["", "records/s", "spread", "cpu us", "p50 ms", "p99 ms", "to Ayder"];

async function startPeers(
  section: Section,
  stack: AsyncDisposableStack,
): Promise<Map<Peer, RunningPeer>> {
  const without = values.without.split(",");
  const running = new Map<Peer, RunningPeer>();
  for (const peer of PEERS) {
    if (without.includes(peer.name) || !peer.sizes.includes(section.nodes)) continue;
    const missing = peer.missing();
    if (missing === undefined) {
      console.error(`starting ${peer.name}`);
      running.set(peer, stack.use(await peer.start(section.nodes)));
    } else console.log(`without ${peer.name}: ${missing}`);
  }
  return running;
}

async function measure(section: Section): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const running = await startPeers(section, stack);
  const work: PeerWork = {
    ...section,
    durationMs: Number(values.seconds) * 1000,
    warmupMs: WARMUP_MS,
  };
  const contenders = [...running.values()].flatMap(({ ways }) =>
    ways
      .filter(({ takesBatches }) => section.records === 1 || takesBatches)
      .map(({ name, slice }): Contender<PeerSlice> => ({ name, slice: () => slice(work) })),
  );
  // The first slice of each is thrown away: it runs code that is not compiled yet.
  for (const contender of contenders) await contender.slice();
  const slices = await runRounds(contenders, Number(values.rounds));
  const table = contenders
    .map(({ name }) => standingOf(name, slices, section.records))
    .toSorted((a, b) => b.recordsPerSecond - a.recordsPerSecond);
  console.log(section.title);
  printTable(HEADER, table.map(rowOf));
  const peers = [...running].map(([peer, { version, command }]) => ({
    name: peer.name,
    durability: peer.durability,
    version,
    command,
  }));
  return { ...section, peers, table, slices: Object.fromEntries(slices) };
}

async function main(): Promise<void> {
  const around = await circumstances(benchDirectory);
  const wanted = ALL.filter(({ key }) => values.sections.split(",").includes(key));
  const sections = [];
  for (const section of wanted) sections.push(await measure(section));
  const path = await keepResult(values.name, { ...around, settings: values, sections });
  const picture = join(path, "..", `${values.name}.svg`);
  await Bun.write(picture, chart(sections as readonly (Section & { table: Standing[] })[]));
  console.log(`kept in ${path} and ${picture}`);
}

const chart = (sections: readonly (Section & { readonly table: readonly Standing[] })[]): string =>
  barChart(
    "Durable writes, records a second: the median of all rounds, and their spread",
    sections.map(({ title, table }) => ({
      title,
      bars: table.map((standing) => ({
        name: standing.name,
        value: standing.recordsPerSecond,
        lowest: standing.lowest,
        highest: standing.highest,
        isOwn: standing.name.startsWith("Ayder"),
        label: `${count(standing.recordsPerSecond)}   ${standing.cpuMicrosecondsPerRecord.toPrecision(3)} us of processor`,
      })),
    })),
  );

await main();
