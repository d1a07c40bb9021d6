// The port through which the log meets a disk. Adapters live in `io/`, the faulty fake in `test/support`.
// Files are flat names inside one data directory. One suite (`test/suites/disk.ts`) holds for all of them.

import { DiskFailure } from "../lib/fatal.ts";
import type { DiskJob, JobResult } from "./jobs.ts";

/** Why a file primitive failed, in words that every adapter shares; `damaged` is what a job says of a file it has read. */
export type FileErrorKind =
  | "not_found"
  | "exists"
  | "no_space"
  | "read_only"
  | "denied"
  | "io"
  | "damaged";

/** What a file primitive throws. */
export class FileError extends DiskFailure {
  override readonly name = "FileError";
  readonly kind: FileErrorKind;

  /** @param message Says which act failed on which file. */
  constructor(kind: FileErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/**
 * Blocking file primitives. Used at start, before anything is served, and by jobs on another thread;
 * never on the serving thread while it serves. Each call is one point at which a crash may come.
 */
export interface Files {
  /** Names in the data directory, in no particular order. */
  list(): string[];
  /** Size in bytes, or undefined when there is no such file. */
  size(name: string): number | undefined;
  /** Reads up to `into.length` bytes from `position`; returns how many there were (short only at the end of the file). */
  read(name: string, position: number, into: Uint8Array): number;
  /**
   * The whole of a file that never changes again, as memory that the kernel may give back; undefined when there is no such
   * file or it is empty. The file may be unlinked meanwhile, never truncated: that would be a signal nobody can catch.
   */
  map(name: string): Uint8Array | undefined;
  /** Makes an empty file, mode 0600. Throws `exists` when the name is taken: opening never creates over data. */
  create(name: string): void;
  /** Writes all of `bytes` at `position` of an existing file, growing it if need be. Not durable until `sync`. */
  write(name: string, position: number, bytes: Uint8Array): void;
  /** Cuts a file to `bytes`. Only for sealed files that nobody has open: see `docs/format.md`. */
  truncate(name: string, bytes: number): void;
  /** Makes the file's bytes and size durable. */
  sync(name: string): void;
  /** Gives a file another name, replacing what had it. Durable after `syncDirectory`. */
  rename(from: string, to: string): void;
  /** Unlinks a file; a name that is gone already is no error. Durable after `syncDirectory`. */
  remove(name: string): void;
  /** Moves a file into `quarantine/` under the directory, never replacing what is there, and syncs both. */
  quarantine(name: string): void;
  /** Makes creations, renames and removals durable. */
  syncDirectory(): void;
  /** Bytes that may still be written to this file system. */
  freeBytes(): number;
}

/** A file that is open for appending and for reading in pieces. */
export interface DiskFile {
  readonly name: string;
  /** Ends the use of the handle. No operation on it may be under way. */
  close(): void;
}

/** How one submitted act ended. */
export interface DiskCompletion {
  /** As given at submission. */
  readonly token: number;
  /** Undefined: it happened and is durable. Otherwise why not; the bytes may be there or not, whole or in part. */
  readonly error: FileError | undefined;
  /** What a job gave back. */
  readonly result?: JobResult;
}

/**
 * The disk as the serving thread uses it: submit, then poll. Nothing here blocks.
 * Completions are collected until `poll` is called; `onWake` says that there are some.
 */
export interface Disk {
  /** `uring`, `worker` or `simulated`; shown in the log and as a metric. */
  readonly kind: string;
  readonly files: Files;
  /** Called, never from inside a method of this disk, when `poll` would return something. */
  onWake: () => void;
  /** Opens an existing file. */
  open(name: string): DiskFile;
  /** Memory that `append` and `read` accept: pinned, zeroed, at least 4 KiB aligned in size, owned by the caller for ever. */
  allocate(bytes: number): Uint8Array;
  /**
   * Writes `slab[start, end)` at `position` and then syncs the file's data, as one chain.
   * The bytes must not change until the completion; the caller keeps at most one append in flight.
   */
  append(
    file: DiskFile,
    slab: Uint8Array,
    start: number,
    end: number,
    position: number,
    token: number,
  ): void;
  /**
   * Reads up to `length` bytes at `position` into `into[0, length)`.
   * Resolves to the number of bytes read, fewer only at the end of the file; rejects with `FileError`.
   */
  read(file: DiskFile, position: number, into: Uint8Array, length: number): Promise<number>;
  /** Runs a job (see `jobs.ts`) away from the serving thread. Jobs run one at a time, in the order given. */
  run(job: DiskJob, token: number): void;
  /** Takes the completions of `append` and `run` since the last call, in order per kind. */
  poll(): DiskCompletion[];
  /** Waits for what is under way and gives everything back. Reads that come later are refused. */
  close(): Promise<void>;
}
