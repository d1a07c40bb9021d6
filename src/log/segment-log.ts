// The append-only file as the replica drives it: one write in flight, segments rolled over, derived and merged in the
// background, the manifest switched step by step. Submit, then hand every completion of the disk to `completed`.

import { assert } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";
import { doublingBounds, Histogram } from "../lib/histogram.ts";
import { ArchiveRepair } from "./archive-repair.ts";
import type { BackupHead, OpenPart } from "./backup-format.ts";
import { type Disk, type DiskCompletion, type DiskFile, FileError } from "./disk.ts";
import { EntryReader } from "./entry-reader.ts";
import { IncomingFiles, type OfferedFiles } from "./file-set.ts";
import {
  FRAME_BYTES,
  fileName,
  newEntryHeader,
  putFrame,
  readEntryHeader,
  SEGMENT_DATA_START,
} from "./format.ts";
import { freshSegment, hasEntries, type LiveSegment, nameOf, noteEntry } from "./live-segment.ts";
import type { Floors } from "./live-share.ts";
import type { HardState } from "./metadata.ts";
import { GrowingIndex } from "./offset-index.ts";
import { OpenFiles } from "./open-files.ts";
import type { RecoveredLog } from "./recovery.ts";
import { SegmentReader } from "./segment-reader.ts";
import { SegmentRepair } from "./segment-repair.ts";
import { CHAIN_START, type ChainEnd, visitEntries } from "./segment-scan.ts";
import { SegmentSet } from "./segment-set.ts";
import { type Slab, TailBuffer } from "./tail-buffer.ts";
import { type LogEvent, type LogLimits, Upkeep } from "./upkeep.ts";

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

/** Counters in plain numbers, read out on scrape. */
export interface LogProbe {
  /** Writes submitted, each with one sync. */
  writes: number;
  writtenBytes: number;
  entries: number;
  rolls: number;
  readonly entriesPerWrite: Histogram;
  readonly recordsPerEntry: Histogram;
  readonly bytesPerWrite: Histogram;
}

const APPEND_TOKEN = 0;
/** What there is to offer before anything is complete. */
const NOTHING_OFFERED: OfferedFiles = {
  index: 0,
  term: 0,
  segments: [],
  archives: [],
  compacted: null,
  base: null,
};

/** The log of one node. */
export class SegmentLog {
  readonly segments = new SegmentSet();
  readonly tail: TailBuffer;
  readonly reader: SegmentReader;
  readonly entries: EntryReader;
  readonly probe: LogProbe = {
    writes: 0,
    writtenBytes: 0,
    entries: 0,
    rolls: 0,
    entriesPerWrite: new Histogram(doublingBounds(1, 10)),
    recordsPerEntry: new Histogram(doublingBounds(1, 18)),
    bytesPerWrite: new Histogram(doublingBounds(128, 18)),
  };
  /** Called with a sealed segment that was found damaged. True: it is being repaired; else the node stops. */
  onDamaged: (segment: LiveSegment, message: string) => boolean = () => false;
  /** Called when the log begins later than before: entries up to this index are gone. */
  onCompacted: (index: number) => void = () => undefined;
  readonly #disk: Disk;
  readonly #open: OpenFiles;
  readonly #limits: LogLimits;
  readonly #upkeep: Upkeep;
  readonly #clusterId: string;
  readonly #randomSalt: () => number;
  #file: DiskFile | undefined;
  #inFlight: SealedWrite | undefined;
  #syncedIndex: number;
  /** What the newest frame on disk says. */
  #framedIndex: number;
  #framedCommitIndex = 0;
  /** The log is to end here, and does not yet: a write is in flight, or the manifest does not say so. */
  #cutTo: ChainEnd | undefined;
  #isCutting = false;
  /** The newest segment takes no more writes, though there is room in it. */
  #isSealed = false;
  /** Where the log ended when nothing of it was left. */
  #end: ChainEnd = CHAIN_START;
  readonly #header = newEntryHeader();

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
    this.segments.compacted = recovered.compacted;
    for (const segment of recovered.sealed) this.segments.add(segment);
    this.segments.add(recovered.active);
    this.#upkeep = new Upkeep({ ...options, segments: this.segments });
    this.#file = disk.open(fileName(recovered.active.sequence, "log"));
    // What recovery took in, it synced.
    this.#syncedIndex = recovered.active.chain.index;
    this.#framedIndex = 0;
    this.tail = new TailBuffer(disk, limits.slabBytes, limits.tailBytes);
    this.#open = new OpenFiles(disk);
    this.reader = new SegmentReader(disk, this.segments, this.tail, this.#open);
    this.entries = new EntryReader(disk, this.segments, this.tail, this.#open);
    this.reader.onDamage = (segment, message) => this.#damaged(segment, message);
    this.#upkeep.onDamage = this.reader.onDamage;
    this.entries.onDamage = this.reader.onDamage;
    this.#upkeep.onReclaimed = (olds) => this.#reclaimed(olds);
    // Before the first entry of an empty log that is a part of one.
    this.#end = recovered.compacted;
  }

  /** The newest entry that was handed to the disk. */
  get placedEnd(): ChainEnd {
    return this.segments.hasActive ? this.segments.active.chain : this.#end;
  }

  /** The first index that is still served as an entry; nobody below it can be followed, watched or fed from the log. */
  get firstIndex(): number {
    return this.segments.compacted.index + 1;
  }

  #reclaimed(olds: readonly LiveSegment[]): void {
    this.reader.forget();
    this.entries.forget();
    for (const { sequence } of olds) this.#open.drop(sequence);
    this.onCompacted(this.segments.compacted.index);
  }

