// Chooses the disk, once, at start: the ring where the kernel gives one, else the worker. Says why.

import { loadLibc } from "./ffi-libc.ts";
import { RingError } from "./ffi-uring.ts";
import { errnoName } from "./file-errors.ts";
import { loadLiburing } from "./load-liburing.ts";
import type { MeasuredDisk } from "./measured-disk.ts";
import { UringDisk } from "./uring-disk.ts";
import { WorkerDisk } from "./worker-disk.ts";

/** A disk that is ready, and why it is this one. */
export interface OpenedDisk {
  readonly disk: MeasuredDisk;
  /** One sentence for the log. */
  readonly reason: string;
  /** Where liburing was loaded from; undefined: from nowhere. */
  readonly liburing: string | undefined;
  /** Whether the kernel gave a ring and runs it; undefined: not tried. */
  readonly isRingUsable: boolean | undefined;
}

/** Which disk a node would open here, in words. */
export type DiskFacts = Omit<OpenedDisk, "disk"> & { readonly kind: string };

/**
 * Opens the disk of a data directory, which must exist and be locked (see `lockDirectory`).
 * @param options.prefer `worker` leaves io_uring alone. `uring`, like nothing, takes it if it works: in containers
 * it is often forbidden, and the worker keeps the same promises.
 */
export async function openDisk(
  directory: string,
  options: { readonly prefer?: "uring" | "worker" | undefined } = {},
): Promise<OpenedDisk> {
  if (options.prefer === "worker") {
    const reason = "The worker disk was asked for";
    return {
      disk: new WorkerDisk(directory),
      reason,
      liburing: undefined,
      isRingUsable: undefined,
    };
  }
  const liburing = loadLiburing(directory);
  if (liburing.library === undefined) {
    const reason = `Cannot load liburing, using a worker: ${liburing.reason}`;
    return {
      disk: new WorkerDisk(directory),
      reason,
      liburing: undefined,
      isRingUsable: undefined,
    };
  }
  const { from } = liburing;
  try {
    const disk = await UringDisk.open(directory, liburing.library, loadLibc());
    const flags = disk.isCooperative ? "" : ", without COOP_TASKRUN and SINGLE_ISSUER";
    const reason = `io_uring works, liburing from: ${from}${flags}`;
    return { disk, reason, liburing: from, isRingUsable: true };
  } catch (error) {
    const reason = `${explain(error)}, using a worker`;
    return { disk: new WorkerDisk(directory), reason, liburing: from, isRingUsable: false };
  }
}

/** Opens the disk that a node would open, closes it again, and says what it was. `directory` must exist. */
export async function probeDisk(
  directory: string,
  options: { readonly prefer?: "uring" | "worker" | undefined } = {},
): Promise<DiskFacts> {
  const { disk, ...facts } = await openDisk(directory, options);
  const { kind } = disk;
  await disk.close();
  return { kind, ...facts };
}

/** ENOSYS: no io_uring in this kernel or emulator. EPERM, EACCES: forbidden, as by Docker. ENOMEM: locked memory. */
function explain(error: unknown): string {
  if (error instanceof RingError) return `Cannot set up an io_uring: ${errnoName(error.errno)}`;
  return error instanceof Error ? error.message : String(error);
}
