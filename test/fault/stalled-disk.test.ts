// A disk that stalls for seconds: acknowledgements wait, the node goes on answering, and no byte is lost or garbled.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { Prng } from "../../src/lib/prng.ts";
import { createTopic, produce, readAll, type WriteReply } from "../support/node-client.ts";
import { Load } from "../support/node-load.ts";
import { canMount, mount } from "../support/node-mount.ts";
import { LogOracle, recordValue } from "../support/node-oracle.ts";
import { type RunningNode, startNode, waitUntil } from "../support/node-process.ts";
import { canTrace, delayNextSync } from "../support/node-strace.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const STALL_MS = 3000;
const HEALTH_MS_MAX = 1000;
const TOPIC = "stalls";
const PARTITIONS = 2;

/** Writes through a stall and checks everything, before and after a kill. */
async function writeThrough(
  dataDir: string,
  disk: "uring" | "worker",
  stall: (node: RunningNode) => Promise<() => Promise<unknown>>,
): Promise<void> {
  const oracle = new LogOracle(TOPIC, PARTITIONS);
  const shape = { topic: TOPIC, partitions: PARTITIONS, writers: 64, largeBytes: 190_000 };
  const load = new Load({ ...shape, random: new Prng(4), oracle });
  let stillMs = 0;
  let healthMs = 0;
  {
    await using node = await startNode({ dataDir, env: { RF_DISK: disk } });
    await createTopic(node.url, TOPIC, PARTITIONS);
    const { ended } = await load.run(node.url, 500);

    const release = await stall(node);
    let answers = load.answers;
    let since = performance.now();
    const begun = since;
    await waitUntil(
      "the disk has stalled and goes on",
      async () => {
        const asked = performance.now();
        expect((await fetch(`${node.url}/health`)).status).toBe(200);
        healthMs = Math.max(healthMs, performance.now() - asked);
        const now = performance.now();
        if (load.answers !== answers) {
          answers = load.answers;
          since = now;
        }
        stillMs = Math.max(stillMs, now - since);
        if (stillMs < STALL_MS) return undefined;
        await release();
        return true;
      },
      STALL_MS * 4,
    );
    await waitUntil("writes go on", () => load.answers > answers + 500, STALL_MS * 4);
    load.stop();
    await ended;
    await oracle.check(node.url, true);
    expect(oracle.faults).toEqual([]);
    console.log(
      `${disk}: nothing acknowledged for ${stillMs.toFixed(0)} ms of ` +
        `${(performance.now() - begun).toFixed(0)}, slowest health ${healthMs.toFixed(0)} ms`,
    );
    await node.kill("SIGKILL");
  }
  await using node = await startNode({ dataDir, env: { RF_DISK: disk } });
  await load.retry(node.url);
  await oracle.check(node.url, true);

  expect(oracle.faults).toEqual([]);
  expect(load.unanswered).toBe(0);
  expect([...load.refusals]).toEqual([]);
  expect(healthMs).toBeLessThan(HEALTH_MS_MAX);
  expect((await readAll(node.url, TOPIC, 0)).length).toBeGreaterThan(0);
}

test.if(canTrace)(
  "worker disk: a sync that takes 3 s holds acknowledgements, nothing else",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await writeThrough(dataDir, "worker", async (node) => {
      const strace = await delayNextSync(node.pid, STALL_MS * 1.2);
      return () => strace.detach();
    });
    clean();
  },
  TEST_MS_MAX,
);

for (const kind of ["uring", "worker"] as const) {
  test.if(canMount("ext4") && Bun.which("fsfreeze") !== null)(
    `${kind} disk: a file system frozen for 3 s holds acknowledgements, nothing else`,
    async () => {
      using disk = mount("ext4", 768);
      await writeThrough(join(disk?.path ?? "", "data"), kind, () => {
        disk?.stall(true);
        return Promise.resolve(() => {
          disk?.stall(false);
          return Promise.resolve();
        });
      });
    },
    TEST_MS_MAX,
  );
}

test.if(canMount("ext4") && Bun.which("fsfreeze") !== null)(
  "writes that outwait their time on a stalled disk are honest unknowns, and a repeat by key stores each once",
  async () => {
    using disk = mount("ext4", 768);
    const dataDir = join(disk?.path ?? "", "data");
    await using node = await startNode({ dataDir, env: { RF_WRITE_TIMEOUT_MS: "500" } });
    await createTopic(node.url, TOPIC, PARTITIONS);
    const sendAll = (): Promise<readonly WriteReply[]> =>
      Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          produce(
            node.url,
            { topic: TOPIC, partition: 0, idempotencyKey: `key ${i}` },
            recordValue(`r${i}`, 0, 1, 20_000),
          ),
        ),
      );

    disk?.stall(true);
    const stalled = await sendAll();
    const again = sendAll();
    disk?.stall(false);
    const statuses = new Set((await again).map((reply) => reply.status));
    const last = await sendAll();

    expect(new Set(stalled.map((reply) => `${reply.status} ${reply.error}`))).toEqual(
      new Set(["504 timeout"]),
    );
    expect([...statuses].every((status) => status === 200 || status === 504)).toBe(true);
    const oracle = new LogOracle(TOPIC, PARTITIONS);
    for (const [i, reply] of last.entries()) oracle.acknowledge(`r${i}`, 1, reply);
    await oracle.check(node.url, true);
    expect(oracle.faults).toEqual([]);
    expect(oracle.seen).toBe(last.length);
    expect(last.every((reply) => reply.isDuplicate)).toBe(true);
  },
  TEST_MS_MAX,
);
