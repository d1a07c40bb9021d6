// The leader's way to its followers: reads what each lacks, from memory in the same turn or from the disk, and hands it to
// the transport as far as windows allow. Each follower is served for itself; a slow one holds nobody up.

import type { EntrySpan, SegmentLog } from "../log/mod.ts";
import { makeAppend, nextAppend, type RaftState } from "../raft/mod.ts";
import type { Transport } from "./ports.ts";

/** Bytes of entries in one message. */
const APPEND_BYTES = 512 << 10;
/** Messages to one follower in one turn. */
const APPENDS_PER_TURN = 16;

/** What the senders need of their replica. */
interface SenderOptions {
  readonly raft: RaftState;
  readonly log: SegmentLog;
  readonly transport: Transport;
  /** Encodes what stands before the entries. */
  readonly encode: (message: ReturnType<typeof makeAppend>) => Uint8Array;
  /** An append is on its way. */
  readonly sent: (to: string, prevIndex: number, lastIndex: number, bytes: number) => void;
  /** A follower needs more than the log has, or more than is worth sending. */
  readonly needsFiles: (to: string, nextIndex: number, entryBytes: number) => void;
  /** A follower that lacks more of the log than so many bytes is filled with files. */
  readonly catchUpBytes: number;
  readonly wantTurn: () => void;
  /** Whether entries wait to be written. */
  readonly isMoreComing: () => boolean;
}

/** Sends appends to every follower. */
export class Followers {
  readonly #options: SenderOptions;
  /** Followers for which the disk is being asked. */
  readonly #reading = new Set<string>();

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Sends whatever may be sent now. */
  replicate(): void {
    const { raft } = this.#options;
    if (raft.role !== "leader") return;
    for (const to of raft.progress.keys()) if (to !== raft.nodeId) this.#serve(to);
  }

  #serve(to: string): void {
    const { raft, log, transport, needsFiles, isMoreComing } = this.#options;
    if (this.#reading.has(to) || !transport.link(to).isConnected) return;
    // What is not with the own disk yet is not with the memory that readers look at either.
    const placedIndex = log.placedEnd.index;
    for (let i = 0; i < APPENDS_PER_TURN; i++) {
      const next = nextAppend(raft, to);
      if (next === undefined) return;
      if (next.kind === "snapshot") {
        needsFiles(to, raft.progress.get(to)?.nextIndex ?? 1, Number.POSITIVE_INFINITY);
        return;
      }
      const { prevIndex, lastIndex } = next;
      if (lastIndex === prevIndex) {
        // The next write is under way and says the same on top of its entries; heartbeats do, if it takes long.
        const isNewsAlone = raft.progress.get(to)?.state === "replicate";
        if (!isNewsAlone || !isMoreComing()) this.#send(to, prevIndex, undefined);
        return;
      }
      if (prevIndex >= placedIndex) return;
      const missingBytes = i === 0 ? log.bytesAfter(prevIndex) : 0;
      if (missingBytes > this.#options.catchUpBytes) {
        needsFiles(to, prevIndex + 1, missingBytes);
        if (raft.progress.get(to)?.state === "snapshot") return;
      }
      // One that is served from the disk gets one message at a time: its own disk and this one have other work to do.
      const isWaitedFor = (raft.progress.get(to)?.inflightMessages ?? 0) > 0;
      if (isWaitedFor && !log.entries.isInMemory(prevIndex + 1)) {
        // What is on its way may have been passed over: its sign of life asks for an answer that says so.
        if (raft.progress.get(to)?.isAppendDue === true) this.#send(to, prevIndex, undefined);
        return;
      }
      const span = log.entries.read(prevIndex + 1, Math.min(lastIndex, placedIndex), APPEND_BYTES);
      if (span instanceof Promise) {
        this.#readingFor(to, prevIndex, raft.term, span);
        return;
      }
      if (!this.#send(to, prevIndex, span)) return;
    }
  }

  #readingFor(to: string, prevIndex: number, term: number, reading: Promise<EntrySpan>): void {
    const { raft, log, wantTurn } = this.#options;
    this.#reading.add(to);
    const done = (span: EntrySpan | undefined): void => {
      this.#reading.delete(to);
      if (span === undefined) return;
      // Turns went by: it may be wanted no more.
      const next = raft.role === "leader" && raft.term === term ? nextAppend(raft, to) : undefined;
      if (next?.kind === "append" && next.prevIndex === prevIndex) this.#send(to, prevIndex, span);
      log.entries.release(span);
      wantTurn();
    };
    // Damaged bytes are noted where they were found, and end the node or are repaired from there.
    reading.then(done, () => done(undefined));
  }

  #send(to: string, prevIndex: number, span: EntrySpan | undefined): boolean {
    const { raft, transport, encode, sent } = this.#options;
    const lastIndex = span === undefined ? prevIndex : span.lastIndex;
    const parts = [encode(makeAppend(raft, to, prevIndex, lastIndex))];
    for (const { bytes, start, end } of span?.slices ?? []) parts.push(bytes.subarray(start, end));
    // Appends keep their order among themselves: an empty one says something of those before it.
    if (!transport.send(to, "bulk", parts)) return false;
    sent(to, prevIndex, lastIndex, span?.bytes ?? 0);
    return true;
  }
}
