// Whether space comes back: traffic through a topic that keeps 100 MiB, beside a small topic that keeps everything and keys that
// are written over and over. Prints the size of the directory over time, the restart time against a fresh directory, and what
// reclaiming costs the p99 of produce.
// Usage: bun bench/reclaim.ts [--binary F] [--gib 2] [--mib-per-second 0 (as fast as it goes)] [--rounds 6] [--rate 5000] [--seconds 15]

import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batchWork, produceWork, runLoad } from "../src/load/mod.ts";
import { circumstances, keepResult, median } from "./load/report.ts";
import { createTopic, freePort, scratchDirectory } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    gib: { type: "string", default: "2" },
    "mib-per-second": { type: "string", default: "0" },
    rounds: { type: "string", default: "6" },
    rate: { type: "string", default: "5000" },
    seconds: { type: "string", default: "15" },
    name: { type: "string", default: "reclaim" },
  },
});

const KEPT_BYTES_MAX = 100 * 2 ** 20;
const BATCH = { records: 1000, bytes: 500 } as const;
/** Batches a second beside the latency that is measured: about 25 MB/s, one full file in three seconds. */
const BATCHES_PER_SECOND = 50;
const KEY_WRITES = 100_000;
const KEYS = 1000;
const KEYS_AT_ONCE = 100;
const HEADERS = { authorization: "Bearer dev" };

const directory = scratchDirectory("reclaim");
const port = freePort();
const url = `http://127.0.0.1:${port}`;
const target = (topic: string) => ({ topic, partition: 0, token: "dev" });

function launch(
  data: string,
  env: Readonly<Record<string, string>> = {},
): ReturnType<typeof Bun.spawn> {
  mkdirSync(data, { recursive: true });
  return Bun.spawn([values.binary, "--port", String(port), "--data", data], {
    stdout: "ignore",
    stderr: Bun.file(join(directory, "log")),
    env: { ...process.env, RF_LOG_LEVEL: "warn", ...env },
  });
}

async function ready(): Promise<number> {
  const started = performance.now();
  for (;;) {
    const reply = await fetch(`${url}/ready`).catch(() => undefined);
    if (reply?.ok === true) return performance.now() - started;
    if (performance.now() - started > 60_000) throw new Error("The node is not ready in a minute");
    await Bun.sleep(2);
  }
}

const post = (path: string, body: unknown): Promise<Response> =>
  fetch(`${url}${path}`, { method: "POST", headers: HEADERS, body: JSON.stringify(body) });

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { headers: HEADERS })).text();
  return Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1] ?? 0);
}

