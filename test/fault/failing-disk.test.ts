// A disk that fails or is slow below a real file system: nothing is acknowledged that is not on it, the node ends with a named
// status or goes on, and a start on the mended disk needs no hands.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT_CODES } from "../../src/lib/fatal.ts";
import { Prng } from "../../src/lib/prng.ts";
import { call, createTopic, metrics, produce } from "../support/node-client.ts";
import { Load } from "../support/node-load.ts";
import { LogOracle } from "../support/node-oracle.ts";
import { SMALL_SEGMENTS, startNode, waitUntil } from "../support/node-process.ts";
import { hasPowerCuts, type PowerMount, powerMount } from "../support/power-mount.ts";

const TOPIC = "failing";

/** Once the last batch has been made certain, a node without requests writes nothing: a write may have to read first. */
async function isAtRest(url: string): Promise<void> {
  const writes = async (): Promise<number> =>
    (await metrics(url, ["ayder_log_write_bytes_count"]))[0] ?? 0;
  let [before, now] = [-1, await writes()];
  while (now !== before) {
    await Bun.sleep(500);
    [before, now] = [now, await writes()];
  }
}
const DISK_MIB = 256;
const TEST_MS_MAX = 120_000;

/** A disk that is taken away afterwards. */
async function withDisk(use: (disk: PowerMount) => Promise<void>): Promise<void> {
  const disk = await powerMount(DISK_MIB);
  try {
    await use(disk);
  } finally {
    await disk.end();
  }
}

for (const kind of ["uring", "worker"] as const)
  for (const what of ["flush", "write"] as const)
    test.skipIf(!hasPowerCuts)(
      `${kind} disk: when every ${what} fails the node ends as sync_failed, and what it acknowledged is there afterwards`,
      () =>
        withDisk(async (disk) => {
          const dataDir = join(disk.path, "data");
          const env = { ...SMALL_SEGMENTS, RF_DISK: kind };
          const random = new Prng(3);
          const oracle = new LogOracle(TOPIC, 2);
          const load = new Load({
            topic: TOPIC,
            partitions: 2,
            writers: 8,
            largeBytes: 10_000,
            random,
            oracle,
          });
          {
            await using node = await startNode({ dataDir, env });
            await createTopic(node.url, TOPIC, 2);
            const { ended } = await load.run(node.url, 50);
            disk.fail(what);
            const { code } = await node.exited;
            await ended;
            expect(code).toBe(EXIT_CODES.sync_failed);
            expect(node.lines.find(({ event }) => event === "fatal")?.reason).toBe("sync_failed");
          }
          await disk.restore();
          await using node = await startNode({ dataDir, env });
          await load.retry(node.url);
          await oracle.check(node.url, true);
          expect(oracle.faults).toEqual([]);
          expect(oracle.acknowledged).toBeGreaterThan(0);
        }),
      TEST_MS_MAX,
    );

test.skipIf(!hasPowerCuts)(
  "a flush that takes a second holds acknowledgements, and reads go on",
  () =>
    withDisk(async (disk) => {
      await using node = await startNode({ dataDir: join(disk.path, "data"), env: SMALL_SEGMENTS });
      await createTopic(node.url, TOPIC, 1);
      await produce(node.url, { topic: TOPIC, partition: 0 }, "before");
      disk.slow(1000);
      const begun = performance.now();
      const waiting = produce(node.url, { topic: TOPIC, partition: 0 }, "slow");
      const reads: number[] = [];
      let isDone = false;
      const done = waiting.finally(() => {
        isDone = true;
      });
      while (!isDone) {
        const asked = performance.now();
        const reply = await call(node.url, `/broker/consume/${TOPIC}/g/0?offset=0&limit=10`);
        expect(reply.status).toBe(200);
        await reply.text();
        reads.push(performance.now() - asked);
        await Bun.sleep(20);
      }
      expect((await done).status).toBe(200);
      expect(performance.now() - begun).toBeGreaterThan(900);
      // Many reads came and went while one write waited.
      expect(reads.length).toBeGreaterThan(5);
      disk.mend();
      expect((await produce(node.url, { topic: TOPIC, partition: 0 }, "after")).status).toBe(200);
    }),
  TEST_MS_MAX,
);

test.skipIf(!hasPowerCuts)(
  "reads that fail are refused by name, and the same records are there when the disk reads again",
  () =>
    withDisk(async (disk) => {
      const dataDir = join(disk.path, "data");
      const values = Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(100_000, "r"));
      {
        await using node = await startNode({ dataDir, env: SMALL_SEGMENTS });
        await createTopic(node.url, TOPIC, 1);
        for (const value of values) {
          const reply = await produce(node.url, { topic: TOPIC, partition: 0 }, value);
          expect(reply.status).toBe(200);
        }
        await node.kill("SIGKILL");
      }
      await using node = await startNode({ dataDir, env: SMALL_SEGMENTS });
      await isAtRest(node.url);
      disk.fail("read");
      writeFileSync("/proc/sys/vm/drop_caches", "3");
      const failed = await call(node.url, `/broker/consume/${TOPIC}/g/0?offset=0&limit=5`).then(
        async (reply) => ({ status: reply.status, fields: (await reply.json()) as object }),
      );
      expect(failed.status).toBe(503);
      expect(failed.fields).toMatchObject({ ok: false, error: "not_ready" });
      expect(node.isAlive()).toBe(true);
      disk.mend();
      const read = async (): Promise<boolean> => {
        const reply = await call(node.url, `/broker/consume/${TOPIC}/g/0?offset=0&limit=60`);
        const { messages } = (await reply.json()) as { messages?: { readonly value: string }[] };
        return messages?.[0]?.value === values[0];
      };
      await waitUntil("the first record can be read again", read, 20_000);
    }),
  TEST_MS_MAX,
);
