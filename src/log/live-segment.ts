// A segment as the running log holds it: where it stands in the chain, how far it is written, and its index. An archive is
// held in the same way: it has records at positions, and no entries.

import { type EntryHeader, fileName, SEGMENT_DATA_START, type SegmentHeader } from "./format.ts";
import type { ArchiveFile, SealedSegment } from "./metadata.ts";
import { GrowingIndex, type SegmentIndex } from "./offset-index.ts";
import { CHAIN_START, type ChainEnd } from "./segment-scan.ts";

/** A segment or an archive as the running log holds it. */
export interface LiveSegment {
  readonly kind: "log" | "archive";
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
  /** It was found damaged, and nothing has taken its place yet. */
  isDamaged: boolean;
  /** It is being made anew: nobody else may take its place meanwhile. */
  isRepairing: boolean;
  /** Size of its delta file, for the merge policy; 0 when there is none. */
  deltaBytes: number;
  index: SegmentIndex;
  /** Where terms begin in it. */
  readonly terms: [number, number][];
  /** Where entries begin, here and there: to look for one by its index. */
  readonly entryPoints: EntryPoint[];
}

/** Where the entry `index` begins. */
export interface EntryPoint {
  readonly index: number;
  readonly position: number;
}

/** An entry point every so many bytes. */
const ENTRY_POINT_SPACING_BYTES = 128 * 1024;

/** Takes note of an entry that stands at `position`. Entries come in log order. */
export function noteEntry(segment: LiveSegment, entry: EntryHeader, position: number): void {
  const { terms, entryPoints } = segment;
  if (terms.at(-1)?.[1] !== entry.term) terms.push([entry.index, entry.term]);
  const last = entryPoints.at(-1);
  if (last === undefined || position - last.position >= ENTRY_POINT_SPACING_BYTES)
    entryPoints.push({ index: entry.index, position });
}

/** The place of an entry in the chain. */
export const chainOf = ({ index, term, checksum, timestampMs }: EntryHeader): ChainEnd => ({
  index,
  term,
  checksum,
  timestampMs,
});

/** A prepared segment that takes the next write. */
export function freshSegment(header: SegmentHeader, previous: ChainEnd): LiveSegment {
  return {
    kind: "log",
    sequence: header.sequence,
    salt: header.salt,
    fileBytes: header.fileBytes,
    firstIndex: previous.index + 1,
    previous,
    chain: previous,
    position: SEGMENT_DATA_START,
    isDerived: false,
    isDamaged: false,
    isRepairing: false,
    deltaBytes: 0,
    index: new GrowingIndex(),
    terms: [],
    entryPoints: [],
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

/** Whether any entry stands in it. One in which the first write found no room ends without. */
export const hasEntries = ({ firstIndex, chain }: LiveSegment): boolean =>
  chain.index >= firstIndex;

/** What the manifest says of a segment that has ended. */
export const sealedOf = (segment: LiveSegment): SealedSegment => ({
  sequence: segment.sequence,
  firstIndex: segment.firstIndex,
  lastIndex: segment.chain.index,
  lastTerm: segment.chain.term,
  lastChecksum: segment.chain.checksum,
  lastTimestampMs: segment.chain.timestampMs,
  previousChecksum: segment.previous.checksum,
  terms: segment.terms,
  validBytes: segment.position,
  isDerived: segment.isDerived,
});

/** Name of the file that holds its records. */
export const nameOf = (segment: LiveSegment): string => fileName(segment.sequence, segment.kind);

/** An archive as the log holds it. */
export const openArchive = (archive: ArchiveFile, index: SegmentIndex): LiveSegment => ({
  kind: "archive",
  sequence: archive.sequence,
  salt: 0,
  fileBytes: archive.validBytes,
  firstIndex: archive.firstIndex,
  previous: { ...CHAIN_START, index: archive.firstIndex - 1 },
  chain: { ...CHAIN_START, index: archive.lastIndex },
  position: archive.validBytes,
  isDerived: true,
  isDamaged: false,
  isRepairing: false,
  deltaBytes: 0,
  index,
  terms: [],
  entryPoints: [],
});

/** What the manifest says of an archive. */
export const archiveOf = (segment: LiveSegment): ArchiveFile => ({
  sequence: segment.sequence,
  firstIndex: segment.firstIndex,
  lastIndex: segment.chain.index,
  validBytes: segment.position,
});

/** What the entries of a segment follow: `previous` if that is its neighbour, else what it remembers of one that is gone. */
export const chainBefore = (segment: SealedSegment, previous: ChainEnd): ChainEnd =>
  segment.firstIndex === previous.index + 1
    ? previous
    : { ...CHAIN_START, index: segment.firstIndex - 1, checksum: segment.previousChecksum };
