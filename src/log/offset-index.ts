// The sparse index of one segment: which partitions have records in it, and where to begin to look for an offset.
// A point stands at a partition's first chunk in the segment and whenever 256 KiB of the segment lie since its last
// point. The same points exist in memory for segments that still grow and in `.index` files for the rest.
//
// header 48 | directory, sorted by topic and partition, 64 each | points, 32 each | checksum u32
//
//  0 magic u64 | 8 version u32 | 12 directory entries u32 | 16 sequence u64 | 24 points u32 | 28 zero u32 | 32 cluster id 16
//
// directory: topic u32 | partition u16, zero u16 | first offset u64 | next offset u64 | stored bytes u64 | first timestamp u64
//            | last timestamp u64 | first point u32 | points u32 | chunks u32 | zero u32
// point: base offset u64 | position u64 | timestamp u64 | stored bytes of the partition before it in this segment u64

import { assert } from "../lib/assert.ts";
import { getU64, putU64, viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { COMMAND, CommandCursor } from "../model/command-codec.ts";
import { ENTRY_HEADER_BYTES, type EntryHeader, FORMAT_VERSION } from "./format.ts";

const MAGIC_LOW = 0x45_44_59_41; // "AYDE"
const MAGIC_HIGH = 0x58_44_4e_49; // "INDX"
const HEADER_BYTES = 48;
const DIRECTORY_BYTES = 64;
const POINT_BYTES = 32;

/** A point every so many bytes of the log, per partition that is written. */
export const POINT_SPACING_BYTES = 256 * 1024;

/** Most partitions of one topic; a partition's key is topic × this + partition. */
export const PARTITIONS_PER_TOPIC_MAX = 256;

/** One number for a partition of a topic. */
export const partitionKey = (topicId: number, partition: number): number =>
  topicId * PARTITIONS_PER_TOPIC_MAX + partition;

/** What one segment holds of one partition. */
export interface PartitionRange {
  readonly key: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  /** Stored bytes of its records in this segment. */
  readonly bytes: number;
  /** Chunks that these records stand in. */
  readonly chunks: number;
  readonly firstTimestampMs: number;
  readonly lastTimestampMs: number;
}

/** Where a search begins: an entry that holds `baseOffset`, or the partition's records before the wanted one. */
export interface IndexPoint {
  readonly baseOffset: number;
  /** Of the entry, in its segment. */
  readonly position: number;
  readonly timestampMs: number;
  /** Stored bytes of the partition in this segment before the point. */
  readonly bytesBefore: number;
}

interface GrowingRange {
  readonly key: number;
  readonly firstOffset: number;
  nextOffset: number;
  bytes: number;
  chunks: number;
  readonly firstTimestampMs: number;
  lastTimestampMs: number;
  readonly points: IndexPoint[];
}

/** What a segment's index can be asked, whether it grows or lies in a file. */
export interface SegmentIndex {
  /** Every partition with records in the segment, in no particular order. */
  ranges(): Iterable<PartitionRange>;
  range(key: number): PartitionRange | undefined;
  /** The last point at or before `offset`; undefined when the partition has no record in the segment. */
  find(key: number, offset: number): IndexPoint | undefined;
  /** The first point behind `offset`; undefined when the partition has none there. */
  findAfter(key: number, offset: number): IndexPoint | undefined;
  /** The last point whose time is at most `timestampMs`, else the first. */
  findTime(key: number, timestampMs: number): IndexPoint | undefined;
}

/** The index of a segment that is being written or walked. */
export class GrowingIndex implements SegmentIndex {
  readonly #ranges = new Map<number, GrowingRange>();
  readonly #cursor = new CommandCursor();
  /** Told of each partition's first chunk in the segment. */
  onFirst: (key: number, firstOffset: number) => void = () => undefined;

  /** Takes in one entry. Entries come in log order. */
  addEntry(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    header: EntryHeader,
    position: number,
  ): void {
    const commandsStart = at + ENTRY_HEADER_BYTES + header.dataBytes;
    const cursor = this.#cursor.reset(
      bytes,
      view,
      commandsStart,
      commandsStart + header.commandBytes,
    );
    while (cursor.next()) {
      if (cursor.kind !== COMMAND.chunk) continue;
      this.#addChunk(
        partitionKey(cursor.topicId, cursor.partition),
        cursor.chunkBaseOffset,
        cursor.chunkCount,
        cursor.chunkDataBytes,
        position,
        header.timestampMs,
      );
    }
  }

  #addChunk(
    key: number,
    baseOffset: number,
    count: number,
    bytes: number,
    position: number,
    timestampMs: number,
  ): void {
    let range = this.#ranges.get(key);
    if (range === undefined) {
      range = {
        key,
        firstOffset: baseOffset,
        nextOffset: baseOffset,
        bytes: 0,
        chunks: 0,
        firstTimestampMs: timestampMs,
        lastTimestampMs: timestampMs,
        points: [],
      };
      this.#ranges.set(key, range);
      this.onFirst(key, baseOffset);
    }
    assert(
      range.nextOffset === baseOffset,
      `Partition ${key} goes on at ${baseOffset}, not at ${range.nextOffset}`,
    );
    const last = range.points.at(-1);
    if (last === undefined || position - last.position >= POINT_SPACING_BYTES) {
      range.points.push({ baseOffset, position, timestampMs, bytesBefore: range.bytes });
    }
    range.nextOffset = baseOffset + count;
    range.bytes += bytes;
    range.chunks += 1;
    range.lastTimestampMs = timestampMs;
  }

  /**
   * Takes an entry out again that was cut off the log; all behind it are taken out as well, in any order.
   * Times stay as they were: a range that seems younger than it is only keeps its records longer.
   */
  removeEntry(bytes: Uint8Array, view: DataView, at: number, header: EntryHeader): void {
    const start = at + ENTRY_HEADER_BYTES + header.dataBytes;
    const cursor = this.#cursor.reset(bytes, view, start, start + header.commandBytes);
    while (cursor.next()) {
      if (cursor.kind !== COMMAND.chunk) continue;
      const key = partitionKey(cursor.topicId, cursor.partition);
      const range = this.#ranges.get(key);
      if (range === undefined) continue;
      range.nextOffset = Math.min(range.nextOffset, cursor.chunkBaseOffset);
      range.bytes -= cursor.chunkDataBytes;
      range.chunks -= 1;
      while ((range.points.at(-1)?.baseOffset ?? -1) >= range.nextOffset) range.points.pop();
      if (range.points.length === 0) this.#ranges.delete(key);
    }
  }

  ranges(): Iterable<PartitionRange> {
    return this.#ranges.values();
  }

  range(key: number): PartitionRange | undefined {
    return this.#ranges.get(key);
  }

  find(key: number, offset: number): IndexPoint | undefined {
    return lastPoint(this.#ranges.get(key)?.points, (point) => point.baseOffset <= offset);
  }

  findAfter(key: number, offset: number): IndexPoint | undefined {
    return this.#ranges.get(key)?.points.find((point) => point.baseOffset > offset);
  }

  findTime(key: number, timestampMs: number): IndexPoint | undefined {
    return lastPoint(this.#ranges.get(key)?.points, (point) => point.timestampMs <= timestampMs);
  }

  /** The bytes of the `.index` file. */
  encode(sequence: number, clusterId: string): Uint8Array {
    const ranges = [...this.#ranges.values()].sort((left, right) => left.key - right.key);
    const points = ranges.reduce((sum, range) => sum + range.points.length, 0);
    const bytes = new Uint8Array(
      HEADER_BYTES + ranges.length * DIRECTORY_BYTES + points * POINT_BYTES + 4,
    );
    const view = viewOf(bytes);
    view.setUint32(0, MAGIC_LOW, true);
    view.setUint32(4, MAGIC_HIGH, true);
    view.setUint32(8, FORMAT_VERSION, true);
    view.setUint32(12, ranges.length, true);
    putU64(view, 16, sequence);
    view.setUint32(24, points, true);
    bytes.set(Uint8Array.fromHex(clusterId), 32);
    let at = HEADER_BYTES;
    let firstPoint = 0;
    for (const range of ranges) {
      view.setUint32(at, Math.floor(range.key / PARTITIONS_PER_TOPIC_MAX), true);
      view.setUint32(at + 4, range.key % PARTITIONS_PER_TOPIC_MAX, true);
      putU64(view, at + 8, range.firstOffset);
      putU64(view, at + 16, range.nextOffset);
      putU64(view, at + 24, range.bytes);
      putU64(view, at + 32, range.firstTimestampMs);
      putU64(view, at + 40, range.lastTimestampMs);
      view.setUint32(at + 48, firstPoint, true);
      view.setUint32(at + 52, range.points.length, true);
      view.setUint32(at + 56, range.chunks, true);
      firstPoint += range.points.length;
      at += DIRECTORY_BYTES;
    }
    for (const range of ranges) {
      for (const point of range.points) {
        putU64(view, at, point.baseOffset);
        putU64(view, at + 8, point.position);
        putU64(view, at + 16, point.timestampMs);
        putU64(view, at + 24, point.bytesBefore);
        at += POINT_BYTES;
      }
    }
    view.setUint32(at, crc32(bytes.subarray(0, at)), true);
    return bytes;
  }
}

function lastPoint(
  points: readonly IndexPoint[] | undefined,
  isBefore: (point: IndexPoint) => boolean,
): IndexPoint | undefined {
  if (points === undefined) return undefined;
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(points[middle] as IndexPoint)) low = middle + 1;
    else high = middle;
  }
  return points[Math.max(0, low - 1)];
}

