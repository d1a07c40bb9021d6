// Finds a liburing to load: the one inside the binary, the one the build left, or the system's.
// Every way may fail, in containers above all, and none of the failures is an error: the worker disk stands by.

import { closeSync, existsSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { liburingPath } from "./embedded.ts";
import { loadLibc } from "./ffi-libc.ts";
import { openUringLibrary, type UringLibrary } from "./ffi-uring.ts";
import { errnoName } from "./file-errors.ts";
import { writeFully } from "./files.ts";

/** The library and where it came from, or why there is none. */
export type LiburingOutcome =
  | { readonly library: UringLibrary; readonly from: string }
  | { readonly library: undefined; readonly reason: string };

/**
 * Loads liburing by the first way that works.
 * @param directory The data directory; a copy is put there for a moment when memory files are forbidden.
 */
export function loadLiburing(directory: string): LiburingOutcome {
  const reasons: string[] = [];
  for (const [from, open] of ways(directory)) {
    try {
      return { library: open(), from };
    } catch (error) {
      reasons.push(`${from}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { library: undefined, reason: reasons.join("; ") };
}

function ways(directory: string): [string, () => UringLibrary][] {
  const list: [string, () => UringLibrary][] = [];
  if (liburingPath !== undefined) {
    const embedded = liburingPath;
    list.push(
      // Works also where the temporary directory is read-only or forbids executables.
      ["embedded, through memory", () => openThroughMemory(embedded)],
      ["embedded, through the data directory", () => openThroughDirectory(embedded, directory)],
      ["embedded, through the temporary directory", () => openUringLibrary(embedded)],
    );
  }
  const built = fileURLToPath(new URL(`../../dist/liburing-${process.arch}.so`, import.meta.url));
  if (liburingPath === undefined && existsSync(built)) {
    list.push(["dist", () => openUringLibrary(built)]);
  }
  list.push(["system", () => openUringLibrary("liburing.so.2")]);
  return list;
}

function openThroughMemory(path: string): UringLibrary {
  const descriptor = loadLibc().createMemoryFile("liburing");
  if (descriptor < 0) throw new Error(`Cannot make a memory file: ${errnoName(-descriptor)}`);
  try {
    const bytes = readFileSync(path);
    writeFully(descriptor, bytes, 0, bytes.length, 0);
    return openUringLibrary(`/proc/self/fd/${descriptor}`);
  } finally {
    // The loader has mapped it: the pages live on without the descriptor.
    closeSync(descriptor);
  }
}

function openThroughDirectory(path: string, directory: string): UringLibrary {
  const copy = join(directory, `.liburing-${process.pid}.so`);
  writeFileSync(copy, readFileSync(path), { mode: 0o500 });
  try {
    return openUringLibrary(copy);
  } finally {
    unlinkSync(copy);
  }
}
