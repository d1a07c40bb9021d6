// The append-only file as the replica drives it: one write in flight, segments rolled over, derived and merged in the
// background, the manifest switched step by step. Submit, then hand every completion of the disk to `completed`.

import { assert } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";
import { doublingBounds, Histogram } from "../lib/histogram.ts";
import type { Disk, DiskCompletion, DiskFile, FileError } from "./disk.ts";
import {
  encodeSegmentHeader,
  FRAME_BYTES,
  fileName,
  newEntryHeader,
  putFrame,
  readEntryHeader,
  SEGMENT_DATA_START,
  type SegmentHeader,
} from "./format.ts";
import type { DiskJob, JobResult } from "./jobs.ts";
import { freshSegment, type LiveSegment, newSegmentHeader, sealedOf } from "./live-segment.ts";
import {
  encodeChecked,
  encodeStateSlot,
  type HardState,
  MANIFEST_FILE,
  type Manifest,
  STATE_FILE,
  stateSlotPosition,
} from "./metadata.ts";
import { GrowingIndex, IndexFile } from "./offset-index.ts";
import type { RecoveredLog } from "./recovery.ts";
import { SegmentReader } from "./segment-reader.ts";
import type { ChainEnd } from "./segment-scan.ts";
import { SegmentSet } from "./segment-set.ts";
import { type Slab, TailBuffer } from "./tail-buffer.ts";

/** Entries that stand back to back in a slab, behind room for their write frame. */
export interface SealedWrite {
  readonly slab: Slab;
  /** Of the frame. */
  readonly start: number;
  readonly end: number;
  readonly entryCount: number;
  readonly firstIndex: number;
  readonly previousChecksum: number;
  /** Its last entry. */
  readonly chain: ChainEnd;
}

/** Something that the replica must know of. */
export type LogEvent =
  | { readonly kind: "synced"; readonly index: number; readonly term: number }
  | { readonly kind: "state_saved"; readonly state: HardState };

/** Limits of the log. */
export interface LogLimits {
  readonly segmentBytes: number;
  /** Free space below which the node takes no more records. */
  readonly reserveBytes: number;
  readonly slabBytes: number;
  readonly tailBytes: number;
  /** Deltas are merged when they weigh more than this, 1 MiB when absent, and more than a quarter of the base. */
  readonly mergeBytesMin?: number;
}

/** Counters in plain numbers, read out on scrape. */
export interface LogProbe {
  /** Writes submitted, each with one sync. */
  writes: number;
  writtenBytes: number;
  entries: number;
  rolls: number;
  merges: number;
  readonly entriesPerWrite: Histogram;
  readonly recordsPerEntry: Histogram;
  readonly bytesPerWrite: Histogram;
}

const APPEND_TOKEN = 0;
const MERGE_BYTES_MIN = 1 << 20;
const MERGE_DELTAS_MAX = 64;
/** Sealed segments that may wait for their index before writing waits too. */
const UNDERIVED_MAX = 2;

/** The log of one node. */
export class SegmentLog {
  readonly segments = new SegmentSet();
  readonly tail: TailBuffer;
  readonly reader: SegmentReader;
  readonly probe: LogProbe = {
    writes: 0,
    writtenBytes: 0,
    entries: 0,
    rolls: 0,
    merges: 0,
    entriesPerWrite: new Histogram(doublingBounds(1, 10)),
    recordsPerEntry: new Histogram(doublingBounds(1, 18)),
    bytesPerWrite: new Histogram(doublingBounds(128, 18)),
  };
  readonly #disk: Disk;
  readonly #limits: LogLimits;
  readonly #clusterId: string;
  readonly #randomSalt: () => number;
  #manifest: Manifest;
  #file: DiskFile;
  #spare: SegmentHeader | undefined;
  #isPreparing = false;
  #nextSequence: number;
  #stateCounter: number;
  #inFlight: SealedWrite | undefined;
  #syncedIndex: number;
  /** What the newest frame on disk says. */
  #framedIndex: number;
  #freeBytes = Number.POSITIVE_INFINITY;
  #isAskingRoom = false;
  #underived: LiveSegment[];
  #isDeriving = false;
  #isMerging = false;
  readonly #jobs = new Map<
    number,
    (error: FileError | undefined, result: JobResult | undefined) => LogEvent | undefined
  >();
  #nextToken = APPEND_TOKEN + 1;
  readonly #header = newEntryHeader();
  /** A manifest that found no room; the one on disk still tells the truth. */
  #unwritten: (() => void) | undefined;