/** The index of a sealed segment, read where it lies: `bytes` is usually a mapping of the file. */
export class IndexFile implements SegmentIndex {
  readonly #view: DataView;
  readonly #entries: number;
  readonly #pointsStart: number;

  private constructor(view: DataView, entries: number) {
    this.#view = view;
    this.#entries = entries;
    this.#pointsStart = HEADER_BYTES + entries * DIRECTORY_BYTES;
  }

  /** Verifies the whole file; undefined when it is not this segment's index, or damaged. */
  static open(bytes: Uint8Array, sequence: number, clusterId: string): IndexFile | undefined {
    const view = viewOf(bytes);
    if (
      bytes.length < HEADER_BYTES + 4 ||
      view.getUint32(0, true) !== MAGIC_LOW ||
      view.getUint32(4, true) !== MAGIC_HIGH
    ) {
      return undefined;
    }
    const entries = view.getUint32(12, true);
    const end = HEADER_BYTES + entries * DIRECTORY_BYTES + view.getUint32(24, true) * POINT_BYTES;
    const isWhole =
      view.getUint32(8, true) === FORMAT_VERSION &&
      bytes.length === end + 4 &&
      view.getUint32(end, true) === crc32(bytes.subarray(0, end)) &&
      getU64(view, 16) === sequence &&
      bytes.subarray(32, 48).toHex() === clusterId;
    return isWhole ? new IndexFile(view, entries) : undefined;
  }

