// Space comes back on the running node: what was deleted leaves the disk, what was not is there after every kill, and nobody
// who writes or reads meanwhile notices.

import { expect, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  call,
  createTopic,
  metrics,
  produce,
  produceBatch,
  readAll,
  readFrom,
} from "../support/node-client.ts";
import { runCommand, SMALL_SEGMENTS, startNode, waitUntil } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 300_000;
const MIB = 1 << 20;
const ENV = { ...SMALL_SEGMENTS, RF_SEGMENTS_KEPT: "1" };
/** Half a mebibyte of records. */
const BATCH_RECORDS = 100;
const RECORD_BYTES = 4000;

/** Bytes of every file of a data directory; a file may go while it is looked at. */
const bytesOf = (dataDir: string): number =>
  readdirSync(dataDir).reduce(
    (sum, name) => sum + (statSync(join(dataDir, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );

const retain = async (url: string, rule: object): Promise<void> => {
  const reply = await call(url, "/broker/retention", {
    method: "POST",
    body: JSON.stringify(rule),
  });
  expect(reply.status, await reply.text()).toBe(200);
};

const compact = async (url: string): Promise<unknown> =>
  (await call(url, "/admin/compact", { method: "POST" })).json();

/** A record that tells which one it is. */
const recordOf = (i: number): string => `${i} `.padEnd(RECORD_BYTES, `${i % 10}`);

const batchFrom = (first: number): string[] =>
  Array.from({ length: BATCH_RECORDS }, (_, i) => recordOf(first + i));

async function startOffset(url: string, topic: string): Promise<number> {
  const reply = await call(url, `/broker/topics/${topic}`);
  const { partition_details } = (await reply.json()) as {
    readonly partition_details: readonly { readonly start_offset: number }[];
  };
  return partition_details[0]?.start_offset ?? -1;
}

test(
  "a topic of 2 MiB through which 60 MiB go leaves a small directory, beside one that keeps all, through kills",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const kept: string[] = [];
    let flowed = 0;
    let peak = 0;
    for (let round = 0; round < 10; round++) {
      await using node = await startNode({ dataDir, env: ENV });
      const { url } = node;
      if (round === 0) {
        await createTopic(url, "flow", 1);
        await createTopic(url, "kept", 1);
        await retain(url, { topic: "flow", max_bytes: 2 * MIB });
      }
      expect((await readAll(url, "kept", 0)).map(({ value }) => value)).toEqual(kept);
      const from = await startOffset(url, "flow");
      let next = from;
      for await (const page of readFrom(url, "flow", 0, from)) {
        for (const { offset, value } of page) {
          // The floor rises by itself at any moment: nothing but what lies below it may be missing.
          if (offset !== next) {
            expect(offset).toBeGreaterThan(next);
            expect(await startOffset(url, "flow")).toBeGreaterThanOrEqual(offset);
          }
          expect(value).toBe(recordOf(offset));
          next = offset + 1;
        }
      }
      expect(next).toBe(flowed);

      for (let i = 0; i < 15; i++) {
        const reply = await produceBatch(url, { topic: "flow", partition: 0 }, batchFrom(flowed));
        expect(reply.status).toBe(200);
        flowed += BATCH_RECORDS;
        const value = `kept ${kept.length}`;
        await produce(url, { topic: "kept", partition: 0 }, value);
        kept.push(value);
        peak = Math.max(peak, bytesOf(dataDir));
      }
      // Somewhere in the middle of giving it back, most of the time.
      await Bun.sleep((round * 137) % 700);
      await node.kill("SIGKILL");
    }
    await using node = await startNode({ dataDir, env: ENV });
    await compact(node.url);
    // 2 MiB and a file on top of it, one that is kept, the active one and the spare.
    const small = 8 * MIB;
    const bytes = await waitUntil(
      "the directory is small",
      () => (bytesOf(dataDir) < small ? bytesOf(dataDir) : undefined),
      30_000,
    );
    expect((await readAll(node.url, "kept", 0)).map(({ value }) => value)).toEqual(kept);
    const [dropped = 0, compacted = 0] = await metrics(node.url, [
      "ayder_reclaimed_files_total",
      "ayder_log_compacted_index",
    ]);
    expect(compacted).toBeGreaterThan(0);
    await node.kill("SIGTERM");
    const { code, output } = await runCommand(["inspect", dataDir]);
    expect(code, output).toBe(0);
    expect(output).toContain("the log begins after index");
    console.log(
      `${((flowed * RECORD_BYTES) / MIB).toFixed(0)} MiB flowed; the directory peaked at ${(peak / MIB).toFixed(1)} MiB, rests at ${(bytes / MIB).toFixed(1)} MiB; ${dropped} files went in the last life`,
    );
    clean();
  },
  TEST_MS_MAX,
);

test(
  "an age that is longer than the node has been up removes nothing, and a size never the topic itself",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    {
      await using node = await startNode({ dataDir, env: ENV });
      await createTopic(node.url, "aged", 1);
      await createTopic(node.url, "sized", 1);
      await retain(node.url, { topic: "aged", ttl_ms: 3_600_000 });
      await retain(node.url, { topic: "sized", max_bytes: 1 });
      for (let i = 0; i < 10; i++) {
        await produceBatch(
          node.url,
          { topic: "sized", partition: 0 },
          batchFrom(i * BATCH_RECORDS),
        );
        await produce(node.url, { topic: "aged", partition: 0 }, `aged ${i}`);
      }
      await waitUntil("the first file is gone", async () => {
        await compact(node.url);
        return ((await metrics(node.url, ["ayder_log_compacted_index"]))[0] ?? 0) > 0;
      });
      await node.kill("SIGKILL");
    }
    await using node = await startNode({ dataDir, env: ENV });
    const aged = await readAll(node.url, "aged", 0);
    expect(aged.map(({ value }) => value)).toEqual(
      Array.from({ length: 10 }, (_, i) => `aged ${i}`),
    );
    // Its creation lay in the first file. The newest records are never taken.
    const from = await startOffset(node.url, "sized");
    expect(from).toBe(9 * BATCH_RECORDS);
    const pages: string[] = [];
    for await (const page of readFrom(node.url, "sized", 0, from))
      pages.push(...page.map(({ value }) => value));
    expect(pages).toEqual(batchFrom(from));
    expect((await produce(node.url, { topic: "sized", partition: 0 }, "next")).offset).toBe(
      10 * BATCH_RECORDS,
    );
    clean();
  },
  TEST_MS_MAX,
);

test(
  "POST /admin/compact answers at once, and writes and reads go on while it works",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir, env: ENV });
    const { url } = node;
    await createTopic(url, "flow", 1);
    await createTopic(url, "kept", 1);
    for (let i = 0; i < 60; i++) {
      await produceBatch(url, { topic: "flow", partition: 0 }, batchFrom(i * BATCH_RECORDS));
      await produce(url, { topic: "kept", partition: 0 }, `kept ${i}`);
    }
    const before = bytesOf(dataDir);
    const floor = { topic: "flow", partition: 0, before_offset: 60 * BATCH_RECORDS };
    await call(url, "/broker/delete-before", { method: "POST", body: JSON.stringify(floor) });

    const startedMs = performance.now();
    expect(await compact(url)).toEqual({ result: "compaction_started", async: true });
    const answeredMs = performance.now() - startedMs;
    const waits: number[] = [];
    while (bytesOf(dataDir) > before / 3 && performance.now() - startedMs < 30_000) {
      const askedMs = performance.now();
      await produce(url, { topic: "kept", partition: 0 }, "meanwhile");
      expect((await call(url, "/health")).status).toBe(200);
      waits.push(performance.now() - askedMs);
    }
    const longest = Math.max(...waits);
    expect(bytesOf(dataDir)).toBeLessThan(before / 3);
    expect(answeredMs).toBeLessThan(500);
    expect(longest).toBeLessThan(500);
    console.log(
      `compact answered in ${answeredMs.toFixed(1)} ms; from ${(before / MIB).toFixed(0)} MiB to ${(bytesOf(dataDir) / MIB).toFixed(0)} MiB in ${(performance.now() - startedMs).toFixed(0)} ms, with ${waits.length} writes, the slowest ${longest.toFixed(1)} ms`,
    );
    clean();
  },
  TEST_MS_MAX,
);
