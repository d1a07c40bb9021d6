// Gives space back. What holds no live record is dropped; what holds few is rewritten: its live records move to an archive,
// the manifest switches, the old files go. One run at a time, in pieces, so that the log's syncs wait for one piece at most.
// Only what lies at or below the base is touched, and the newest sealed segments stay for followers.

import { assert } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";
import { keptBytes } from "./archive.ts";
import {
  type ArchivePlan,
  CHUNK,
  CHUNK_FIELDS,
  sourceOf,
  type WriteArchiveJob,
} from "./archive-jobs.ts";
import type { FileError, Files } from "./disk.ts";
import type { FileSetHost } from "./file-set.ts";
import { fileName, SEGMENT_DATA_START } from "./format.ts";
import { archiveOf, hasEntries, type LiveSegment, nameOf, openArchive } from "./live-segment.ts";
import { type Floors, LiveShares, shareOf } from "./live-share.ts";
import type { ArchiveFile, Manifest } from "./metadata.ts";
import { IndexFile } from "./offset-index.ts";
import type { ChainEnd } from "./segment-scan.ts";
import type { SegmentSet } from "./segment-set.ts";

/** Records that one piece moves, and its sync with them. */
const PIECE_BYTES = 1 << 20;
/** So many small archives side by side are made into one, when none of them is half of it. */
const SMALL_ARCHIVES_MIN = 4;
/** Files that one run reads: their space comes back before others are begun. */
const SOURCES_MAX = 4;
/** Reading costs a fraction of what writing and syncing does. */
const READ_COST = 1 / 4;
/** How much faster it goes when space is short, or when much waits to be given back. */
const HASTE_MAX = 8;
/** After a run that came to nothing, such as for want of room. */
const TRY_AGAIN_MS = 5000;

/** What reclaiming is told at each step. */
export interface ReclaimView {
  readonly nowMs: number;
  readonly floors: Floors;
  readonly freeBytes: number;
  /** Records are refused, or soon will be. */
  readonly isShort: boolean;
}

/** What reclaiming needs of the log's upkeep. */
export interface ReclaimOptions {
  readonly segments: SegmentSet;
  readonly host: FileSetHost;
  readonly files: Files;
  readonly clusterId: string;
  readonly segmentBytes: number;
  /** Newest sealed segments that stay as they are. */
  readonly segmentsKept: number;
  readonly bytesPerSecond: number;
  /** Switches the manifest; `then` when it is durable. */
  readonly switchManifest: (change: Partial<Manifest>, then: () => void) => void;
  /** These files are of the log no more: to be closed and unlinked. The set knows already. */
  readonly reclaimed: (olds: readonly LiveSegment[]) => void;
  readonly onDamage: (segment: LiveSegment, message: string) => void;
}

/** A run that moves records. */
interface Run {
  readonly olds: readonly LiveSegment[];
  readonly sequence: number;
  readonly plans: ArchivePlan[];
  pieces: Iterator<Float64Array> | undefined;
  position: number;
  bytes: number;
}

/** Reclaims the space of one log. */
export class Reclaimer {
  /** Counters since the start, and what was last seen. */
  readonly probe = { runs: 0, files: 0, bytes: 0, liveBytes: 0, deadBytes: 0 };
  /** Segments wait for a base that tells of them. */
  wantsBase = false;
  readonly #options: ReclaimOptions;
  readonly #shares = new LiveShares();
  #run: Run | undefined;
  /** Acts that are with the disk: one of a run, or the switch of a repair beside it. */
  #busy = 0;
  #isHurried = false;
  #allowance = 0;
  #view: ReclaimView | undefined;
  /** Bytes of files that are worth it, when last looked at. */
  #waitingBytes = 0;
  #lastMs: number | undefined;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  /** What the last look at everything found nothing to do for. */
  #settled = "";

  constructor(options: ReclaimOptions) {
    this.#options = options;
  }

  /** Goes on without pauses until there is nothing left to do. */
  hurry(): void {
    this.#isHurried = true;
    this.#settled = "";
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
  }

  /** Puts an archive of fetched records in the place of a damaged file; undefined when nothing of it is alive. */
  replace(damaged: LiveSegment, archive: LiveSegment | undefined, then: () => void): void {
    this.#switch([damaged], archive, then);
  }

