// Records that were lost where nobody has their entries any more are fetched from a peer, partition by partition, and kept
// as an archive in the place of the damaged file. They come with their own checksums and must cover every offset that is
// alive; the log has no say in them any more.

import type { Logger } from "../lib/logger.ts";
import {
  type ArchiveRepair,
  encodeKept,
  type LiveSegment,
  partitionKey,
  type SegmentLog,
  type StoredSlice,
} from "../log/mod.ts";
import type { PeerTalk } from "./peer-codec.ts";

/** A peer that does not answer for so long is not asked again for now. */
const ANSWER_MS = 3000;
/** After a repair that came to nothing the next one waits for so long. */
const BEGIN_AGAIN_MS = 3000;
/** Bytes of records in one answer, or one chunk. */
const ANSWER_BYTES = 512 << 10;

/** What these repairs need of their replica. */
interface RecordRepairOptions {
  readonly log: SegmentLog;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly talk: (to: string, talk: PeerTalk) => void;
  readonly sendRecords: (to: string, repair: number, floor: number, kept: Uint8Array) => void;
  readonly peers: () => readonly string[];
  readonly floorOf: (key: number) => number;
  /** Whether the topic of a partition was created as far as is applied here, whatever became of it. */
  readonly knows: (key: number) => boolean;
  /** Where a partition ends, as far as it is applied here; -1 when there is none such. */
  readonly endOf: (key: number) => number;
}

/** Repairs one file after the other. */
export class RecordRepairs {
  readonly #options: RecordRepairOptions;
  #repair: ArchiveRepair | undefined;
  #asked: { readonly peer: string; readonly atMs: number } | undefined;
  #isBusy = false;
  #turn = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(options: RecordRepairOptions) {
    this.#options = options;
  }

  /** Time goes on: begins with `damaged` if nothing is under way, or asks somebody else. */
  tick(damaged: LiveSegment | undefined): void {
    if (this.#isBusy) return;
    const { log, nowMs, floorOf } = this.#options;
    if (this.#repair !== undefined) {
      if (this.#asked === undefined || nowMs() - this.#asked.atMs >= ANSWER_MS) this.#ask();
      return;
    }
    if (damaged === undefined || nowMs() < this.#notBeforeMs) return;
    if (!log.mayKeepRecordsAlone(damaged)) {
      // Its entries may be needed for the state, until a base tells of them; none ever will of one without a delta.
      if (damaged.isDerived) log.wantBase();
      else log.giveUp(damaged);
      return;
    }
    const repair = log.repairRecords(damaged, floorOf);
    this.#repair = repair;
    this.#isBusy = true;
    repair.begin((error) => {
      this.#isBusy = false;
      if (error === undefined) this.#goOn(repair);
      else this.#startOver(error.message);
    });
  }

  #goOn(repair: ArchiveRepair): void {
    if (repair.wanted.length > 0) this.#ask();
    else this.#finish(repair);
  }

  #ask(): void {
    const peers = this.#options.peers();
    const peer = peers[this.#turn++ % Math.max(1, peers.length)];
    if (peer !== undefined) this.#askPeer(peer);
  }

  #askPeer(peer: string): void {
    const { nowMs, talk } = this.#options;
    const [wanted] = this.#repair?.wanted ?? [];
    if (this.#repair === undefined || wanted === undefined) return;
    this.#asked = { peer, atMs: nowMs() };
    const { key, offset, endOffset } = wanted;
    talk(peer, { kind: "wantRecords", index: this.#repair.sequence, key, offset, endOffset });
  }

  /** A peer asks for records that it lost. Who has not applied as much says nothing. */
  serve(to: string, repair: number, key: number, offset: number, endOffset: number): void {
    const { log, floorOf, endOf, knows, sendRecords } = this.#options;
    if (!knows(key)) return;
    const floor = Math.min(floorOf(key), Number.MAX_SAFE_INTEGER);
    if (floor < endOffset && endOf(key) < endOffset) return;
    const from = Math.max(offset, floor);
    if (from >= endOffset) {
      sendRecords(to, repair, endOffset, new Uint8Array(0));
      return;
    }
    const partitions = partitionKey(1, 0);
    const found = log.reader.read({
      topicId: Math.floor(key / partitions),
      partition: key % partitions,
      offset: from,
      endOffset,
      maxRecords: Number.MAX_SAFE_INTEGER,
      maxBytes: ANSWER_BYTES,
    });
    const answer = (slices: readonly StoredSlice[]): void => {
      if (slices.length > 0) sendRecords(to, repair, floor, encodeKept(key, slices));
    };
    // What is damaged here too is noted where it was found; somebody else has it.
    if (found instanceof Promise) found.then(answer, () => undefined);
    else answer(found);
  }

  /** Records came from a peer. */
  take(from: string, sequence: number, floor: number, kept: Uint8Array): void {
    const repair = this.#repair;
    if (repair === undefined || repair.sequence !== sequence) return;
    if (this.#isBusy || this.#asked?.peer !== from) return;
    this.#isBusy = true;
    const isTaken = repair.add(kept, floor, (error) => {
      this.#isBusy = false;
      if (error !== undefined) this.#startOver(error.message);
      else if (repair.wanted.length > 0) this.#askPeer(from);
      else this.#finish(repair);
    });
    if (isTaken) return;
    this.#isBusy = false;
    this.#ask();
  }

  #finish(repair: ArchiveRepair): void {
    const { log, logger } = this.#options;
    this.#isBusy = true;
    log.repairedRecords(repair, (error) => {
      if (error !== undefined) {
        this.#startOver(error.message);
        return;
      }
      this.#isBusy = false;
      this.#repair = undefined;
      const { sequence: segment } = repair.damaged;
      logger.info("segment_repaired", { segment, by: repair.sequence, entries: 0 });
    });
  }

  #startOver(message: string): void {
    this.#options.logger.warn("repair_failed", { message });
    this.#repair?.discard();
    this.#repair = undefined;
    this.#notBeforeMs = this.#options.nowMs() + BEGIN_AGAIN_MS;
    this.#asked = undefined;
    this.#isBusy = false;
  }
}
