// Hours of everything at once on one node, with retention on: single records, batches, reads, groups, keys that end, transactions
// and queries. Prints a line every ten seconds and keeps the curves of memory, descriptors, disk and latency.
// Usage: bun bench/soak.ts [--binary F] [--minutes 60] [--rate 2000] [--batches 20] [--name soak]

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batchWork, consumeWork, produceWork, runLoad } from "../src/load/mod.ts";
import { chartOverTime } from "./load/chart.ts";
import { circumstances, keepResult, median } from "./load/report.ts";
import { createTopic, freePort, scratchDirectory } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    minutes: { type: "string", default: "60" },
    rate: { type: "string", default: "2000" },
    batches: { type: "string", default: "20" },
    name: { type: "string", default: "soak" },
  },
});

const SAMPLE_MS = 10_000;
const KEPT_BYTES_MAX = 128 * 2 ** 20;
const KEYS = 20_000;
const HEADERS = { authorization: "Bearer dev" };

const directory = scratchDirectory("soak");
const data = join(directory, "data");
const port = freePort();
const url = `http://127.0.0.1:${port}`;
const node = Bun.spawn([values.binary, "--port", String(port), "--data", data], {
  stdout: "ignore",
  stderr: Bun.file(join(directory, "log")),
  env: { ...process.env, RF_LOG_LEVEL: "warn" },
});
const target = (topic: string) => ({ topic, partition: 0, token: "dev" });

