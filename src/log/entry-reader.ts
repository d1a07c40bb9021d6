// Reads entries by their index, as the bytes that every node has: for followers that lack them. What was written lately is
// in memory; older entries come from the disk, and are verified before they leave.

import { viewOf } from "../lib/bytes.ts";
import { FatalError } from "../lib/fatal.ts";
import { CommandCursor } from "../model/command-codec.ts";
import type { Disk } from "./disk.ts";
import {
  ENTRY_HEADER_BYTES,
  FRAME_BYTES,
  isFrameAt,
  newEntryHeader,
  readEntryHeader,
  SEGMENT_DATA_START,
  verifyEntry,
} from "./format.ts";
import { type LiveSegment, nameOf } from "./live-segment.ts";
import type { OpenFile, OpenFiles } from "./open-files.ts";
import { verifyChunks } from "./segment-scan.ts";
import type { SegmentSet } from "./segment-set.ts";
import type { TailBuffer } from "./tail-buffer.ts";

/** Entries back to back, in one or several stretches of memory. */
export interface EntrySpan {
  readonly firstIndex: number;
  /** Below `firstIndex` when there is none. */
  lastIndex: number;
  bytes: number;
  readonly slices: { readonly bytes: Uint8Array; readonly start: number; end: number }[];
  /** Memory to give back by `release`; undefined when the entries lie in the tail buffer. */
  piece: Uint8Array | undefined;
}

/** Where a read goes on. */
interface Place {
  segment: LiveSegment;
  position: number;
}

/** Bytes that a read takes from the disk: a span, and the frames between its entries. */
const PIECE_BYTES = (1 << 20) + (64 << 10);
const PIECES_KEPT = 4;
/** Followers, more or less, that may each stand somewhere else. */
const PLACES_MAX = 16;

/** Makes what lies in the tail buffer the span's own: turns may go by before anybody looks at it. */
function copySlices(span: EntrySpan): void {
  for (const [i, { bytes, start, end }] of span.slices.entries())
    span.slices[i] = { bytes: bytes.slice(start, end), start: 0, end: end - start };
}

/** Reads entries of one log. */
export class EntryReader {
  readonly #disk: Disk;
  readonly #segments: SegmentSet;
  readonly #tail: TailBuffer;
  readonly #header = newEntryHeader();
  readonly #commands = new CommandCursor();
  readonly #files: OpenFiles;
  readonly #pieces: Uint8Array[] = [];
  /** Grows whenever what was known of places holds no more. */
  #generation = 0;
  /** Where the entry with this index begins, for those that were the next ones at the end of a read. */
  readonly #places = new Map<number, Place>();
  /** Called with what was found damaged, before the read rejects. */
  onDamage: (segment: LiveSegment, message: string) => void = () => undefined;

  constructor(disk: Disk, segments: SegmentSet, tail: TailBuffer, files: OpenFiles) {
    this.#disk = disk;
    this.#files = files;
    this.#segments = segments;
    this.#tail = tail;
  }

  /**
   * Entries from `firstIndex` on, which the log has: up to `lastIndex`, about `bytesMax` of them, at least one. In the tail
   * buffer they are valid until the turn ends; otherwise until `release`. None, when the log was cut while the disk was
   * asked. Rejects with `FatalError` when the disk gave back damaged bytes.
   */
  read(firstIndex: number, lastIndex: number, bytesMax: number): EntrySpan | Promise<EntrySpan> {
    const span: EntrySpan = {
      firstIndex,
      lastIndex: firstIndex - 1,
      bytes: 0,
      slices: [],
      piece: undefined,
    };
    const place = this.#placeOf(firstIndex);
    this.#walkMemory(span, place, lastIndex, bytesMax);
    if (span.lastIndex < firstIndex) return this.#readDisk(span, place, lastIndex, bytesMax);
    this.#remember(span, place);
    return span;
  }

  /** Whether the entry `index`, which the log has, is in memory. */
  isInMemory(index: number): boolean {
    const { segment, position } = this.#placeOf(index);
    return position >= segment.position || this.#tail.find(segment.sequence, position);
  }

  /** Lets the memory of a span be used again. */
  release(span: EntrySpan): void {
    const { piece } = span;
    if (piece?.length === PIECE_BYTES && this.#pieces.length < PIECES_KEPT)
      this.#pieces.push(piece);
    span.piece = undefined;
  }

  /** Forgets where reads ended: the log was cut. */
  forget(): void {
    this.#places.clear();
    this.#generation += 1;
  }

  #placeOf(index: number): Place {
    const known = this.#places.get(index);
    if (known !== undefined) return { ...known };
    const segment = this.#segments.withEntry(index);
    const { entryPoints } = segment;
    let at = entryPoints.length - 1;
    while (at >= 0 && (entryPoints[at]?.index ?? 0) > index) at -= 1;
    return { segment, position: entryPoints[at]?.position ?? SEGMENT_DATA_START };
  }

