// The bytes of a segment: header, write frames, entries. Drawn whole in docs/format.md; repeated here beside the code.
// Zero is never a valid first word, so that prepared space is told from the log (hashicorp/raft-wal has the same rule).

import { align8, getU64, isZero, putU64, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";

/** Version of every file of the data directory. Another one is refused by name. */
export const FORMAT_VERSION = 3;

/** Where the first write frame of a segment lies; the header has the page before it to itself. */
export const SEGMENT_DATA_START = 4096;
const SEGMENT_MAGIC_LOW = 0x45_44_59_41; // "AYDE"
const SEGMENT_MAGIC_HIGH = 0x47_45_53_52; // "RSEG"
const SEGMENT_HEADER_BYTES = 56;

/** What a segment says of itself. */
export interface SegmentHeader {
  readonly sequence: number;
  readonly salt: number;
  readonly fileBytes: number;
  /** 16 bytes, as 32 hexadecimal digits. */
  readonly clusterId: string;
}

/**
 *  0 magic u64 | 8 version u32 | 12 salt u32 | 16 sequence u64 | 24 file bytes u64 | 32 cluster id 16 | 48 zero u32
 * 52 checksum u32 of the 52 bytes before
 */
export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, SEGMENT_MAGIC_LOW, true);
  view.setUint32(4, SEGMENT_MAGIC_HIGH, true);
  view.setUint32(8, FORMAT_VERSION, true);
  view.setUint32(12, header.salt, true);
  putU64(view, 16, header.sequence);
  putU64(view, 24, header.fileBytes);
  bytes.set(Uint8Array.fromHex(header.clusterId), 32);
  view.setUint32(52, crc32(bytes.subarray(0, 52)), true);
  return bytes;
}

/** Reads a header; a text says why it is none. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | string {
  if (bytes.length < SEGMENT_HEADER_BYTES) return "shorter than a header";
  if (isZero(bytes.subarray(0, SEGMENT_HEADER_BYTES))) return "empty";
  const view = viewOf(bytes);
  if (
    view.getUint32(0, true) !== SEGMENT_MAGIC_LOW ||
    view.getUint32(4, true) !== SEGMENT_MAGIC_HIGH
  )
    return "not a segment";
  if (view.getUint32(52, true) !== crc32(bytes.subarray(0, 52))) return "damaged header";
  const version = view.getUint32(8, true);
  if (version !== FORMAT_VERSION)
    return `format version ${version}, this program reads ${FORMAT_VERSION}`;
  return {
    salt: view.getUint32(12, true),
    sequence: getU64(view, 16),
    fileBytes: getU64(view, 24),
    clusterId: bytes.subarray(32, 48).toHex(),
  };
}

/** Bytes of a write frame. */
export const FRAME_BYTES = 56;
const FRAME_MAGIC = 0x4d_41_52_46; // "FRAM"; no multiple of eight, so never the length of an entry.

/** What one write says of itself. Local: never sent to a peer. */
export interface WriteFrame {
  /** Where the frame lies in its own file. */
  position: number;
  /** Bytes of the entries behind it. */
  entryBytes: number;
  entryCount: number;
  /** Highest index that this node knew durable when it wrote. */
  syncedIndex: number;
  /** Index of the first entry behind it, or the next one's when there is none. */
  firstIndex: number;
  /** Checksum of the entry before `firstIndex`; 0 before the first. */
  previousChecksum: number;
  /**
   * Highest index that this node knew committed when it wrote, entries behind the frame included: what a start may apply
   * without asking anybody. A membership that was followed by another one in the log is always below it.
   */
  commitIndex: number;
}

/**
 *  0 magic u32 | 4 checksum u32 of the rest, seeded with the segment's salt | 8 position u64 | 16 entry bytes u32
 * 20 entry count u32 | 24 synced index u64 | 32 first index u64 | 40 previous checksum u32 | 44 zero u32 | 48 commit index u64
 */