  /** Does the next step, if it is time for one. */
  step(view: ReclaimView): void {
    this.#view = view;
    const { bytesPerSecond, segmentBytes } = this.#options;
    // Where records die faster than this would give their space back, it keeps up.
    const haste = view.isShort ? HASTE_MAX : 1 + (2 * this.#waitingBytes) / segmentBytes;
    const rate = bytesPerSecond * Math.min(HASTE_MAX, haste);
    const earned = (rate * Math.max(0, view.nowMs - (this.#lastMs ?? view.nowMs))) / 1000;
    // What was not used is not saved up.
    this.#allowance = Math.min(this.#allowance + earned, Math.max(PIECE_BYTES, rate / 4));
    this.#lastMs = view.nowMs;
    if (this.#busy > 0) return;
    if (this.#run !== undefined) {
      this.#continue();
      return;
    }
    if (view.nowMs < this.#notBeforeMs) return;
    const { segments } = this.#options;
    const sealed = segments.all().filter((segment) => segment.isDerived);
    const { generation } = segments;
    const newest = sealed.at(-1)?.sequence;
    const files = `${generation} ${sealed.length} ${newest} ${view.floors.version}`;
    if (!this.#shares.step(sealed, files, view.floors)) return;
    const seen = `${files} ${this.#baseIndex} ${view.isShort}`;
    if (seen === this.#settled) return;
    this.#count(sealed);
    if (!this.#choose(sealed, view)) {
      this.#settled = seen;
      this.#isHurried &&= this.wantsBase;
    }
  }

  /** Goes on with the run, if it is time. */
  #continue(): void {
    if (this.#run === undefined || this.#view === undefined || this.#busy > 0) return;
    if (this.#allowance > 0 || this.#isHurried) this.#goOn(this.#run, this.#view);
  }

  get #baseIndex(): number {
    return this.#options.host.manifest.base?.lastIndex ?? 0;
  }

  #count(sealed: readonly LiveSegment[]): void {
    let live = 0;
    let total = 0;
    for (const segment of sealed) {
      live += Math.min(segment.position, this.#shares.of(segment).keptBytes);
      total += segment.position;
    }
    this.probe.liveBytes = live;
    this.probe.deadBytes = total - live;
  }

  /** Begins what is worth it; false: nothing is. */
  #choose(sealed: readonly LiveSegment[], view: ReclaimView): boolean {
    const { host, segments, segmentsKept } = this.#options;
    const logs = sealed.filter((segment) => segment.kind === "log" && hasEntries(segment));
    const newest = new Set(segmentsKept === 0 ? [] : logs.slice(-segmentsKept));
    const isFree = (segment: LiveSegment): boolean =>
      segment.isDerived && !newest.has(segment) && !segment.isRepairing && segment.chain.index > 1;
    const isWorthIt = (segment: LiveSegment): boolean =>
      2 * this.#shares.of(segment).keptBytes <= segment.position;
    const baseIndex = this.#baseIndex;
    const waiting = sealed.filter((segment) => isFree(segment) && isWorthIt(segment));
    const bytesOf = (some: readonly LiveSegment[]): number =>
      some.reduce((sum, segment) => sum + segment.position, 0);
    this.#waitingBytes = bytesOf(waiting);
    const aboveBase = bytesOf(waiting.filter((segment) => segment.chain.index > baseIndex));
    // A merge writes the whole base: it has to give back as much.
    this.wantsBase =
      aboveBase > 0 &&
      (this.#isHurried || view.isShort || aboveBase >= (host.manifest.base?.bytes ?? 0));
    const all = segments.all();
    const mayGo = (segment: LiveSegment): boolean =>
      isFree(segment) && segment.chain.index <= baseIndex;
    const dead = all.filter((segment) => mayGo(segment) && this.#isDead(segment, view.floors));
    if (dead.length > 0) {
      this.#switch(dead, undefined);
      return true;
    }
    const olds =
      this.#sparse(all, (segment) => mayGo(segment) && !segment.isDamaged, isWorthIt) ??
      this.#small(all, (segment) => mayGo(segment) && !segment.isDamaged);
    if (olds === undefined) return false;
    const needed = olds.reduce((sum, old) => sum + this.#shares.of(old).keptBytes, PIECE_BYTES);
    if (view.freeBytes < needed) {
      // There may be room later, and nothing would say so.
      this.#notBeforeMs = view.nowMs + TRY_AGAIN_MS;
      return true;
    }
    this.#begin(olds);
    return true;
  }

  #isDead(segment: LiveSegment, { floorOf }: Floors): boolean {
    return (
      this.#shares.of(segment).keptBytes === 0 &&
      // The newest files have not been looked at under these floors; this one was, and floors do not fall.
      shareOf(segment, floorOf).keptBytes === 0
    );
  }

  /** The first neighbours that are mostly dead, as many as make one archive. */
  #sparse(
    all: readonly LiveSegment[],
    mayMove: (segment: LiveSegment) => boolean,
    isWorthIt: (segment: LiveSegment) => boolean,
  ): readonly LiveSegment[] | undefined {
    const from = all.findIndex((segment) => mayMove(segment) && isWorthIt(segment));
    if (from < 0) return undefined;
    const olds: LiveSegment[] = [];
    let bytes = 0;
    for (const segment of all.slice(from)) {
      bytes += this.#shares.of(segment).keptBytes;
      const isFitting = olds.length === 0 || bytes <= this.#options.segmentBytes;
      const isOver = olds.length >= SOURCES_MAX || !isFitting;
      if (!mayMove(segment) || !isWorthIt(segment) || isOver) break;
      olds.push(segment);
    }
    return olds;
  }

  /** Small archives side by side. */
  #small(
    all: readonly LiveSegment[],
    mayMove: (segment: LiveSegment) => boolean,
  ): readonly LiveSegment[] | undefined {
    const { segmentBytes } = this.#options;
    for (let from = 0; from < all.length; from++) {
      const olds: LiveSegment[] = [];
      let bytes = 0;
      let largest = 0;
      for (const segment of all.slice(from)) {
        const isSmall = segment.kind === "archive" && segment.position < segmentBytes / 4;
        if (!isSmall || !mayMove(segment) || bytes + segment.position > segmentBytes) break;
        olds.push(segment);
        bytes += segment.position;
        largest = Math.max(largest, segment.position);
      }
      if (olds.length >= SMALL_ARCHIVES_MIN && 2 * largest <= bytes) return olds;
    }
    return undefined;
  }

  #begin(olds: readonly LiveSegment[]): void {
    const { host } = this.#options;
    const [sequence = 0] = host.allocate(1);
    this.#run = {
      olds,
      sequence,
      plans: [],
      pieces: undefined,
      position: SEGMENT_DATA_START,
      bytes: 0,
    };
    this.#busy += 1;
    host.noteIncoming([sequence], () => {
      this.#busy -= 1;
      this.#continue();
    });
  }

  #goOn(run: Run, view: ReclaimView): void {
    const old = run.olds[run.plans.length];
    if (old !== undefined) this.#plan(run, old, view.floors);
    else if (run.bytes === 0) this.#finish(run, undefined);
    else if (run.position < run.bytes) this.#write(run);
    else this.#derive(run);
  }

  /** Asks the disk for one step. */
  #ask(run: Run, job: Parameters<FileSetHost["run"]>[0], done: (plan?: ArchivePlan) => void): void {
    this.#busy += 1;
    this.#options.host.run(job, (error, result) => {
      this.#busy -= 1;
      if (error === undefined) done(result?.plan);
      else this.#failed(run, error);
      this.#continue();
    });
  }

  #plan(run: Run, old: LiveSegment, { floorOf }: Floors): void {
    const floors: number[] = [];
    for (const { key, nextOffset } of old.index.ranges()) {
      const floor = floorOf(key);
      if (floor < nextOffset) floors.push(key, floor);
    }
    const source = sourceOf(old, this.#options.clusterId);
    this.#allowance -= old.position * READ_COST;
    this.#ask(run, { kind: "plan_archive", source, floors: Float64Array.from(floors) }, (plan) => {
      assert(plan !== undefined, "A plan was asked for");
      run.plans.push(plan);
      if (run.plans.length < run.olds.length) return;
      const bytes = planBytes(run.plans);
      run.bytes = bytes === 0 ? 0 : SEGMENT_DATA_START + bytes;
      run.pieces = piecesOf(run.plans);
    });
  }

  #write(run: Run): void {
    const next = run.pieces?.next();
    assert(next !== undefined && next.done !== true, "There are records to move");
    const chunks = next.value;
    const length = pieceBytes(chunks);
    const job: WriteArchiveJob = {
      kind: "write_archive",
      sequence: run.sequence,
      clusterId: this.#options.clusterId,
      bytes: run.bytes,
      position: run.position,
      chunks,
      sources: run.olds.map((old) => sourceOf(old, this.#options.clusterId)),
    };
    this.#allowance -= length;
    this.#ask(run, job, () => {
      run.position += length;
    });
  }

  #derive(run: Run): void {
    const { clusterId, files } = this.#options;
    const { sequence, bytes: validBytes } = run;
    this.#allowance -= validBytes * READ_COST;
    this.#ask(run, { kind: "derive_archive", sequence, clusterId, validBytes }, () => {
      const bytes = files.map(fileName(sequence, "index"));
      const index = bytes && IndexFile.open(bytes, sequence, clusterId);
      assert(index !== undefined, "An index that was just written can be read");
      const firstIndex = run.olds[0]?.firstIndex ?? 0;
      const lastIndex = run.olds.at(-1)?.chain.index ?? 0;
      this.#finish(run, openArchive({ sequence, firstIndex, lastIndex, validBytes }, index));
    });
  }

  /** The archive is complete. What stands in the place of its sources by now may be another file: then it was for nothing. */
  #finish(run: Run, archive: LiveSegment | undefined): void {
    const { segments } = this.#options;
    if (!run.olds.every((old) => segments.has(old) && !old.isRepairing)) {
      this.#discard(run);
      return;
    }
    this.#run = undefined;
    this.#switch(run.olds, archive);
  }

  #switch(
    olds: readonly LiveSegment[],
    archive: LiveSegment | undefined,
    then: () => void = () => undefined,
  ): void {
    const { segments, host, switchManifest, reclaimed } = this.#options;
    const { manifest } = host;
    const gone = new Set(olds.map(({ sequence }) => sequence));
    let { compacted } = segments;
    for (const old of olds) {
      const { kind, chain } = old;
      if (kind === "log" && hasEntries(old) && chain.index > compacted.index) compacted = chain;
    }
    const archives: ArchiveFile[] = manifest.archives.filter(({ sequence }) => !gone.has(sequence));
    if (archive !== undefined) archives.push(archiveOf(archive));
    archives.sort((left, right) => left.firstIndex - right.firstIndex);
    const incoming = manifest.incoming.filter((noted) => noted !== archive?.sequence);
    this.#busy += 1;
    const change = {
      segments: manifest.segments.filter(({ sequence }) => !gone.has(sequence)),
      archives,
      compacted: compacted.index === 0 ? null : compacted,
      incoming: [...incoming, ...gone],
    };
    switchManifest(change, () => {
      this.#busy -= 1;
      this.probe.runs += 1;
      this.probe.files += olds.length;
      const before = olds.reduce((sum, old) => sum + old.position, 0);
      this.probe.bytes += Math.max(0, before - (archive?.position ?? 0));
      this.#take(olds, archive, compacted);
      reclaimed(olds);
      then();
    });
  }

  /** Dead files need not be neighbours; what was rewritten is. */
  #take(olds: readonly LiveSegment[], archive: LiveSegment | undefined, compacted: ChainEnd): void {
    const { segments } = this.#options;
    if (archive !== undefined) segments.reclaim(olds, archive, compacted);
    else for (const old of olds) segments.reclaim([old], undefined, compacted);
  }

  #failed(run: Run, error: FileError): void {
    const isSurvived = ["no_space", "damaged", "not_found"].includes(error.kind);
    if (!isSurvived)
      throw new FatalError("sync_failed", `Cannot move records: ${error.message}`, {
        cause: error,
      });
    // What a source is accused of, its file is named for; anything else is the new file's own.
    const old = run.olds.find((segment) => error.message.includes(nameOf(segment)));
    this.#discard(run);
    if (error.kind === "damaged" && old !== undefined) this.#options.onDamage(old, error.message);
  }

  #discard(run: Run): void {
    const names = (["archive", "index"] as const).map((kind) => fileName(run.sequence, kind));
    this.#options.host.run({ kind: "remove_files", names }, () => undefined);
    this.#run = undefined;
    this.#notBeforeMs = (this.#lastMs ?? 0) + TRY_AGAIN_MS;
  }
}

