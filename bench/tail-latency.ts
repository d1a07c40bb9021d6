// The slowest of millions of writes at half of what a node takes, and where their time went: the parts that the node itself
// tells (`timing=1`), its garbage collections, its waits for a processor, the generator's own stalls, and the moments in which
// the machine ran its processors at a fraction of their speed. Beside it a route that only reads the body and answers, at the same rate.
// Usage: bun bench/tail-latency.ts [--binary F] [--minutes 10] [--beside-minutes 3] [--rate N] [--connections 64] [--slow-ms 10]
//        [--name tail-latency]. Writes bench/results/<name>.json and <name>.svg.

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  LatencyHistogram,
  type LatencySummary,
  type LoadResult,
  produceWork,
  type ReplyTimes,
  runLoad,
} from "../src/load/mod.ts";
import { metrics } from "../test/support/node-client.ts";
import { chartOverTime, type Panel } from "./load/chart.ts";
import { circumstances, keepResult, milliseconds, printTable } from "./load/report.ts";
import {
  benchDirectory,
  createTopic,
  freePort,
  scratchDirectory,
  startNoop,
} from "./load/servers.ts";
import {
  CAUSES,
  type Cause,
  type Episode,
  episodesOf,
  Pauses,
  readParts,
  type Seen,
  type SlowReply,
} from "./load/slow-replies.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    minutes: { type: "string", default: "10" },
    "beside-minutes": { type: "string", default: "3" },
    rate: { type: "string" },
    connections: { type: "string", default: "64" },
    "slow-ms": { type: "string", default: "10" },
    name: { type: "string", default: "tail-latency" },
  },
});

const SETTLE_MS = 8000;
const LOOK_MS = 5;
/** What a timer is late by without anything being wrong. */
const TIMER_SLACK_MS = 2;
const SCRAPE_MS = 10_000;
const EPISODE_GAP_MS = 50;
const EPISODES_SHOWN = 12;
/** Slow moments of the machine that follow each other so soon are one. */
const SLOWDOWN_JOIN_MS = 12;
/** After such a moment the writes that came meanwhile are still being worked off. */
const AFTER_SLOWDOWN_MS = 100;

const target = { topic: "bench", partition: 0, token: "dev" };
const common = { connections: Number(values.connections), protocol: "http1" } as const;
const plain = produceWork(target, 64);
const seen: Seen = {
  slowdowns: new Pauses(),
  collections: new Pauses(),
  waits: new Pauses(),
  stalls: new Pauses(),
};

/** Lines of a stream as they come. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const words = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + words.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** Pauses of the garbage collector, from what the engine says when it is told to: `p=1.31ms` is one, of one thread. */
async function followCollector(stream: ReadableStream<Uint8Array>): Promise<void> {
  for await (const line of linesOf(stream))
    for (const [, took] of line.matchAll(/ p=([\d.]+)ms/g)) seen.collections.ended(Number(took));
}

async function followMachine(stream: ReadableStream<Uint8Array>): Promise<void> {
  for await (const line of linesOf(stream)) {
    const [start, end] = line.split(" ").map((at) => Number(at) - performance.timeOrigin);
    if (start !== undefined && end !== undefined) seen.slowdowns.add(start, end, SLOWDOWN_JOIN_MS);
  }
}