function sizeOf(data: string): number {
  let bytes = 0;
  for (const name of readdirSync(data)) {
    // Between the listing and the look a file may go: that is what is measured here.
    bytes += statSync(join(data, name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}

const mib = (bytes: number): number => Math.round((bytes / 2 ** 20) * 10) / 10;
async function restartMs(data: string): Promise<number> {
  const times: number[] = [];
  // What the load before left to be written back would be counted as well.
  Bun.spawnSync(["sync"]);
  for (let i = 0; i < 5; i++) {
    const started = launch(data);
    times.push(await ready());
    started.kill("SIGKILL");
    await started.exited;
  }
  return median(times);
}

async function retain(topic: string, maxBytes: number): Promise<void> {
  const reply = await post("/broker/retention", { topic, max_bytes: maxBytes });
  if (!reply.ok) throw new Error(await reply.text());
}

/** Sends records to the small topic all the while; returns how many there are. */
async function trickle(isOver: () => boolean): Promise<number> {
  let sent = 0;
  while (!isOver()) {
    const path = `/broker/topics/kept/produce?partition=0`;
    const reply = await fetch(`${url}${path}`, {
      method: "POST",
      headers: HEADERS,
      body: `kept ${sent}`,
    });
    if (reply.ok) sent += 1;
    await reply.text();
    await Bun.sleep(5);
  }
  return sent;
}

/** Writes 1,000 keys over and over, 100 at a time. */
async function overwrite(): Promise<void> {
  for (let i = 0; i < KEY_WRITES; i += KEYS_AT_ONCE) {
    const kv = Array.from({ length: KEYS_AT_ONCE }, (_, j) => ({
      op: "put",
      key: `bench/${(i + j) % KEYS}`,
      value: `${i + j} `.padEnd(100, "v"),
    }));
    const reply = await post("/broker/txn", { kv });
    if (!reply.ok) throw new Error(await reply.text());
    await reply.text();
  }
}

async function checkKeys(): Promise<void> {
  for (let i = KEY_WRITES - KEYS; i < KEY_WRITES; i++) {
    const reply = await fetch(`${url}/kv/bench/${i % KEYS}`, { headers: HEADERS });
    const { value, cas } = (await reply.json()) as { readonly value: string; readonly cas: number };
    if (atob(value) !== `${i} `.padEnd(100, "v") || cas !== KEY_WRITES / KEYS)
      throw new Error(`Key ${i % KEYS} has cas ${cas} and ${atob(value)}`);
  }
}

async function checkKept(count: number): Promise<void> {
  let at = 0;
  while (at < count) {
    const path = `/broker/consume/kept/check/0?offset=${at}&limit=1000`;
    const reply = await fetch(`${url}${path}`, { headers: HEADERS });
    const { messages } = (await reply.json()) as { messages: { offset: number; value: string }[] };
    for (const { offset, value } of messages) {
      if (offset !== at || value !== `kept ${at}`)
        throw new Error(`Offset ${at} of the kept topic is ${offset}: ${value}`);
      at += 1;
    }
    if (messages.length === 0) throw new Error(`The kept topic ends at ${at} of ${count}`);
  }
}

async function flow(data: string) {
  const node = launch(data);
  await ready();
  await createTopic(url, target("flow"));
  await createTopic(url, target("kept"));
  await retain("flow", KEPT_BYTES_MAX);
  let isOver = false;
  const trickling = trickle(() => isOver);
  const overwriting = overwrite();
  let peakBytes = 0;
  const looking = setInterval(() => {
    peakBytes = Math.max(peakBytes, sizeOf(data));
  }, 50);
  const mibPerSecond = Number(values["mib-per-second"]);
  const overTime: {
    readonly s: number;
    readonly writtenMiB: number;
    readonly directoryMiB: number;
  }[] = [];
  const startedMs = performance.now();
  const sample = (written: number): void => {
    const s = Math.round((performance.now() - startedMs) / 100) / 10;
    overTime.push({ s, writtenMiB: mib(written), directoryMiB: mib(sizeOf(data)) });
  };
  const totalBytes = Number(values.gib) * 2 ** 30;
  for (let written = 0; written < totalBytes; ) {
    const result = await runLoad({
      url,
      work: batchWork(target("flow"), BATCH.bytes, BATCH.records),
      connections: 4,
      durationMs: 1000,
      warmupMs: 0,
      protocol: "http1",
      ...(mibPerSecond > 0 && {
        ratePerSecond: (mibPerSecond * 2 ** 20) / (BATCH.records * BATCH.bytes),
      }),
    });
    written += result.records * BATCH.bytes;
    sample(written);
  }
  const flowedS = (performance.now() - startedMs) / 1000;
  for (let i = 0; i < 10; i++) {
    await Bun.sleep(1000);
    sample(totalBytes);
  }
  isOver = true;
  const kept = await trickling;
  await overwriting;
  clearInterval(looking);
  const numbers = {
    flowedS,
    kept,
    peakMiB: mib(peakBytes),
    restMiB: overTime.at(-1)?.directoryMiB ?? 0,
    reclaimRuns: await metric("ayder_reclaim_runs_total"),
    reclaimedMiB: mib(await metric("ayder_reclaimed_bytes_total")),
    archives: await metric("ayder_archives"),
  };
  node.kill("SIGKILL");
  await node.exited;
  return { ...numbers, overTime };
}

/** Latency of lone records beside batches, whose topic keeps little; the files of the log go, or all of them stay. */
async function latency(data: string, isReclaiming: boolean) {
  const node = launch(data, { RF_SEGMENTS_KEPT: isReclaiming ? "2" : "1000" });
  await ready();
  await createTopic(url, target("batches"));
  await createTopic(url, target("lone"));
  await retain("batches", 2 ** 20);
  const durationMs = Number(values.seconds) * 1000;
  const [lone, batches] = await Promise.all([
    runLoad({
      url,
      work: produceWork(target("lone"), 64),
      connections: 64,
      durationMs,
      warmupMs: 2000,
      protocol: "http1",
      ratePerSecond: Number(values.rate),
    }),
    runLoad({
      url,
      work: batchWork(target("batches"), BATCH.bytes, BATCH.records),
      connections: 2,
      durationMs: durationMs + 2000,
      warmupMs: 0,
      protocol: "http1",
      ratePerSecond: BATCHES_PER_SECOND,
    }),
  ]);
  const runs = await metric("ayder_reclaim_runs_total");
  node.kill("SIGKILL");
  await node.exited;
  rmSync(data, { recursive: true });
  const { p50, p99 } = lone.latency;
  return { isReclaiming, p50, p99, batchRecords: batches.records, runs };
}

try {
  const data = join(directory, "flow");
  const flowed = await flow(data);
  console.table(flowed.overTime);
  console.log({ ...flowed, overTime: undefined });
  const full = await restartMs(data);
  const again = launch(data);
  await ready();
  await checkKept(flowed.kept);
  await checkKeys();
  again.kill("SIGKILL");
  await again.exited;
  rmSync(data, { recursive: true });
  const fresh = await restartMs(join(directory, "fresh"));
  console.log(`restart ${full.toFixed(1)} ms, of a fresh directory ${fresh.toFixed(1)} ms`);
  const rounds: Awaited<ReturnType<typeof latency>>[] = [];
  // Without, with, with, without, and so on: what drifts meanwhile strikes both alike.
  for (let i = 0; i < Number(values.rounds); i++)
    rounds.push(await latency(join(directory, "latency"), i % 4 === 1 || i % 4 === 2));
  console.table(rounds);
  const p99Of = (is: boolean): number =>
    median(rounds.filter(({ isReclaiming }) => isReclaiming === is).map(({ p99 }) => p99));
  const p99 = { withReclaiming: p99Of(true), without: p99Of(false) };
  console.log(p99);
  const restart = { fullMs: full, freshMs: fresh };
  const kept = { ...(await circumstances(directory)), flowed, restart, rounds, p99 };
  console.log(`kept in ${await keepResult(values.name, kept)}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