  *ranges(): Iterable<PartitionRange> {
    for (let i = 0; i < this.#entries; i++) yield this.#rangeAt(HEADER_BYTES + i * DIRECTORY_BYTES);
  }

  range(key: number): PartitionRange | undefined {
    const at = this.#directoryAt(key);
    return at < 0 ? undefined : this.#rangeAt(at);
  }

  find(key: number, offset: number): IndexPoint | undefined {
    return this.#lastPoint(key, 0, offset);
  }

  findAfter(key: number, offset: number): IndexPoint | undefined {
    const directory = this.#directoryAt(key);
    if (directory < 0) return undefined;
    const first = this.#view.getUint32(directory + 48, true);
    const end = first + this.#view.getUint32(directory + 52, true);
    const at = this.#behind(first, end, 0, offset);
    return at < end ? this.#pointAt(at) : undefined;
  }

  findTime(key: number, timestampMs: number): IndexPoint | undefined {
    return this.#lastPoint(key, 16, timestampMs);
  }

  #rangeAt(at: number): PartitionRange {
    const view = this.#view;
    return {
      key: partitionKey(view.getUint32(at, true), view.getUint16(at + 4, true)),
      firstOffset: getU64(view, at + 8),
      nextOffset: getU64(view, at + 16),
      bytes: getU64(view, at + 24),
      chunks: view.getUint32(at + 56, true),
      firstTimestampMs: getU64(view, at + 32),
      lastTimestampMs: getU64(view, at + 40),
    };
  }

  #directoryAt(key: number): number {
    let low = 0;
    let high = this.#entries;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = HEADER_BYTES + middle * DIRECTORY_BYTES;
      if (partitionKey(this.#view.getUint32(at, true), this.#view.getUint16(at + 4, true)) < key)
        low = middle + 1;
      else high = middle;
    }
    const at = HEADER_BYTES + low * DIRECTORY_BYTES;
    return low < this.#entries &&
      partitionKey(this.#view.getUint32(at, true), this.#view.getUint16(at + 4, true)) === key
      ? at
      : -1;
  }

  /** The last point whose 64-bit field `field` is at most `wanted`, else the first. */
  #lastPoint(key: number, field: number, wanted: number): IndexPoint | undefined {
    const directory = this.#directoryAt(key);
    if (directory < 0) return undefined;
    const first = this.#view.getUint32(directory + 48, true);
    const end = first + this.#view.getUint32(directory + 52, true);
    return this.#pointAt(Math.max(first, this.#behind(first, end, field, wanted) - 1));
  }

  /** The first of the points `[first, end)` whose 64-bit field `field` is above `wanted`, else `end`. */
  #behind(first: number, end: number, field: number, wanted: number): number {
    let low = first;
    let high = end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (getU64(this.#view, this.#pointsStart + middle * POINT_BYTES + field) <= wanted)
        low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #pointAt(point: number): IndexPoint {
    const view = this.#view;
    const at = this.#pointsStart + point * POINT_BYTES;
    return {
      baseOffset: getU64(view, at),
      position: getU64(view, at + 8),
      timestampMs: getU64(view, at + 16),
      bytesBefore: getU64(view, at + 24),
    };
  }
}