/** Every few milliseconds: how long the node's first thread waited for a processor, and how late this process was. */
function watchProcesses(pid: number): Disposable {
  const waitedMs = (): number =>
    Number(readFileSync(`/proc/${pid}/schedstat`, "latin1").split(" ")[1]) / 1e6;
  let before = waitedMs();
  let due = performance.now() + LOOK_MS;
  const timer = setInterval(() => {
    const late = performance.now() - due;
    if (late > TIMER_SLACK_MS) seen.stalls.ended(late);
    const now = waitedMs();
    if (now - before > TIMER_SLACK_MS) seen.waits.ended(now - before);
    before = now;
    due = performance.now() + LOOK_MS;
  }, LOOK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

const ONE_RECORD = { records: 1 };

/** What one server did at the rate. */
interface Driven {
  readonly result: LoadResult;
  readonly begin: number;
  readonly slow: readonly SlowReply[];
  /** From when a write was due: all of them, and those that no slow moment of the machine touched. */
  readonly all: LatencySummary;
  readonly undisturbed: LatencySummary;
  /** By the server's own clock, where it tells. */
  readonly server: LatencySummary;
  readonly serverUndisturbed: LatencySummary;
  readonly slowestBySecond: readonly number[];
  readonly slowestInServerBySecond: readonly number[];
}

async function drive(
  url: string,
  pid: number,
  minutes: number,
  ratePerSecond: number,
): Promise<Driven> {
  const durationMs = minutes * 60_000;
  const slowMs = Number(values["slow-ms"]);
  const slow: SlowReply[] = [];
  // Kept one by one, since it is known only later which of them the machine disturbed; as numbers, so that the generator's own
  // collector has nothing to look at. Milliseconds since the beginning, then milliseconds, then what `timing=1` says.
  const capacity = Math.ceil((ratePerSecond * durationMs) / 1000) + 1;
  const column = (): Float32Array => new Float32Array(capacity);
  const due = column();
  const waited = column();
  const took = column();
  const queue = column();
  const inServer = column();
  const syncWait = column();
  let count = 0;
  const begin = performance.now();
  const work = {
    ...plain,
    request: { ...plain.request, path: `${plain.request.path}&timing=1` },
    readReply: (ending: string, { intended, sent, now }: ReplyTimes) => {
      const parts = readParts(ending);
      due[count] = intended - begin;
      waited[count] = sent - intended;
      took[count] = now - intended;
      queue[count] = parts.queue;
      inServer[count] = parts.server;
      syncWait[count] = parts.syncWait;
      count += 1;
      return ONE_RECORD;
    },
  };
  const result = await runLoad({
    ...common,
    url,
    serverPids: [pid],
    work,
    warmupMs: 0,
    durationMs,
    ratePerSecond,
  });
  if (result.errors > 0 || Object.keys(result.statuses).some((status) => status !== "200"))
    throw new Error(`Not every write was taken: ${JSON.stringify(result.statuses)}`);
  // The probe's last lines may still be on their way.
  await Bun.sleep(AFTER_SLOWDOWN_MS);
  const [all, undisturbed, server, serverUndisturbed] = Array.from(
    { length: 4 },
    () => new LatencyHistogram(),
  ) as [LatencyHistogram, LatencyHistogram, LatencyHistogram, LatencyHistogram];
  const slowestBySecond: number[] = [];
  const slowestInServerBySecond: number[] = [];
  const worst = (by: number[], second: number, ms: number): void => {
    by[second] = Math.max(by[second] ?? 0, ms);
  };
  for (let i = 0; i < count; i++) {
    const from = begin + (due[i] as number);
    const ms = took[i] as number;
    const parts = {
      queue: queue[i] as number,
      server: inServer[i] as number,
      syncWait: syncWait[i] as number,
    };
    if (ms >= slowMs)
      slow.push({ intended: from, sent: from + (waited[i] as number), now: from + ms, parts });
    all.record(ms * 1000);
    server.record(inServer[i] as number);
    worst(slowestBySecond, Math.floor((from - begin) / 1000), ms);
    worst(
      slowestInServerBySecond,
      Math.floor((from - begin) / 1000),
      (inServer[i] as number) / 1000,
    );
    if (seen.slowdowns.within(from - AFTER_SLOWDOWN_MS, from + ms) > 0) continue;
    undisturbed.record(ms * 1000);
    serverUndisturbed.record(inServer[i] as number);
  }
  return {
    result,
    begin,
    slow: slow.toSorted((a, b) => a.now - b.now),
    all: all.summary(),
    undisturbed: undisturbed.summary(),
    server: server.summary(),
    serverUndisturbed: serverUndisturbed.summary(),
    slowestBySecond,
    slowestInServerBySecond,
  };
}

/** The worst that the node's own figure of its event loop says, over scrapes. */
function watchLoop(
  url: string,
): Disposable & { readonly worst: Record<"p50" | "p99" | "max", number> } {
  const worst = { p50: 0, p99: 0, max: 0 };
  const names = ["p50", "p99", "max"] as const;
  const timer = setInterval(async () => {
    const found = await metrics(
      url,
      names.map((stat) => `ayder_event_loop_delay_seconds{stat="${stat}"}`),
    );
    names.forEach((name, i) => {
      worst[name] = Math.max(worst[name], (found[i] ?? 0) * 1000);
    });
  }, SCRAPE_MS);
  return { worst, [Symbol.dispose]: () => clearInterval(timer) };
}

function startNode(stack: AsyncDisposableStack): { readonly url: string; readonly pid: number } {
  const directory = scratchDirectory("tail");
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const port = freePort();
  const node = Bun.spawn(
    [values.binary, "--port", String(port), "--data", join(directory, "data")],
    {
      env: { ...process.env, NODE_ENV: "production", RF_LOG_LEVEL: "warn", BUN_JSC_logGC: "1" },
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  stack.defer(async () => {
    node.kill("SIGKILL");
    await node.exited;
  });
  void followCollector(node.stderr);
  return { url: `http://127.0.0.1:${port}`, pid: node.pid };
}

function causeTable(
  episodes: readonly Episode[],
): { cause: Cause; writes: number; episodes: number; worstMs: number }[] {
  return [...Map.groupBy(episodes, ({ cause }) => cause)]
    .map(([cause, own]) => ({
      cause,
      writes: own.reduce((sum, { writes }) => sum + writes, 0),
      episodes: own.length,
      worstMs: Math.max(...own.map(({ worstMs }) => worstMs)),
    }))
    .toSorted((a, b) => b.writes - a.writes);
}

const rowOf = (name: string, of: LatencySummary): string[] => [
  name,
  of.count.toLocaleString("en-US"),
  ...[of.p50, of.p99, of.p99_9, of.p99_99, of.p99_999, of.max].map(milliseconds),
];

async function main(): Promise<void> {
  const around = await circumstances(benchDirectory);
  await using stack = new AsyncDisposableStack();
  const probe = Bun.spawn([process.execPath, join(import.meta.dir, "load/processor-probe.ts")], {
    stdout: "pipe",
  });
  stack.defer(async () => {
    probe.kill();
    await probe.exited;
  });
  void followMachine(probe.stdout);
  const { url, pid } = startNode(stack);
  const isReady = (): Promise<boolean> =>
    fetch(`${url}/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await isReady())) await Bun.sleep(LOOK_MS);
  await createTopic(url, target);
  const full = await runLoad({
    ...common,
    url,
    work: plain,
    warmupMs: SETTLE_MS,
    durationMs: SETTLE_MS,
  });
  const ratePerSecond = Number(values.rate ?? Math.round(full.repliesPerSecond / 2));
  const rate = ratePerSecond.toLocaleString("en-US");
  console.log(`full speed is ${full.repliesPerSecond}/s; ${rate}/s for ${values.minutes} minutes`);

  const processes = watchProcesses(pid);
  const loop = watchLoop(url);
  const own = await drive(url, pid, Number(values.minutes), ratePerSecond);
  loop[Symbol.dispose]();
  processes[Symbol.dispose]();
  const noop = stack.use(await startNoop());
  await runLoad({ ...common, url: noop.url, work: plain, warmupMs: SETTLE_MS, durationMs: 1000 });
  const beside = await drive(noop.url, noop.pid, Number(values["beside-minutes"]), ratePerSecond);

  printTable(
    ["milliseconds", "writes", "p50", "p99", "p99.9", "p99.99", "p99.999", "max"],
    [
      rowOf("client, all", own.all),
      rowOf("client, the machine at speed", own.undisturbed),
      rowOf("node's clock, all", own.server),
      rowOf("node's clock, the machine at speed", own.serverUndisturbed),
      rowOf("a route that keeps nothing, client, all", beside.all),
      rowOf("the same, the machine at speed", beside.undisturbed),
    ],
  );
  const episodes = episodesOf(own.slow, seen, EPISODE_GAP_MS);
  const causes = causeTable(episodes);
  console.log(`\n${own.slow.length} writes took ${values["slow-ms"]} ms or more:`);
  printTable(
    ["because of", "writes", "moments", "worst ms"],
    causes.map(({ cause, writes, episodes: times, worstMs }) => [
      CAUSES[cause],
      String(writes),
      String(times),
      milliseconds(worstMs),
    ]),
  );
  const worst = episodes.toSorted((a, b) => b.worstMs - a.worstMs).slice(0, EPISODES_SHOWN);
  console.log("\nthe worst moments, in ms, and what fell into the longest reply:");
  printTable(
    [
      "because of",
      "at s",
      "writes",
      "worst",
      "reply",
      "machine",
      "sync",
      "queue",
      "collector",
      "no processor",
      "generator",
    ],
    worst.map((one) => [
      CAUSES[one.cause],
      ((one.fromMs - own.begin) / 1000).toFixed(1),
      String(one.writes),
      ...[
        one.worstMs,
        one.serviceMs,
        one.machineMs,
        one.syncMs,
        one.queueMs,
        one.collectorMs,
        one.processorMs,
        one.generatorMs,
      ].map(milliseconds),
    ]),
  );
  const { slowdowns, collections, waits, stalls } = seen;
  const watched: [string, Pauses][] = [
    ["the machine at a fraction of its speed", slowdowns],
    ["pauses of the collector", collections],
    ["waits for a processor over 2 ms", waits],
    ["stalls of the generator over 2 ms", stalls],
  ];
  console.log();
  printTable(
    ["", "times", "sum ms", "worst ms"],
    watched.map(([name, of]) => [
      name,
      String(of.count),
      of.sumMs.toFixed(0),
      milliseconds(of.worstMs),
    ]),
  );
  console.log(
    `event loop late by p50 ${milliseconds(loop.worst.p50)}, p99 ${milliseconds(loop.worst.p99)}, at most ${milliseconds(loop.worst.max)} ms`,
  );
  const figures = ({ result, all, undisturbed, server, serverUndisturbed }: Driven): object => ({
    replies: result.replies,
    serverCpu: result.server,
    clientCpu: result.client,
    all,
    undisturbed,
    server,
    serverUndisturbed,
  });
  const path = await keepResult(values.name, {
    ...around,
    settings: values,
    fullPerSecond: full.repliesPerSecond,
    ratePerSecond,
    node: figures(own),
    beside: figures(beside),
    causes,
    worst,
    watched: Object.fromEntries(watched.map(([name, of]) => [name, of.summary()])),
    eventLoopLateMs: loop.worst,
  });
  const picture = path.replace(/json$/, "svg");
  const seconds = own.slowestBySecond.length;
  const panel = (title: string, of: readonly number[]): Panel => ({
    title,
    unit: "ms",
    series: [{ name: "", values: of }],
  });
  await Bun.write(
    picture,
    chartOverTime(
      `${rate} single writes a second for ${values.minutes} minutes: the slowest of each second`,
      Array.from({ length: seconds }, (_, i) => (i + 1) / 60),
      "minutes",
      [
        panel("Slowest write, as the client saw it", own.slowestBySecond),
        panel("Slowest write, by the node's clock", own.slowestInServerBySecond),
        panel(
          "Longest time that the machine ran at a fraction of its speed",
          slowdowns.worstBySecond(own.begin, seconds),
        ),
        panel(
          "Longest pause of the node's collector",
          collections.worstBySecond(own.begin, seconds),
        ),
        panel("Longest wait of the node for a processor", waits.worstBySecond(own.begin, seconds)),
      ],
    ),
  );
  console.log(`kept in ${path} and ${picture}`);
}

await main();
