// One process per data directory. Two would give the same offsets twice and write over each other's segments.

import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { FatalError } from "../lib/fatal.ts";
import { type Libc, loadLibc } from "./ffi-libc.ts";
import { asFileError, errnoName } from "./file-errors.ts";
import { DIRECTORY_MODE, LOCK_NAME } from "./files.ts";

/** EWOULDBLOCK: another open file holds the lock. */
const EWOULDBLOCK = 11;

/** A data directory that is ours. */
export interface DirectoryLock {
  /**
   * `flock`: the kernel keeps others out, and lets them in when this process ends, however it ends.
   * `pid`: libc cannot be called here, so only the process number in the file was looked at. That does not see
   * processes of another container, nor two that start in the same instant; worth a warning.
   */
  readonly guard: "flock" | "pid";
  /** Gives the directory back. */
  release(): void;
}

/**
 * Makes the data directory if need be (mode 0700) and takes it for this process.
 * The lock lies on an open file named `lock`, which stays when the process ends; it holds the process number.
 * @param load For tests: gives libc, or throws where there is none.
 * @throws FatalError `data_locked` when another process has it, `data_unusable` when it cannot be made or locked.
 */
export function lockDirectory(directory: string, load: () => Libc = loadLibc): DirectoryLock {
  let descriptor: number;
  try {
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
    // Appending mode creates the file and leaves the holder's number in it alone.
    descriptor = openSync(join(directory, LOCK_NAME), "a+", 0o600);
  } catch (error) {
    const { message } = asFileError(error, `use the data directory ${directory}`);
    throw new FatalError("data_unusable", message, { cause: error });
  }
  try {
    const guard = take(directory, descriptor, load);
    ftruncateSync(descriptor, 0);
    writeSync(descriptor, `${process.pid}\n`);
    return { guard, release: () => closeSync(descriptor) };
  } catch (error) {
    closeSync(descriptor);
    if (error instanceof FatalError) throw error;
    const { message } = asFileError(error, `lock the data directory ${directory}`);
    throw new FatalError("data_unusable", message, { cause: error });
  }
}

function take(directory: string, descriptor: number, load: () => Libc): "flock" | "pid" {
  const holder = readFileSync(join(directory, LOCK_NAME), "utf8").trim();
  let libc: Libc;
  try {
    libc = load();
  } catch {
    // No C, no lock of the kernel's: the number is the best there is, and `guard` says so.
    if (isAnotherProcess(Number(holder))) throw lockedBy(directory, holder);
    return "pid";
  }
  const result = libc.lockExclusive(descriptor);
  if (result === -EWOULDBLOCK) throw lockedBy(directory, holder);
  if (result < 0) {
    const message = `Cannot lock the data directory ${directory}: ${errnoName(-result)}`;
    throw new FatalError("data_unusable", message);
  }
  return "flock";
}

function lockedBy(directory: string, holder: string): FatalError {
  const who = holder === "" ? "another process" : `process ${holder}`;
  return new FatalError(
    "data_locked",
    `Cannot use the data directory ${directory}: ${who} holds it. Stop that process, or use another directory`,
  );
}

function isAnotherProcess(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process is alive all the same.
    return (error as { readonly code?: string }).code === "EPERM";
  }
}
