// What keeps the log going behind its back: the next segment is prepared, sealed ones get their index and delta, deltas are
// merged, the manifest follows. One job at a time, away from the serving thread; each can be cut off and run again.

import { assert } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";
import type { Disk, DiskCompletion, FileError } from "./disk.ts";
import type { FileSetHost, OfferedFiles, OfferedSegment } from "./file-set.ts";
import { encodeSegmentHeader, fileName, type SegmentHeader } from "./format.ts";
import type { DiskJob, JobResult } from "./jobs.ts";
import { archiveOf, type LiveSegment, newSegmentHeader, sealedOf } from "./live-segment.ts";
import type { Floors } from "./live-share.ts";
import {
  type ArchiveFile,
  encodeChecked,
  encodeStateSlot,
  type HardState,
  inLogOrder,
  MANIFEST_FILE,
  type Manifest,
  type SealedSegment,
  STATE_FILE,
  stateSlotPosition,
} from "./metadata.ts";
import { IndexFile } from "./offset-index.ts";
import { Reclaimer } from "./reclaim.ts";
import type { RecoveredLog } from "./recovery.ts";
import type { SegmentSet } from "./segment-set.ts";

/** Something that the replica must know of. */
export type LogEvent =
  | { readonly kind: "synced"; readonly index: number }
  | { readonly kind: "state_saved"; readonly state: HardState };

/** Limits of the log. */
export interface LogLimits {
  readonly segmentBytes: number;
  /** Size of a segment that a start has to wait for, as the first of all is; `segmentBytes` when absent. */
  readonly startSegmentBytes?: number;
  /** Free space below which the node takes no more records. */
  readonly reserveBytes: number;
  readonly slabBytes: number;
  readonly tailBytes: number;
  /** Deltas are merged when they weigh more than this, 1 MiB when absent, and more than a quarter of the base. */
  readonly mergeBytesMin?: number;
  /** Newest sealed segments that stay whole for followers; 2 when absent. */
  readonly segmentsKept?: number;
  /** Bytes that reclaiming reads and writes in a second, eight times as many when space is short; 32 MiB when absent. */
  readonly reclaimBytesPerSecond?: number;
  /** Every sealed segment is verified once in so many milliseconds; a week when absent. */
  readonly scrubPassMs?: number;
}

const MERGE_BYTES_MIN = 1 << 20;
const MERGE_DELTAS_MAX = 64;
const SEGMENTS_KEPT = 2;
const RECLAIM_BYTES_PER_SECOND = 32 << 20;
/** Sealed segments that could have their index, and do not, before writing waits too. */
const UNDERIVED_MAX = 2;

/** The background work of one log. */
export class Upkeep {
  /** Called with a segment that a job found damaged. */
  onDamage: (segment: LiveSegment, message: string) => void = (_segment, message) => {
    this.damaged(message);
  };
  /** Called when files went: the log begins later, or records lie elsewhere. */
  onReclaimed: (olds: readonly LiveSegment[]) => void = () => undefined;
  readonly reclaimer: Reclaimer;
  /** Merges so far. */
  merges = 0;
  readonly #disk: Disk;
  readonly #limits: LogLimits;
  readonly #segments: SegmentSet;
  readonly #clusterId: string;
  readonly #randomSalt: () => number;
  #manifest: Manifest;
  #spare: SegmentHeader | undefined;
  /** The segment that is being prepared. */
  #preparing: SegmentHeader | undefined;
  #nextSequence: number;
  #stateCounter: number;
  #freeBytes = Number.POSITIVE_INFINITY;
  #isAskingRoom = false;
  readonly #underived: LiveSegment[];
  #isDeriving = false;
  #isMerging = false;
  #isScrubbing = false;
  /** Segments verified since the start. */
  #scrubbed = 0;
  readonly #jobs = new Map<
    number,
    (error: FileError | undefined, result: JobResult | undefined) => LogEvent | undefined
  >();
  /** 0 is the token of appends. */
  #nextToken = 1;
  /** Who waits for manifests that found no room; the one on disk still tells the truth. */
  readonly #unwritten: (() => void)[] = [];

