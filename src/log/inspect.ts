// What a data directory holds, for people: reads everything, changes nothing, and goes on past what is wrong.

import { indexArchive } from "./archive.ts";
import { FileError, type Files } from "./disk.ts";
import { decodeSegmentHeader, fileName, parseFileName, SEGMENT_DATA_START } from "./format.ts";
import { type TopicReport, TopicTally } from "./inspect-topics.ts";
import { chainBefore, openArchive } from "./live-segment.ts";
import { type LiveShare, shareOf } from "./live-share.ts";
import {
  decodeChecked,
  MANIFEST_FILE,
  type Manifest,
  META_FILE,
  type Meta,
  readState,
  readWhole,
  STATE_FILE,
} from "./metadata.ts";
import { IndexFile, type SegmentIndex } from "./offset-index.ts";
import { CHAIN_START, findMarks, isZeroFrom, scanSegment } from "./segment-scan.ts";

/** One segment as it lies there. */
export interface SegmentReport {
  readonly name: string;
  /** `sealed`, `open`, `prepared`, `half-prepared` or `unreadable`. */
  readonly state: string;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly entries: number;
  readonly records: number;
  readonly validBytes: number;
  /** Highest index that a write frame of the file calls durable. */
  readonly syncedIndex: number;
  readonly fault: string | undefined;
}

/** One archive as it lies there. */
export interface ArchiveReport {
  readonly name: string;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly chunks: number;
  readonly records: number;
  readonly validBytes: number;
  readonly fault: string | undefined;
}

/** What was found. */
export interface DirectoryReport {
  readonly nodeId: string | undefined;
  readonly clusterId: string | undefined;
  readonly problems: readonly string[];
  readonly segments: readonly SegmentReport[];
  readonly archives: readonly ArchiveReport[];
  readonly topics: readonly TopicReport[];
  /** The log goes on behind this index. */
  readonly compactedIndex: number;
  /** Of sealed segments and archives: what has to be kept, and the rest, by the floors that base and deltas tell of. */
  readonly liveBytes: number;
  readonly deadBytes: number;
  /** Something before the end of what was durable is damaged or missing. */
  readonly isDamaged: boolean;
}

/** Whether a directory holds anything that a node writes. */
export const isOfNode = (files: Files): boolean =>
  files
    .list()
    .some(
      (name) =>
        name === META_FILE ||
        name === MANIFEST_FILE ||
        name === STATE_FILE ||
        parseFileName(name) !== undefined,
    );

