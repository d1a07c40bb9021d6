// Reads records of one partition: from memory while the tail buffer has them, else from segments and archives in pieces,
// entry by entry, verifying what comes from the disk at each read. The only file of this ring that may wait.

import { assert } from "../lib/assert.ts";
import { viewOf } from "../lib/bytes.ts";
import { crc32 } from "../lib/checksum.ts";
import { FatalError } from "../lib/fatal.ts";
import { COMMAND, CommandCursor } from "../model/command-codec.ts";
import { RecordCursor, type RecordSlice } from "../model/record.ts";
import type { Disk } from "./disk.ts";
import {
  ENTRY_HEADER_BYTES,
  FRAME_BYTES,
  isFrameAt,
  newEntryHeader,
  readEntryHeader,
  verifyEntry,
} from "./format.ts";
import { type LiveSegment, nameOf } from "./live-segment.ts";
import { partitionKey } from "./offset-index.ts";
import type { OpenFile, OpenFiles } from "./open-files.ts";
import type { SegmentSet } from "./segment-set.ts";
import type { TailBuffer } from "./tail-buffer.ts";

/** What a read is asked for: `[offset, endOffset)`, and no more than about so much. */
export interface ReadRange {
  readonly topicId: number;
  readonly partition: number;
  readonly offset: number;
  readonly endOffset: number;
  readonly maxRecords: number;
  readonly maxBytes: number;
}

/** Records as they are stored, with the entry that brought them. */
export interface StoredSlice extends RecordSlice {
  readonly raftIndex: number;
  readonly term: number;
}

/** How far a floor may be raised. */
export interface RetentionFloor {
  readonly startOffset: number;
  readonly bytesBelow: number;
  /** Nothing but the newest chunk is left: no rule takes it, so there is nothing to do until another comes. */
  readonly isNewest: boolean;
}

/** Bytes that a cold read takes at a time. */
const PIECE_BYTES = 256 * 1024;

/** A read that is under way: where it stands and what it has found. */
interface Walk {
  readonly key: number;
  readonly topicId: number;
  readonly partition: number;
  /** Nothing from here on is wanted; the read ends earlier where records are gone. */
  endOffset: number;
  /** Of the set when it began: where it stands counts for nothing once records lie elsewhere. */
  readonly generation: number;
  segment: LiveSegment;
  position: number;
  /** Next wanted offset. */
  offset: number;
  records: number;
  bytes: number;
  /** The entry that gave the last slice: a read that ended inside it goes on there. */
  lastSegment: LiveSegment;
  lastPosition: number;
  lastOffset: number;
  readonly slices: StoredSlice[];
}

/** Where a read of a partition ended. */
interface ReadEnd {
  readonly segment: LiveSegment;
  /** First offset of the last slice, and the position of its entry. */
  readonly lastSegment: LiveSegment;
  readonly lastOffset: number;
  readonly lastPosition: number;
  /** Next offset, and where to go on for it. */
  readonly offset: number;
  readonly position: number;
}

/** Reads what is committed; the caller says how far that is by `endOffset`. */
export class SegmentReader {
  readonly #disk: Disk;
  readonly #segments: SegmentSet;
  readonly #tail: TailBuffer;
  readonly #files: OpenFiles;
  readonly #header = newEntryHeader();
  readonly #commands = new CommandCursor();
  /** Where the last read of a partition ended, so that going on does not search again. */
  readonly #ends = new Map<number, ReadEnd>();
  /** Grows whenever what was known of segments holds no more. */
  #generation = 0;
  /** Pieces in use by reads of this turn; given back by `recycle`. */
  #retired: Uint8Array[] = [];
  #pieces: Uint8Array[] = [];
  /** Called when pieces wait for `recycle`. */
  onRetire: () => void = () => undefined;
  /** Called with what was found damaged, before the read rejects. */
  onDamage: (segment: LiveSegment, message: string) => void = () => undefined;

  constructor(disk: Disk, segments: SegmentSet, tail: TailBuffer, files: OpenFiles) {
    this.#disk = disk;
    this.#files = files;
    this.#segments = segments;
    this.#tail = tail;
  }