  constructor(options: {
    readonly disk: Disk;
    readonly recovered: RecoveredLog;
    readonly limits: LogLimits;
    readonly segments: SegmentSet;
    readonly randomSalt: () => number;
  }) {
    const { recovered } = options;
    this.#disk = options.disk;
    this.#limits = options.limits;
    this.#segments = options.segments;
    this.#randomSalt = options.randomSalt;
    this.#clusterId = recovered.meta.clusterId;
    this.#manifest = recovered.manifest;
    this.#spare = recovered.spare;
    this.#nextSequence = recovered.nextSequence;
    this.#stateCounter = recovered.stateCounter;
    this.#underived = recovered.sealed.filter((segment) => !segment.isDerived);
    this.reclaimer = new Reclaimer({
      segments: options.segments,
      host: this.host,
      files: options.disk.files,
      clusterId: this.#clusterId,
      segmentBytes: options.limits.segmentBytes,
      segmentsKept: options.limits.segmentsKept ?? SEGMENTS_KEPT,
      bytesPerSecond: options.limits.reclaimBytesPerSecond ?? RECLAIM_BYTES_PER_SECOND,
      switchManifest: (change, then) =>
        this.#switchManifest({ ...this.#manifest, ...change }, then),
      reclaimed: (olds) => this.#reclaimed(olds),
      onDamage: (segment, message) => this.onDamage(segment, message),
    });
    // The spare comes with the first `maintain`: the vote that makes a leader must not wait behind its zeros.
  }

  /** Whether there is too little room for more records. */
  get isFull(): boolean {
    // Freeing space may need another base beside the one that is there.
    return this.#freeBytes < this.#limits.reserveBytes + (this.#manifest.base?.bytes ?? 0);
  }

  /** Room on the file system, in bytes, when last asked. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Sealed segments verified since the start. */
  get scrubbedCount(): number {
    return this.#scrubbed;
  }

  /** How far the base goes. */
  get baseIndex(): number {
    return this.#manifest.base?.lastIndex ?? 0;
  }

  /** Sealed segments without an index. */
  get underivedCount(): number {
    return this.#underived.length;
  }