/** Bytes of every chunk of these plans in an archive. */
function planBytes(plans: readonly ArchivePlan[]): number {
  let bytes = 0;
  for (const { chunks } of plans)
    for (let i = CHUNK.bytes; i < chunks.length; i += CHUNK_FIELDS)
      bytes += keptBytes(chunks[i] ?? 0);
  return bytes;
}

function pieceBytes(chunks: Float64Array): number {
  let bytes = 0;
  for (let i = 1 + CHUNK.bytes; i < chunks.length; i += CHUNK_FIELDS + 1)
    bytes += keptBytes(chunks[i] ?? 0);
  return bytes;
}

/** The chunks of all plans by partition and offset, in pieces: sources are in log order, and so are their offsets. */
function* piecesOf(plans: readonly ArchivePlan[]): Iterator<Float64Array> {
  const stride = CHUNK_FIELDS + 1;
  const heads = plans.map(() => 0);
  let piece: number[] = [];
  let bytes = 0;
  for (;;) {
    let key = Number.POSITIVE_INFINITY;
    for (const [i, { chunks }] of plans.entries())
      key = Math.min(key, chunks[heads[i] ?? 0] ?? Number.POSITIVE_INFINITY);
    if (key === Number.POSITIVE_INFINITY) break;
    for (const [i, { chunks }] of plans.entries()) {
      let at = heads[i] ?? 0;
      for (; at < chunks.length && chunks[at] === key; at += CHUNK_FIELDS) {
        piece.push(i, ...chunks.subarray(at, at + CHUNK_FIELDS));
        bytes += keptBytes(chunks[at + CHUNK.bytes] ?? 0);
        if (bytes < PIECE_BYTES) continue;
        yield Float64Array.from(piece);
        piece = [];
        bytes = 0;
      }
      heads[i] = at;
    }
  }
  if (piece.length >= stride) yield Float64Array.from(piece);
}