  /** Forgets where reads ended: the log was cut, or records lie elsewhere. Reads under way look again. */
  forget(): void {
    this.#ends.clear();
    this.#generation += 1;
  }

  /** Lets pieces be used again. Call between turns only, when nobody looks at an earlier answer any more. */
  recycle(): void {
    if (this.#retired.length === 0) return;
    for (const piece of this.#retired) if (this.#pieces.length < 16) this.#pieces.push(piece);
    this.#retired = [];
  }

  /**
   * Reads a range, or the beginning of it: what is missing, the caller asks for again. Slices hang together, the first of
   * them at the asked offset; none: what was asked for is below the floor by now, and gone. They are valid until the caller
   * gives up its turn.
   * Answers at once when memory has it; a promise rejects with `FatalError` when the disk gave back damaged bytes.
   */
  read(range: ReadRange): readonly StoredSlice[] | Promise<readonly StoredSlice[]> {
    const walk = this.#begin(range);
    if (walk === undefined) return [];
    return this.#walkMemory(walk) || walk.slices.length > 0
      ? this.#end(walk)
      : this.#walkDisk(walk);
  }

  #begin(range: ReadRange): Walk | undefined {
    const key = partitionKey(range.topicId, range.partition);
    const start = this.#startOf(key, range.offset);
    if (start === undefined || range.offset >= range.endOffset) return undefined;
    return {
      key,
      topicId: range.topicId,
      partition: range.partition,
      endOffset: range.endOffset,
      generation: this.#segments.generation,
      segment: start.segment,
      position: start.position,
      offset: range.offset,
      records: range.maxRecords,
      bytes: range.maxBytes,
      lastSegment: start.segment,
      lastPosition: start.position,
      lastOffset: range.offset,
      slices: [],
    };
  }

  #startOf(
    key: number,
    offset: number,
  ): { readonly segment: LiveSegment; readonly position: number } | undefined {
    const end = this.#ends.get(key);
    if (end !== undefined && offset === end.offset) return end;
    if (end !== undefined && offset >= end.lastOffset && offset < end.offset) {
      return { segment: end.lastSegment, position: end.lastPosition };
    }
    const found = this.#segments.find(key, offset);
    return found && { segment: found.segment, position: found.point.position };
  }

  #end(walk: Walk): readonly StoredSlice[] {
    if (walk.slices.length > 0 && walk.generation === this.#segments.generation) {
      if (this.#ends.size > 4096) this.#ends.clear();
      const { segment, lastSegment, lastOffset, lastPosition, offset, position } = walk;
      const last = { lastSegment, lastOffset, lastPosition };
      this.#ends.set(walk.key, { segment, ...last, offset, position });
    }
    return walk.slices;
  }

  /** Goes on in memory. True: the read is done. */
  #walkMemory(walk: Walk): boolean {
    for (;;) {
      if (this.#isDone(walk)) return true;
      if (!this.#tail.find(walk.segment.sequence, walk.position)) return false;
      const slab = this.#tail.foundSlab;
      assert(slab !== undefined, "A find that succeeded has a slab");
      const start = this.#tail.foundAt;
      // What was cut off the segment is still in memory.
      const end = Math.min(this.#tail.foundEnd, start + walk.segment.position - walk.position);
      walk.position += this.#walkBytes(walk, slab.bytes, slab.view, start, end, false) - start;
    }
  }

  /** Whether there is enough, or nothing more; steps over the end of a segment. */
  #isDone(walk: Walk): boolean {
    if (walk.offset >= walk.endOffset || walk.records <= 0 || walk.bytes <= 0) return true;
    if (walk.position < walk.segment.position) return false;
    const next = this.#segments.afterOf(walk.key, walk.segment, walk.offset);
    if (next === undefined) return true;
    walk.segment = next;
    walk.position = next.index.find(walk.key, walk.offset)?.position ?? next.position;
    return this.#isDone(walk);
  }

  async #walkDisk(walk: Walk): Promise<readonly StoredSlice[]> {
    // Turns go by between the pieces of one read: none of them is anybody else's before the read has ended.
    const pieces: Uint8Array[] = [];
    // What a read stands in stays open to its end, reclaimed or not.
    const held: OpenFile[] = [];
    try {
      return await this.#walkPieces(walk, pieces, held);
    } finally {
      for (const open of held) this.#files.release(open);
      this.#retire(pieces);
    }
  }

