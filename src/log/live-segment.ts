// A segment as the running log holds it: where it stands in the chain, how far it is written, and its index.

import { SEGMENT_DATA_START, type SegmentHeader } from "./format.ts";
import type { SealedSegment } from "./metadata.ts";
import { GrowingIndex, type SegmentIndex } from "./offset-index.ts";
import type { ChainEnd } from "./segment-scan.ts";

/** A segment as the running log holds it. */
export interface LiveSegment {
  readonly sequence: number;
  readonly salt: number;
  readonly fileBytes: number;
  firstIndex: number;
  /** End of the segment before. */
  readonly previous: ChainEnd;
  /** The last entry in it, or `previous` while it has none. */
  chain: ChainEnd;
  /** Where the next write goes; the valid length once it is sealed. */
  position: number;
  isDerived: boolean;
  /** Size of its delta file, for the merge policy; 0 when there is none. */
  deltaBytes: number;
  index: SegmentIndex;
}

/** A prepared segment that takes the next write. */
export function freshSegment(header: SegmentHeader, previous: ChainEnd): LiveSegment {
  return {
    sequence: header.sequence,
    salt: header.salt,
    fileBytes: header.fileBytes,
    firstIndex: previous.index + 1,
    previous,
    chain: previous,
    position: SEGMENT_DATA_START,
    isDerived: false,
    deltaBytes: 0,
    index: new GrowingIndex(),
  };
}

/** The header of a segment to be prepared. */
export function newSegmentHeader(
  sequence: number,
  options: { readonly segmentBytes: number; readonly randomSalt: () => number },
  clusterId: string,
): SegmentHeader {
  return { sequence, salt: options.randomSalt(), fileBytes: options.segmentBytes, clusterId };
}

/** What the manifest says of a segment that has ended. */
export const sealedOf = (segment: LiveSegment): SealedSegment => ({
  sequence: segment.sequence,
  firstIndex: segment.firstIndex,
  lastIndex: segment.chain.index,
  lastTerm: segment.chain.term,
  lastChecksum: segment.chain.checksum,
  lastTimestampMs: segment.chain.timestampMs,
  validBytes: segment.position,
  isDerived: segment.isDerived,
});
