// Start: from files to a log that is whole up to its last promise. Decides what is a torn tail (cut, nobody was promised it)
// and what is damage (stop, and say so). It can be cut off anywhere and run again.

import { assert } from "../lib/assert.ts";
import { isAlone } from "../model/cluster.ts";
import type { CommandCursor } from "../model/command-codec.ts";
import { indexArchive } from "./archive.ts";
import { FileError, type Files } from "./disk.ts";
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  FILE_KINDS,
  fileName,
  parseFileName,
  SEGMENT_DATA_START,
  type SegmentHeader,
} from "./format.ts";
import { corrupt, type Identity, readManifest, removeLeftovers, unusable } from "./identity.ts";
import { replaceFile, runJob } from "./jobs.ts";
import {
  chainBefore,
  chainOf,
  freshSegment,
  type LiveSegment,
  newSegmentHeader,
  noteEntry,
  openArchive,
  sealedOf,
} from "./live-segment.ts";
import {
  type ArchiveFile,
  encodeChecked,
  encodeStateSlot,
  type HardState,
  MANIFEST_FILE,
  type Manifest,
  META_FILE,
  type Meta,
  type SealedSegment,
  STATE_FILE,
  STATE_SLOT_BYTES,
  stateSlotPosition,
} from "./metadata.ts";
import { GrowingIndex, IndexFile } from "./offset-index.ts";
import {
  CHAIN_START,
  type ChainEnd,
  type EntryVisitor,
  findMarks,
  isZeroFrom,
  scanSegment,
} from "./segment-scan.ts";
import { StateFileReader } from "./state-file.ts";

