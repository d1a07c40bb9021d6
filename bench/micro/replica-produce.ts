// Single records through the whole replica without HTTP: decide, encode, write, sync, apply, answer.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDisk } from "../../src/io/mod.ts";
import { silentLogger } from "../../src/lib/logger.ts";
import type { ProduceRequest } from "../../src/model/produce.ts";
import { NodeBroker, Replica } from "../../src/replica/mod.ts";

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Produces 64-byte records, sixty-four under way at a time, on one partition and then spread over eight. */
export async function run({ size }: { size: "tiny" | "real" }) {
  const count = size === "tiny" ? 500 : 300_000;
  const directory = mkdtempSync(join(tmpdir(), "ayder-micro-"));
  const { disk } = await openDisk(directory, {});
  let done = 0;
  const replica: Replica = new Replica({
    nodeId: "node1",
    disk,
    clock: { wallMs: Date.now, monotonicMs: () => performance.now() },
    sink: {
      submittedMs: 0,
      produced: () => {
        done += 1;
      },
      refused: (_, refusal) => {
        throw new Error(JSON.stringify(refusal));
      },
    },
    requestTurn: () => setImmediate(() => replica.turn()),
    logger: silentLogger,
    limits: {
      segmentBytes: size === "tiny" ? 1 << 20 : 64 << 20,
      reserveBytes: 0,
      slabBytes: 1 << 19,
      tailBytes: 1 << 22,
    },
    settings: { idempotencyTtlMs: 86_400_000, idempotencyKeysMax: 1_000_000 },
    randomId: () => "0".repeat(32),
    randomSalt: () => 1,
  });
  const broker = new NodeBroker(replica, { topicsMax: 10, partitionsMax: 1000 });
  const timer = setInterval(() => replica.tick(), 50);
  try {
    replica.tick();
    while (!replica.isReady) await nextTurn();
    await broker.createTopic({
      name: "bench",
      partitions: 8,
      mode: "sealed",
      ttlMs: 0,
      maxBytes: 0,
    });
    const request: ProduceRequest = {
      topicId: broker.topic("bench")!.id,
      partition: 0,
      key: undefined,
      idempotencyKey: undefined,
      expectedOffset: -1,
      ack: "configured",
      headers: undefined,
      body: new Uint8Array(64),
      ranges: undefined,
      count: 1,
    };
    const drive = async (partition: number): Promise<number> => {
      request.partition = partition;
      const target = done + count;
      const started = performance.now();
      for (let sent = done; sent < target; ) {
        while (sent < target && sent - done < 64) {
          broker.produce(0, request);
          sent += 1;
        }
        await nextTurn();
      }
      while (done < target) await nextTurn();
      return (count / (performance.now() - started)) * 1000;
    };
    return {
      name: "replica-produce",
      figures: { one_partition_per_s: await drive(0), eight_partitions_per_s: await drive(-1) },
    };
  } finally {
    clearInterval(timer);
    await disk.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
