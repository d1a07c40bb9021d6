// The segments of a log in order, and which of them hold which partition. Memory per partition is its segment list alone;
// where in a segment to look is the segment's own index.

import { assert } from "../lib/assert.ts";
import type { LiveSegment } from "./live-segment.ts";
import { GrowingIndex, type IndexPoint } from "./offset-index.ts";

/** Segments that hold one partition, oldest first. */
interface PartitionSegments {
  readonly segments: LiveSegment[];
  readonly firstOffsets: number[];
}

/** All segments, sealed and active. */
export class SegmentSet {
  readonly #segments: LiveSegment[] = [];
  readonly #partitions = new Map<number, PartitionSegments>();

  /** Takes in the next segment; a growing one goes on telling of partitions that are new in it. */
  add(segment: LiveSegment): void {
    const last = this.#segments.at(-1);
    assert(last === undefined || last.sequence < segment.sequence, "Segments come in order");
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

  /** Oldest first. */
  all(): readonly LiveSegment[] {
    return this.#segments;
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

  /** The segment after `segment` that holds the partition. */
  after(key: number, segment: LiveSegment): LiveSegment | undefined {
    const segments = this.#partitions.get(key)?.segments ?? [];
    return segments[segments.indexOf(segment) + 1];
  }

  /** Forgets a partition whose topic is gone. */
  forget(key: number): void {
    this.#partitions.delete(key);
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
