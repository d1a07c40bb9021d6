// What a process holds: memory and descriptors, as the kernel counts them.

import { readdirSync, readFileSync } from "node:fs";

const SETTLE_MS_MAX = 30_000;

/** MiB of memory; `VmHWM` is the most it ever had. */
export function resident(pid: number, name: "VmRSS" | "VmHWM" = "VmRSS"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
}

/** Open descriptors. */
export const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** Waits until it is so, or long enough. */
export async function settle(isSettled: () => boolean): Promise<void> {
  const deadline = performance.now() + SETTLE_MS_MAX;
  while (!isSettled() && performance.now() < deadline) await Bun.sleep(100);
}
