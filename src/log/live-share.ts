// How much of each sealed segment and archive is still alive: records of topics that exist, at or above their floors. Known
// from the indexes, to the spacing of their points, and looked at a few ranges at a time, so that no turn notices.

import { KEPT_OVERHEAD_BYTES } from "./archive.ts";
import { SEGMENT_DATA_START } from "./format.ts";
import type { LiveSegment } from "./live-segment.ts";
import type { PartitionRange } from "./offset-index.ts";

/** What is applied of floors. */
export interface Floors {
  /** First live offset of a partition; `Infinity` when its topic is gone. */
  readonly floorOf: (key: number) => number;
  /** Grows whenever a floor rises or a topic goes. */
  readonly version: number;
}

/** What one segment or archive still has to keep. */
export interface LiveShare {
  /** Stored bytes of live records. */
  readonly liveBytes: number;
  /** What they would take in an archive of their own, or a little less than that at most. */
  readonly keptBytes: number;
}

/** Looks at one segment or archive. */
export function shareOf(segment: LiveSegment, floorOf: Floors["floorOf"]): LiveShare {
  const sum = newSum();
  for (const range of segment.index.ranges()) addRange(sum, segment, range, floorOf);
  return shareFrom(sum);
}

interface Sum {
  liveBytes: number;
  chunks: number;
}

const newSum = (): Sum => ({ liveBytes: 0, chunks: 0 });

function addRange(
  sum: Sum,
  segment: LiveSegment,
  range: PartitionRange,
  floorOf: Floors["floorOf"],
): void {
  const floor = floorOf(range.key);
  if (floor >= range.nextOffset) return;
  const before =
    floor <= range.firstOffset ? 0 : (segment.index.find(range.key, floor)?.bytesBefore ?? 0);
  const live = range.bytes - before;
  sum.liveBytes += live;
  sum.chunks += range.bytes === 0 ? range.chunks : Math.ceil((range.chunks * live) / range.bytes);
}

const shareFrom = ({ liveBytes, chunks }: Sum): LiveShare => ({
  liveBytes,
  keptBytes: chunks === 0 ? 0 : SEGMENT_DATA_START + liveBytes + chunks * KEPT_OVERHEAD_BYTES,
});

/** Ranges looked at in one step. */
const RANGES_PER_STEP = 2000;

/** Knows the shares of everything that takes no more writes. */
export class LiveShares {
  readonly #known = new WeakMap<LiveSegment, LiveShare>();
  #pending: LiveSegment[] = [];
  #ranges: Iterator<PartitionRange> | undefined;
  #sum = newSum();
  /** Which segments and floors this pass looks at. */
  #seen = "";

  /**
   * Looks at some more. True: everything is known, as of the floors and segments at the beginning of this pass.
   * @param seen Another text whenever segments or floors are others.
   */
  step(segments: readonly LiveSegment[], seen: string, floors: Floors): boolean {
    if (this.#pending.length === 0) {
      if (this.#seen === seen) return true;
      this.#seen = seen;
      this.#pending = [...segments];
      this.#ranges = undefined;
    }
    for (let i = 0; i < RANGES_PER_STEP; ) {
      const segment = this.#pending[0];
      if (segment === undefined) return true;
      this.#ranges ??= segment.index.ranges()[Symbol.iterator]();
      const next = this.#ranges.next();
      if (next.done === true) {
        this.#known.set(segment, shareFrom(this.#sum));
        this.#sum = newSum();
        this.#ranges = undefined;
        this.#pending.shift();
        continue;
      }
      i += 1;
      addRange(this.#sum, segment, next.value, floors.floorOf);
    }
    return false;
  }

  /** What was last seen; everything counts as alive until it was looked at. */
  of(segment: LiveSegment): LiveShare {
    const all = { liveBytes: segment.position, keptBytes: segment.position };
    return this.#known.get(segment) ?? all;
  }
}
