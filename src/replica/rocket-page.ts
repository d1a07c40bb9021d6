// A piece of a rocket partition's memory: whole records back to back, as readers walk them, and marks by which an offset is
// found without walking all of them.

import {
  putRecord,
  putVarint,
  RECORD_HAS_DELTA,
  RecordCursor,
  varintSize,
} from "../model/record.ts";

/** Bytes between two marks: what a reader walks before the record that it asked for. */
const MARK_BYTES = 2048;

const cursor = new RecordCursor();

/** A piece of memory in use by one partition. */
export class RocketPage {
  readonly bytes: Uint8Array;
  /** `[records before, position]`, one pair per mark. */
  readonly #marks: Uint32Array;
  #markCount = 0;
  #nextMark = 0;
  /** Offset of the first record that was ever put here. */
  #baseOffset = 0;
  /** Records ever put here. */
  #count = 0;
  #timestampMs = 0;
  /** Where the first record that is still there begins, and its offset. */
  start = 0;
  firstOffset = 0;
  end = 0;
  /** Append time of the newest record. */
  lastTimestampMs = 0;
  /** The next page of the same partition, newer. */
  newer: RocketPage | undefined;
  /** Neighbours in the list of all pages, the oldest first. */
  before: RocketPage | undefined;
  after: RocketPage | undefined;
  /** Whether something was put here since the list was last looked at. */
  isFresh = false;
  /** Key of the partition. */
  owner = 0;

  constructor(bytes: number) {
    this.bytes = new Uint8Array(bytes);
    this.#marks = new Uint32Array(2 * (Math.ceil(bytes / MARK_BYTES) + 1));
  }

  /** Offset behind the last record. */
  get nextOffset(): number {
    return this.#baseOffset + this.#count;
  }

  /** Bytes of the records that are still there. */
  get storedBytes(): number {
    return this.end - this.start;
  }

  /** Begins anew, empty. */
  begin(owner: number, baseOffset: number, timestampMs: number): void {
    this.owner = owner;
    this.#baseOffset = baseOffset;
    this.firstOffset = baseOffset;
    this.#timestampMs = timestampMs;
    this.lastTimestampMs = timestampMs;
    this.#count = 0;
    this.#markCount = 0;
    this.#nextMark = 0;
    this.start = 0;
    this.end = 0;
    this.newer = undefined;
  }

  /** Bytes that a record of `size` without its time takes here. */
  sizeOf(size: number, timestampMs: number): number {
    const delta = timestampMs - this.#timestampMs;
    return delta === 0 ? size : size + varintSize(delta);
  }

  /** Puts one record at the end; there is room for it: `sizeOf`. */
  put(
    timestampMs: number,
    key: Uint8Array | undefined,
    headers: Uint8Array | undefined,
    source: Uint8Array,
    from: number,
    to: number,
  ): void {
    const at = this.end;
    if (at >= this.#nextMark) {
      this.#marks[2 * this.#markCount] = this.#count;
      this.#marks[2 * this.#markCount + 1] = at;
      this.#markCount += 1;
      this.#nextMark = at + MARK_BYTES;
    }
    const delta = timestampMs - this.#timestampMs;
    const shift = delta === 0 ? 0 : varintSize(delta);
    this.end = putRecord(this.bytes, at + shift, key, headers, source, from, to);
    if (shift > 0) {
      // The flags go to the front, and the time between them and what follows.
      this.bytes[at] = (this.bytes[at + shift] as number) | RECORD_HAS_DELTA;
      putVarint(this.bytes, at + 1, delta);
    }
    this.#count += 1;
    this.lastTimestampMs = timestampMs;
    this.isFresh = true;
  }

  /** The records from `offset` on, and perhaps some before it. */
  slice(offset: number): {
    readonly bytes: Uint8Array;
    readonly start: number;
    readonly end: number;
    readonly baseOffset: number;
    readonly count: number;
    readonly timestampMs: number;
  } {
    let low = 0;
    let high = this.#markCount - 1;
    const wanted = offset - this.#baseOffset;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#marks[2 * middle] as number) <= wanted) low = middle;
      else high = middle - 1;
    }
    const markOffset = this.#baseOffset + (this.#marks[2 * low] as number);
    const isKept = markOffset >= this.firstOffset;
    const baseOffset = isKept ? markOffset : this.firstOffset;
    return {
      bytes: this.bytes,
      start: isKept ? (this.#marks[2 * low + 1] as number) : this.start,
      end: this.end,
      baseOffset,
      count: this.nextOffset - baseOffset,
      timestampMs: this.#timestampMs,
    };
  }

  /** Drops records from the front while `isOver` says so of the offset and time of the first one and what is left. */
  dropWhile(isOver: (offset: number, timestampMs: number, storedBytes: number) => boolean): void {
    cursor.reset(this.bytes, this.start, this.end);
    while (cursor.next()) {
      const timestampMs = this.#timestampMs + cursor.timestampDelta;
      if (!isOver(this.firstOffset, timestampMs, this.storedBytes)) return;
      this.start = cursor.valueEnd;
      this.firstOffset += 1;
    }
  }
}
