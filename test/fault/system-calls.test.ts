// What a write costs in system calls on the ring, seen from outside, and how batches grow with the number of connections.

import { expect, test } from "bun:test";
import { Prng } from "../../src/lib/prng.ts";
import { createTopic, metrics, produce } from "../support/node-client.ts";
import { preparedSegments } from "../support/node-data.ts";
import { startNode, waitUntil } from "../support/node-process.ts";
import { canTrace, countCalls } from "../support/node-strace.ts";
import { hasRing, temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const CONNECTIONS = [1, 16, 64] as const;
const WRITES = 1500;
const TOPIC = "calls";
const COUNTERS = ["ayder_log_sync_duration_seconds_count", "ayder_log_write_bytes_count"];
/** The node saves its state or asks for room now and then. */
const STRAY_CALLS_MAX = 4;

const hasUring = await hasRing();

/** Sends so many writes over so many connections. */
async function write(url: string, connections: number, writes: number): Promise<void> {
  const random = new Prng(5);
  let left = writes;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const target = { topic: TOPIC, partition: random.below(4) };
      expect((await produce(url, target, "x".repeat(100))).status).toBe(200);
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
}

test.if(canTrace && hasUring)(
  "on the ring a batch is one system call, and batches grow with the number of connections",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir, env: { RF_DISK: "uring" } });
    const { url, pid } = node;
    await createTopic(url, TOPIC, 4);
    // The spare segment is made of zeros, by many writes and syncs of its own.
    await waitUntil("the spare is ready", () => preparedSegments(dataDir) === 2);
    const rows: { connections: number; perSync: number; [figure: string]: number }[] = [];

    for (const connections of CONNECTIONS) {
      await write(url, connections, connections);
      const [syncsBefore = 0, writesBefore = 0] = await metrics(url, COUNTERS);
      const { counts } = await countCalls(pid);
      await write(url, connections, WRITES);
      const calls = await counts();
      const [syncsAfter = 0, writesAfter = 0] = await metrics(url, COUNTERS);
      const syncs = syncsAfter - syncsBefore;
      const writes = writesAfter - writesBefore;
      const blocking =
        (calls.get("fdatasync") ?? 0) + (calls.get("fsync") ?? 0) + (calls.get("pwrite64") ?? 0);
      const enters = calls.get("io_uring_enter") ?? 0;
      rows.push({
        connections,
        writes: WRITES,
        syncs,
        perSync: Number((WRITES / syncs).toFixed(1)),
        enters,
        blocking,
      });

      // The frame that follows when it gets quiet may be in flight at either look.
      expect(Math.abs(syncs - writes)).toBeLessThanOrEqual(1);
      expect(blocking).toBeLessThanOrEqual(STRAY_CALLS_MAX);
      // Attached a little after the first figures were read, and let go of a little before the last.
      expect(Math.abs(enters - syncs)).toBeLessThanOrEqual(10 + syncs * 0.02);
    }

    console.table(rows);
    const perSync = rows.map((row) => row.perSync);
    expect(perSync[0]).toBeLessThan(2);
    expect(perSync[1]).toBeGreaterThan(4);
    expect(perSync[2]).toBeGreaterThan(1.5 * (perSync[1] ?? 0));
    await node.kill("SIGTERM");
    clean();
  },
  TEST_MS_MAX,
);
