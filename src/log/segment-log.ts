// The append-only file as the replica drives it: one write in flight, segments rolled over, derived and merged in the
// background, the manifest switched step by step. Submit, then hand every completion of the disk to `completed`.

import { assert } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";
import { doublingBounds, Histogram } from "../lib/histogram.ts";
import type { Disk, DiskCompletion, DiskFile } from "./disk.ts";
import {
  FRAME_BYTES,
  fileName,
  newEntryHeader,
  putFrame,
  readEntryHeader,
  SEGMENT_DATA_START,
} from "./format.ts";
import { freshSegment, type LiveSegment } from "./live-segment.ts";
import type { HardState } from "./metadata.ts";
import { GrowingIndex } from "./offset-index.ts";
import type { RecoveredLog } from "./recovery.ts";
import { SegmentReader } from "./segment-reader.ts";
import type { ChainEnd } from "./segment-scan.ts";
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
    entriesPerWrite: new Histogram(doublingBounds(1, 10)),
    recordsPerEntry: new Histogram(doublingBounds(1, 18)),
    bytesPerWrite: new Histogram(doublingBounds(128, 18)),
  };
  readonly #disk: Disk;
  readonly #limits: LogLimits;
  readonly #upkeep: Upkeep;
  #file: DiskFile;
  #inFlight: SealedWrite | undefined;
  #syncedIndex: number;
  /** What the newest frame on disk says. */
  #framedIndex: number;
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
    for (const segment of recovered.sealed) this.segments.add(segment);
    this.segments.add(recovered.active);
    this.#upkeep = new Upkeep({ ...options, segments: this.segments });
    this.#file = disk.open(fileName(recovered.active.sequence, "log"));
    // What recovery took in, it synced.
    this.#syncedIndex = recovered.active.chain.index;
    this.#framedIndex = 0;
    this.tail = new TailBuffer(disk, limits.slabBytes, limits.tailBytes);
    this.reader = new SegmentReader(disk, this.segments, this.tail);
    this.reader.onDamage = (message) => this.#upkeep.damaged(message);
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
    return this.#upkeep.isFull;
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
    readonly merges: number;
  } {
    return {
      segments: this.segments.all().length,
      underived: this.#upkeep.underivedCount,
      freeBytes: this.#upkeep.freeBytes,
      merges: this.#upkeep.merges,
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
    if (completion.token !== APPEND_TOKEN) return this.#upkeep.completed(completion);
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
    this.#upkeep.saveState(state);
  }

  /** Does what is due in the background. @param appliedIndex Only applied segments are derived from. */
  maintain(appliedIndex: number): void {
    this.#upkeep.maintain(appliedIndex, this.#syncedIndex);
  }

  /** Asks the disk how much room is left. */
  askRoom(): void {
    this.#upkeep.askRoom();
  }

  /** Closes the files; nothing may be under way. */
  close(): void {
    this.reader.close();
    this.#file.close();
  }

  #roll(): boolean {
    const sealed = this.segments.active;
    const spare = this.#upkeep.takeSpare(sealed);
    if (spare === undefined) return false;
    this.segments.add(freshSegment(spare, sealed.chain));
    this.#file.close();
    this.#file = this.#disk.open(fileName(spare.sequence, "log"));
    this.probe.rolls += 1;
    return true;
  }
}
