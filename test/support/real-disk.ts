// A real disk on a directory of its own, for the suite of the port.

import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDisk } from "../../src/io/mod.ts";
import type { DiskUnderTest } from "../suites/disk.ts";

/** Makes an empty directory that `clean` removes. */
export function temporaryDirectory(): { readonly path: string; readonly clean: () => void } {
  const path = mkdtempSync(join(tmpdir(), "ayder-io-"));
  return { path, clean: () => rmSync(path, { recursive: true, force: true }) };
}

/** Opens a disk of one kind. Throws when this machine has none. */
export async function realDisk(prefer: "uring" | "worker"): Promise<DiskUnderTest> {
  const { path, clean } = temporaryDirectory();
  const { disk, reason } = await openDisk(path, { prefer });
  if (disk.kind !== prefer) throw new Error(`Cannot test ${prefer}: ${reason}`);
  return {
    disk,
    step: () => undefined,
    makeFullFile: (name) => symlinkSync("/dev/full", join(path, name)),
    // Nothing is mapped at address 0, so that a read there fails.
    makeUnreadableFile: (name) => symlinkSync("/proc/self/mem", join(path, name)),
    clean,
  };
}

/** Whether this machine has a usable io_uring and a liburing. */
export async function hasRing(): Promise<boolean> {
  const { path, clean } = temporaryDirectory();
  const { disk } = await openDisk(path);
  await disk.close();
  clean();
  return disk.kind === "uring";
}
