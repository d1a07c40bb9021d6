// What a leader knows of one follower, and whether it may be sent something. Three states:
// probe: where the logs part is not known; one message at a time, each answered before the next.
// replicate: entries are sent ahead of the answers, within a window. snapshot: it needs more than the log still has.

import { Inflights } from "./inflights.ts";

/** How a follower is fed. */
export type ProgressState = "probe" | "replicate" | "snapshot";

/** A leader's view of one follower. For the leader itself only `matchIndex` matters: what is durable here. */
export class Progress {
  /** Durable there, and equal to this log. */
  matchIndex = 0;
  /** The next entry to send. Above `matchIndex`. */
  nextIndex: number;
  state: ProgressState = "probe";
  /** Heard of since the quorum was last checked. */
  isActive: boolean;
  /** Index of the snapshot that is on its way; 0 for none. */
  pendingSnapshot = 0;
  /** Nothing is sent until it answers something. */
  isFlowPaused = false;
  /** Something should go, even without entries: the commit index moved, or an answer is wanted. */
  isAppendDue = false;
  /** The highest commit index that was sent; it went no further than the entries that were sent. */
  sentCommitIndex = 0;
  /** The last heartbeat round that it answered. */
  confirmedRound = 0;
  readonly #inflights: Inflights;

  constructor(options: {
    readonly nextIndex: number;
    readonly isActive: boolean;
    readonly inflightBytesMax: number;
    readonly inflightMessagesMax: number;
  }) {
    this.nextIndex = options.nextIndex;
    this.isActive = options.isActive;
    this.#inflights = new Inflights(options.inflightBytesMax, options.inflightMessagesMax);
  }

  get inflightBytes(): number {
    return this.#inflights.bytes;
  }

  get inflightMessages(): number {
    return this.#inflights.messages;
  }

  /** The window is full. */
  get isFull(): boolean {
    return this.#inflights.isFull;
  }

  /** Nothing may be sent now. */
  get isPaused(): boolean {
    return this.state === "snapshot" || this.isFlowPaused;
  }

  /** Asks for an append, unless none could go now: whatever ends the pause asks again. */
  wantAppend(): void {
    if (!this.isPaused) this.isAppendDue = true;
  }

  /** Looks for where the logs part, from what is known to match. */
  becomeProbe(): void {
    const next = Math.max(this.matchIndex, this.pendingSnapshot) + 1;
    this.#enter("probe");
    this.nextIndex = next;
    this.sentCommitIndex = Math.min(this.sentCommitIndex, next - 1);
  }

  /** Sends ahead, from what matches. */
  becomeReplicate(): void {
    this.#enter("replicate");
    this.nextIndex = this.matchIndex + 1;
  }

  /** Waits for the files of a snapshot at `index`. */
  becomeSnapshot(index: number): void {
    this.#enter("snapshot");
    this.pendingSnapshot = index;
    this.nextIndex = index + 1;
    this.sentCommitIndex = index;
  }

  /** Takes an answer: durable up to `index`. False when that was known. */
  advance(index: number): boolean {
    if (index <= this.matchIndex) return false;
    this.matchIndex = index;
    this.nextIndex = Math.max(this.nextIndex, index + 1);
    this.isFlowPaused = false;
    return true;
  }

  /** Frees the window of what ends at or below `matchIndex`. */
  freeInflights(): void {
    this.#inflights.freeUpTo(this.matchIndex);
  }

  /**
   * Takes a refusal of the append behind `rejectedIndex`; the logs can match at `hintIndex` at the most. False when the
   * refusal is of a message from before what is known now.
   */
  retreat(rejectedIndex: number, hintIndex: number): boolean {
    if (this.state === "replicate") {
      if (rejectedIndex <= this.matchIndex) return false;
      this.nextIndex = this.matchIndex + 1;
    } else {
      // A probe is answered before the next one goes, so a refusal of any other index is an old one.
      if (rejectedIndex !== this.nextIndex - 1) return false;
      this.nextIndex = Math.max(Math.min(rejectedIndex, hintIndex + 1), this.matchIndex + 1);
      this.isFlowPaused = false;
    }
    this.sentCommitIndex = Math.min(this.sentCommitIndex, this.nextIndex - 1);
    return true;
  }

  /** Notes that an append with entries up to `lastIndex`, or without any, was sent. */
  sent(lastIndex: number, bytes: number, commitIndex: number): void {
    const hasEntries = lastIndex >= this.nextIndex;
    if (this.state === "replicate") {
      if (hasEntries) {
        this.nextIndex = lastIndex + 1;
        this.#inflights.add(lastIndex, bytes);
      }
      // What fills the window, or goes through a full one, is a probe of whether anything still arrives.
      this.isFlowPaused = this.isFull;
    } else if (hasEntries) this.isFlowPaused = true;
    this.isAppendDue = false;
    this.sentCommitIndex = commitIndex;
  }

  /** Whether the commit index is news that the follower could act on. */
  lacksCommit(commitIndex: number): boolean {
    return commitIndex > this.sentCommitIndex && this.sentCommitIndex < this.nextIndex - 1;
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.isFlowPaused = false;
    this.isAppendDue = false;
    this.pendingSnapshot = 0;
    this.#inflights.clear();
  }
}
