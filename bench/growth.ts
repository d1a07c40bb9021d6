// Whether a node gets slower as it holds more: produce latency at a fixed rate, and the time of a restart after a kill, with
// little and with much in the log. Usage: bun bench/growth.ts [--binary F] [--small 1] [--large 20] [--rate 10000] (GiB)

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { batchWork, produceWork, runLoad } from "../src/load/mod.ts";
import { circumstances, keepResult } from "./load/report.ts";
import { createTopic, freePort, scratchDirectory } from "./load/servers.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    small: { type: "string", default: "1" },
    large: { type: "string", default: "20" },
    rate: { type: "string", default: "10000" },
    seconds: { type: "string", default: "10" },
    rounds: { type: "string", default: "5" },
    name: { type: "string", default: "growth" },
  },
});

const TARGET = { topic: "growth", partition: 0, token: "dev" } as const;
const BATCH_RECORDS = 2000;
const BATCH_BYTES = 500;

const directory = scratchDirectory("growth");
const data = join(directory, "data");
mkdirSync(data, { recursive: true });
const port = freePort();
const url = `http://127.0.0.1:${port}`;

const launch = (): ReturnType<typeof Bun.spawn> =>
  Bun.spawn([values.binary, "--port", String(port), "--data", data], {
    stdout: "ignore",
    stderr: Bun.file(join(directory, "log")),
    env: { ...process.env, RF_LOG_LEVEL: "warn" },
  });

/** Milliseconds until `/ready`. */
async function ready(): Promise<number> {
  const started = performance.now();
  for (;;) {
    const isReady = await fetch(`${url}/ready`)
      .then((reply) => reply.ok)
      .catch(() => false);
    if (isReady) return performance.now() - started;
    if (performance.now() - started > 60_000)
      throw new Error("The node is not ready after a minute");
    await Bun.sleep(2);
  }
}

const storedBytes = async (): Promise<number> => {
  const reply = await fetch(`${url}/broker/topics/${TARGET.topic}`, {
    headers: { authorization: "Bearer dev" },
  });
  const topic = (await reply.json()) as { partition_details: { bytes: number }[] };
  return topic.partition_details.reduce((sum, partition) => sum + partition.bytes, 0);
};

let node = launch();

async function fillTo(gib: number): Promise<void> {
  for (;;) {
    const bytes = await storedBytes();
    if (bytes >= gib * 2 ** 30) return;
    process.stderr.write(`\r${(bytes / 2 ** 30).toFixed(2)} of ${gib} GiB`);
    await runLoad({
      url,
      work: batchWork(TARGET, BATCH_BYTES, BATCH_RECORDS),
      connections: 4,
      durationMs: 2000,
      warmupMs: 0,
      protocol: "http1",
    });
  }
}

async function measure(gib: number) {
  await fillTo(gib);
  process.stderr.write("\n");
  const latencies = [];
  const restarts = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const result = await runLoad({
      url,
      work: produceWork(TARGET, 64),
      connections: 64,
      durationMs: Number(values.seconds) * 1000,
      warmupMs: 1000,
      protocol: "http1",
      ratePerSecond: Number(values.rate),
    });
    latencies.push(result.latency);
    node.kill("SIGKILL");
    await node.exited;
    node = launch();
    restarts.push(await ready());
  }
  const status = await Bun.file(`/proc/${node.pid}/status`).text();
  const median = (numbers: number[]): number =>
    numbers.sort((left, right) => left - right)[Math.floor(numbers.length / 2)]!;
  return {
    gib,
    produceP50Ms: median(latencies.map((latency) => latency.p50)),
    produceP99Ms: median(latencies.map((latency) => latency.p99)),
    restartMs: median(restarts),
    residentMiB: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
  };
}

try {
  await ready();
  await createTopic(url, TARGET);
  const small = await measure(Number(values.small));
  const large = await measure(Number(values.large));
  console.table([small, large]);
  const ratios = {
    p99: large.produceP99Ms / small.produceP99Ms,
    restart: large.restartMs / small.restartMs,
  };
  console.log(
    `large against small: p99 ${ratios.p99.toFixed(2)}, restart ${ratios.restart.toFixed(2)}`,
  );
  console.log(
    `kept in ${await keepResult(values.name, { ...(await circumstances(directory)), small, large, ratios })}`,
  );
} finally {
  node.kill("SIGKILL");
  await node.exited;
  rmSync(directory, { recursive: true, force: true });
}