  async #walkPieces(
    walk: Walk,
    pieces: Uint8Array[],
    held: OpenFile[],
  ): Promise<readonly StoredSlice[]> {
    let wanted = PIECE_BYTES;
    let open: { readonly segment: LiveSegment; readonly file: OpenFile } | undefined;
    let generation = this.#generation;
    for (;;) {
      if (generation !== this.#generation) {
        // What the segment was read from may be damaged, and repaired by now.
        const start = this.#startOf(walk.key, walk.offset);
        if (start === undefined) break;
        walk.segment = start.segment;
        walk.position = start.position;
        generation = this.#generation;
      }
      const onDisk = walk.slices.length;
      if (this.#walkMemory(walk)) break;
      // A slab may be used again while the disk is asked: what lies in one is handed over now, and the reader asks on.
      if (walk.slices.length > onDisk) break;
      const { segment, position } = walk;
      const length = Math.min(wanted, segment.position - position);
      const piece = this.#piece(length);
      pieces.push(piece);
      if (open?.segment !== segment) {
        open = { segment, file: this.#files.acquire(segment) };
        held.push(open.file);
      }
      const count = await this.#disk.read(open.file.file, position, piece, length);
      if (generation !== this.#generation) continue;
      const bytes = piece.subarray(0, count);
      const end = this.#walkBytes(walk, bytes, viewOf(bytes), 0, count, true);
      walk.position = position + end;
      if (end > 0) {
        wanted = PIECE_BYTES;
        continue;
      }
      // Not even one entry fitted: read again, as much as it says it takes.
      const need = count >= 4 ? viewOf(bytes).getUint32(0, true) : 0;
      if (need <= wanted || position + need > segment.position)
        this.#damaged(segment, position, "no entry");
      wanted = need;
    }
    return this.#end(walk);
  }

  /**
   * Walks entries in `bytes[start, end)` and collects the partition's chunks. Returns where it stopped:
   * behind the entry that satisfied the read, or at the first entry that is not whole here.
   */
  #walkBytes(
    walk: Walk,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    isFromDisk: boolean,
  ): number {
    const header = this.#header;
    const base = walk.position - start;
    let at = start;
    while (at < end && walk.offset < walk.endOffset && walk.records > 0 && walk.bytes > 0) {
      if (at + 4 > end) return at;
      if (isFrameAt(view, at)) {
        if (at + FRAME_BYTES > end) return at;
        at += FRAME_BYTES;
        continue;
      }
      if (at + ENTRY_HEADER_BYTES > end) return at;
      if (!readEntryHeader(view, at, header))
        this.#damaged(walk.segment, base + at, "no valid entry header");
      if (at + header.bytes > end) return at;
      if (isFromDisk && !verifyEntry(bytes, at, header)) {
        this.#damaged(
          walk.segment,
          base + at,
          `entry ${header.index} has a checksum that does not hold`,
        );
      }
      this.#collect(walk, bytes, view, at, base + at, isFromDisk);
      at += header.bytes;
    }
    return at;
  }

  #collect(
    walk: Walk,
    bytes: Uint8Array,
    view: DataView,
    at: number,
    position: number,
    isFromDisk: boolean,
  ): void {
    const { dataBytes, commandBytes, timestampMs, term, index: raftIndex } = this.#header;
    let data = at + ENTRY_HEADER_BYTES;
    const commands = this.#commands.reset(
      bytes,
      view,
      data + dataBytes,
      data + dataBytes + commandBytes,
    );
    while (commands.next()) {
      if (commands.kind !== COMMAND.chunk) continue;
      const start = data;
      data += commands.chunkDataBytes;
      if (commands.topicId !== walk.topicId || commands.partition !== walk.partition) continue;
      const baseOffset = commands.chunkBaseOffset;
      const count = commands.chunkCount;
      if (baseOffset + count <= walk.offset || baseOffset >= walk.endOffset) continue;
      if (baseOffset > walk.offset) {
        // The floor rose over what lay between, and it is gone: slices of one read hang together.
        walk.endOffset = walk.offset;
        return;
      }
      if (isFromDisk && crc32(bytes.subarray(start, data)) !== commands.chunkChecksum) {
        this.#damaged(
          walk.segment,
          position,
          `records from offset ${baseOffset} have a checksum that does not hold`,
        );
      }
      walk.slices.push({
        bytes,
        start,
        end: data,
        baseOffset,
        count,
        timestampMs,
        raftIndex,
        term,
      });
      // The walk may have gone on to another segment by its end.
      walk.lastSegment = walk.segment;
      walk.lastPosition = position;
      walk.lastOffset = baseOffset;
      walk.records -= baseOffset + count - walk.offset;
      walk.bytes -= data - start;
      walk.offset = baseOffset + count;
    }
  }

  #damaged(segment: LiveSegment, position: number, what: string): never {
    const message = `Cannot read ${nameOf(segment)} at ${position}: ${what}`;
    this.onDamage(segment, message);
    throw new FatalError("log_corrupt", message);
  }

  #piece(length: number): Uint8Array {
    return length <= PIECE_BYTES
      ? (this.#pieces.pop() ?? this.#disk.allocate(PIECE_BYTES))
      : this.#disk.allocate(length);
  }

  /** The turn in which a read ends still looks at its pieces; the next one may use them. */
  #retire(pieces: readonly Uint8Array[]): void {
    const isFirst = this.#retired.length === 0;
    for (const piece of pieces) if (piece.length === PIECE_BYTES) this.#retired.push(piece);
    if (isFirst && this.#retired.length > 0) this.onRetire();
  }

  /**
   * Stored bytes of a partition's records in `[from, to)`, exact to the record. Nothing below `from` is looked at: it may be
   * gone. Undefined: some of these are gone as well, because the floor rose over them meanwhile.
   */
  async bytesBetween(
    topicId: number,
    partition: number,
    from: number,
    to: number,
  ): Promise<number | undefined> {
    const key = partitionKey(topicId, partition);
    for (;;) {
      const { generation } = this.#segments;
      let bytes = 0;
      let covered = from;
      let isWhole = true;
      for (const segment of [...this.#segments.of(key)]) {
        const held = segment.index.range(key);
        if (held === undefined || held.nextOffset <= from || held.firstOffset >= to) continue;
        isWhole &&= held.firstOffset <= covered;
        covered = held.nextOffset;
        // From a point on, or up to one, the index knows; what lies between is read.
        const first = held.firstOffset < from ? segment.index.findAfter(key, from) : undefined;
        const readTo = Math.min(first?.baseOffset ?? held.nextOffset, to);
        const isFromStart = held.firstOffset >= from;
        let begin = isFromStart ? 0 : (first?.bytesBefore ?? held.bytes);
        if (!isFromStart) {
          const read = await this.#bytesRead(topicId, partition, from, readTo);
          isWhole &&= read !== undefined;
          bytes += read ?? 0;
          if (readTo >= to) continue;
        }
        if (held.nextOffset <= to) {
          bytes += held.bytes - begin;
          continue;
        }
        const last = segment.index.find(key, to);
        if (last === undefined) continue;
        begin = Math.min(begin, last.bytesBefore);
        const read = await this.#bytesRead(topicId, partition, last.baseOffset, to);
        isWhole &&= read !== undefined;
        bytes += last.bytesBefore - begin + (read ?? 0);
      }
      if (!isWhole || covered < to) return undefined;
      // Where records were moved meanwhile, some may have been counted twice.
      if (generation === this.#segments.generation) return bytes;
    }
  }

  /** Stored bytes of the records in `[from, to)`, by reading them; undefined when some of them are gone. */
  async #bytesRead(
    topicId: number,
    partition: number,
    from: number,
    to: number,
  ): Promise<number | undefined> {
    const cursor = new RecordCursor();
    let bytes = 0;
    for (let at = from; at < to; ) {
      const slices = await this.read({
        topicId,
        partition,
        offset: at,
        endOffset: to,
        maxRecords: Number.MAX_SAFE_INTEGER,
        maxBytes: 1 << 20,
      });
      if (slices.length === 0) return undefined;
      for (const slice of slices) {
        cursor.reset(slice.bytes, slice.start, slice.end);
        let offset = slice.baseOffset;
        while (offset < at && cursor.next()) offset += 1;
        const start = cursor.position;
        const end = slice.baseOffset + slice.count;
        if (end <= to) bytes += slice.end - start;
        else {
          while (offset < to && cursor.next()) offset += 1;
          bytes += cursor.position - start;
        }
        at = end;
      }
    }
    return bytes;
  }

  /**
   * How far retention may raise the floor of a partition: over whole segments where that is enough, then chunk by chunk,
   * and never over the newest chunk.
   * @param range From the present floor to the end.
   * @param limits `bytesBelow`: stored bytes below the present floor. `olderThanMs`: records of this time or older may go.
   *   `dropToBytes`: so may records while fewer stored bytes than this lie below the floor.
   */
  async retentionFloor(
    range: ReadRange,
    limits: {
      readonly bytesBelow: number;
      readonly olderThanMs: number;
      readonly dropToBytes: number;
    },
  ): Promise<RetentionFloor> {
    const key = partitionKey(range.topicId, range.partition);
    const { topicId, partition } = range;
    let { offset } = range;
    let { bytesBelow } = limits;
    for (const segment of [...this.#segments.of(key)]) {
      const held = segment.index.range(key);
      if (held === undefined || held.nextOffset <= offset) continue;
      // The floor rose meanwhile, and what lay below it is gone: another pass finds the rest.
      if (held.firstOffset > offset) return { startOffset: offset, bytesBelow, isNewest: false };
      if (held.nextOffset >= range.endOffset) break;
      const isOld = held.lastTimestampMs <= limits.olderThanMs;
      if (!isOld && bytesBelow >= limits.dropToBytes) break;
      const rest =
        held.firstOffset >= offset
          ? held.bytes
          : await this.bytesBetween(topicId, partition, offset, held.nextOffset);
      if (rest === undefined || !(isOld || bytesBelow + rest <= limits.dropToBytes)) break;
      offset = held.nextOffset;
      bytesBelow += rest;
    }
    // Times never go back: where even the point before the floor is young enough, nothing has to be read.
    const before = this.#segments.find(key, offset)?.point;
    const isYoung = before !== undefined && before.timestampMs > limits.olderThanMs;
    if (isYoung && bytesBelow >= limits.dropToBytes) {
      return { startOffset: offset, bytesBelow, isNewest: false };
    }
    const cursor = new RecordCursor();
    while (offset < range.endOffset) {
      const slices = await this.read({
        ...range,
        offset,
        maxRecords: Number.MAX_SAFE_INTEGER,
        maxBytes: 1 << 18,
      });
      // The floor rose over what was to be counted, and it is gone: another pass finds the rest.
      if (slices.length === 0) break;
      for (const slice of slices) {
        const end = slice.baseOffset + slice.count;
        const isNewest = end >= range.endOffset;
        const mayGo = slice.timestampMs <= limits.olderThanMs || bytesBelow < limits.dropToBytes;
        if (!mayGo || isNewest) return { startOffset: offset, bytesBelow, isNewest };
        cursor.reset(slice.bytes, slice.start, slice.end);
        for (let i = slice.baseOffset; i < offset && cursor.next(); i++);
        bytesBelow += slice.end - cursor.position;
        offset = end;
      }
    }
    return { startOffset: offset, bytesBelow, isNewest: false };
  }
}