/** Reads a whole data directory. */
export function inspectLog(files: Files): DirectoryReport {
  const problems: string[] = [];
  const checked = (name: string): unknown => {
    const bytes = readWhole(files, name);
    const value = bytes && decodeChecked(bytes);
    if (value === undefined)
      problems.push(`${name} is ${bytes === undefined ? "missing" : "damaged"}`);
    return value;
  };
  const meta = checked(META_FILE) as Meta | undefined;
  const manifest = checked(MANIFEST_FILE) as Manifest | undefined;
  const stateBytes = readWhole(files, STATE_FILE);
  if (stateBytes === undefined || readState(stateBytes) === undefined)
    problems.push(`${STATE_FILE} is missing or damaged`);
  if (manifest?.damage) problems.push(`the manifest notes damage: ${manifest.damage}`);

  const topics = new TopicTally();
  if (manifest !== undefined) topics.readState(files, manifest);
  const floorOf = topics.floors();
  const segments: SegmentReport[] = [];
  let chain = CHAIN_START;
  let syncedIndex = 0;
  for (const name of inOrder(files, manifest)) {
    const head = new Uint8Array(SEGMENT_DATA_START);
    const header = decodeSegmentHeader(head.subarray(0, files.read(name, 0, head)));
    const empty = {
      name,
      firstIndex: 0,
      lastIndex: 0,
      entries: 0,
      records: 0,
      validBytes: 0,
      syncedIndex: 0,
    };
    const size = files.size(name) ?? 0;
    if (header === "empty" && isZeroFrom(files, name, 0, size)) {
      // Preparing it is under way, or was cut off: the next start takes it away.
      segments.push({ ...empty, state: "half-prepared", fault: undefined });
      continue;
    }
    if (typeof header === "string") {
      segments.push({ ...empty, state: "unreadable", fault: header });
      problems.push(`${name}: ${header}`);
      continue;
    }
    const sealed = manifest?.segments.find((segment) => fileName(segment.sequence, "log") === name);
    const end = sealed?.validBytes ?? size;
    let records = 0;
    const compacted = manifest?.compacted ?? CHAIN_START;
    if (
      chain.index < compacted.index &&
      (sealed === undefined || sealed.firstIndex > compacted.index)
    )
      chain = compacted;
    if (sealed !== undefined) chain = chainBefore(sealed, chain);
    const scan = { salt: header.salt, from: SEGMENT_DATA_START, end, chain };
    const result = scanSegment(files, name, scan, (bytes, view, at, entry, position) => {
      records += entry.recordCount;
      topics.visit(bytes, view, at, entry, position);
    });
    const later =
      result.fault === undefined
        ? 0
        : findMarks(files, { ...scan, name, from: result.position }).syncedIndex;
    syncedIndex = Math.max(syncedIndex, result.syncedIndex, later);
    segments.push({
      name,
      state:
        sealed !== undefined
          ? "sealed"
          : result.entries === 0 && result.fault === undefined
            ? "prepared"
            : "open",
      firstIndex: result.firstIndex,
      lastIndex: result.chain.index,
      entries: result.entries,
      records,
      validBytes: result.position,
      syncedIndex: Math.max(result.syncedIndex, later),
      fault: result.fault,
    });
    if (sealed !== undefined && result.chain.index !== sealed.lastIndex) {
      problems.push(
        `${name} ends at index ${result.chain.index}, the manifest says ${sealed.lastIndex}`,
      );
      chain = {
        index: sealed.lastIndex,
        term: sealed.lastTerm,
        checksum: sealed.lastChecksum,
        timestampMs: sealed.lastTimestampMs,
      };
    } else {
      chain = result.chain;
    }
  }
  const archives = archivesOf(files, manifest, meta?.clusterId ?? "");
  for (const { name, fault } of archives)
    if (fault !== undefined) problems.push(`${name}: ${fault}`);
  if (chain.index < syncedIndex)
    problems.push(`the log ends at index ${chain.index}, but index ${syncedIndex} was durable`);
  return {
    nodeId: meta?.nodeId,
    clusterId: meta?.clusterId,
    problems,
    segments,
    archives,
    topics: topics.report(),
    compactedIndex: manifest?.compacted?.index ?? 0,
    ...sharesOf(files, manifest, meta?.clusterId ?? "", floorOf),
    isDamaged: problems.length > 0,
  };
}

function archivesOf(
  files: Files,
  manifest: Manifest | undefined,
  clusterId: string,
): readonly ArchiveReport[] {
  return (manifest?.archives ?? []).map(({ sequence, firstIndex, lastIndex, validBytes }) => {
    let chunks = 0;
    let records = 0;
    let fault: string | undefined;
    try {
      for (const range of indexArchive(files, { sequence, validBytes, clusterId }).ranges()) {
        chunks += range.chunks;
        records += range.nextOffset - range.firstOffset;
      }
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      fault = error.message;
    }
    const name = fileName(sequence, "archive");
    return { name, firstIndex, lastIndex, chunks, records, validBytes, fault };
  });
}

/** What sealed files have to keep. What cannot be read counts as alive. */
function sharesOf(
  files: Files,
  manifest: Manifest | undefined,
  clusterId: string,
  floorOf: ((key: number) => number) | undefined,
): { readonly liveBytes: number; readonly deadBytes: number } {
  let live = 0;
  let total = 0;
  const derived = (manifest?.segments ?? []).filter(({ isDerived }) => isDerived);
  for (const { sequence, validBytes } of [...derived, ...(manifest?.archives ?? [])]) {
    const bytes = files.map(fileName(sequence, "index"));
    const index = bytes && IndexFile.open(bytes, sequence, clusterId);
    const share = index && floorOf && shareIn(index, sequence, validBytes, floorOf);
    live += Math.min(validBytes, share?.keptBytes ?? validBytes);
    total += validBytes;
  }
  return { liveBytes: live, deadBytes: total - live };
}

const shareIn = (
  index: SegmentIndex,
  sequence: number,
  validBytes: number,
  floorOf: (key: number) => number,
): LiveShare =>
  shareOf(openArchive({ sequence, firstIndex: 1, lastIndex: 1, validBytes }, index), floorOf);

/** Segments in the order of the log: one that was made anew stands where the damaged one stood, whatever its number. */
function inOrder(files: Files, manifest: Manifest | undefined): readonly string[] {
  const names = files.list().filter((name) => parseFileName(name)?.kind === "log");
  const sealed = (manifest?.segments ?? []).map(({ sequence }) => fileName(sequence, "log"));
  const others = names.filter((name) => !sealed.includes(name));
  return [...sealed.filter((name) => names.includes(name)), ...others.sort()];
}