async function ask(method: string, path: string, body?: unknown): Promise<unknown> {
  const init = body === undefined ? {} : { body: JSON.stringify(body) };
  const reply = await fetch(`${url}${path}`, { method, headers: HEADERS, ...init });
  const fields = (await reply.json()) as { readonly error?: string };
  if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(fields)}`);
  return fields;
}

for (;;) {
  const reply = await fetch(`${url}/ready`).catch(() => undefined);
  if (reply?.ok === true) break;
  await Bun.sleep(10);
}
for (const topic of ["lone", "flow", "paid"]) {
  await createTopic(url, target(topic));
  await ask("POST", "/broker/retention", { topic, max_bytes: KEPT_BYTES_MAX });
}

/** Acts beside the load, each as often as it says. */
const acts = {
  keys: 0,
  transactions: 0,
  queries: 0,
  commits: 0,
  failures: new Map<string, number>(),
};
let isOver = false;
async function every(milliseconds: number, act: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; !isOver; i++) {
    const next = performance.now() + milliseconds;
    await act(i).catch((error: unknown) => {
      const text = String(error).slice(0, 200);
      acts.failures.set(text, (acts.failures.get(text) ?? 0) + 1);
    });
    await Bun.sleep(Math.max(0, next - performance.now()));
  }
}
const beside = [
  every(5, async (i) => {
    const key = `soak/k${(i * 7919) % KEYS}`;
    await fetch(`${url}/kv/${key}?ttl_s=${1 + (i % 300)}`, {
      method: "PUT",
      headers: HEADERS,
      body: `value ${i}`.padEnd(100, "v"),
    }).then(async (reply) => {
      await reply.text();
      if (!reply.ok) throw new Error(`put ${reply.status}`);
    });
    acts.keys += 1;
  }),
  every(50, async (i) => {
    await ask("POST", "/broker/txn", {
      produce: [{ topic: "paid", partition: 0, value: btoa(JSON.stringify({ id: i, n: i % 10 })) }],
      kv: [{ op: "put", key: `soak/total${i % 100}`, value: `${i}` }],
    });
    acts.transactions += 1;
  }),
  every(1000, async () => {
    await ask("POST", "/broker/query", {
      source: { topic: "paid", partition: 0, limit: 1000, decode: { type: "json" } },
      filter: [{ field: "n", op: "ge", value: 3 }],
    });
    acts.queries += 1;
  }),
  every(100, async (i) => {
    const { next_offset } = (await ask(
      "GET",
      `/broker/consume/lone/workers/0?limit=500&encoding=b64`,
    )) as { readonly next_offset: number };
    if (i % 5 === 0 && next_offset > 0)
      await ask("POST", "/broker/commit", {
        topic: "lone",
        group: "workers",
        partition: 0,
        offset: next_offset - 1,
      });
    acts.commits += 1;
  }),
];

const status = (name: string): number => {
  const text = readFileSync(`/proc/${node.pid}/status`, "utf8");
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) / 1024;
};
const sizeOf = (path: string): number =>
  readdirSync(path, { withFileTypes: true }).reduce((sum, entry) => {
    const size = statSync(join(path, entry.name), { throwIfNoEntry: false })?.size ?? 0;
    return sum + (entry.isDirectory() ? sizeOf(join(path, entry.name)) : size);
  }, 0);

interface Sample {
  readonly minutes: number;
  readonly residentMiB: number;
  readonly descriptors: number;
  readonly directoryMiB: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}
const samples: Sample[] = [];
let records = 0;
const faults: string[] = [];
const startedMs = performance.now();
const untilMs = startedMs + Number(values.minutes) * 60_000;

try {
  while (performance.now() < untilMs) {
    const common = { url, durationMs: SAMPLE_MS, warmupMs: 0, protocol: "http1" } as const;
    const [lone, batches] = await Promise.all([
      runLoad({
        ...common,
        work: produceWork(target("lone"), 64),
        connections: 32,
        ratePerSecond: Number(values.rate),
      }),
      runLoad({
        ...common,
        work: batchWork(target("flow"), 100, 1000),
        connections: 2,
        ratePerSecond: Number(values.batches),
      }),
      runLoad({
        ...common,
        work: consumeWork(target("flow"), 1000),
        connections: 1,
        ratePerSecond: 10,
      }),
    ]);
    for (const { errors, statuses, firstError } of [lone, batches])
      if (errors > 0 || Object.keys(statuses).some((code) => code !== "200"))
        faults.push(`${errors} errors, ${JSON.stringify(statuses)}, ${firstError}`);
    records += lone.records + batches.records;
    const { p50, p99, p99_9: p999 } = lone.latency;
    const sample: Sample = {
      minutes: (performance.now() - startedMs) / 60_000,
      residentMiB: status("VmRSS"),
      descriptors: readdirSync(`/proc/${node.pid}/fd`).length,
      directoryMiB: sizeOf(data) / 2 ** 20,
      p50,
      p99,
      p999,
    };
    samples.push(sample);
    const { minutes, residentMiB, descriptors, directoryMiB } = sample;
    console.log(
      `${minutes.toFixed(1)} min: ${residentMiB.toFixed(0)} MiB, ${descriptors} descriptors, directory ${directoryMiB.toFixed(0)} MiB, ` +
        `p50 ${p50} p99 ${p99} p99.9 ${p999} ms, ${records} records, ${acts.keys} keys, ${acts.transactions} transactions`,
    );
  }
  isOver = true;
  await Promise.all(beside);
  const of = (name: keyof Sample, part: readonly Sample[]): number =>
    Math.round(median(part.map((sample) => sample[name])) * 100) / 100;
  // The first tenth is filling up: retention has nothing to do yet.
  const settled = samples.slice(Math.floor(samples.length / 10));
  const half = settled.length >> 1;
  const names = ["residentMiB", "descriptors", "directoryMiB", "p50", "p99", "p999"] as const;
  const halves = names.map((name) => ({
    name,
    firstHalf: of(name, settled.slice(0, half)),
    secondHalf: of(name, settled.slice(half)),
    max: Math.round(Math.max(...samples.map((sample) => sample[name])) * 100) / 100,
  }));
  console.table(halves);
  const counts = { records, ...acts, failures: Object.fromEntries(acts.failures), faults };
  console.log(counts);
  const kept = { ...(await circumstances(directory)), ...counts, halves, samples };
  console.log(`kept in ${await keepResult(values.name, kept)}`);
  const series = (name: keyof Sample, shown: string) => ({
    name: shown,
    values: samples.map((sample) => sample[name]),
  });
  const svg = chartOverTime(
    `One node under mixed load for ${Math.round(samples.at(-1)?.minutes ?? 0)} minutes: ${records.toLocaleString("en-US")} records`,
    samples.map(({ minutes }) => minutes),
    "minutes",
    [
      { title: "Memory", unit: "MiB resident", series: [series("residentMiB", "")] },
      { title: "Directory", unit: "MiB", series: [series("directoryMiB", "")] },
      { title: "Descriptors", unit: "open", series: [series("descriptors", "")] },
      {
        title: "Latency of single records, each 10 s",
        unit: "ms",
        series: [series("p50", "p50"), series("p99", "p99")],
      },
    ],
  );
  await Bun.write(join(import.meta.dir, `results/${values.name}.svg`), svg);
} finally {
  node.kill("SIGKILL");
  await node.exited;
}
