// File primitives on the calls of the operating system: blocking, one directory, one act per call.
// Used before anything is served, and on the job worker; never on the serving thread while it serves.

import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { assert } from "../lib/assert.ts";
import { FileError, type Files } from "../log/mod.ts";
import { attempt } from "./file-errors.ts";

/** Names in the data directory that belong to this room and are never listed. */
export const LOCK_NAME = "lock";
const QUARANTINE_NAME = "quarantine";

/** Nobody but the owner reads what others have stored. */
const FILE_MODE = 0o600;
/** The same for directories. */
export const DIRECTORY_MODE = 0o700;

/** Quarantined files of one name before the next is refused: far more than an operator would leave. */
const QUARANTINE_NAMES_MAX = 10_000;

/** `Files` on a real directory, which must exist. */
export class NodeFiles implements Files {
  readonly #directory: string;
  /**
   * Files written since their last sync, held open. A failed write-back is told once, to descriptors that were
   * open when it failed: a sync on a descriptor opened afterwards may say that all is well.
   */
  readonly #unsynced = new Map<string, number>();

  /** @param directory Absolute path of the data directory. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  list(): string[] {
    return attempt(`list ${this.#directory}`, () =>
      readdirSync(this.#directory, { withFileTypes: true })
        .filter((entry) => !entry.isDirectory() && entry.name !== LOCK_NAME)
        .map((entry) => entry.name),
    );
  }

  size(name: string): number | undefined {
    return attempt(
      `look at ${name}`,
      () => statSync(this.#path(name), { throwIfNoEntry: false })?.size,
    );
  }

  read(name: string, position: number, into: Uint8Array): number {
    return attempt(`read ${into.length} bytes at ${position} of ${name}`, () =>
      this.#with(name, "r", (descriptor) => {
        let done = 0;
        while (done < into.length) {
          const count = readSync(descriptor, into, done, into.length - done, position + done);
          if (count === 0) break;
          done += count;
        }
        return done;
      }),
    );
  }

  map(name: string): Uint8Array | undefined {
    if ((this.size(name) ?? 0) === 0) return undefined;
    return attempt(`map ${name}`, () => Bun.mmap(this.#path(name), { shared: true }));
  }

  create(name: string): void {
    attempt(`create ${name}`, () => closeSync(openSync(this.#path(name), "wx", FILE_MODE)));
  }

  write(name: string, position: number, bytes: Uint8Array): void {
    attempt(`write ${bytes.length} bytes at ${position} of ${name}`, () => {
      let descriptor = this.#unsynced.get(name);
      if (descriptor === undefined) {
        descriptor = openSync(this.#path(name), "r+");
        this.#unsynced.set(name, descriptor);
      }
      writeFully(descriptor, bytes, 0, bytes.length, position);
    });
  }

  truncate(name: string, bytes: number): void {
    attempt(`cut ${name} to ${bytes} bytes`, () =>
      this.#with(name, "r+", (descriptor) => ftruncateSync(descriptor, bytes)),
    );
  }

  sync(name: string): void {
    attempt(`sync ${name}`, () => {
      const descriptor = this.#unsynced.get(name);
      if (descriptor === undefined) {
        this.#with(name, "r+", fsyncSync);
        return;
      }
      fsyncSync(descriptor);
      this.#forget(name);
    });
  }

  rename(from: string, to: string): void {
    attempt(`rename ${from} to ${to}`, () => {
      this.#forget(from);
      this.#forget(to);
      renameSync(this.#path(from), this.#path(to));
    });
  }

  remove(name: string): void {
    attempt(`remove ${name}`, () => {
      this.#forget(name);
      if (this.size(name) !== undefined) unlinkSync(this.#path(name));
    });
  }

  quarantine(name: string): void {
    attempt(`quarantine ${name}`, () => {
      const folder = join(this.#directory, QUARANTINE_NAME);
      mkdirSync(folder, { recursive: true, mode: DIRECTORY_MODE });
      this.#forget(name);
      // The lock keeps other processes out, so that nobody takes the free name between the look and the rename.
      renameSync(this.#path(name), join(folder, freeName(folder, name)));
      syncDirectoryAt(folder);
      syncDirectoryAt(this.#directory);
    });
  }

  syncDirectory(): void {
    attempt(`sync ${this.#directory}`, () => syncDirectoryAt(this.#directory));
  }

  freeBytes(): number {
    return attempt(`ask for the free space of ${this.#directory}`, () => {
      const { bavail, bsize } = statfsSync(this.#directory);
      return bavail * bsize;
    });
  }

  #path(name: string): string {
    return pathOf(this.#directory, name);
  }

  #with<T>(name: string, flags: "r" | "r+", use: (descriptor: number) => T): T {
    const descriptor = openSync(this.#path(name), flags);
    try {
      return use(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }

  #forget(name: string): void {
    const descriptor = this.#unsynced.get(name);
    if (descriptor === undefined) return;
    this.#unsynced.delete(name);
    closeSync(descriptor);
  }
}

/** Where a flat name lies. A name that could leave the directory is a mistake of ours, not of a client. */
export function pathOf(directory: string, name: string): string {
  const isFlat = name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
  assert(isFlat, `A file name must be flat, not ${JSON.stringify(name)}`);
  return join(directory, name);
}

/**
 * Writes `bytes[start, end)` at `position`, whole: one call may take only a part.
 * @throws What the call throws, and `FileError` when the disk takes nothing and gives no reason.
 */
export function writeFully(
  descriptor: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  position: number,
): void {
  let done = start;
  while (done < end) {
    const count = writeSync(descriptor, bytes, done, end - done, position + done - start);
    if (count === 0) throw new FileError("io", `Cannot write: the disk took none of ${end - done}`);
    done += count;
  }
}

function syncDirectoryAt(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The name itself, or with the first number that nothing has yet. */
function freeName(folder: string, name: string): string {
  const taken = new Set(readdirSync(folder));
  if (!taken.has(name)) return name;
  for (let number = 1; number < QUARANTINE_NAMES_MAX; number += 1) {
    if (!taken.has(`${name}.${number}`)) return `${name}.${number}`;
  }
  throw new FileError(
    "exists",
    `Cannot quarantine ${name}: ${folder} is full of its earlier copies`,
  );
}
