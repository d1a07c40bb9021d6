// Where records of rocket topics lie: pages of memory, taken from one budget. Over a partition's limit its oldest records
// leave, over the budget the oldest page of all does. No object per record.

import { assert } from "../lib/assert.ts";
import { type RecordSlice, recordSize } from "../model/record.ts";
import { RocketPage } from "./rocket-page.ts";

/** Bounds of the memory. */
export interface RocketLimits {
  /** Bytes of pages, in use and kept for use. */
  readonly bytesMax: number;
  /** Stored bytes of one partition. */
  readonly partitionBytesMax: number;
}

/** Limits of a node that is not told any. */
export const ROCKET_LIMITS: RocketLimits = {
  bytesMax: 256 << 20,
  partitionBytesMax: 64 << 20,
};

/** Pages of a partition double from the smallest to the largest, so that one with few records costs little. */
const PAGE_BYTES_MIN = 4 << 10;
const PAGE_BYTES_MAX = 256 << 10;

/** The records of one partition. */
export class RocketPartition {
  readonly key: number;
  nextOffset: number;
  storedBytes = 0;
  oldest: RocketPage | undefined;
  newest: RocketPage | undefined;

  constructor(key: number, nextOffset: number) {
    this.key = key;
    this.nextOffset = nextOffset;
  }

  get startOffset(): number {
    return this.oldest?.firstOffset ?? this.nextOffset;
  }
}

/** What of a produce lies in the ring. */
export interface RocketRecords {
  readonly key: Uint8Array | undefined;
  readonly headers: Uint8Array | undefined;
  readonly body: Uint8Array;
  /** As in `ProduceRequest`. */
  readonly ranges: Int32Array | undefined;
  readonly count: number;
}

/** All partitions that this node has records of. */
export class RocketRing {
  readonly #limits: RocketLimits;
  readonly #partitions = new Map<number, RocketPartition>();
  /** Pages that are not in use, by size. */
  readonly #spare = new Map<number, RocketPage[]>();
  #oldest: RocketPage | undefined;
  #newest: RocketPage | undefined;
  /** Bytes of pages, spare ones included. */
  bytes = 0;
  /** Records that left because there was no room, since the start. */
  evicted = 0;

  constructor(limits: RocketLimits) {
    assert(
      limits.partitionBytesMax <= limits.bytesMax,
      "A partition is not promised more than there is",
    );
    this.#limits = limits;
  }

  /** Bytes of records that one produce may bring: half of what a partition keeps. */
  get requestBytesMax(): number {
    return this.#limits.partitionBytesMax / 2;
  }

  /** A partition, if anything was ever put into it. */
  find(key: number): RocketPartition | undefined {
    return this.#partitions.get(key);
  }

  /** A partition; one that is not known begins at `nextOffset`. */
  partition(key: number, nextOffset: number): RocketPartition {
    const known = this.#partitions.get(key);
    if (known !== undefined) return known;
    const partition = new RocketPartition(key, nextOffset);
    this.#partitions.set(key, partition);
    return partition;
  }

  /** Every partition. */
  partitions(): Iterable<RocketPartition> {
    return this.#partitions.values();
  }

  /** Puts records at the end of a partition. Returns the offset of the first. */
  append(partition: RocketPartition, records: RocketRecords, timestampMs: number): number {
    const { key, headers, body, ranges, count } = records;
    const firstOffset = partition.nextOffset;
    if (ranges === undefined) this.#put(partition, timestampMs, key, headers, body, 0, body.length);
    else
      for (let i = 0; i < count; i++)
        this.#put(
          partition,
          timestampMs,
          key,
          headers,
          body,
          ranges[2 * i] as number,
          ranges[2 * i + 1] as number,
        );
    if (partition.storedBytes > this.#limits.partitionBytesMax)
      this.evicted += this.#dropToBytes(partition, this.#limits.partitionBytesMax);
    return firstOffset;
  }

