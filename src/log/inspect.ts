// What a data directory holds, for people: reads everything, changes nothing, and goes on past what is wrong.

import type { Files } from "./disk.ts";
import { decodeSegmentHeader, fileName, parseFileName, SEGMENT_DATA_START } from "./format.ts";
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

/** What was found. */
export interface DirectoryReport {
  readonly nodeId: string | undefined;
  readonly clusterId: string | undefined;
  readonly problems: readonly string[];
  readonly segments: readonly SegmentReport[];
  /** Something before the end of what was durable is damaged or missing. */
  readonly isDamaged: boolean;
}

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
    const scan = { salt: header.salt, from: SEGMENT_DATA_START, end, chain };
    const result = scanSegment(files, name, scan, (_bytes, _view, _at, entry) => {
      records += entry.recordCount;
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
  if (chain.index < syncedIndex)
    problems.push(`the log ends at index ${chain.index}, but index ${syncedIndex} was durable`);
  return {
    nodeId: meta?.nodeId,
    clusterId: meta?.clusterId,
    problems,
    segments,
    isDamaged: problems.length > 0,
  };
}

/** Segments in the order of the log: one that was made anew stands where the damaged one stood, whatever its number. */
function inOrder(files: Files, manifest: Manifest | undefined): readonly string[] {
  const names = files.list().filter((name) => parseFileName(name)?.kind === "log");
  const sealed = (manifest?.segments ?? []).map(({ sequence }) => fileName(sequence, "log"));
  const others = names.filter((name) => !sealed.includes(name));
  return [...sealed.filter((name) => names.includes(name)), ...others.sort()];
}