  constructor(options: {
    readonly disk: Disk;
    readonly recovered: RecoveredLog;
    readonly limits: LogLimits;
    readonly randomSalt: () => number;
  }) {
    const { disk, recovered, limits } = options;
    this.#disk = disk;
    this.#limits = limits;
    this.#randomSalt = options.randomSalt;
    this.#clusterId = recovered.meta.clusterId;
    this.#manifest = recovered.manifest;
    this.#spare = recovered.spare;
    this.#nextSequence = recovered.nextSequence;
    this.#stateCounter = recovered.stateCounter;
    for (const segment of recovered.sealed) this.segments.add(segment);
    this.segments.add(recovered.active);
    this.#underived = recovered.sealed.filter((segment) => !segment.isDerived);
    this.#file = disk.open(fileName(recovered.active.sequence, "log"));
    // What recovery took in, it synced.
    this.#syncedIndex = recovered.active.chain.index;
    this.#framedIndex = 0;
    this.tail = new TailBuffer(disk, limits.slabBytes, limits.tailBytes);
    this.reader = new SegmentReader(disk, this.segments, this.tail);
    this.reader.onDamage = (message) => this.#damaged(message);
    // The spare comes with the first `maintain`: the vote that makes a leader must not wait behind its zeros.
  }

  /** Highest index that is durable here. */
  get syncedIndex(): number {
    return this.#syncedIndex;
  }

  /** Whether a write may be submitted now. */
  get isIdle(): boolean {
    return this.#inFlight === undefined;
  }

  /** Whether there is too little room for more records. */
  get isFull(): boolean {
    return this.#freeBytes < this.#limits.reserveBytes;
  }

  /** Bytes of the log's files, as prepared. */
  get segmentBytes(): number {
    return this.segments
      .all()
      .reduce(
        (sum, segment) =>
          sum + (segment === this.segments.active ? segment.fileBytes : segment.position),
        0,
      );
  }

  /** Segments and how far the background work has got. */
  get counts(): {
    readonly segments: number;
    readonly underived: number;
    readonly freeBytes: number;
  } {
    return {
      segments: this.segments.all().length,
      underived: this.#underived.length,
      freeBytes: this.#freeBytes,
    };
  }

  /** The most that one write may take: what a fresh segment holds. */
  get writeBytesMax(): number {
    return this.#limits.segmentBytes - SEGMENT_DATA_START;
  }