  /**
   * Gives the prepared segment away, because `sealed` is full. Undefined: there is none yet, or too many sealed segments
   * wait for their index.
   * @param readyIndex What ends at or below this is committed and synced.
   */
  takeSpare(sealed: LiveSegment | undefined, readyIndex: number): SegmentHeader | undefined {
    if (this.#spare === undefined) {
      this.#prepareSpare();
      return undefined;
    }
    // What is not committed yet gets no index, and may need the very write that asks for room here: a new leader commits
    // what it found by writing behind it.
    const ready = this.#underived.filter(({ chain }) => chain.index <= readyIndex);
    if (ready.length >= UNDERIVED_MAX) return undefined;
    const spare = this.#spare;
    this.#spare = undefined;
    if (sealed !== undefined && !sealed.isDerived && !this.#underived.includes(sealed))
      this.#underived.push(sealed);
    this.#prepareSpare();
    return spare;
  }

  /**
   * What another node may be filled with: archives, and the derived segments from the first on, without a gap above the
   * compaction point; undefined for none. Reclaiming may unlink these files at any later turn: open them in this one.
   */
  offer(): OfferedFiles | undefined {
    const { compacted } = this.#segments;
    const segments: OfferedSegment[] = [];
    const archives: ArchiveFile[] = [];
    for (const live of this.#segments.all()) {
      if (!live.isDerived) break;
      if (live.kind === "archive") archives.push(archiveOf(live));
      else segments.push({ ...sealedOf(live), salt: live.salt });
    }
    const last = segments.at(-1);
    const end =
      last === undefined || last.lastIndex <= compacted.index
        ? compacted
        : { index: last.lastIndex, term: last.lastTerm };
    if (end.index === 0) return undefined;
    const { base } = this.#manifest;
    const compactedAt = compacted.index === 0 ? null : compacted;
    return { index: end.index, term: end.term, segments, archives, compacted: compactedAt, base };
  }

  /** Files are of the log no more, and the manifest says so. */
  #reclaimed(olds: readonly LiveSegment[]): void {
    this.onReclaimed(olds);
    const gone = new Set(olds.map(({ sequence }) => sequence));
    const names = olds.flatMap(({ sequence, kind }) =>
      ([kind, "index", "delta"] as const).map((each) => fileName(sequence, each)),
    );
    this.#run({ kind: "remove_files", names }, (error) => {
      if (error !== undefined) return this.#jobFailed(error);
      // The next manifest needs not name them.
      const incoming = this.#manifest.incoming.filter((sequence) => !gone.has(sequence));
      this.#manifest = { ...this.#manifest, incoming };
      return undefined;
    });
  }

  /** Gives space back, step by step. */
  reclaim(nowMs: number, floors: Floors): void {
    const freeBytes = this.#freeBytes;
    const isShort = freeBytes < 2 * this.#limits.reserveBytes;
    this.reclaimer.step({ nowMs, floors, freeBytes, isShort });
  }

  /** For a set of files that is built beside this log. */
  get host(): FileSetHost {
    const upkeep = this;
    return {
      get manifest() {
        return upkeep.#manifest;
      },
      allocate: (count) => Array.from({ length: count }, () => this.#nextSequence++),
      run: (job, done) =>
        this.#run(job, (error, result) => {
          done(error, result);
          return undefined;
        }),
      noteIncoming: (sequences, then) => {
        const incoming = [...this.#manifest.incoming, ...sequences];
        this.#switchManifest({ ...this.#manifest, incoming }, then);
      },
    };
  }

  /** Puts a segment that was made anew, with its index, in the place of a damaged one. */
  replaceSegment(old: LiveSegment, fresh: LiveSegment, then: () => void): void {
    const { sequence } = fresh;
    fresh.isDerived = true;
    fresh.deltaBytes = this.#disk.files.size(fileName(sequence, "delta")) ?? 0;
    const bytes = this.#disk.files.map(fileName(sequence, "index"));
    fresh.index = (bytes && IndexFile.open(bytes, sequence, this.#clusterId)) ?? old.index;
    fresh.terms.push(...old.terms);
    const at = this.#underived.indexOf(old);
    if (at >= 0) this.#underived.splice(at, 1);
    if (at === 0) this.#isDeriving = false;
    this.#segments.replace(old, fresh);
    const known = this.#manifest.segments.filter((sealed) => sealed.sequence !== old.sequence);
    const segments = inLogOrder([...known, sealedOf(fresh)]);
    const incoming = this.#manifest.incoming.filter((noted) => noted !== sequence);
    const openFrom = this.#openFrom(segments);
    this.#switchManifest({ ...this.#manifest, segments, openFrom, incoming }, () => {
      const names = (["log", "index", "delta"] as const).map((kind) =>
        fileName(old.sequence, kind),
      );
      this.#run({ kind: "remove_files", names }, () => undefined);
      then();
    });
  }

  /** Whether no job is under way. */
  get isQuiet(): boolean {
    return this.#jobs.size === 0;
  }

  /** All segments have ended, the newest of them before its time, and these hold nothing of the log any more. */
  cut(dropped: readonly LiveSegment[], then: () => void): void {
    // One whose end is on its way to the manifest is there until it has come.
    const { incoming } = this.#manifest;
    const kept = this.#segments
      .all()
      .filter(({ kind, sequence }) => kind === "log" && !incoming.includes(sequence));
    const underived = this.#underived.filter((segment) => !dropped.includes(segment));
    this.#underived.splice(0, this.#underived.length, ...underived);
    const openFrom = (this.#spare ?? this.#preparing)?.sequence ?? this.#nextSequence;
    this.#switchManifest({ ...this.#manifest, segments: kept.map(sealedOf), openFrom }, () => {
      const names = dropped.map((segment) => fileName(segment.sequence, "log"));
      if (names.length > 0) this.#run({ kind: "remove_files", names }, () => undefined);
      then();
    });
  }

  /** Takes the completion of a job. Throws `FatalError`. */
  completed(completion: DiskCompletion): LogEvent | undefined {
    const done = this.#jobs.get(completion.token);
    assert(done !== undefined, `Job ${completion.token} is known`);
    this.#jobs.delete(completion.token);
    return done(completion.error, completion.result);
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

  /** Does what is due in the background. @param appliedIndex Only applied and synced segments are derived from. */
  maintain(appliedIndex: number, syncedIndex: number): void {
    // Without room for one segment none of these could end; `askRoom` says when there is some again.
    if (this.#freeBytes < this.#limits.segmentBytes) return;
    if (this.#unwritten.length > 0) {
      const waiting = this.#unwritten.splice(0);
      this.#switchManifest(this.#manifest, () => {
        for (const then of waiting) then();
      });
    }
    this.#prepareSpare();
    this.#derive(Math.min(appliedIndex, syncedIndex));
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

  #run(
    job: DiskJob,
    done: (error: FileError | undefined, result: JobResult | undefined) => LogEvent | undefined,
  ): void {
    const token = this.#nextToken++;
    this.#jobs.set(token, done);
    this.#disk.run(job, token);
  }

  #prepareSpare(): void {
    if (this.#spare !== undefined || this.#preparing !== undefined) return;
    // It would be tried at every turn in which something waits for it.
    if (this.#freeBytes < this.#limits.segmentBytes) return;
    const header = newSegmentHeader(
      this.#nextSequence++,
      { segmentBytes: this.#limits.segmentBytes, randomSalt: this.#randomSalt },
      this.#clusterId,
    );
    this.#preparing = header;
    const name = fileName(header.sequence, "log");
    const job: DiskJob = {
      kind: "prepare_segment",
      name,
      bytes: header.fileBytes,
      header: encodeSegmentHeader(header),
    };
    this.#run(job, (error, result) => {
      if (error === undefined) {
        this.#preparing = undefined;
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
        this.#preparing = undefined;
        return undefined;
      });
      return undefined;
    });
  }

  #derive(readyIndex: number): void {
    const segment = this.#underived[0];
    if (segment === undefined || this.#isDeriving) return;
    if (segment.chain.index > readyIndex) return;
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
      if (error !== undefined) {
        this.#isDeriving = error.kind === "damaged";
        return this.#jobFailed(error, segment);
      }
      segment.isDerived = true;
      segment.deltaBytes = this.#disk.files.size(fileName(sequence, "delta")) ?? 0;
      const others = this.#manifest.segments.filter((known) => known.sequence !== sequence);
      const segments = inLogOrder([...others, sealedOf(segment)]);
      const openFrom = this.#openFrom(segments);
      this.#switchManifest({ ...this.#manifest, segments, openFrom }, () => {
        const bytes = this.#disk.files.map(fileName(sequence, "index"));
        const index = bytes && IndexFile.open(bytes, sequence, this.#clusterId);
        if (index !== undefined) segment.index = index;
        this.#underived.shift();
        this.#isDeriving = false;
      });
      return undefined;
    });
  }

  /** Where files begin that hold entries and are not in a manifest of these segments. */
  #openFrom(segments: readonly SealedSegment[]): number {
    const known = new Set(segments.map((sealed) => sealed.sequence));
    const open = this.#segments
      .all()
      .find((live) => live.kind === "log" && !known.has(live.sequence));
    return open?.sequence ?? this.#manifest.openFrom;
  }

  /** Verifies the next sealed segment, or the base after the last of them, unless something is being verified. */
  scrub(): void {
    if (this.#isScrubbing) return;
    const derived = this.#segments
      .all()
      .filter(({ isDerived, isDamaged }) => isDerived && !isDamaged);
    const segment = derived[this.#scrubbed % (derived.length + 1)];
    if (segment === undefined) {
      this.scrubBase();
      return;
    }
    this.#isScrubbing = true;
    const { sequence, salt, position, previous, chain } = segment;
    const clusterId = this.#clusterId;
    const archive = { kind: "verify_archive", sequence, clusterId, validBytes: position } as const;
    const log = {
      kind: "verify_segment",
      sequence,
      salt,
      clusterId: this.#clusterId,
      validBytes: position,
      chain: previous,
      lastIndex: chain.index,
    } as const;
    this.#run(segment.kind === "log" ? log : archive, (error) => {
      this.#isScrubbing = false;
      this.#scrubbed += 1;
      // One that was replaced meanwhile is gone.
      if (error === undefined || !this.#segments.all().includes(segment)) return undefined;
      return this.#jobFailed(error, segment);
    });
  }

  /**
   * Verifies the base, unless something is being verified. One that is damaged stops the node: nothing else says what the
   * state was at its index, and nobody can be filled with it.
   */
  scrubBase(): void {
    const { base } = this.#manifest;
    if (this.#isScrubbing) return;
    this.#scrubbed += 1;
    if (base === null) return;
    this.#isScrubbing = true;
    this.#run({ kind: "verify_base", name: fileName(base.sequence, "base") }, (error) => {
      this.#isScrubbing = false;
      // One that was replaced meanwhile is gone.
      if (error === undefined || this.#manifest.base !== base) return undefined;
      return this.#jobFailed(error);
    });
  }

  /** Whether a damaged segment may be replaced now: those before it are in the manifest. */
  mayReplace(segment: LiveSegment): boolean {
    if (this.#manifest.incoming.includes(segment.sequence)) return false;
    return segment.isDerived || this.#underived[0] === segment;
  }

  #merge(): void {
    if (this.#isMerging || this.#isDeriving) return;
    const baseIndex = this.#manifest.base?.lastIndex ?? 0;
    const unmerged = this.#segments
      .all()
      .filter(
        ({ kind, isDerived, chain }) => kind === "log" && isDerived && chain.index > baseIndex,
      );
    const bytes = unmerged.reduce((sum, segment) => sum + segment.deltaBytes, 0);
    const isDue =
      (unmerged.length > 0 && this.reclaimer.wantsBase) ||
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
        this.reclaimer.wantsBase = false;
        this.merges += 1;
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
        this.#unwritten.push(then);
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
  #jobFailed(error: FileError, segment?: LiveSegment): undefined {
    if (error.kind === "damaged" && segment !== undefined) {
      this.onDamage(segment, error.message);
      return undefined;
    }
    if (error.kind === "damaged") return this.damaged(error.message);
    throw new FatalError("sync_failed", `Cannot work on the log's files: ${error.message}`, {
      cause: error,
    });
  }

  /** Writes what was found into the manifest and stops: the next start refuses and names `ayder inspect`. */
  damaged(message: string): undefined {
    const bytes = encodeChecked({ ...this.#manifest, damage: message });
    this.#run({ kind: "replace_file", name: MANIFEST_FILE, bytes }, () => {
      throw new FatalError("log_corrupt", message);
    });
    return undefined;
  }
}
