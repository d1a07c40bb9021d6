// What goes on over restarts and what does not grow: numbers rise, the directory stays as large as it was.

import { expect, test } from "bun:test";
import { call, createTopic, lastSyncedBatchId, produce } from "../support/node-client.ts";
import { preparedSegments, sizeOf, storedWrites } from "../support/node-data.ts";
import { startNode, waitUntil } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const RESTARTS = 20;
const GROWTH_BYTES_MAX = 65_536;
const TOPIC = "again";

/** Bytes of the log that have been written: files are made of zeros ahead of it. */
const writtenBytes = (dataDir: string): number =>
  storedWrites(dataDir).reduce(
    (sum, write) => sum + write.entries.reduce((bytes, entry) => bytes + entry.bytes, 48),
    0,
  );

test(
  `${RESTARTS} idle restarts, killed and stopped, leave as many files and hardly a byte more`,
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const measure = async (): Promise<{ files: number; bytes: number; written: number }> => {
      await using node = await startNode({ dataDir });
      await createTopic(node.url, TOPIC, 1);
      await waitUntil("the spare is ready", () => preparedSegments(dataDir) === 2);
      await node.kill("SIGTERM");
      return { ...sizeOf(dataDir), written: writtenBytes(dataDir) };
    };
    const before = await measure();

    for (let i = 0; i < RESTARTS; i++) {
      await using node = await startNode({ dataDir });
      await node.kill(i % 2 === 0 ? "SIGTERM" : "SIGKILL");
    }

    const after = await measure();
    expect(after.files).toBe(before.files);
    expect(after.bytes - before.bytes).toBeLessThan(GROWTH_BYTES_MAX);
    expect(after.written - before.written).toBeLessThan(GROWTH_BYTES_MAX);
    console.log(
      `idle restarts: ${after.files} files, ${after.bytes - before.bytes} bytes more on the disk, ` +
        `${after.written - before.written} of log in ${RESTARTS + 1} restarts`,
    );
    clean();
  },
  TEST_MS_MAX,
);

test(
  "batch_id rises over restarts and is comparable with last_synced_batch_id",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    let last = 0;
    for (let i = 0; i < 5; i++) {
      await using node = await startNode({ dataDir });
      await createTopic(node.url, TOPIC, 1);
      expect(await lastSyncedBatchId(node.url)).toBeGreaterThanOrEqual(last);
      const replies = await Promise.all(
        Array.from({ length: 10 }, () => produce(node.url, { topic: TOPIC }, "a record")),
      );
      replies.sort((left, right) => left.offset - right.offset);
      for (const { batchId, offset } of replies) {
        expect(batchId, `offset ${offset}`).toBeGreaterThanOrEqual(last);
        last = batchId;
      }
      expect(await lastSyncedBatchId(node.url)).toBeGreaterThanOrEqual(last);
      last += 1;
      await node.kill(i % 2 === 0 ? "SIGKILL" : "SIGTERM");
    }
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a topic made on one connection is there on every other at once, with the same shape",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir });
    for (let i = 0; i < 20; i++) {
      const topic = `topic-${i}`;
      await createTopic(node.url, topic, 1 + i);
      const statuses = await Promise.all(
        Array.from({ length: 10 }, async () => {
          const reply = await call(node.url, `/broker/consume/${topic}/g/${i}`, {
            keepalive: false,
          });
          const beyond = await call(node.url, `/broker/consume/${topic}/g/${i + 1}`, {
            keepalive: false,
          });
          return `${reply.status} ${beyond.status}`;
        }),
      );
      expect(new Set(statuses)).toEqual(new Set(["200 404"]));
    }
    clean();
  },
  TEST_MS_MAX,
);
