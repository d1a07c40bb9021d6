// Single records through the whole replica without HTTP: decide, encode, write, sync, apply, answer.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDisk } from "../../src/io/mod.ts";
import { nextTurn, startReplica } from "../replica.ts";
import type { MicroResult, MicroSize } from "./micro.ts";

const UNDER_WAY = 64;

/** Produces 64-byte records, sixty-four under way at a time, on one partition and then spread over eight. */
export async function run({ size }: { readonly size: MicroSize }): Promise<MicroResult> {
  const count = size === "tiny" ? 500 : 300_000;
  const segmentBytes = size === "tiny" ? 1 << 20 : 64 << 20;
  const directory = mkdtempSync(join(tmpdir(), "ayder-micro-"));
  const { disk } = await openDisk(directory, {});
  const { broker, answered, request, stop } = await startReplica(disk, {
    partitions: 8,
    segmentBytes,
  });
  const drive = async (partition: number): Promise<number> => {
    request.partition = partition;
    const target = answered() + count;
    const started = performance.now();
    for (let sent = answered(); sent < target; await nextTurn()) {
      while (sent < target && sent - answered() < UNDER_WAY) {
        broker.produce(0, request);
        sent += 1;
      }
    }
    while (answered() < target) await nextTurn();
    return (count / (performance.now() - started)) * 1000;
  };
  try {
    const figures = {
      one_partition_per_s: await drive(0),
      eight_partitions_per_s: await drive(-1),
    };
    return { name: "replica-produce", figures };
  } finally {
    stop();
    await disk.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
