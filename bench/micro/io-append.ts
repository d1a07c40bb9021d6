// What a durable append costs on each disk: one at a time into a file of synced zeros, as the log does it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDisk } from "../../src/io/mod.ts";
import type { Disk } from "../../src/log/disk.ts";
import type { MicroResult, MicroSize } from "./micro.ts";

const APPEND_BYTES = [64, 4096, 65_536];
const SIZES = {
  tiny: { count: 8, segmentBytes: 1 << 20 },
  real: { count: 2000, segmentBytes: 64 << 20 },
} as const;

/** Measures both disks in turns, or one of them twice where the other cannot be had. */
export async function run(options: { readonly size: MicroSize }): Promise<MicroResult> {
  const figures: Record<string, number> = {};
  for (const bytes of APPEND_BYTES) {
    for (const prefer of ["uring", "worker"] as const) {
      const directory = mkdtempSync(join(tmpdir(), "io-append-"));
      const { disk } = await openDisk(directory, { prefer });
      try {
        const found = await measure(disk, bytes, options.size);
        for (const [name, value] of Object.entries(found))
          figures[`${disk.kind}_${bytes}_${name}`] = value;
      } finally {
        await disk.close();
        rmSync(directory, { recursive: true });
      }
    }
  }
  return { name: "io-append", figures };
}

async function measure(
  disk: Disk,
  bytes: number,
  size: MicroSize,
): Promise<Record<string, number>> {
  const { count, segmentBytes } = SIZES[size];
  const header = new Uint8Array(4096);
  disk.run({ kind: "prepare_segment", name: "segment", bytes: segmentBytes, header }, 0);
  await completion(disk);
  const file = disk.open("segment");
  const slab = disk.allocate(bytes).fill(7);
  const places = Math.floor((segmentBytes - header.length) / bytes);
  const appendOnce = (turn: number): Promise<void> => {
    disk.append(file, slab, 0, bytes, header.length + (turn % places) * bytes, turn);
    return completion(disk);
  };
  for (let turn = 0; turn < count / 8; turn += 1) await appendOnce(turn);
  const latencies = new Float64Array(count);
  const cpu = process.cpuUsage();
  const started = performance.now();
  for (let turn = 0; turn < count; turn += 1) {
    const before = performance.now();
    await appendOnce(turn);
    latencies[turn] = (performance.now() - before) * 1000;
  }
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  file.close();
  latencies.sort();
  const at = (share: number): number => Math.round(latencies[Math.floor(count * share)] ?? 0);
  return {
    per_second: Math.round(count / seconds),
    p50_us: at(0.5),
    p99_us: at(0.99),
    cpu_us: Math.round((user + system) / count),
  };
}

/** Waits for the one thing under way and insists that it went well. */
function completion(disk: Disk): Promise<void> {
  return new Promise((resolve, reject) => {
    disk.onWake = () => {
      for (const { error } of disk.poll()) {
        if (error === undefined) resolve();
        else reject(error);
      }
    };
  });
}
