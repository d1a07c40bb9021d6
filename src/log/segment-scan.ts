// Walks a segment from its bytes: frame by frame, entry by entry, verifying everything. Used at start, by the job that
// derives index and delta, and by `ayder inspect`. It only tells what is there; what follows from it is decided elsewhere.

import { assert } from "../lib/assert.ts";
import { isZero, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { FatalError } from "../lib/fatal.ts";
import { COMMAND, CommandCursor } from "../model/command-codec.ts";
import type { Files } from "./disk.ts";
import {
  ENTRY_HEADER_BYTES,
  type EntryHeader,
  FRAME_BYTES,
  isFrameAt,
  newEntryHeader,
  newFrame,
  readEntryHeader,
  readFrame,
  verifyEntry,
} from "./format.ts";

/** Gets each verified entry: it lies whole in `bytes` from `at`, and at `position` of its file. Valid during the call. */
export type EntryVisitor = (
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: EntryHeader,
  position: number,
) => void;

/** The last entry before a place in the log: what the next one must follow. */
export interface ChainEnd {
  readonly index: number;
  readonly term: number;
  readonly checksum: number;
  readonly timestampMs: number;
}

/** Before the first entry. */
export const CHAIN_START: ChainEnd = { index: 0, term: 0, checksum: 0, timestampMs: 0 };

/** What a walk found. */
export interface ScanResult {
  /** Where the valid part ends. */
  readonly position: number;
  /** Where its last write frame lies; the start of the walk when there is none. */
  readonly lastFrame: number;
  readonly chain: ChainEnd;
  /** Index of the first valid entry, 0 when there was none. */
  readonly firstIndex: number;
  /** Highest `synced_index` of a valid frame. */
  readonly syncedIndex: number;
  readonly entries: number;
  /** Undefined: zeros, or the asked end. Else what is wrong at `position`. */
  readonly fault: string | undefined;
}

/** A piece of a file in memory, moved forward as the walk goes. */
class Window {
  bytes: Uint8Array;
  view: DataView;
  #start = 0;
  #filled = 0;
  readonly #files: Files;
  readonly #name: string;

  constructor(files: Files, name: string, pieceBytes: number) {
    this.#files = files;
    this.#name = name;
    this.bytes = new Uint8Array(pieceBytes);
    this.view = viewOf(this.bytes);
  }

  /** Index in `bytes` of `position` once `count` bytes from it are here; -1 when the file ends before. */
  need(position: number, count: number): number {
    const at = position - this.#start;
    if (at >= 0 && at + count <= this.#filled) return at;
    if (count > this.bytes.length) {
      this.bytes = new Uint8Array(count + (1 << 16));
    }
    this.#start = position;
    this.#filled = this.#files.read(this.#name, position, this.bytes);
    // A view per refill: `view.byteLength` tells the readers where the bytes end.
    this.view = new DataView(this.bytes.buffer, 0, this.#filled);
    return count <= this.#filled ? 0 : -1;
  }
}

/** Bytes that a walk reads at a time. */
const PIECE_BYTES = 1 << 20;

/**
 * Walks the segment `name` from `from` to `end`.
 * @param options.chain What the first entry must follow.
 * @param options.end Valid length if the manifest has one, else the size of the file.
 */
export function scanSegment(
  files: Files,
  name: string,
  options: {
    readonly salt: number;
    readonly from: number;
    readonly end: number;
    readonly chain: ChainEnd;
    /** Their checksums are somebody else's matter. */
    readonly skipsRecords?: boolean;
  },
  visit: EntryVisitor,
): ScanResult {
  const window = new Window(files, name, PIECE_BYTES);
  const frame = newFrame();
  const header = newEntryHeader();
  const commands = new CommandCursor();
  let { index, term, checksum, timestampMs } = options.chain;
  let position = options.from;
  let lastFrame = position;
  let syncedIndex = 0;
  let firstIndex = 0;
  let entries = 0;
  const done = (fault?: string): ScanResult => ({
    position,
    lastFrame,
    chain: { index, term, checksum, timestampMs },
    firstIndex,
    syncedIndex,
    entries,
    fault,
  });

  while (position + FRAME_BYTES <= options.end) {
    let at = window.need(position, FRAME_BYTES);
    if (at < 0) return done();
    if (!readFrame(window.bytes, window.view, at, position, options.salt, frame)) {
      return done(
        isZeroFrom(files, name, position, options.end) ? undefined : "no valid write frame",
      );
    }
    syncedIndex = Math.max(syncedIndex, frame.syncedIndex);
    if (frame.firstIndex !== index + 1 || frame.previousChecksum !== checksum) {
      return done("a write frame that does not follow the entry before it");
    }
    const writeEnd = Math.min(position + FRAME_BYTES + frame.entryBytes, options.end);
    lastFrame = position;
    // The frame alone is valid; an end inside its write is the mark of a torn tail that was cut.
    position += FRAME_BYTES;
    while (position < writeEnd) {
      at = window.need(position, ENTRY_HEADER_BYTES);
      if (at < 0 || !readEntryHeader(window.view, at, header)) return done("no valid entry header");
      if (position + header.bytes > options.end) return done("an entry that ends past the file");
      at = window.need(position, header.bytes);
      if (at < 0) return done("an entry that ends past the file");
      if (
        header.index !== index + 1 ||
        header.previousChecksum !== checksum ||
        header.term < term
      ) {
        return done("an entry that does not follow the one before it");
      }
      if (!verifyEntry(window.bytes, at, header))
        return done("an entry whose checksum does not hold");
      const isLookedAt = options.skipsRecords !== true;
      if (isLookedAt && !verifyChunks(window.bytes, window.view, at, header, commands))
        return done("records whose checksum does not hold");
      visit(window.bytes, window.view, at, header, position);
      ({ index, term, checksum, timestampMs } = header);
      if (firstIndex === 0) firstIndex = index;
      entries += 1;
      position += header.bytes;
    }
  }
  return done();
}

/**
 * Visits the entries of `[from, end)` of a file, which was whole when it was written: verifies headers and commands, not
 * records. Throws `FatalError` when the disk gives back something else.
 */
export function visitEntries(
  files: Files,
  name: string,
  from: number,
  end: number,
  visit: EntryVisitor,
): void {
  const window = new Window(files, name, PIECE_BYTES);
  const header = newEntryHeader();
  const damaged = (position: number): FatalError =>
    new FatalError("log_corrupt", `Cannot read ${name} at ${position}: no entry that holds`);
  for (let position = from; position < end; ) {
    let at = window.need(position, Math.min(FRAME_BYTES, end - position));
    assert(at >= 0, `${name} reaches to ${end}`);
    if (isFrameAt(window.view, at)) {
      position += FRAME_BYTES;
      continue;
    }
    if (!readEntryHeader(window.view, at, header)) throw damaged(position);
    at = window.need(position, header.bytes);
    if (at < 0 || !verifyEntry(window.bytes, at, header)) throw damaged(position);
    visit(window.bytes, window.view, at, header, position);
    position += header.bytes;
  }
}

/** Whether every chunk of a verified entry has the record bytes that it had, and the parts add up. */
export function verifyChunks(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: EntryHeader,
  cursor: CommandCursor,
): boolean {
  let data = at + ENTRY_HEADER_BYTES;
  const dataEnd = data + header.dataBytes;
  cursor.reset(bytes, view, dataEnd, dataEnd + header.commandBytes);
  while (cursor.next()) {
    if (cursor.kind !== COMMAND.chunk) continue;
    const end = data + cursor.chunkDataBytes;
    if (end > dataEnd || crc32(bytes.subarray(data, end)) !== cursor.chunkChecksum) return false;
    data = end;
  }
  return !cursor.isBroken && data === dataEnd;
}

/** Whether `[from, end)` of a file holds nothing but zeros. */
export function isZeroFrom(files: Files, name: string, from: number, end: number): boolean {
  const piece = new Uint8Array(PIECE_BYTES);
  for (let position = from; position < end; ) {
    const count = files.read(
      name,
      position,
      piece.subarray(0, Math.min(piece.length, end - position)),
    );
    if (count === 0) return true;
    if (!isZero(piece.subarray(0, count))) return false;
    position += count;
  }
  return true;
}

/**
 * Looks for write frames at every eighth byte from `from`, past damage: the highest indexes that they call durable and
 * committed. A frame is salted and names its own position, so no record can pass for one.
 */
export function findMarks(
  files: Files,
  where: {
    readonly name: string;
    readonly salt: number;
    readonly from: number;
    readonly end: number;
  },
): { readonly syncedIndex: number; readonly commitIndex: number } {
  const { name, salt } = where;
  const overlap = FRAME_BYTES;
  const piece = new Uint8Array(PIECE_BYTES + overlap);
  const frame = newFrame();
  let syncedIndex = 0;
  let commitIndex = 0;
  for (
    let position = where.from - (where.from % 8);
    position < where.end;
    position += PIECE_BYTES
  ) {
    const count = files.read(name, position, piece);
    const bytes = piece.subarray(0, count);
    const view = viewOf(bytes);
    for (let at = 0; at < PIECE_BYTES && at + FRAME_BYTES <= count; at += 8) {
      if (isFrameAt(view, at) && readFrame(bytes, view, at, position + at, salt, frame)) {
        syncedIndex = Math.max(syncedIndex, frame.syncedIndex);
        commitIndex = Math.max(commitIndex, frame.commitIndex);
      }
    }
  }
  return { syncedIndex, commitIndex };
}