export function putFrame(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  frame: WriteFrame,
  salt: number,
): void {
  view.setUint32(at, FRAME_MAGIC, true);
  putU64(view, at + 8, frame.position);
  view.setUint32(at + 16, frame.entryBytes, true);
  view.setUint32(at + 20, frame.entryCount, true);
  putU64(view, at + 24, frame.syncedIndex);
  putU64(view, at + 32, frame.firstIndex);
  view.setUint32(at + 40, frame.previousChecksum, true);
  view.setUint32(at + 44, 0, true);
  putU64(view, at + 48, frame.commitIndex);
  view.setUint32(at + 4, crc32(bytes.subarray(at + 8, at + FRAME_BYTES), salt), true);
}

/** Whether a frame's first word stands at `at`. */
export const isFrameAt = (view: DataView, at: number): boolean =>
  view.getUint32(at, true) === FRAME_MAGIC;

/** Reads the frame at `at`, which lies at `position` of its file. False: there is none, or it is damaged or misplaced. */
export function readFrame(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  position: number,
  salt: number,
  into: WriteFrame,
): boolean {
  if (at + FRAME_BYTES > bytes.length || !isFrameAt(view, at)) return false;
  if (view.getUint32(at + 4, true) !== crc32(bytes.subarray(at + 8, at + FRAME_BYTES), salt))
    return false;
  if (getU64(view, at + 8) !== position) return false;
  into.position = position;
  into.entryBytes = view.getUint32(at + 16, true);
  into.entryCount = view.getUint32(at + 20, true);
  into.syncedIndex = getU64(view, at + 24);
  into.firstIndex = getU64(view, at + 32);
  into.previousChecksum = view.getUint32(at + 40, true);
  into.commitIndex = getU64(view, at + 48);
  return into.syncedIndex >= 0 && into.firstIndex > 0;
}

/** A frame to read into. */
export const newFrame = (): WriteFrame => ({
  position: 0,
  entryBytes: 0,
  entryCount: 0,
  syncedIndex: 0,
  firstIndex: 0,
  previousChecksum: 0,
  commitIndex: 0,
});

/** Bytes of an entry's fixed header. */
export const ENTRY_HEADER_BYTES = 56;
/** Kinds of entry; `kept` is what an archive is made of: one chunk of an entry that is gone. */
export const ENTRY_KIND = { commands: 1, noOp: 2, kept: 3 } as const;
/** No entry is larger than this, whatever its length field says: 16 MiB of request, and what it takes to describe it. */
export const ENTRY_BYTES_MAX = 1 << 26;

/** The fixed part of an entry. */
export interface EntryHeader {
  /** Whole entry with padding. */
  bytes: number;
  checksum: number;
  previousChecksum: number;
  kind: number;
  term: number;
  index: number;
  timestampMs: number;
  dataBytes: number;
  commandBytes: number;
  recordCount: number;
  commandCount: number;
}

/** An entry header to read into. */
export const newEntryHeader = (): EntryHeader => ({
  bytes: 0,
  checksum: 0,
  previousChecksum: 0,
  kind: 0,
  term: 0,
  index: 0,
  timestampMs: 0,
  dataBytes: 0,
  commandBytes: 0,
  recordCount: 0,
  commandCount: 0,
});

/** Bytes of an entry with so much data and so many bytes of commands. */
export const entryBytes = (dataBytes: number, commandBytes: number): number =>
  align8(ENTRY_HEADER_BYTES + dataBytes + commandBytes);

/**
 *  0 bytes u32 | 4 checksum u32 of [8, 56) and the commands | 8 previous entry's checksum u32 | 12 kind u16 | 14 zero u16
 * 16 term u64 | 24 index u64 | 32 timestamp ms u64 | 40 data bytes u32 | 44 command bytes u32 | 48 records u32 | 52 commands u32
 * 56 data | commands | zeros up to a multiple of eight
 *
 * Record bytes have checksums of their own, one per chunk, among the commands: so a reader verifies only what it reads.
 * Writes the header, pads, fills in `bytes` and `checksum`. Data and commands are in place already.
 */
