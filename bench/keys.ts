// What many keys cost a node: memory, puts and reads over HTTP, and how long a restart takes.
// Usage: bun bench/keys.ts [--keys 1000000] [--bytes 100] [--seconds 5] [--connections 64] [--binary dist/ayder-linux-x64]

import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runLoad, type Work } from "../src/load/mod.ts";
import { circumstances, keepResult, printTable } from "./load/report.ts";
import { freePort, scratchDirectory, startProcess } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "1000000" },
    bytes: { type: "string", default: "100" },
    seconds: { type: "string", default: "5" },
    connections: { type: "string", default: "64" },
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    name: { type: "string", default: "keys" },
  },
});
const keys = Number(values.keys);
const bytes = Number(values.bytes);
const PER_TRANSACTION = 1000;
const STARTS = 3;
const headers = { authorization: "Bearer dev" };

const nameOf = (i: number): string => `user-${String(i).padStart(8, "0")}`;

/** The same kind of request for one key after another, in no order. */
function keyWork(name: string, method: "GET" | "POST", query: string): Work {
  const body = new Uint8Array(bytes).fill(120);
  let at = 0;
  const next = () => {
    at = (at + 7919) % keys;
    const path = `/kv/bench/${nameOf(at)}${query}`;
    return { method, path, headers, ...(method === "POST" && { body }) };
  };
  return {
    name,
    request: next(),
    recordsPerReply: 1,
    readReply: () => ({ records: 1, next: next() }),
  };
}

const residentMiB = async (pid: number): Promise<number> => {
  const status = await Bun.file(`/proc/${pid}/status`).text();
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
};

const directory = scratchDirectory("keys");
const data = join(directory, "data");
const start = async () => {
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  const scratch = scratchDirectory("keys-log");
  const startedMs = performance.now();
  const node = await startProcess({
    command: [values.binary, "--port", String(port), "--data", data],
    environment: { RF_LOG_LEVEL: "warn", RF_SHARED_ENTRIES: String(keys) },
    directory: scratch,
    isReady: async () => (await fetch(`${url}/ready`)).ok,
  });
  return { ...node, url, readyMs: performance.now() - startedMs };
};

try {
  let node = await start();
  const emptyMiB = await residentMiB(node.pid);
  const filledMs = performance.now();
  for (let first = 0; first < keys; first += PER_TRANSACTION) {
    const count = Math.min(PER_TRANSACTION, keys - first);
    const kv = Array.from({ length: count }, (_, i) => ({
      op: "put",
      key: `bench/${nameOf(first + i)}`,
      value: "x".repeat(bytes),
    }));
    const reply = await fetch(`${node.url}/broker/txn`, {
      method: "POST",
      headers,
      body: JSON.stringify({ kv }),
    });
    if (!reply.ok) throw new Error(await reply.text());
    if (first % 100_000 === 0) process.stderr.write(`\r${first} keys`);
  }
  const fillSeconds = (performance.now() - filledMs) / 1000;
  process.stderr.write("\n");
  const filledMiB = await residentMiB(node.pid);

  const over = await fetch(`${node.url}/kv/bench/one-more`, { method: "PUT", headers, body: "x" });
  const refusal = ((await over.json()) as { readonly error: string }).error;
  const load = { url: node.url, connections: Number(values.connections), warmupMs: 1000 };
  const durationMs = Number(values.seconds) * 1000;
  const rows = [];
  for (const work of [
    keyWork("put", "POST", ""),
    keyWork("get", "GET", ""),
    keyWork("get, local", "GET", "?consistency=local"),
  ])
    rows.push(
      await runLoad({ ...load, work, durationMs, protocol: "http1", serverPids: [node.pid] }),
    );
  const loadedMiB = await residentMiB(node.pid);
  await node[Symbol.asyncDispose]();

  const starts: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    node = await start();
    starts.push(node.readyMs);
    const reply = await fetch(`${node.url}/kv/bench/${nameOf(keys - 1)}`, { headers });
    if (!reply.ok) throw new Error(`The last key is gone: ${await reply.text()}`);
    await node[Symbol.asyncDispose]();
  }
  starts.sort((left, right) => left - right);
  printTable(
    ["work", "per second", "p50 ms", "p99 ms", "cpu us"],
    rows.map((row) => [
      row.work,
      row.repliesPerSecond.toFixed(0),
      row.latency.p50.toFixed(2),
      row.latency.p99.toFixed(2),
      row.server?.microseconds.toFixed(1) ?? "",
    ]),
  );
  const result = {
    circumstances: await circumstances(directory),
    keys,
    valueBytes: bytes,
    fillSeconds,
    residentMiB: { empty: emptyMiB, filled: filledMiB, afterLoad: loadedMiB },
    overBudget: { status: over.status, error: refusal },
    readyMs: { median: starts[STARTS >> 1], worst: starts.at(-1) },
    rows,
  };
  console.log(
    `${keys} keys of ${bytes} bytes in ${fillSeconds.toFixed(1)} s: ${filledMiB.toFixed(0)} MiB resident (${emptyMiB.toFixed(0)} empty), ready again in ${starts[STARTS >> 1]?.toFixed(0)} ms; one more: ${over.status} ${refusal}`,
  );
  console.log(`kept in ${await keepResult(values.name, result)}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
