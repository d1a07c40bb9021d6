// Drives one server with one kind of work and prints what it did. With `--binary` or `--source` it starts the server.
// Usage: bun bench/load/run.ts --url http://127.0.0.1:1109 --mode produce|batch|consume|tail|tail-json --connections 64
//        --duration 10s [--warmup 1s] [--rate N [--spin]] [--http2 --streams 32] [--pid N] [--json file]
//        [--topic bench] [--partition 0] [--token dev] [--bytes 64] [--records 1000] [--fill N] [--rocket]

import { parseArgs } from "node:util";
import {
  batchWork,
  consumeWork,
  type LoadOptions,
  type LoadResult,
  produceWork,
  runLoad,
  tailWork,
  type Work,
} from "../../src/load/mod.ts";
import { circumstances, printLoad } from "./report.ts";
import { benchDirectory, createTopic, startAyder } from "./servers.ts";

const FILL_BATCH_RECORDS = 1000;

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    binary: { type: "string" },
    source: { type: "boolean", default: false },
    mode: { type: "string", default: "produce" },
    connections: { type: "string", default: "64" },
    duration: { type: "string", default: "10s" },
    warmup: { type: "string", default: "1s" },
    rate: { type: "string" },
    spin: { type: "boolean", default: false },
    http2: { type: "boolean", default: false },
    streams: { type: "string", default: "32" },
    pid: { type: "string" },
    json: { type: "string" },
    topic: { type: "string", default: "bench" },
    partition: { type: "string", default: "0" },
    token: { type: "string", default: "dev" },
    bytes: { type: "string", default: "64" },
    records: { type: "string", default: "1000" },
    fill: { type: "string" },
    rocket: { type: "boolean", default: false },
  },
});

const target = { topic: values.topic, partition: Number(values.partition), token: values.token };

function milliseconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
  if (match === null) throw new Error(`Cannot read the duration ${text}: say 500ms, 10s or 1m`);
  return Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[(match[2] ?? "s") as "ms" | "s" | "m"];
}

function work(): Work {
  const bytes = Number(values.bytes);
  const records = Number(values.records);
  switch (values.mode) {
    case "produce":
      return produceWork(target, bytes);
    case "batch":
      return batchWork(target, bytes, records);
    case "consume":
      return consumeWork(target, records);
    case "tail":
      return tailWork(target, "raw");
    case "tail-json":
      return tailWork(target, "text");
    default:
      throw new Error(
        `Cannot run the mode ${values.mode}: there are produce, batch, consume, tail and tail-json`,
      );
  }
}

/** Writes at least `records` records, so that there is something to read. */
async function fill(url: string, records: number): Promise<void> {
  const options = { url, connections: 4, warmupMs: 0, durationMs: 500, protocol: "http1" } as const;
  const batch = batchWork(target, Number(values.bytes), FILL_BATCH_RECORDS);
  for (let written = 0; written < records; ) {
    const result = await runLoad({ ...options, work: batch });
    if (result.records === 0)
      throw new Error(`Cannot fill the topic: ${JSON.stringify(result.statuses)}`);
    written += result.records;
  }
}

async function main(): Promise<void> {
  const isStarted = values.binary !== undefined || values.source;
  await using server = isStarted ? await startAyder(values.binary) : undefined;
  const url = server?.url ?? values.url ?? "http://127.0.0.1:1109";
  const serverPid = server?.pid ?? (values.pid === undefined ? undefined : Number(values.pid));
  const around = await circumstances(benchDirectory);
  await createTopic(url, target, values.rocket ? "rocket" : "sealed");
  if (values.fill !== undefined) await fill(url, Number(values.fill));
  const options: LoadOptions = {
    url,
    work: work(),
    connections: Number(values.connections),
    durationMs: milliseconds(values.duration),
    warmupMs: values.mode.startsWith("tail") ? 0 : milliseconds(values.warmup),
    protocol: values.http2 ? "http2" : "http1",
    streams: Number(values.streams),
    isSpinning: values.spin,
    ...(values.rate === undefined ? {} : { ratePerSecond: Number(values.rate) }),
    ...(serverPid === undefined ? {} : { serverPids: [serverPid] }),
  };
  const result: LoadResult = await runLoad(options);
  printLoad(result);
  if (values.mode.startsWith("tail")) {
    const perSecond = Math.round(result.records / Math.max(result.activeSeconds, 0.001));
    console.log(
      `${result.records} lines in ${result.activeSeconds} s of arrival: ${perSecond} lines/s`,
    );
  }
  if (values.json !== undefined) {
    await Bun.write(values.json, `${JSON.stringify({ ...around, result }, null, 2)}\n`);
  }
  const isGood =
    result.records > 0 || Object.keys(result.statuses).some((status) => status.startsWith("2"));
  if (!isGood) process.exitCode = 1;
}

await main();
