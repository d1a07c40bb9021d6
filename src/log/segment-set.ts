// The segments of a log in order, and which of them hold which partition. Memory per partition is its segment list alone;
// where in a segment to look is the segment's own index.

import { assert } from "../lib/assert.ts";
import type { LiveSegment } from "./live-segment.ts";
import { GrowingIndex, type IndexPoint } from "./offset-index.ts";
import { CHAIN_START, type ChainEnd } from "./segment-scan.ts";

/** Segments that hold one partition, oldest first. */
interface PartitionSegments {
  readonly segments: LiveSegment[];
  readonly firstOffsets: number[];
}

/** Archives and segments, sealed and active, in the order of the log. */
export class SegmentSet {
  readonly #segments: LiveSegment[] = [];
  readonly #partitions = new Map<number, PartitionSegments>();
  /** The compaction point: entries from behind it on are here without a gap; what lies below holds records alone. */
  compacted: ChainEnd = CHAIN_START;
  /** Grows whenever records come to lie elsewhere. */
  generation = 0;

  /** Takes in the next segment; a growing one goes on telling of partitions that are new in it. */
  add(segment: LiveSegment): void {
    const last = this.#segments.at(-1);
    const isNext =
      segment.firstIndex <= this.compacted.index
        ? (last?.chain.index ?? 0) < segment.firstIndex
        : segment.previous.index === Math.max(last?.chain.index ?? 0, this.compacted.index);
    assert(isNext, "Segments come in log order");
    this.#segments.push(segment);
    for (const range of segment.index.ranges()) this.#hold(segment, range.key, range.firstOffset);
    if (segment.index instanceof GrowingIndex) {
      segment.index.onFirst = (key, firstOffset) => this.#hold(segment, key, firstOffset);
    }
  }

  #hold(segment: LiveSegment, key: number, firstOffset: number): void {
    const held = this.#partitions.get(key);
    if (held === undefined)
      this.#partitions.set(key, { segments: [segment], firstOffsets: [firstOffset] });
    else {
      held.segments.push(segment);
      held.firstOffsets.push(firstOffset);
    }
  }

  /** Takes the newest segment out again: nothing of it is left in the log. */
  dropNewest(): LiveSegment {
    const dropped = this.#segments.pop();
    assert(dropped !== undefined, "There is a segment to drop");
    for (const [key, held] of this.#partitions) {
      if (held.segments.at(-1) !== dropped) continue;
      held.segments.pop();
      held.firstOffsets.pop();
      if (held.segments.length === 0) this.#partitions.delete(key);
    }
    return dropped;
  }

  /**
   * Takes segments and archives out that stand side by side, and puts what their live records were moved to in their place.
   * Nothing is below `compacted` any more but records.
   */
  reclaim(
    olds: readonly LiveSegment[],
    archive: LiveSegment | undefined,
    compacted: ChainEnd,
  ): void {
    this.generation += 1;
    this.compacted = compacted;
    const at = this.#segments.indexOf(olds[0] as LiveSegment);
    assert(at >= 0, "What is reclaimed is there");
    for (const [i, old] of olds.entries())
      assert(this.#segments[at + i] === old, "What is reclaimed stands side by side");
    this.#segments.splice(at, olds.length, ...(archive === undefined ? [] : [archive]));
    for (const old of olds)
      for (const { key } of old.index.ranges()) {
        const held = this.#partitions.get(key);
        const place = held?.segments.indexOf(old) ?? -1;
        if (held === undefined || place < 0) continue;
        held.segments.splice(place, 1);
        held.firstOffsets.splice(place, 1);
        if (held.segments.length === 0) this.#partitions.delete(key);
      }
    for (const { key, firstOffset } of archive?.index.ranges() ?? [])
      this.#insert(archive as LiveSegment, key, firstOffset);
  }

  #insert(segment: LiveSegment, key: number, firstOffset: number): void {
    const held = this.#partitions.get(key);
    const place = held?.firstOffsets.findIndex((offset) => offset > firstOffset) ?? -1;
    if (held === undefined || place < 0) {
      this.#hold(segment, key, firstOffset);
      return;
    }
    held.segments.splice(place, 0, segment);
    held.firstOffsets.splice(place, 0, firstOffset);
  }

  /** Whether it is still of the log. */
  has(segment: LiveSegment): boolean {
    return this.#segments.includes(segment);
  }

  /** Puts a segment with the same entries in the place of another. */
  replace(old: LiveSegment, fresh: LiveSegment): void {
    const at = this.#segments.indexOf(old);
    assert(at >= 0, `Segment ${old.sequence} is of the log`);
    this.#segments[at] = fresh;
    this.generation += 1;
    for (const { segments } of this.#partitions.values()) {
      const held = segments.indexOf(old);
      if (held >= 0) segments[held] = fresh;
    }
  }

  /** The segment with the entry `index`, which the log has: it is above the compaction point. */
  withEntry(index: number): LiveSegment {
    let low = 0;
    let high = this.#segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#segments[middle] as LiveSegment).firstIndex <= index) low = middle;
      else high = middle - 1;
    }
    const found = this.#segments[low];
    assert(
      index > this.compacted.index &&
        found !== undefined &&
        found.firstIndex <= index &&
        index <= found.chain.index,
      `The log has entry ${index}`,
    );
    return found;
  }

  /** Segments in all. */
  get size(): number {
    return this.#segments.length;
  }

  /** Oldest first. */
  all(): readonly LiveSegment[] {
    return this.#segments;
  }

  /** Whether there is a segment that takes writes: the newest one, if it is of the log and not a holder of records alone. */
  get hasActive(): boolean {
    const newest = this.#segments.at(-1);
    return newest?.kind === "log" && newest.firstIndex > this.compacted.index;
  }

  /** The segment that takes writes. */
  get active(): LiveSegment {
    const active = this.#segments.at(-1);
    assert(active !== undefined, "There is always an active segment");
    return active;
  }

  /** The segment in which the records of `key` from `offset` on begin; undefined when there is none at or before it. */
  holding(key: number, offset: number): LiveSegment | undefined {
    const held = this.#partitions.get(key);
    if (held === undefined) return undefined;
    let low = 0;
    let high = held.firstOffsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((held.firstOffsets[middle] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    return held.segments[low - 1];
  }

  /** The segments of a partition, oldest first. */
  of(key: number): readonly LiveSegment[] {
    return this.#partitions.get(key)?.segments ?? [];
  }

  /** The segment behind `segment` that holds the partition; one that was reclaimed has `offset` and what follows elsewhere. */
  afterOf(key: number, segment: LiveSegment, offset: number): LiveSegment | undefined {
    const segments = this.#partitions.get(key)?.segments ?? [];
    const at = segments.indexOf(segment);
    return at < 0 ? this.holding(key, offset) : segments[at + 1];
  }

  /** The segment after `segment` in the log. */
  after(segment: LiveSegment): LiveSegment | undefined {
    return this.#segments[this.#segments.indexOf(segment) + 1];
  }

  /** Where to begin to look for `offset`. */
  find(
    key: number,
    offset: number,
  ): { readonly segment: LiveSegment; readonly point: IndexPoint } | undefined {
    const segment = this.holding(key, offset);
    const point = segment?.index.find(key, offset);
    return segment === undefined || point === undefined ? undefined : { segment, point };
  }
}
