// What a disk of this room shows beyond the port: plain counters, read by metrics and tests.

import type { Histogram } from "../lib/histogram.ts";
import { doublingBounds } from "../lib/histogram.ts";
import type { Disk } from "../log/mod.ts";

/** A disk that counts what it does. All counts start at 0 and only grow. */
export interface MeasuredDisk extends Disk {
  /** Appends handed over. */
  readonly appends: number;
  /** Their bytes. */
  readonly appendBytes: number;
  /** Syncs of appends that ended well. */
  readonly syncs: number;
  /** Reads handed over. */
  readonly reads: number;
  /** Times that work was handed to the kernel or to a thread. */
  readonly submits: number;
  /** Microseconds from the hand-over of an append to the moment its completion was seen. */
  readonly syncLatencyUs: Histogram;
}

/** Bounds for `syncLatencyUs`: 16 us to 2.1 s, by doubling. */
export const SYNC_LATENCY_BOUNDS_US: readonly number[] = doublingBounds(16, 18);

/** Slabs are whole pages, so that none is small enough to lie within the garbage collector's heap. */
const PAGE_BYTES = 4096;

/** The size of a slab that is asked for with `bytes`. */
export const slabBytes = (bytes: number): number =>
  Math.max(1, Math.ceil(bytes / PAGE_BYTES)) * PAGE_BYTES;