export function sealEntry(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: EntryHeader,
): void {
  const commandsStart = at + ENTRY_HEADER_BYTES + header.dataBytes;
  const commandsEnd = commandsStart + header.commandBytes;
  header.bytes = entryBytes(header.dataBytes, header.commandBytes);
  view.setUint32(at, header.bytes, true);
  view.setUint32(at + 8, header.previousChecksum, true);
  view.setUint16(at + 12, header.kind, true);
  view.setUint16(at + 14, 0, true);
  putU64(view, at + 16, header.term);
  putU64(view, at + 24, header.index);
  putU64(view, at + 32, header.timestampMs);
  view.setUint32(at + 40, header.dataBytes, true);
  view.setUint32(at + 44, header.commandBytes, true);
  view.setUint32(at + 48, header.recordCount, true);
  view.setUint32(at + 52, header.commandCount, true);
  bytes.fill(0, commandsEnd, at + header.bytes);
  header.checksum = entryChecksum(bytes, at, commandsStart, commandsEnd);
  view.setUint32(at + 4, header.checksum, true);
}

function entryChecksum(
  bytes: Uint8Array,
  at: number,
  commandsStart: number,
  commandsEnd: number,
): number {
  const head = crc32(bytes.subarray(at + 8, at + ENTRY_HEADER_BYTES));
  return commandsEnd === commandsStart
    ? head
    : crc32(bytes.subarray(commandsStart, commandsEnd), head);
}

/** Reads an entry's header at `at`. False: the bytes are no entry, or they end before it does. Verifies no checksum. */
export function readEntryHeader(view: DataView, at: number, into: EntryHeader): boolean {
  if (at + ENTRY_HEADER_BYTES > view.byteLength) return false;
  into.bytes = view.getUint32(at, true);
  into.checksum = view.getUint32(at + 4, true);
  into.previousChecksum = view.getUint32(at + 8, true);
  into.kind = view.getUint16(at + 12, true);
  into.term = getU64(view, at + 16);
  into.index = getU64(view, at + 24);
  into.timestampMs = getU64(view, at + 32);
  into.dataBytes = view.getUint32(at + 40, true);
  into.commandBytes = view.getUint32(at + 44, true);
  into.recordCount = view.getUint32(at + 48, true);
  into.commandCount = view.getUint32(at + 52, true);
  return (
    into.bytes >= ENTRY_HEADER_BYTES &&
    into.bytes <= ENTRY_BYTES_MAX &&
    into.bytes === entryBytes(into.dataBytes, into.commandBytes) &&
    into.term > 0 &&
    into.index > 0 &&
    into.timestampMs >= 0
  );
}

/** Whether header and commands of the entry at `at` are as they were sealed. The entry lies whole in `bytes`. */
export function verifyEntry(bytes: Uint8Array, at: number, header: EntryHeader): boolean {
  const commandsStart = at + ENTRY_HEADER_BYTES + header.dataBytes;
  return (
    header.checksum === entryChecksum(bytes, at, commandsStart, commandsStart + header.commandBytes)
  );
}

/** Kinds of data file, as their names end. */
export const FILE_KINDS = ["log", "archive", "index", "delta", "base"] as const;
/** One of them. */
export type FileKind = (typeof FILE_KINDS)[number];

/** Name of a data file: twelve digits of its never-reused sequence number, and its kind. */
export const fileName = (sequence: number, kind: FileKind): string =>
  `${String(sequence).padStart(12, "0")}.${kind}`;

/** Sequence number and kind of a data file's name; undefined for other names. */
export function parseFileName(
  name: string,
): { readonly sequence: number; readonly kind: string } | undefined {
  const match = /^(\d{12})\.(log|index|delta|base|archive)$/.exec(name);
  return match === null ? undefined : { sequence: Number(match[1]), kind: match[2] ?? "" };
}