/** What recovery is told. */
export interface RecoveryOptions {
  readonly identity: Identity;
  /** Size of the segment that is made when there is none to go on with: the start waits for its zeros. */
  readonly startSegmentBytes: number;
  /** Size of those that are prepared while the log goes on: one that is smaller may not hold the next write, and goes. */
  readonly segmentBytes: number;
  /** 32 random hexadecimal digits; used when something that was promised is lost. */
  readonly randomId: () => string;
  /** A random number below 2^32, for salts. */
  readonly randomSalt: () => number;
  /** Gets the state's items, oldest first: `fold` them before anything is replayed. */
  readonly fold: (item: CommandCursor) => void;
  /** Gets each committed entry after the folded state, in order. */
  readonly replay: EntryVisitor;
  /** Says what was done that someone may want to know: a fixed word and its particulars. */
  readonly report: (event: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** A log that is ready to go on. */
export interface RecoveredLog {
  readonly meta: Meta;
  readonly manifest: Manifest;
  readonly hardState: HardState;
  readonly stateCounter: number;
  /** Archives among them, in the order of the log. */
  readonly sealed: readonly LiveSegment[];
  /** The compaction point: the log goes on behind it. */
  readonly compacted: ChainEnd;
  readonly active: LiveSegment;
  /** Header of a prepared segment, if there is one. */
  readonly spare: SegmentHeader | undefined;
  readonly nextSequence: number;
  readonly topicIdMax: number;
  readonly replayedEntries: number;
  /** Everything up to here was folded or replayed. */
  readonly appliedChain: ChainEnd;
  /** The entries behind it: durable here, and not known to be committed. */
  readonly unapplied: readonly Uint8Array[];
  /** Where terms begin, as `[index, term]`, oldest first. */
  readonly terms: readonly (readonly [number, number])[];
}

/** Brings the data directory to a state from which the node can go on. Throws `FatalError`, `FileError`. */
export function recover(files: Files, options: RecoveryOptions): RecoveredLog {
  // A process may have died between an act and its sync while the machine went on: what is seen here must be durable
  // before anything is removed, answered or written that takes it to be. Here the names; the bytes below.
  files.syncDirectory();
  let { hardState, stateCounter } = options.identity;
  let { meta } = options.identity;
  assert(meta.clusterId !== "", "A log belongs to a cluster");
  let manifest = readManifest(files);
  // Who decides alone has committed whatever is durable; with others, write frames tell how far it was agreed on.
  const decidesAlone = isAlone(hardState.membership, meta.nodeId);

  const base =
    manifest.base === null
      ? undefined
      : foldFile(files, fileName(manifest.base.sequence, "base"), options.fold);
  let topicIdMax = base?.topicIdMax ?? 0;
  /** What was folded, and what was taken in of the log so far. */
  let chain = base?.chain ?? CHAIN_START;
  let appliedChain = chain;
  let replayedEntries = 0;
  const unapplied: Uint8Array[] = [];
  const baseIndex = chain.index;
  const sealed: LiveSegment[] = [];
  const compacted = manifest.compacted ?? CHAIN_START;
  let previous = CHAIN_START;
  if (compacted.index > baseIndex)
    throw corrupt(
      `Cannot rebuild the state: it ends at index ${baseIndex}, and the log begins after ${compacted.index}`,
    );

  // A set of files that was not complete, and what was unlinked in part.
  for (const sequence of manifest.incoming) {
    for (const kind of FILE_KINDS) files.remove(fileName(sequence, kind));
  }
  if (manifest.incoming.length > 0) files.syncDirectory();
  // The next manifest need not name them: their numbers are never used again.
  manifest = { ...manifest, incoming: [] };

  /** Empty segments, to be taken away once it is certain that the node starts: a refused directory stays as it was. */
  const unneeded: string[] = [];
  const open = openUnsealed(files, manifest, meta, unneeded);
  let commitIndex = decidesAlone ? Number.MAX_SAFE_INTEGER : hardState.commitIndex;
  for (const header of decidesAlone ? [] : open)
    commitIndex = Math.max(commitIndex, findMarks(files, markRange(files, header)).commitIndex);

  const replayInto = (segment: LiveSegment, index: GrowingIndex): EntryVisitor => {
    return (bytes, view, at, header, position) => {
      index.addEntry(bytes, view, at, header, position);
      noteEntry(segment, header, position);
      if (header.index <= chain.index) return;
      if (header.index <= commitIndex) {
        replayedEntries += 1;
        options.replay(bytes, view, at, header, position);
        appliedChain = chainOf(header);
      } else unapplied.push(bytes.slice(at, at + header.bytes));
    };
  };

  const archives = [...manifest.archives];
  const openArchives = (firstIndex: number): void => {
    for (
      let next = archives[0];
      next !== undefined && next.firstIndex < firstIndex;
      next = archives[0]
    ) {
      sealed.push(recoverArchive(files, next, meta, options.report));
      archives.shift();
    }
  };
  for (const segment of manifest.segments) {
    openArchives(segment.firstIndex);
    // Below the compaction point there may be gaps between what is left; above it there is none.
    if (segment.firstIndex > compacted.index && previous.index < compacted.index)
      previous = compacted;
    const isUnbroken = segment.firstIndex === previous.index + 1;
    if (segment.firstIndex > compacted.index && !isUnbroken)
      throw corrupt(`Cannot find the entries after index ${previous.index}`);
    const before = chainBefore(segment, previous);
    const live = openSealed(files, segment, meta, before);
    const isFolded = segment.lastIndex <= baseIndex;
    if (segment.isDerived && !isFolded) {
      const delta = foldFile(files, fileName(segment.sequence, "delta"), options.fold);
      live.deltaBytes = files.size(fileName(segment.sequence, "delta")) ?? 0;
      topicIdMax = Math.max(topicIdMax, delta.topicIdMax);
      chain = delta.chain;
      appliedChain = chain;
    }
    const indexBytes = segment.isDerived
      ? files.map(fileName(segment.sequence, "index"))
      : undefined;
    const indexFile = indexBytes && IndexFile.open(indexBytes, segment.sequence, meta.clusterId);
    if (indexFile !== undefined) {
      live.index = indexFile;
    } else {
      if (segment.isDerived) options.report("index_rebuilt", { segment: segment.sequence });
      const index = new GrowingIndex();
      const result = scanSegment(
        files,
        fileName(segment.sequence, "log"),
        { salt: live.salt, from: SEGMENT_DATA_START, end: segment.validBytes, chain: before },
        replayInto({ ...live, terms: [] }, index),
      );
      if (result.fault !== undefined || result.chain.index !== segment.lastIndex) {
        throw corrupt(
          `Cannot read ${fileName(segment.sequence, "log")} at ${result.position}: ${result.fault ?? "it ends early"}, after index ${result.chain.index} of ${segment.lastIndex}`,
        );
      }
      live.index = index;
      if (segment.lastIndex > chain.index) chain = result.chain;
    }
    previous = live.chain;
    sealed.push(live);
  }
  openArchives(Number.POSITIVE_INFINITY);
  if (previous.index < compacted.index) previous = compacted;
  if (chain.index < previous.index)
    throw corrupt(
      `Cannot rebuild the state: it ends at index ${chain.index}, the sealed log at ${previous.index}`,
    );

  let syncedIndex = Math.max(hardState.commitIndex, previous.index);
  const live: LiveSegment[] = [];
  const behindFault: SegmentHeader[] = [];
  /** What no frame says to be durable: the last write of each open segment. */
  const lastWrites = new Map<string, { readonly from: number; readonly to: number }>();
  let spare: SegmentHeader | undefined;
  const isLargeEnough = (header: SegmentHeader): boolean =>
    header.fileBytes >= options.segmentBytes;
  let fault: { readonly segment: LiveSegment; readonly text: string } | undefined;
  for (const header of open) {
    const name = fileName(header.sequence, "log");
    const size = files.size(name) ?? 0;
    const index = new GrowingIndex();
    const segment: LiveSegment = { ...freshSegment(header, previous), index };
    const scan = {
      salt: header.salt,
      from: SEGMENT_DATA_START,
      end: Math.min(size, header.fileBytes),
      chain: previous,
    };
    // Past a fault nothing more is taken in; the files behind it are only asked for what they know to be durable.
    if (fault !== undefined) {
      syncedIndex = Math.max(syncedIndex, findMarks(files, { ...scan, name }).syncedIndex);
      behindFault.push(header);
      continue;
    }
    const result = scanSegment(files, name, scan, replayInto(segment, index));
    syncedIndex = Math.max(syncedIndex, result.syncedIndex);
    lastWrites.set(name, { from: result.lastFrame, to: result.position });
    if (result.position === SEGMENT_DATA_START && result.fault === undefined && live.length > 0) {
      // Prepared, and never written. A second one was the spare of a roll whose write is lost.
      if (spare === undefined && isLargeEnough(header)) spare = header;
      else unneeded.push(name);
      continue;
    }
    if (spare !== undefined)
      throw corrupt(
        `Cannot follow the log from ${fileName(spare.sequence, "log")}, which is empty, to ${name}, which is not`,
      );
    segment.chain = result.chain;
    segment.position = result.position;
    live.push(segment);
    previous = result.chain;
    if (result.chain.index > chain.index) chain = result.chain;
    if (result.fault !== undefined) {
      fault = { segment, text: result.fault };
      syncedIndex = Math.max(
        syncedIndex,
        findMarks(files, { ...scan, name, from: result.position }).syncedIndex,
      );
    }
  }

  const isDamaged = chain.index < syncedIndex;
  if (isDamaged) {
    const last = fault?.segment ?? live.at(-1);
    const where =
      last === undefined ? "The log" : `${fileName(last.sequence, "log")} at ${last.position}`;
    const what = `${where}: ${fault?.text ?? "the log ends"} after index ${chain.index}, but index ${syncedIndex} was durable`;
    if (decidesAlone) throw corrupt(what);
    // Peers have what is lost here. Until they have given it back, this is another life: it has no vote, and whoever
    // counted on what it had acknowledged must ask again.
    meta = { ...meta, incarnation: options.randomId() };
    replaceFile(files, META_FILE, encodeChecked(meta));
    // Said once: a start that comes before the rest is back must not take the same loss for another one.
    hardState = { ...hardState, commitIndex: Math.min(commitIndex, chain.index) };
    stateCounter += 1;
    files.write(
      STATE_FILE,
      stateSlotPosition(stateCounter),
      encodeStateSlot(stateCounter, hardState),
    );
    options.report("log_damaged", { what, after_index: chain.index, durable_index: syncedIndex });
    // Not even zeros are written over where something was.
    if (last !== undefined && live.includes(last))
      fault ??= { segment: last, text: "the log ends" };
  }

  // The newest slot is gone and the older one is behind the log: what was promised since is unknown.
  if (chain.term > hardState.term)
    throw unusable(
      `Cannot trust ${STATE_FILE}: the log ends in term ${chain.term}, and the newest readable slot says ${hardState.term}`,
    );

  writeAgain(files, STATE_FILE, 0, 2 * STATE_SLOT_BYTES);
  for (const [name, { from, to }] of lastWrites) {
    writeAgain(files, name, 0, SEGMENT_DATA_START);
    writeAgain(files, name, from, to);
  }
  removeLeftovers(files, manifest);
  let nextSequence = Math.max(
    manifest.nextSequence,
    ...files.list().map((name) => (parseFileName(name)?.sequence ?? 0) + 1),
  );
  // Left where it is, an empty segment would stand before the ones that are made from here on, like a hole in the log.
  for (const name of unneeded) files.remove(name);
  if (unneeded.length > 0) files.syncDirectory();
  if (fault !== undefined) {
    // A torn tail: nobody was promised it. The file ends here for good, and writing goes on in another.
    const torn = live.pop() as LiveSegment;
    if (!isDamaged) {
      options.report("torn_tail_cut", {
        segment: torn.sequence,
        position: torn.position,
        after_index: torn.chain.index,
        fault: fault.text,
      });
    }
    if (torn.chain.index >= torn.firstIndex) {
      // Segments before it were rolled over in order, so the manifest takes them all, in order.
      const ended = [...live, torn];
      manifest = {
        ...manifest,
        nextSequence,
        segments: [...manifest.segments, ...ended.map(sealedOf)],
        openFrom: torn.sequence + 1,
      };
      replaceFile(files, MANIFEST_FILE, encodeChecked(manifest));
      sealed.push(...live.splice(0), torn);
      const name = fileName(torn.sequence, "log");
      if (!isDamaged)
        files.truncate(name, Math.ceil(torn.position / SEGMENT_DATA_START) * SEGMENT_DATA_START);
      files.sync(name);
    } else if (isDamaged) {
      files.quarantine(fileName(torn.sequence, "log"));
    } else {
      files.remove(fileName(torn.sequence, "log"));
      files.syncDirectory();
    }
    for (const header of behindFault) {
      const name = fileName(header.sequence, "log");
      const isEmpty = isZeroFrom(files, name, SEGMENT_DATA_START, header.fileBytes);
      if (isEmpty && !isLargeEnough(header)) files.remove(name);
      else if (isEmpty && spare === undefined) spare = header;
      else files.quarantine(name);
    }
    files.syncDirectory();
  }

  let active = live.pop();
  sealed.push(...live);
  if (active === undefined && spare !== undefined) {
    active = freshSegment(spare, previous);
    spare = undefined;
  }
  if (active === undefined) {
    const header = newSegmentHeader(
      nextSequence++,
      { segmentBytes: options.startSegmentBytes, randomSalt: options.randomSalt },
      meta.clusterId,
    );
    prepareSegment(files, header);
    active = freshSegment(header, previous);
  }
  return {
    meta,
    manifest,
    hardState,
    stateCounter,
    sealed,
    compacted,
    active,
    spare,
    nextSequence,
    topicIdMax,
    replayedEntries,
    appliedChain,
    unapplied,
    terms: [
      ...(compacted.index === 0 ? [] : [[compacted.index, compacted.term] as const]),
      ...[...sealed, active]
        .filter(({ firstIndex }) => firstIndex > compacted.index)
        .flatMap(({ terms }) => terms),
    ],
  };
}

/** Where the frames of a segment may lie. */
const markRange = (
  files: Files,
  header: SegmentHeader,
): {
  readonly name: string;
  readonly salt: number;
  readonly from: number;
  readonly end: number;
} => {
  const name = fileName(header.sequence, "log");
  const end = Math.min(files.size(name) ?? 0, header.fileBytes);
  return { name, salt: header.salt, from: SEGMENT_DATA_START, end };
};

/**
 * Writes bytes as they are once more, and syncs them. After a sync that failed they may lie in memory only, marked as
 * written: a start sees them, and no later sync would bring them to the medium.
 */
function writeAgain(files: Files, name: string, from: number, to: number): void {
  const bytes = new Uint8Array(to - from);
  files.write(name, from, bytes.subarray(0, files.read(name, from, bytes)));
  files.sync(name);
}

function prepareSegment(files: Files, header: SegmentHeader): void {
  const name = fileName(header.sequence, "log");
  runJob(files, {
    kind: "prepare_segment",
    name,
    bytes: header.fileBytes,
    header: encodeSegmentHeader(header),
  });
}

function openSealed(
  files: Files,
  segment: SealedSegment,
  meta: Meta,
  previous: ChainEnd,
): LiveSegment {
  const name = fileName(segment.sequence, "log");
  const head = new Uint8Array(SEGMENT_DATA_START);
  const size = files.size(name);
  if (size === undefined || size < segment.validBytes) {
    throw corrupt(
      `Cannot find ${name} whole: it has ${size ?? "no"} bytes of ${segment.validBytes}`,
    );
  }
  files.read(name, 0, head);
  const header = decodeSegmentHeader(head);
  if (typeof header === "string") throw corrupt(`Cannot read ${name}: ${header}`);
  if (header.clusterId !== meta.clusterId)
    throw corrupt(`Cannot use ${name}: it belongs to cluster ${header.clusterId}`);
  return {
    kind: "log",
    sequence: segment.sequence,
    salt: header.salt,
    fileBytes: header.fileBytes,
    firstIndex: segment.firstIndex,
    previous,
    chain: {
      index: segment.lastIndex,
      term: segment.lastTerm,
      checksum: segment.lastChecksum,
      timestampMs: segment.lastTimestampMs,
    },
    position: segment.validBytes,
    isDerived: segment.isDerived,
    isDamaged: false,
    isRepairing: false,
    deltaBytes: 0,
    index: new GrowingIndex(),
    terms: segment.terms.map(([index, term]) => [index, term]),
    entryPoints: [],
  };
}

/** An archive with its index, which is made again when it was lost. */
function recoverArchive(
  files: Files,
  archive: ArchiveFile,
  meta: Meta,
  report: RecoveryOptions["report"],
): LiveSegment {
  const { sequence, validBytes } = archive;
  const name = fileName(sequence, "archive");
  const size = files.size(name);
  if (size === undefined || size < validBytes)
    throw corrupt(`Cannot find ${name} whole: it has ${size ?? "no"} bytes of ${validBytes}`);
  const bytes = files.map(fileName(sequence, "index"));
  const index = bytes && IndexFile.open(bytes, sequence, meta.clusterId);
  if (index !== undefined) return openArchive(archive, index);
  report("index_rebuilt", { segment: sequence });
  try {
    return openArchive(archive, indexArchive(files, { ...archive, clusterId: meta.clusterId }));
  } catch (error) {
    if (error instanceof FileError && error.kind === "damaged") throw corrupt(error.message);
    throw error;
  }
}

/** Headers of the segments that the manifest does not know yet: the active one, what was rolled just before, the spare. */
function openUnsealed(
  files: Files,
  manifest: Manifest,
  meta: Meta,
  unneeded: string[],
): SegmentHeader[] {
  const known = new Set(manifest.segments.map((segment) => segment.sequence));
  const headers: SegmentHeader[] = [];
  for (const name of files.list().sort()) {
    const parsed = parseFileName(name);
    if (parsed?.kind !== "log" || known.has(parsed.sequence)) continue;
    const head = new Uint8Array(SEGMENT_DATA_START);
    const bytes = head.subarray(0, files.read(name, 0, head));
    const header = decodeSegmentHeader(bytes);
    if (typeof header === "string") {
      if (!isZeroFrom(files, name, 0, files.size(name) ?? 0))
        throw corrupt(`Cannot read ${name}: ${header}`);
      // Preparing it was cut off before its header: it has never held anything.
      unneeded.push(name);
    } else if (
      header.clusterId !== meta.clusterId ||
      header.sequence !== parsed.sequence ||
      parsed.sequence < manifest.openFrom
    ) {
      files.quarantine(name);
    } else {
      headers.push(header);
    }
  }
  return headers;
}

/** Gives every item of a delta or base to `fold`. */
function foldFile(
  files: Files,
  name: string,
  fold: (item: CommandCursor) => void,
): { readonly chain: ChainEnd; readonly topicIdMax: number } {
  const reader = new StateFileReader(files, name, corrupt);
  while (reader.next()) fold(reader.item);
  reader.beginWindow();
  while (reader.next()) fold(reader.item);
  return { chain: reader.header.chain, topicIdMax: reader.header.topicIdMax };
}