  /**
   * Submits a write: fills in its frame, places it in the active segment or in the next. False: no segment has room yet;
   * try again after a completion. The slab's bytes must not change until the completion.
   */
  append(write: SealedWrite): boolean {
    assert(this.#inFlight === undefined, "Exactly one write is in flight");
    const bytes = write.end - write.start;
    let { active } = this.segments;
    if (active.position + bytes > active.fileBytes) {
      if (!this.#roll()) return false;
      ({ active } = this.segments);
    }
    assert(
      active.position + bytes <= active.fileBytes,
      `A write of ${bytes} bytes fits a fresh segment`,
    );
    assert(
      write.firstIndex === active.chain.index + 1,
      `Index ${write.firstIndex} follows ${active.chain.index}`,
    );
    const { slab } = write;
    putFrame(
      slab.bytes,
      slab.view,
      write.start,
      {
        position: active.position,
        entryBytes: bytes - FRAME_BYTES,
        entryCount: write.entryCount,
        syncedIndex: this.#syncedIndex,
        firstIndex: write.firstIndex,
        previousChecksum: write.previousChecksum,
      },
      active.salt,
    );
    this.tail.place(slab, write.start, write.end, active.sequence, active.position);
    this.#index(write, active);
    this.#disk.append(
      this.#file,
      slab.bytes,
      write.start,
      write.end,
      active.position,
      APPEND_TOKEN,
    );
    active.position += bytes;
    active.chain = write.chain;
    this.#inFlight = write;
    this.#framedIndex = this.#syncedIndex;
    this.probe.writes += 1;
    this.probe.writtenBytes += bytes;
    this.probe.entries += write.entryCount;
    this.probe.entriesPerWrite.record(write.entryCount);
    this.probe.bytesPerWrite.record(bytes);
    return true;
  }

  #index(write: SealedWrite, active: LiveSegment): void {
    const { slab } = write;
    const header = this.#header;
    const { index } = active;
    assert(index instanceof GrowingIndex, "The active segment's index grows");
    for (let at = write.start + FRAME_BYTES; at < write.end; at += header.bytes) {
      const isEntry = readEntryHeader(slab.view, at, header);
      assert(isEntry, "A write holds whole entries");
      this.probe.recordsPerEntry.record(header.recordCount);
      index.addEntry(slab.bytes, slab.view, at, header, active.position + at - write.start);
    }
  }

  /** Whether an empty frame would make something certain: the last batch is durable, and no frame says so yet. */
  get needsIdleFrame(): boolean {
    return this.isIdle && this.#framedIndex < this.#syncedIndex;
  }

  /** Writes a frame without entries, so that the last batch is covered too. */
  appendIdleFrame(): boolean {
    const slab = this.tail.slabFor(FRAME_BYTES);
    const start = slab.used;
    const { active } = this.segments;
    const isTaken = this.append({
      slab,
      start,
      end: start + FRAME_BYTES,
      entryCount: 0,
      firstIndex: active.chain.index + 1,
      previousChecksum: active.chain.checksum,
      chain: active.chain,
    });
    if (isTaken) {
      slab.used += FRAME_BYTES;
      slab.pins += 1;
    }
    return isTaken;
  }

  /** Takes one completion of the disk. Throws `FatalError`: a failed write or sync is never survived. */
  completed(completion: DiskCompletion): LogEvent | undefined {
    if (completion.token !== APPEND_TOKEN) {
      const done = this.#jobs.get(completion.token);
      assert(done !== undefined, `Job ${completion.token} is known`);
      this.#jobs.delete(completion.token);
      return done(completion.error, completion.result);
    }
    const write = this.#inFlight;
    assert(write !== undefined, "A completion has its write");
    this.#inFlight = undefined;
    if (completion.error !== undefined) {
      const reason = completion.error.kind === "no_space" ? "disk_full" : "sync_failed";
      throw new FatalError(reason, `Cannot write to the log: ${completion.error.message}`, {
        cause: completion.error,
      });
    }
    if (write.entryCount === 0) {
      write.slab.pins -= 1;
      return undefined;
    }
    this.#syncedIndex = write.chain.index;
    return { kind: "synced", index: write.chain.index, term: write.chain.term };
  }

  /** Saves what this node has promised; `state_saved` says when it is durable. */
  saveState(state: HardState): void {
    this.#stateCounter += 1;
    const position = stateSlotPosition(this.#stateCounter);
    const bytes = encodeStateSlot(this.#stateCounter, state);
    this.#run({ kind: "write_slot", name: STATE_FILE, position, bytes }, (error) => {
      if (error !== undefined)
        throw new FatalError("sync_failed", `Cannot save the node's state: ${error.message}`, {
          cause: error,
        });
      return { kind: "state_saved", state };
    });
  }

