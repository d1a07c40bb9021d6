// Archives: records that were moved out of segments, so that what is dead around them can go. Chunks of one partition lie
// together, in the order of their offsets; each stands in an entry of its own, which says what it is and has its own
// checksums, so that readers walk archives and segments alike. An archive holds no state, and nothing of it is replayed.

import { isZero, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { CHUNK_COMMAND_BYTES, COMMAND, CommandCursor, putChunk } from "../model/command-codec.ts";
import { FileError, type Files } from "./disk.ts";
import {
  ENTRY_HEADER_BYTES,
  ENTRY_KIND,
  type EntryHeader,
  entryBytes,
  FORMAT_VERSION,
  fileName,
  newEntryHeader,
  readEntryHeader,
  SEGMENT_DATA_START,
  sealEntry,
  verifyEntry,
} from "./format.ts";
import { GrowingIndex, PARTITIONS_PER_TOPIC_MAX, partitionKey } from "./offset-index.ts";
import type { StoredSlice } from "./segment-reader.ts";
import { type EntryVisitor, verifyChunks } from "./segment-scan.ts";

const MAGIC_LOW = 0x45_44_59_41; // "AYDE"
const MAGIC_HIGH = 0x48_43_52_41; // "ARCH"
const HEADER_BYTES = 56;

/** Bytes that a chunk takes in an archive besides its records, padding at its most. */
export const KEPT_OVERHEAD_BYTES = ENTRY_HEADER_BYTES + CHUNK_COMMAND_BYTES + 7;

/**
 * The page before the chunks.
 *
 *  0 magic u64 | 8 version u32 | 12 zero u32 | 16 sequence u64 | 24 file bytes u64 | 32 cluster id 16 | 48 zero u32
 * 52 checksum u32 of the 52 bytes before
 */
export function encodeArchiveHeader(
  sequence: number,
  bytes: number,
  clusterId: string,
): Uint8Array {
  const header = new Uint8Array(SEGMENT_DATA_START);
  const view = viewOf(header);
  view.setUint32(0, MAGIC_LOW, true);
  view.setUint32(4, MAGIC_HIGH, true);
  view.setUint32(8, FORMAT_VERSION, true);
  view.setBigUint64(16, BigInt(sequence), true);
  view.setBigUint64(24, BigInt(bytes), true);
  header.set(Uint8Array.fromHex(clusterId), 32);
  view.setUint32(52, crc32(header.subarray(0, 52)), true);
  return header;
}

const damaged = (message: string): FileError => new FileError("damaged", message);

/** Bytes of a kept chunk with so many bytes of records. */
export const keptBytes = (dataBytes: number): number => entryBytes(dataBytes, CHUNK_COMMAND_BYTES);

/** Bytes that a walk over all of it reads at a time. */
const SCAN_BYTES = 1 << 20;

/** Reads a whole archive. Throws `FileError` when a bit of it is not what it was. */
export function scanArchive(
  files: Files,
  archive: { readonly sequence: number; readonly clusterId: string; readonly validBytes: number },
  visit: EntryVisitor,
): void {
  const { sequence, clusterId, validBytes } = archive;
  const name = fileName(sequence, "archive");
  const at = (position: number, what: string): FileError =>
    damaged(`Cannot read ${name} at ${position}: ${what}`);
  const head = new Uint8Array(SEGMENT_DATA_START);
  const count = files.size(name) === undefined ? 0 : files.read(name, 0, head);
  const wanted = encodeArchiveHeader(sequence, validBytes, clusterId);
  // A copy of it has another number, as it has on another node.
  if (count < head.length || !isSameHeader(head, wanted)) throw at(0, "no header that holds");
  const header = newEntryHeader();
  const commands = new CommandCursor();
  const walk = new SourceWalk(files, name, SCAN_BYTES);
  let lastKey = -1;
  let nextOffset = 0;
  for (let position = SEGMENT_DATA_START; position < validBytes; position += header.bytes) {
    walk.need(position, ENTRY_HEADER_BYTES);
    if (!readEntryHeader(walk.view, walk.at, header) || header.kind !== ENTRY_KIND.kept)
      throw at(position, "no kept chunk");
    if (position + header.bytes > validBytes) throw at(position, "a chunk that ends past the file");
    walk.need(position, header.bytes);
    const { bytes, view, at: start } = walk;
    if (!isKeptChunk(bytes, view, start, header, commands))
      throw at(position, "a chunk whose checksum does not hold");
    const key = partitionKey(commands.topicId, commands.partition);
    if (key < lastKey || (key === lastKey && commands.chunkBaseOffset !== nextOffset))
      throw at(position, "a chunk that does not follow the one before it");
    lastKey = key;
    nextOffset = commands.chunkBaseOffset + commands.chunkCount;
    visit(bytes, view, start, header, position);
  }
}

/** Whether everything but the sequence number, and the checksum over it, is as it should be. */
function isSameHeader(found: Uint8Array, wanted: Uint8Array): boolean {
  const view = viewOf(found);
  if (view.getUint32(52, true) !== crc32(found.subarray(0, 52))) return false;
  const isSame = (from: number, to: number): boolean =>
    Buffer.compare(found.subarray(from, to), wanted.subarray(from, to)) === 0;
  return isSame(0, 16) && isSame(24, 52) && isSame(HEADER_BYTES, SEGMENT_DATA_START);
}

/** Whether the entry at `at` holds one chunk, whole; `commands` stands on it then. */
function isKeptChunk(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: EntryHeader,
  commands: CommandCursor,
): boolean {
  const end = at + ENTRY_HEADER_BYTES + header.dataBytes + header.commandBytes;
  if (header.commandBytes !== CHUNK_COMMAND_BYTES || header.commandCount !== 1) return false;
  if (!verifyEntry(bytes, at, header) || !isZero(bytes.subarray(end, at + header.bytes)))
    return false;
  if (!verifyChunks(bytes, view, at, header, commands)) return false;
  commands.reset(bytes, view, end - CHUNK_COMMAND_BYTES, end);
  return commands.next() && commands.kind === COMMAND.chunk;
}

/** Pieces of a file in memory: one after the other where reads go on, no more than is asked for where they jump. */
export class SourceWalk {
  bytes: Uint8Array;
  view: DataView;
  /** Where the asked bytes begin in `bytes`. */
  at = 0;
  readonly #files: Files;
  readonly name: string;
  readonly #aheadBytes: number;
  #start = 0;
  #filled = 0;

  constructor(files: Files, name: string, aheadBytes: number) {
    this.#files = files;
    this.name = name;
    this.#aheadBytes = aheadBytes;
    this.bytes = new Uint8Array(aheadBytes);
    this.view = viewOf(this.bytes);
  }

  /** Makes `count` bytes from `position` on be in memory. Throws `FileError` when the file ends before. */
  need(position: number, count: number): void {
    const at = position - this.#start;
    if (at < 0 || at + count > this.#filled) {
      const isNear = at >= 0 && at <= this.#filled + this.#aheadBytes;
      const length = isNear || this.#filled === 0 ? Math.max(count, this.#aheadBytes) : count;
      if (length > this.bytes.length) this.bytes = new Uint8Array(length);
      this.#filled = this.#files.read(this.name, position, this.bytes.subarray(0, length));
      this.#start = position;
      this.view = new DataView(this.bytes.buffer, 0, this.#filled);
    }
    this.at = position - this.#start;
    if (this.at + count > this.#filled)
      throw damaged(`Cannot read ${this.name} at ${position}: it ends early`);
  }
}

/** A chunk on its way into an archive. */
export interface KeptChunk {
  readonly key: number;
  readonly baseOffset: number;
  readonly count: number;
  readonly bytes: number;
  readonly checksum: number;
  readonly raftIndex: number;
  readonly term: number;
  readonly timestampMs: number;
}

/** Makes the entry of a kept chunk around its records, which are in place. Returns its length. */
export function putKept(
  into: Uint8Array,
  view: DataView,
  at: number,
  header: EntryHeader,
  chunk: KeptChunk,
): number {
  putChunk(
    view,
    at + ENTRY_HEADER_BYTES + chunk.bytes,
    Math.floor(chunk.key / PARTITIONS_PER_TOPIC_MAX),
    chunk.key % PARTITIONS_PER_TOPIC_MAX,
    chunk.baseOffset,
    chunk.count,
    chunk.bytes,
    chunk.checksum,
  );
  header.previousChecksum = 0;
  header.kind = ENTRY_KIND.kept;
  header.term = chunk.term;
  header.index = chunk.raftIndex;
  header.timestampMs = chunk.timestampMs;
  header.dataBytes = chunk.bytes;
  header.commandBytes = CHUNK_COMMAND_BYTES;
  header.recordCount = chunk.count;
  header.commandCount = 1;
  sealEntry(into, view, at, header);
  return header.bytes;
}

/** Records of one partition as an archive keeps them, for a peer that lost them. */
export function encodeKept(key: number, slices: readonly StoredSlice[]): Uint8Array {
  const bytes = new Uint8Array(
    slices.reduce((sum, { start, end }) => sum + keptBytes(end - start), 0),
  );
  const view = viewOf(bytes);
  const header = newEntryHeader();
  let at = 0;
  for (const slice of slices) {
    const records = slice.bytes.subarray(slice.start, slice.end);
    bytes.set(records, at + ENTRY_HEADER_BYTES);
    at += putKept(bytes, view, at, header, {
      ...slice,
      key,
      bytes: records.length,
      checksum: crc32(records),
    });
  }
  return bytes;
}

/**
 * The offset behind kept chunks of one partition that go on at `offset` to the end of `bytes`, the first of which may begin
 * before it; undefined when they are something else.
 */
export function endOfKept(bytes: Uint8Array, key: number, offset: number): number | undefined {
  const view = viewOf(bytes);
  const header = newEntryHeader();
  const commands = new CommandCursor();
  let next = offset;
  for (let at = 0; at < bytes.length; at += header.bytes) {
    if (!readEntryHeader(view, at, header) || header.kind !== ENTRY_KIND.kept) return undefined;
    if (at + header.bytes > bytes.length || !isKeptChunk(bytes, view, at, header, commands))
      return undefined;
    const { chunkBaseOffset, chunkCount } = commands;
    const isNext = at === 0 ? chunkBaseOffset <= next : chunkBaseOffset === next;
    const isOfKey = partitionKey(commands.topicId, commands.partition) === key;
    if (!isNext || !isOfKey || chunkBaseOffset + chunkCount <= next) return undefined;
    next = chunkBaseOffset + chunkCount;
  }
  return next;
}

/** The index of an archive, made from it. Throws `FileError` when the archive is damaged. */
export function indexArchive(
  files: Files,
  archive: { readonly sequence: number; readonly clusterId: string; readonly validBytes: number },
): GrowingIndex {
  const index = new GrowingIndex();
  scanArchive(files, archive, (bytes, view, at, header, position) =>
    index.addEntry(bytes, view, at, header, position),
  );
  return index;
}
