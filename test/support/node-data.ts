// A data directory from outside: what lies in it byte for byte, and damage done to it on purpose.

import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { viewOf } from "../../src/lib/bytes.ts";
import {
  decodeSegmentHeader,
  FRAME_BYTES,
  newEntryHeader,
  newFrame,
  readEntryHeader,
  readFrame,
  SEGMENT_DATA_START,
} from "../../src/log/format.ts";
import { decodeChecked, encodeChecked } from "../../src/log/metadata.ts";

/** Every file of a directory with a number that stands for its bytes. The lock is left out: who looks, writes it. */
export function snapshot(dataDir: string): Readonly<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of readdirSync(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === "lock") continue;
    const bytes = readFileSync(join(entry.parentPath, entry.name));
    files[entry.name] = `${bytes.length} ${Bun.hash.wyhash(bytes)}`;
  }
  return files;
}

/** Files of a directory and bytes in them. */
export function sizeOf(dataDir: string): { readonly files: number; readonly bytes: number } {
  const names = readdirSync(dataDir);
  const bytes = names.reduce((sum, name) => sum + statSync(join(dataDir, name)).size, 0);
  return { files: names.length, bytes };
}

/** Changes a text with a checksum line, and makes the checksum right again. */
export function editChecked(path: string, change: Readonly<Record<string, unknown>>): void {
  const value = decodeChecked(readFileSync(path)) as object;
  writeFileSync(path, encodeChecked({ ...value, ...change }));
}

/** Turns over the bits of `count` bytes. */
export function garble(path: string, position: number, count: number): void {
  const bytes = readFileSync(path).subarray(position, position + count);
  const descriptor = openSync(path, "r+");
  try {
    writeSync(
      descriptor,
      bytes.map((byte) => byte ^ 0xff),
      0,
      count,
      position,
    );
  } finally {
    closeSync(descriptor);
  }
}

/** Segments that are there with their header: what is being prepared does not count. */
export function preparedSegments(dataDir: string): number {
  const names = readdirSync(dataDir).filter((name) => name.endsWith(".log"));
  return names.filter((name) => {
    const header = decodeSegmentHeader(readFileSync(join(dataDir, name)).subarray(0, 4096));
    return typeof header !== "string";
  }).length;
}

/** An entry as it lies in a segment. */
export interface StoredEntry {
  readonly index: number;
  readonly position: number;
  readonly bytes: number;
  readonly records: number;
}

/** One write as it lies in a segment. */
export interface StoredWrite {
  readonly path: string;
  readonly syncedIndex: number;
  readonly entries: readonly StoredEntry[];
}

/** Every write of the log, oldest first. The segments are whole. */
export function storedWrites(dataDir: string): readonly StoredWrite[] {
  const names = readdirSync(dataDir).filter((name) => name.endsWith(".log"));
  return names.sort().flatMap((name) => writesOf(join(dataDir, name)));
}

function writesOf(path: string): StoredWrite[] {
  const bytes = readFileSync(path);
  const view = viewOf(bytes);
  const header = decodeSegmentHeader(bytes);
  // Its preparation was cut off.
  if (header === "empty") return [];
  if (typeof header === "string") throw new Error(`Cannot read ${path}: ${header}`);
  const frame = newFrame();
  const writes: StoredWrite[] = [];
  for (let at = SEGMENT_DATA_START; readFrame(bytes, view, at, at, header.salt, frame); ) {
    const entries: StoredEntry[] = [];
    const end = at + FRAME_BYTES + frame.entryBytes;
    const entry = newEntryHeader();
    for (let position = at + FRAME_BYTES; position < end; position += entry.bytes) {
      if (!readEntryHeader(view, position, entry)) throw new Error(`No entry at ${position}`);
      entries.push({
        index: entry.index,
        position,
        bytes: entry.bytes,
        records: entry.recordCount,
      });
    }
    writes.push({ path, syncedIndex: frame.syncedIndex, entries });
    at = end;
  }
  return writes;
}
