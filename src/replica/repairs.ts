// Segments that were found damaged at rest are made anew from the entries of a peer, while the node goes on: only what lies
// in the segment cannot be read meanwhile. What a peer sends must continue the chain of checksums and end where the damaged
// segment ended, so that nothing else can take its place.

import type { Logger } from "../lib/logger.ts";
import type { LiveSegment, SegmentLog, SegmentRepair } from "../log/mod.ts";
import type { Intake } from "./intake.ts";
import type { PeerTalk } from "./peer-codec.ts";
import type { RecordRepairs } from "./record-repairs.ts";

/** A peer that does not answer for so long is not asked again for now. */
const ANSWER_MS = 3000;
/** After a repair that came to nothing, such as for want of room, the next one waits for so long. */
const BEGIN_AGAIN_MS = 3000;
/** Bytes of entries in one answer. */
const ANSWER_BYTES = 512 << 10;

/** What repairs need of their replica. */
interface RepairOptions {
  readonly log: SegmentLog;
  readonly logger: Logger;
  readonly intake: Intake;
  readonly nowMs: () => number;
  readonly talk: (to: string, talk: PeerTalk) => void;
  readonly sendEntries: (to: string, firstIndex: number, parts: readonly Uint8Array[]) => void;
  /** Other members that are connected, in the order in which they should be asked. */
  readonly peers: () => readonly string[];
  /** What is done where nobody has entries. */
  readonly records: RecordRepairs;
  /** So many entries are whole again. */
  readonly repaired: (entries: number) => void;
}

/** Repairs one segment after the other. */
export class Repairs {
  readonly #options: RepairOptions;
  readonly #damaged: LiveSegment[] = [];
  /** Segments whose entries a peer has no more. */
  readonly #lacking = new Set<LiveSegment>();
  #repair: SegmentRepair | undefined;
  /** Who was asked last, and when; undefined while a step of the repair is under way here. */
  #asked: { readonly peer: string; readonly atMs: number } | undefined;
  #isBusy = false;
  #turn = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(options: RepairOptions) {
    this.#options = options;
  }

  /** Segments that wait or are being repaired. */
  get size(): number {
    return this.#damaged.length;
  }

  /** A segment was found damaged. */
  add(segment: LiveSegment, message: string): void {
    if (this.#damaged.includes(segment)) return;
    this.#options.logger.error("segment_damaged", {
      segment: segment.sequence,
      first_index: segment.firstIndex,
      last_index: segment.chain.index,
      message,
    });
    this.#damaged.push(segment);
  }

  /** Time goes on: begins the next repair, or asks somebody else. */
  tick(): void {
    this.#forgetGone();
    this.#options.records.tick(this.#damaged.find((damaged) => !this.#hasEntries(damaged)));
    if (this.#isBusy || this.#damaged.length === 0) return;
    if (this.#repair === undefined) {
      if (this.#options.nowMs() >= this.#notBeforeMs) this.#begin();
    } else if (this.#asked === undefined || this.#options.nowMs() - this.#asked.atMs >= ANSWER_MS)
      this.#ask();
  }

  /** What was reclaimed meanwhile, or has another in its place, needs no repair any more. */
  #forgetGone(): void {
    for (const gone of this.#damaged.filter((damaged) => !this.#options.log.has(damaged))) {
      if (gone === this.#repair?.damaged) continue;
      this.#damaged.splice(this.#damaged.indexOf(gone), 1);
      this.#lacking.delete(gone);
    }
  }

  /** Whether entries of a segment may be had from somebody. */
  #hasEntries(damaged: LiveSegment): boolean {
    const isOfLog = damaged.kind === "log" && damaged.firstIndex >= this.#options.log.firstIndex;
    return isOfLog && !this.#lacking.has(damaged);
  }

  /** A peer has no entries any more that it was asked for. */
  lacks(from: string): void {
    const repair = this.#repair;
    if (repair === undefined || this.#isBusy || this.#asked?.peer !== from) return;
    this.#lacking.add(repair.damaged);
    this.#startOver("the peer has its entries no more");
  }

  #begin(): void {
    const segment = this.#damaged.find(
      (damaged) => this.#hasEntries(damaged) && this.#options.log.mayRepair(damaged),
    );
    if (segment === undefined) return;
    const repair = this.#options.log.repair(segment);
    this.#repair = repair;
    this.#isBusy = true;
    repair.begin((error) => {
      this.#isBusy = false;
      if (error !== undefined) this.#startOver(error.message);
      // Where no entry stood, there is nothing to ask for.
      else if (repair.isComplete) this.#finish(repair);
      else this.#ask();
    });
  }

  #ask(): void {
    const repair = this.#repair;
    const peers = this.#options.peers();
    const peer = peers[this.#turn++ % Math.max(1, peers.length)];
    if (repair === undefined || peer === undefined) return;
    this.#askPeer(repair, peer);
  }

  #askPeer(repair: SegmentRepair, peer: string): void {
    this.#asked = { peer, atMs: this.#options.nowMs() };
    const index = repair.fresh.chain.index + 1;
    this.#options.talk(peer, { kind: "wantEntries", index, lastIndex: repair.damaged.chain.index });
  }

  /** A peer asks for entries that it lost. */
  serve(to: string, index: number, lastIndex: number): void {
    const { log, sendEntries, talk } = this.#options;
    if (index < log.firstIndex) {
      talk(to, { kind: "lacksEntries", index });
      return;
    }
    if (index > lastIndex || lastIndex > log.syncedIndex) return;
    const span = log.entries.read(index, lastIndex, ANSWER_BYTES);
    const answer = (found: Awaited<typeof span>): void => {
      const parts = found.slices.map(({ bytes, start, end }) => bytes.subarray(start, end));
      sendEntries(to, found.firstIndex, parts);
      log.entries.release(found);
    };
    // What is damaged here too is noted where it was found; somebody else has it.
    if (span instanceof Promise) span.then(answer, () => undefined);
    else answer(span);
  }

  /** Entries came from a peer. */
  take(from: string, bytes: Uint8Array, start: number): void {
    const repair = this.#repair;
    if (repair === undefined || this.#isBusy || this.#asked?.peer !== from) return;
    const found = this.#options.intake.chainFrom(repair.fresh.chain, bytes, start);
    if (found === undefined || found.end.index > repair.damaged.chain.index) {
      this.#ask();
      return;
    }
    this.#isBusy = true;
    repair.add(bytes.subarray(start), found.count, found.end, (error) => {
      this.#isBusy = false;
      if (error !== undefined) this.#startOver(error.message);
      else if (found.end.index < repair.damaged.chain.index) this.#askPeer(repair, from);
      else if (repair.isComplete) this.#finish(repair);
      else this.#startOver("the entries of the peer end in another checksum");
    });
  }

  #finish(repair: SegmentRepair): void {
    const { log, logger, repaired } = this.#options;
    this.#isBusy = true;
    repair.verify((error) => {
      if (error !== undefined) {
        this.#startOver(error.message);
        return;
      }
      if (!log.has(repair.damaged)) {
        this.#startOver("it was reclaimed meanwhile");
        return;
      }
      log.repaired(repair, () => {
        const { damaged, fresh } = repair;
        this.#damaged.splice(this.#damaged.indexOf(damaged), 1);
        this.#repair = undefined;
        this.#isBusy = false;
        const entries = fresh.chain.index - fresh.firstIndex + 1;
        logger.info("segment_repaired", { segment: damaged.sequence, by: fresh.sequence, entries });
        repaired(entries);
      });
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