  /** Gives space back in the background. Call often; it paces itself. */
  reclaim(nowMs: number, floors: Floors): void {
    this.#upkeep.reclaim(nowMs, floors);
  }

  /** Gives back what can be given back, without pauses. */
  reclaimNow(): void {
    this.#upkeep.reclaimer.hurry();
  }

  /** Highest index that is durable here. */
  get syncedIndex(): number {
    return this.#syncedIndex;
  }

  /** Whether a write may be submitted now. */
  get isIdle(): boolean {
    return this.#inFlight === undefined;
  }

  /** Whether something is being cut off: nothing is appended until it is. */
  get isCutting(): boolean {
    return this.#cutTo !== undefined;
  }

  /** Whether there is too little room for more records. */
  get isFull(): boolean {
    return this.#upkeep.isFull;
  }

  /** Bytes of the log's files, as prepared. */
  get segmentBytes(): number {
    const newest = this.segments.hasActive ? this.segments.active : undefined;
    return this.segments
      .all()
      .reduce(
        (sum, segment) => sum + (segment === newest ? segment.fileBytes : segment.position),
        0,
      );
  }

  /** Segments and how far the background work has got. */
  get counts(): {
    readonly segments: number;
    readonly underived: number;
    readonly freeBytes: number;
    readonly merges: number;
    readonly scrubbed: number;
    readonly archives: number;
    readonly liveBytes: number;
    readonly deadBytes: number;
    readonly reclaimRuns: number;
    readonly reclaimedFiles: number;
    readonly reclaimedBytes: number;
    readonly compactedIndex: number;
  } {
    const { probe } = this.#upkeep.reclaimer;
    return {
      segments: this.segments.all().length,
      archives: this.segments.all().filter(({ kind }) => kind === "archive").length,
      liveBytes: probe.liveBytes,
      deadBytes: probe.deadBytes,
      reclaimRuns: probe.runs,
      reclaimedFiles: probe.files,
      reclaimedBytes: probe.bytes,
      compactedIndex: this.segments.compacted.index,
      underived: this.#upkeep.underivedCount,
      freeBytes: this.#upkeep.freeBytes,
      merges: this.#upkeep.merges,
      scrubbed: this.#upkeep.scrubbedCount,
    };
  }

  /** The most that one write may take: what a prepared segment holds. The first may hold less, and is left then. */
  get writeBytesMax(): number {
    return this.#limits.segmentBytes - SEGMENT_DATA_START;
  }