  #remember(span: EntrySpan, place: Place): void {
    if (this.#places.size >= PLACES_MAX) this.#places.delete(this.#places.keys().next().value ?? 0);
    this.#places.set(span.lastIndex + 1, place);
  }

  /** Takes what is in memory from `place` on, which goes along. */
  #walkMemory(span: EntrySpan, place: Place, lastIndex: number, bytesMax: number): void {
    while (span.lastIndex < lastIndex && span.bytes < bytesMax) {
      // More than one, where the next holds no entry.
      while (place.position >= place.segment.position) {
        const next = this.#segments.after(place.segment);
        if (next === undefined) return;
        place.segment = next;
        place.position = SEGMENT_DATA_START;
      }
      if (!this.#tail.find(place.segment.sequence, place.position)) return;
      const slab = this.#tail.foundSlab;
      if (slab === undefined) return;
      const { foundAt } = this.#tail;
      // What was cut off the segment is still in memory.
      const left = place.segment.position - place.position;
      const foundEnd = Math.min(this.#tail.foundEnd, foundAt + left);
      const end = this.#take(span, slab.bytes, slab.view, foundAt, foundEnd, lastIndex, bytesMax);
      place.position += end - foundAt;
      if (end === foundAt) return;
    }
  }

  async #readDisk(
    span: EntrySpan,
    place: Place,
    lastIndex: number,
    bytesMax: number,
  ): Promise<EntrySpan> {
    const generation = this.#generation;
    let wanted = PIECE_BYTES;
    while (span.lastIndex < span.firstIndex) {
      // What is with the disk and not on it yet is in memory alone.
      this.#walkMemory(span, place, lastIndex, bytesMax);
      if (span.lastIndex >= span.firstIndex) {
        copySlices(span);
        break;
      }
      const { segment, position } = place;
      if (position >= segment.position) break;
      const length = Math.min(wanted, segment.position - position);
      if (span.piece === undefined || span.piece.length < length)
        span.piece =
          length <= PIECE_BYTES
            ? (this.#pieces.pop() ?? this.#disk.allocate(PIECE_BYTES))
            : this.#disk.allocate(length);
      const count = await this.#readPiece(
        this.#files.acquire(segment),
        position,
        span.piece,
        length,
      );
      // The log is another one by now: there is nothing to say of this one.
      if (this.#generation !== generation) return span;
      const bytes = span.piece.subarray(0, count);
      const end = this.#take(span, bytes, viewOf(bytes), 0, count, lastIndex, bytesMax);
      place.position = position + end;
      if (end > 0) {
        wanted = PIECE_BYTES;
        continue;
      }
      const need = count >= 4 ? viewOf(bytes).getUint32(0, true) : 0;
      if (need <= wanted || position + need > segment.position)
        this.#damaged(segment, position, "no entry");
      wanted = need;
    }
    this.#verify(span, place.segment);
    this.#remember(span, place);
    return span;
  }

  async #readPiece(
    open: OpenFile,
    position: number,
    piece: Uint8Array,
    length: number,
  ): Promise<number> {
    try {
      return await this.#disk.read(open.file, position, piece, length);
    } finally {
      this.#files.release(open);
    }
  }

  /** Takes whole entries of `bytes[start, end)` from the span's next one on. Returns where it stopped. */
  #take(
    span: EntrySpan,
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    lastIndex: number,
    bytesMax: number,
  ): number {
    const header = this.#header;
    let at = start;
    let open = false;
    while (at < end && span.lastIndex < lastIndex && span.bytes < bytesMax) {
      if (at + FRAME_BYTES <= end && isFrameAt(view, at)) {
        at += FRAME_BYTES;
        open = false;
        continue;
      }
      if (at + ENTRY_HEADER_BYTES > end || !readEntryHeader(view, at, header)) return at;
      if (at + header.bytes > end) return at;
      if (header.index === span.lastIndex + 1) {
        const last = span.slices.at(-1);
        if (open && last !== undefined) last.end += header.bytes;
        else span.slices.push({ bytes, start: at, end: at + header.bytes });
        open = true;
        span.bytes += header.bytes;
        span.lastIndex = header.index;
      }
      at += header.bytes;
    }
    return at;
  }

  #verify(span: EntrySpan, segment: LiveSegment): void {
    const header = this.#header;
    for (const { bytes, start, end } of span.slices) {
      const view = viewOf(bytes);
      for (let at = start; at < end; at += header.bytes) {
        readEntryHeader(view, at, header);
        if (
          !verifyEntry(bytes, at, header) ||
          !verifyChunks(bytes, view, at, header, this.#commands)
        )
          this.#damaged(segment, at, `entry ${header.index} has a checksum that does not hold`);
      }
    }
  }

  #damaged(segment: LiveSegment, position: number, what: string): never {
    const message = `Cannot read ${nameOf(segment)} at ${position}: ${what}`;
    this.onDamage(segment, message);
    throw new FatalError("log_corrupt", message);
  }
}