  /** Does what is due in the background. @param appliedIndex Only applied segments are derived from. */
  maintain(appliedIndex: number): void {
    // Without room for one segment none of these could end; `askRoom` says when there is some again.
    if (this.#freeBytes < this.#limits.segmentBytes) return;
    const unwritten = this.#unwritten;
    this.#unwritten = undefined;
    unwritten?.();
    this.#prepareSpare();
    this.#derive(appliedIndex);
    this.#merge();
  }

  /** Asks the disk how much room is left. */
  askRoom(): void {
    if (this.#isAskingRoom) return;
    this.#isAskingRoom = true;
    this.#run({ kind: "free_bytes" }, (_error, result) => {
      this.#isAskingRoom = false;
      this.#freeBytes = result?.freeBytes ?? this.#freeBytes;
      return undefined;
    });
  }

  /** Closes the files; nothing may be under way. */
  close(): void {
    this.reader.close();
    this.#file.close();
  }

  #run(
    job: DiskJob,
    done: (error: FileError | undefined, result: JobResult | undefined) => LogEvent | undefined,
  ): void {
    const token = this.#nextToken++;
    this.#jobs.set(token, done);
    this.#disk.run(job, token);
  }

  #roll(): boolean {
    if (this.#spare === undefined || this.#underived.length >= UNDERIVED_MAX) return false;
    const sealed = this.segments.active;
    this.#underived.push(sealed);
    this.segments.add(freshSegment(this.#spare, sealed.chain));
    this.#file.close();
    this.#file = this.#disk.open(fileName(this.#spare.sequence, "log"));
    this.#spare = undefined;
    this.probe.rolls += 1;
    this.#prepareSpare();
    return true;
  }

  #prepareSpare(): void {
    if (this.#spare !== undefined || this.#isPreparing) return;
    this.#isPreparing = true;
    const header = newSegmentHeader(
      this.#nextSequence++,
      { segmentBytes: this.#limits.segmentBytes, randomSalt: this.#randomSalt },
      this.#clusterId,
    );
    const name = fileName(header.sequence, "log");
    const job: DiskJob = {
      kind: "prepare_segment",
      name,
      bytes: header.fileBytes,
      header: encodeSegmentHeader(header),
    };
    this.#run(job, (error, result) => {
      if (error === undefined) {
        this.#isPreparing = false;
        this.#spare = header;
        this.#freeBytes = result?.freeBytes ?? this.#freeBytes;
        return undefined;
      }
      if (error.kind !== "no_space")
        throw new FatalError("sync_failed", `Cannot prepare a segment: ${error.message}`, {
          cause: error,
        });
      // Full before the write: take the half-made file away and look again later.
      this.#freeBytes = 0;
      this.#run({ kind: "remove_files", names: [name] }, () => {
        this.#isPreparing = false;
        return undefined;
      });
      return undefined;
    });
  }

  #derive(appliedIndex: number): void {
    const segment = this.#underived[0];
    if (segment === undefined || this.#isDeriving) return;
    if (segment.chain.index > Math.min(appliedIndex, this.#syncedIndex)) return;
    this.#isDeriving = true;
    const { sequence, salt, position, previous, chain } = segment;
    const job: DiskJob = {
      kind: "derive_segment",
      sequence,
      salt,
      clusterId: this.#clusterId,
      validBytes: position,
      chain: previous,
      lastIndex: chain.index,
    };
    this.#run(job, (error) => {
      if (error?.kind === "no_space") {
        this.#isDeriving = false;
        this.#freeBytes = 0;
        return undefined;
      }
      if (error !== undefined) return this.#jobFailed(error);
      segment.isDerived = true;
      segment.deltaBytes = this.#disk.files.size(fileName(sequence, "delta")) ?? 0;
      const isKnown = this.#manifest.segments.some((known) => known.sequence === sequence);
      const others = this.#manifest.segments.filter((known) => known.sequence !== sequence);
      const segments = [...others, sealedOf(segment)].sort(
        (left, right) => left.sequence - right.sequence,
      );
      assert(isKnown || segments.at(-1)?.sequence === sequence, "Segments are sealed in order");
      this.#switchManifest({ ...this.#manifest, segments }, () => {
        const bytes = this.#disk.files.map(fileName(sequence, "index"));
        const index = bytes && IndexFile.open(bytes, sequence, this.#clusterId);
        if (index !== undefined) segment.index = index;
        this.#underived.shift();
        this.#isDeriving = false;
      });
      return undefined;
    });
  }

  #merge(): void {
    if (this.#isMerging || this.#isDeriving) return;
    const baseIndex = this.#manifest.base?.lastIndex ?? 0;
    const unmerged = this.segments
      .all()
      .filter((segment) => segment.isDerived && segment.chain.index > baseIndex);
    const bytes = unmerged.reduce((sum, segment) => sum + segment.deltaBytes, 0);
    const isDue =
      unmerged.length > MERGE_DELTAS_MAX ||
      (bytes > (this.#limits.mergeBytesMin ?? MERGE_BYTES_MIN) &&
        bytes > (this.#manifest.base?.bytes ?? 0) / 4);
    if (!isDue) return;
    this.#isMerging = true;
    const sequence = this.#nextSequence++;
    const replaced = this.#manifest.base;
    const deltaSequences = unmerged.map((segment) => segment.sequence);
    const job: DiskJob = {
      kind: "merge_base",
      sequence,
      clusterId: this.#clusterId,
      baseSequence: replaced?.sequence,
      deltaSequences,
    };
    this.#run(job, (error, result) => {
      if (error?.kind === "no_space") {
        this.#isMerging = false;
        this.#freeBytes = 0;
        return undefined;
      }
      if (error !== undefined) return this.#jobFailed(error);
      assert(result?.base !== undefined, "A merge gives a base");
      const base = { sequence, lastIndex: result.base.lastIndex, bytes: result.base.bytes };
      this.#switchManifest({ ...this.#manifest, base }, () => {
        this.#isMerging = false;
        this.probe.merges += 1;
        // New files synced, then the manifest, then the old are unlinked.
        const names = deltaSequences.map((delta) => fileName(delta, "delta"));
        if (replaced !== null) names.push(fileName(replaced.sequence, "base"));
        this.#run({ kind: "remove_files", names }, () => undefined);
      });
      return undefined;
    });
  }

  #switchManifest(manifest: Manifest, then: () => void): void {
    this.#manifest = { ...manifest, nextSequence: this.#nextSequence };
    const bytes = encodeChecked(this.#manifest);
    this.#run({ kind: "replace_file", name: MANIFEST_FILE, bytes }, (error) => {
      if (error?.kind === "no_space") {
        this.#freeBytes = 0;
        this.#unwritten = () => this.#switchManifest(this.#manifest, then);
        return undefined;
      }
      if (error !== undefined)
        throw new FatalError("sync_failed", `Cannot write the manifest: ${error.message}`, {
          cause: error,
        });
      then();
      return undefined;
    });
  }

  /** A disk that fails is no damage to the log: only what was read and is not what it was stops the node for good. */
  #jobFailed(error: FileError): undefined {
    if (error.kind === "damaged") return this.#damaged(error.message);
    throw new FatalError("sync_failed", `Cannot work on the log's files: ${error.message}`, {
      cause: error,
    });
  }

  /** Writes what was found into the manifest and stops: the next start refuses and names `ayder inspect`. */
  #damaged(message: string): undefined {
    const bytes = encodeChecked({ ...this.#manifest, damage: message });
    this.#run({ kind: "replace_file", name: MANIFEST_FILE, bytes }, () => {
      throw new FatalError("log_corrupt", message);
    });
    return undefined;
  }
}