  /**
   * Submits a write: fills in its frame, places it in the active segment or in the next. False: no segment has room yet;
   * try again after a completion. The slab's bytes must not change until the completion.
   */
  append(write: SealedWrite, commitIndex: number): boolean {
    assert(this.#inFlight === undefined, "Exactly one write is in flight");
    if (this.#cutTo !== undefined) return false;
    const bytes = write.end - write.start;
    if ((this.#isSealed || !this.#hasRoom(bytes)) && !this.#roll(commitIndex)) return false;
    const { active } = this.segments;
    const file = this.#file;
    assert(file !== undefined, "The active segment is open");
    assert(this.#hasRoom(bytes), `A write of ${bytes} bytes fits a prepared segment`);
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
        commitIndex: Math.min(commitIndex, write.chain.index),
      },
      active.salt,
    );
    this.tail.place(slab, write.start, write.end, active.sequence, active.position);
    this.#index(write, active);
    this.#disk.append(file, slab.bytes, write.start, write.end, active.position, APPEND_TOKEN);
    active.position += bytes;
    active.chain = write.chain;
    this.#inFlight = write;
    // Whatever becomes of its entries, this memory is the kernel's until the completion.
    slab.pins += 1;
    this.#framedIndex = this.#syncedIndex;
    this.#framedCommitIndex = Math.min(commitIndex, write.chain.index);
    this.probe.writes += 1;
    this.probe.writtenBytes += bytes;
    this.probe.entries += write.entryCount;
    this.probe.entriesPerWrite.record(write.entryCount);
    this.probe.bytesPerWrite.record(bytes);
    return true;
  }

  #hasRoom(bytes: number): boolean {
    const { active } = this.segments;
    return active.position + bytes <= active.fileBytes;
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
      const position = active.position + at - write.start;
      index.addEntry(slab.bytes, slab.view, at, header, position);
      noteEntry(active, header, position);
    }
  }

  /** Whether an empty frame would make something certain: what is durable or committed, and no frame says so yet. */
  needsIdleFrame(commitIndex: number): boolean {
    if (!this.isIdle || this.isCutting || this.#isSealed) return false;
    return (
      this.#framedIndex < this.#syncedIndex ||
      this.#framedCommitIndex < Math.min(commitIndex, this.#syncedIndex)
    );
  }

  /** Writes a frame without entries, so that the last batch is covered too. */
  appendIdleFrame(commitIndex: number): boolean {
    const slab = this.tail.slabFor(FRAME_BYTES);
    const start = slab.used;
    const { active } = this.segments;
    const isTaken = this.append(
      {
        slab,
        start,
        end: start + FRAME_BYTES,
        entryCount: 0,
        firstIndex: active.chain.index + 1,
        previousChecksum: active.chain.checksum,
        chain: active.chain,
      },
      commitIndex,
    );
    if (isTaken) slab.used += FRAME_BYTES;
    return isTaken;
  }

  /** Takes one completion of the disk. Throws `FatalError`: a failed write or sync is never survived. */
  completed(completion: DiskCompletion): LogEvent | undefined {
    if (completion.token !== APPEND_TOKEN) return this.#upkeep.completed(completion);
    const write = this.#inFlight;
    assert(write !== undefined, "A completion has its write");
    this.#inFlight = undefined;
    write.slab.pins -= 1;
    if (completion.error !== undefined) {
      const reason = completion.error.kind === "no_space" ? "disk_full" : "sync_failed";
      throw new FatalError(reason, `Cannot write to the log: ${completion.error.message}`, {
        cause: completion.error,
      });
    }
    this.#syncedIndex = write.chain.index;
    if (this.#cutTo !== undefined) {
      this.#syncedIndex = Math.min(this.#syncedIndex, this.#cutTo.index);
      this.#cut(this.#cutTo);
    }
    if (write.entryCount === 0) return undefined;
    return { kind: "synced", index: this.#syncedIndex };
  }

  /**
   * Drops every entry behind `end`. They were never committed, so nobody was promised them; what was derived from the log
   * does not know them. Nothing is appended until the manifest says so.
   */
  cut(end: ChainEnd): void {
    if (end.index >= (this.#cutTo ?? this.placedEnd).index) return;
    this.#syncedIndex = Math.min(this.#syncedIndex, end.index);
    this.#framedIndex = Math.min(this.#framedIndex, end.index);
    this.#cutTo = end;
    if (this.#inFlight === undefined) this.#cut(end);
  }

  /** No write is in flight: what is in the files is all there is. */
  #cut(end: ChainEnd): void {
    if (this.#isCutting) return;
    this.#isCutting = true;
    this.#file?.close();
    this.#file = undefined;
    this.#isSealed = true;
    this.reader.forget();
    this.entries.forget();
    const dropped: LiveSegment[] = [];
    // One that holds no entry loses none, and may be on its way into the manifest.
    const isBehind = ({ firstIndex, chain }: LiveSegment): boolean =>
      firstIndex > end.index && chain.index > end.index;
    while (this.segments.hasActive && isBehind(this.segments.active))
      dropped.push(this.segments.dropNewest());
    if (this.segments.hasActive) this.#shorten(this.segments.active, end);
    this.#end = end;
    this.#upkeep.cut(dropped, () => {
      this.#isCutting = false;
      const further = this.#cutTo;
      this.#cutTo = undefined;
      if (further !== undefined && further.index < end.index) this.cut(further);
    });
  }

  /** Ends a segment behind the entry `end`. */
  #shorten(segment: LiveSegment, end: ChainEnd): void {
    if (segment.chain.index === end.index) return;
    const { index, terms, entryPoints } = segment;
    assert(index instanceof GrowingIndex, "What is not committed is not derived");
    const from = entryPoints.findLast((point) => point.index <= end.index + 1)?.position;
    let position = segment.position;
    visitEntries(
      this.#disk.files,
      fileName(segment.sequence, "log"),
      from ?? SEGMENT_DATA_START,
      segment.position,
      (bytes, view, at, header, place) => {
        if (header.index <= end.index) return;
        position = Math.min(position, place);
        index.removeEntry(bytes, view, at, header);
      },
    );
    while ((terms.at(-1)?.[0] ?? 0) > end.index) terms.pop();
    while ((entryPoints.at(-1)?.index ?? 0) > end.index) entryPoints.pop();
    segment.position = position;
    segment.chain = end;
  }

  /** Saves what this node has promised; `state_saved` says when it is durable. */
  saveState(state: HardState): void {
    this.#upkeep.saveState(state);
  }

  /** Does what is due in the background. @param appliedIndex Only applied segments are derived from. */
  maintain(appliedIndex: number): void {
    this.#upkeep.maintain(appliedIndex, this.#syncedIndex);
  }

  /** Notes damage and stops, unless somebody has the same entries and repairs the segment. */
  #damaged(segment: LiveSegment, message: string): void {
    const isSealed = !this.segments.hasActive || segment !== this.segments.active;
    segment.isDamaged = true;
    if (!isSealed || !this.onDamaged(segment, message)) this.#upkeep.damaged(message);
  }

  /** Verifies the next sealed segment in the background, or the base. */
  scrub(): void {
    this.#upkeep.scrub();
  }

  /** Verifies the base in the background: somebody could not use it. */
  scrubBase(): void {
    this.#upkeep.scrubBase();
  }

  /** Whether a damaged segment may be made anew now. */
  mayRepair(damaged: LiveSegment): boolean {
    return this.segments.all().includes(damaged) && this.#upkeep.mayReplace(damaged);
  }

  /** Whether a segment or archive is still of the log. */
  has(segment: LiveSegment): boolean {
    return this.segments.has(segment);
  }

  /** Begins to make a damaged segment anew. */
  repair(damaged: LiveSegment): SegmentRepair {
    return new SegmentRepair(damaged, this.#upkeep.host, this.#clusterId, this.#randomSalt());
  }

  /** Whether the state no longer needs the entries of a segment, or there are none: its records are enough. */
  mayKeepRecordsAlone(damaged: LiveSegment): boolean {
    const mayRepair = this.mayRepair(damaged) && !damaged.isRepairing;
    return mayRepair && damaged.isDerived && damaged.chain.index <= this.#upkeep.baseIndex;
  }

  /** Nobody has what a damaged segment held that the state needs: others have to fill this node anew after its next start. */
  giveUp(damaged: LiveSegment): void {
    this.#upkeep.damaged(`Cannot get back what was in ${nameOf(damaged)}: no peer has its entries`);
  }

  /** Asks for a base that goes as far as it can. */
  wantBase(): void {
    this.#upkeep.reclaimer.wantsBase = true;
  }

  /** Begins to make an archive of what is alive in a damaged file. */
  repairRecords(damaged: LiveSegment, floorOf: Floors["floorOf"]): ArchiveRepair {
    return new ArchiveRepair(damaged, this.#upkeep.host, this.#clusterId, floorOf);
  }

  /** Every record that is alive was fetched: verifies them and puts them in the place of the damaged file. */
  repairedRecords(repair: ArchiveRepair, done: (error: FileError | undefined) => void): void {
    const take = (archive: LiveSegment | undefined): void =>
      this.#upkeep.reclaimer.replace(repair.damaged, archive, () => done(undefined));
    if (repair.isEmpty) take(undefined);
    else
      repair.verify(
        (name) => this.#disk.files.map(name),
        (found) => (found instanceof FileError ? done(found) : take(found)),
      );
  }

  /** A segment was made anew and is verified: it takes the place of the damaged one. */
  repaired(repair: SegmentRepair, then: () => void): void {
    this.#upkeep.replaceSegment(repair.damaged, repair.fresh, () => {
      this.reader.forget();
      this.entries.forget();
      then();
    });
  }

  /** Bytes of the log behind the segment that holds the entry `index`. */
  bytesAfter(index: number): number {
    let bytes = 0;
    const segments = this.segments.all();
    for (let i = segments.length - 1; i >= 0; i--) {
      const segment = segments[i];
      if (segment === undefined || segment.firstIndex <= index) break;
      bytes += segment.position;
    }
    return bytes;
  }

  /** Bytes of the log behind the entry `index`, to about the spacing of entry points. */
  bytesBehind(index: number): number {
    if (index >= this.placedEnd.index) return 0;
    const next = Math.max(index + 1, this.firstIndex);
    const segment = this.segments.withEntry(next);
    const point = segment.entryPoints.findLast((known) => known.index <= next);
    return this.bytesAfter(next) + segment.position - (point?.position ?? SEGMENT_DATA_START);
  }

  /** What another node may be filled with; undefined while there is nothing that would be worth it. */
  offer(): OfferedFiles | undefined {
    return this.#upkeep.offer();
  }

  /**
   * What makes up the log up to an entry that is applied, and so on disk: files that are complete, and segments behind them
   * with bytes that may go on beyond the entry.
   */
  filesUpTo(appliedIndex: number): Pick<BackupHead, "offer" | "open"> {
    const offer = this.offer() ?? NOTHING_OFFERED;
    const open: OpenPart[] = [];
    for (const segment of this.segments.all()) {
      const { kind, sequence, salt, firstIndex, chain, position } = segment;
      if (kind !== "log" || !hasEntries(segment)) continue;
      if (chain.index <= offer.index || firstIndex > appliedIndex) continue;
      open.push({ sequence, salt, firstIndex, bytes: position });
    }
    return { offer, open };
  }

  /** Begins a new set of files beside this log. */
  receive(offer: OfferedFiles, begun: () => void): IncomingFiles {
    return new IncomingFiles(offer, this.#upkeep.host, this.#clusterId, begun);
  }

  /** Puts a set of files in the place of this log, which is over then. Blocks. */
  replaceBy(incoming: IncomingFiles): void {
    assert(this.isQuiet, "Nothing is under way in a log that is replaced");
    incoming.install(this.#disk.files);
  }

  /** Whether neither a write nor a job is under way. */
  get isQuiet(): boolean {
    return this.isIdle && this.#upkeep.isQuiet;
  }

  /** Asks the disk how much room is left. */
  askRoom(): void {
    this.#upkeep.askRoom();
  }

  /** Closes the files; nothing may be under way. */
  close(): void {
    this.#open.close();
    this.#file?.close();
  }

  #roll(commitIndex: number): boolean {
    const sealed = this.segments.hasActive ? this.segments.active : undefined;
    const spare = this.#upkeep.takeSpare(sealed, Math.min(commitIndex, this.#syncedIndex));
    if (spare === undefined) return false;
    this.segments.add(freshSegment(spare, sealed?.chain ?? this.#end));
    this.#isSealed = false;
    this.#file?.close();
    this.#file = this.#disk.open(fileName(spare.sequence, "log"));
    this.probe.rolls += 1;
    return true;
  }
}
