// What a durable append costs on each disk: one at a time into a file of synced zeros, as the log does it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDisk } from "../../src/io/mod.ts";
import type { Disk } from "../../src/log/disk.ts";

const APPEND_BYTES = [64, 4096, 65_536];
const SEGMENT_BYTES = 64 << 20;

/**
 * Measures both disks in turns and prints a line for each.
 * @param options.size Appends per disk and length; one in eight as many for the warm-up.
 */
export async function run(options: { readonly size: number }): Promise<void> {
  for (const bytes of APPEND_BYTES) {
    for (const prefer of ["uring", "worker"] as const) {
      const directory = mkdtempSync(join(tmpdir(), "io-append-"));
      const { disk } = await openDisk(directory, { prefer });
      try {
        await measure(disk, bytes, options.size);
      } finally {
        await disk.close();
        rmSync(directory, { recursive: true });
      }
    }
  }
}

async function measure(disk: Disk, bytes: number, count: number): Promise<void> {
  const header = new Uint8Array(4096);
  disk.run({ kind: "prepare_segment", name: "segment", bytes: SEGMENT_BYTES, header }, 0);
  await completion(disk);
  const file = disk.open("segment");
  const slab = disk.allocate(bytes).fill(7);
  const places = Math.floor((SEGMENT_BYTES - header.length) / bytes);
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
  const at = (share: number): string => (latencies[Math.floor(count * share)] ?? 0).toFixed(0);
  console.log(
    `${disk.kind.padEnd(6)} ${String(bytes).padStart(6)} B: ${(count / seconds).toFixed(0)} appends/s, ` +
      `p50 ${at(0.5)} us, p99 ${at(0.99)} us, ${((user + system) / count).toFixed(0)} us of CPU each`,
  );
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

if (import.meta.main) await run({ size: 2000 });