  #put(
    partition: RocketPartition,
    timestampMs: number,
    key: Uint8Array | undefined,
    headers: Uint8Array | undefined,
    source: Uint8Array,
    from: number,
    to: number,
  ): void {
    const bare = recordSize(key?.length ?? -1, headers?.length ?? -1, to - from);
    let page = partition.newest;
    if (page === undefined || page.end + page.sizeOf(bare, timestampMs) > page.bytes.length)
      page = this.#another(partition, bare, timestampMs);
    const before = page.end;
    page.put(timestampMs, key, headers, source, from, to);
    partition.storedBytes += page.end - before;
    partition.nextOffset += 1;
  }

  /** Begins a page with room for a record of `bytes`. */
  #another(partition: RocketPartition, bytes: number, timestampMs: number): RocketPage {
    const last = partition.newest?.bytes.length ?? 0;
    const usual = Math.min(Math.max(2 * last, PAGE_BYTES_MIN), PAGE_BYTES_MAX);
    let size = usual;
    while (size < bytes && size < PAGE_BYTES_MAX) size *= 2;
    const page = this.#take(Math.max(size, bytes));
    page.begin(partition.key, partition.nextOffset, timestampMs);
    // Making room may have taken the newest page as well.
    if (partition.newest === undefined) partition.oldest = page;
    else partition.newest.newer = page;
    partition.newest = page;
    this.#link(page);
    return page;
  }

  /** A page of exactly so many bytes, within the budget. */
  #take(bytes: number): RocketPage {
    for (;;) {
      const spare = this.#spare.get(bytes)?.pop();
      if (spare !== undefined) return spare;
      if (this.bytes + bytes <= this.#limits.bytesMax) {
        this.bytes += bytes;
        return new RocketPage(bytes);
      }
      if (!this.#dropSpare()) this.#evict();
    }
  }

  /** Gives a spare page of any size back to the system. */
  #dropSpare(): boolean {
    for (const pages of this.#spare.values()) {
      const page = pages.pop();
      if (page === undefined) continue;
      this.bytes -= page.bytes.length;
      return true;
    }
    return false;
  }

  /** Drops the oldest page. One that its partition still writes to is as new as its newest record. */
  #evict(): void {
    let page = this.#oldest;
    assert(page !== undefined, "There is a page to drop");
    while (page.isFresh && page.newer === undefined) {
      page.isFresh = false;
      this.#unlink(page);
      this.#link(page);
      page = this.#oldest as RocketPage;
    }
    const partition = this.#partitions.get(page.owner);
    assert(partition?.oldest !== undefined, "A page belongs to a partition");
    this.evicted += partition.oldest.nextOffset - partition.oldest.firstOffset;
    this.#dropOldest(partition);
  }

  #dropOldest(partition: RocketPartition): void {
    const page = partition.oldest;
    assert(page !== undefined, "A partition has a page to drop");
    partition.storedBytes -= page.storedBytes;
    partition.oldest = page.newer;
    if (page.newer === undefined) partition.newest = undefined;
    page.newer = undefined;
    this.#unlink(page);
    const size = page.bytes.length;
    const isUsual = size <= PAGE_BYTES_MAX && (size & (size - 1)) === 0;
    if (!isUsual) {
      this.bytes -= size;
      return;
    }
    const pages = this.#spare.get(size) ?? [];
    this.#spare.set(size, pages);
    pages.push(page);
  }

  #link(page: RocketPage): void {
    page.before = this.#newest;
    page.after = undefined;
    if (this.#newest === undefined) this.#oldest = page;
    else this.#newest.after = page;
    this.#newest = page;
  }

  #unlink(page: RocketPage): void {
    if (page.before === undefined) this.#oldest = page.after;
    else page.before.after = page.after;
    if (page.after === undefined) this.#newest = page.before;
    else page.after.before = page.before;
    page.before = undefined;
    page.after = undefined;
  }

  /** Records from `offset` on, which is in the partition's range: as many as are asked for, or a few more. Valid until the next append. */
  read(
    partition: RocketPartition,
    offset: number,
    maxRecords: number,
    maxBytes: number,
  ): RecordSlice[] {
    const slices: RecordSlice[] = [];
    const { newest } = partition;
    // Most readers are near the end.
    const isNear = newest !== undefined && newest.firstOffset <= offset;
    let page = isNear ? newest : partition.oldest;
    let records = 0;
    let bytes = 0;
    for (; page !== undefined && records < maxRecords && bytes < maxBytes; page = page.newer) {
      if (page.nextOffset <= offset) continue;
      const slice = page.slice(offset);
      slices.push(slice);
      records += page.nextOffset - Math.max(offset, slice.baseOffset);
      bytes += slice.end - slice.start;
    }
    return slices;
  }

  /** Drops records below `offset`. */
  dropBefore(
    partition: RocketPartition,
    offset: number,
  ): { readonly records: number; readonly bytes: number } {
    const { startOffset, storedBytes } = partition;
    this.#drop(
      partition,
      (page) => page.nextOffset <= offset,
      (first) => first < offset,
    );
    return {
      records: partition.startOffset - startOffset,
      bytes: storedBytes - partition.storedBytes,
    };
  }

  /** Drops records that are not younger than `timestampMs`. */
  dropUntil(partition: RocketPartition, timestampMs: number): void {
    this.#drop(
      partition,
      (page) => page.lastTimestampMs <= timestampMs,
      (_offset, at) => at <= timestampMs,
    );
  }

  /** Drops records, never the newest one, while the partition has more than `bytes`. */
  dropToBytes(partition: RocketPartition, bytes: number): void {
    this.#dropToBytes(partition, bytes);
  }

  #dropToBytes(partition: RocketPartition, bytes: number): number {
    const { startOffset, nextOffset } = partition;
    let surplus = partition.storedBytes - bytes;
    if (surplus <= 0) return 0;
    while (partition.oldest !== partition.newest) {
      const stored = partition.oldest?.storedBytes ?? 0;
      if (stored > surplus) break;
      surplus -= stored;
      this.#dropOldest(partition);
    }
    const whole = partition.oldest?.storedBytes ?? 0;
    this.#drop(
      partition,
      () => false,
      (offset, _at, stored) => offset + 1 < nextOffset && whole - stored < surplus,
    );
    return partition.startOffset - startOffset;
  }

  /** Drops whole pages, then records of the first one that stays. */
  #drop(
    partition: RocketPartition,
    isWhole: (page: RocketPage) => boolean,
    isOver: (offset: number, timestampMs: number, storedBytes: number) => boolean,
  ): void {
    while (partition.oldest !== undefined && isWhole(partition.oldest)) this.#dropOldest(partition);
    const { oldest } = partition;
    if (oldest === undefined) return;
    const before = oldest.storedBytes;
    oldest.dropWhile(isOver);
    partition.storedBytes -= before - oldest.storedBytes;
  }

  /** Forgets a partition and everything in it. */
  forget(key: number): void {
    const partition = this.#partitions.get(key);
    if (partition === undefined) return;
    while (partition.oldest !== undefined) this.#dropOldest(partition);
    this.#partitions.delete(key);
  }

  /** Forgets everything, and gives the memory back. */
  clear(): void {
    this.#partitions.clear();
    this.#spare.clear();
    this.#oldest = undefined;
    this.#newest = undefined;
    this.bytes = 0;
  }
}
