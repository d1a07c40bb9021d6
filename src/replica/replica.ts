// One node's engine: drives consensus, log and state in turns. A turn is one synchronous function: take what the disk has
// finished, commit, apply, answer, submit the next write. The simulator runs this very class (STYLE.md).

import { BrokerState } from "../broker/mod.ts";
import { assert } from "../lib/assert.ts";
import type { ByteWriter } from "../lib/bytes.ts";
import type { Logger } from "../lib/logger.ts";
import {
  type Disk,
  type HardState,
  type LogLimits,
  newEntryHeader,
  partitionKey,
  readEntryHeader,
  recover,
  SegmentLog,
} from "../log/mod.ts";
import { COMMAND_HEADER_BYTES, type ControlCommand, putCommand } from "../model/command-codec.ts";
import type { ProduceSink } from "../model/produce.ts";
import { createRaft, type RaftReady, type RaftState, step } from "../raft/mod.ts";
import { Applier } from "./apply.ts";
import { Batcher, type SealedEntry } from "./batcher.ts";
import { type Clock, LogTime } from "./log-time.ts";
import type { RequestTurn } from "./ports.ts";
import { EntryCallbacks, ProduceWaiters, RecordWishes } from "./waiters.ts";

/** What a replica is made of. */
export interface ReplicaOptions {
  readonly nodeId: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly sink: ProduceSink;
  readonly requestTurn: RequestTurn;
  readonly logger: Logger;
  readonly limits: LogLimits;
  /** Cluster settings that this node asks for when it leads. */
  readonly settings: { readonly idempotencyTtlMs: number; readonly idempotencyKeysMax: number };
  readonly randomId: () => string;
  readonly randomSalt: () => number;
}

/** Readers woken in one turn. */
const WOKEN_PER_TURN_MAX = 200;
/** Without a write for this long, a frame makes the last batch certain. */
const IDLE_FRAME_MS = 50;
/** A write that could be submitted waits at most this long for the requests that are arriving. */
const GATHER_MS_MAX = 1;
/** Passes of the event loop in a row that brought nothing: nobody is in the middle of sending. */
const EMPTY_PASSES = 2;
const ROOM_INTERVAL_MS = 1000;

/** One node: log, state and consensus, moved by `turn` and `tick`. */
export class Replica {
  readonly state = new BrokerState();
  readonly log: SegmentLog;
  readonly raft: RaftState;
  readonly waiters = new ProduceWaiters();
  readonly callbacks = new EntryCallbacks();
  readonly wishes = new RecordWishes();
  readonly batcher: Batcher;
  readonly sink: ProduceSink;
  /** What start took, for logs and metrics. */
  readonly replayedEntries: number;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #time: LogTime;
  readonly #requestTurn: RequestTurn;
  readonly #logger: Logger;
  readonly #settings: ReplicaOptions["settings"];
  readonly #applier: Applier;
  readonly #unapplied: SealedEntry[] = [];
  readonly #header = newEntryHeader();
  #isReady = false;
  #isStopping = false;
  #isDetached = false;
  #wasFull = false;
  #isTurnRequested = false;
  #lastWriteMs = 0;
  /** Requests that the batcher had when the loop last passed, and when waiting for more ends. */
  #gathered = 0;
  #emptyPasses = 0;
  /** Requests submitted so far, those of the write in flight, and how many were under way when the last one ended. */
  #submitted = 0;
  #inFlight = 0;
  #expected = 0;
  #gatherUntilMs = 0;
  #lastRoomMs = 0;
  #hardState: HardState;
  /** Called at the end of each turn in which a topic went away or its floor rose. */
  onTopicChange: (topicId: number) => void = () => undefined;

  /** Recovers the log and the state. Blocks; nothing is served yet. Throws `FatalError`, `FileError`. */
  constructor(options: ReplicaOptions) {
    const { disk } = options;
    this.#disk = disk;
    this.#clock = options.clock;
    this.#requestTurn = options.requestTurn;
    this.#logger = options.logger;
    this.#settings = options.settings;
    this.sink = options.sink;

    let applier: Applier | undefined;
    const recovered = recover(disk.files, {
      nodeId: options.nodeId,
      segmentBytes: options.limits.segmentBytes,
      randomId: options.randomId,
      randomSalt: options.randomSalt,
      fold: (item) => this.state.fold(item),
      replay: (bytes, view, at, header) => {
        applier ??= new Applier(this.state, header.index - 1);
        applier.apply(bytes, view, at, header);
      },
      report: (event, fields) => options.logger.warn(event, fields),
    });
    const { chain } = recovered.active;
    this.state.topicIdMax = Math.max(this.state.topicIdMax, recovered.topicIdMax);
    this.#applier = applier ?? new Applier(this.state, chain.index);
    assert(this.#applier.appliedIndex === chain.index, "What is on the disk is applied");
    this.#applier.onChange = (topic, partition) => {
      if (partition < 0) this.onTopicChange(topic.id);
      else this.wishes.grant(partitionKey(topic.id, partition), topic.nextOffset[partition] ?? 0);
    };
    this.replayedEntries = recovered.replayedEntries;
    this.log = new SegmentLog({
      disk,
      recovered,
      limits: options.limits,
      randomSalt: options.randomSalt,
    });
    this.#hardState = recovered.hardState;
    this.#time = new LogTime(options.clock, chain.timestampMs);
    this.raft = createRaft({
      nodeId: options.nodeId,
      voters: recovered.hardState.voters,
      term: recovered.hardState.term,
      vote: recovered.hardState.vote,
      commitIndex: recovered.hardState.commitIndex,
      lastIndex: chain.index,
      lastTerm: chain.term,
    });
    this.batcher = new Batcher({
      tail: this.log.tail,
      chain,
      writeBytesMax: this.log.writeBytesMax,
      nextIndex: () => {
        const { appended } = step(this.raft, { kind: "proposed", entries: 1 });
        assert(appended !== undefined, "A leader's proposal has a place in the log");
        return { index: appended.firstIndex, term: appended.term };
      },
    });
    this.batcher.onSeal = (entry) => this.#unapplied.push(entry);
    this.log.reader.onRetire = () => this.wantTurn();
    disk.onWake = () => this.turn();
  }

  /** Whether what this node answers is the committed state of a current leader. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether new work is refused because the node is going down. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  get appliedIndex(): number {
    return this.#applier.appliedIndex;
  }

  /** Index that the entry now being built, or the next one, gets. */
  get openIndex(): number {
    return this.raft.lastIndex + 1;
  }

  /** Index of the newest entry that something waits in; equal to `appliedIndex` when nothing is under way. */
  get pendingIndex(): number {
    return this.batcher.isOpen ? this.openIndex : this.raft.lastIndex;
  }

  /** The time for an entry that is opened now. */
  readonly now = (): number => this.#time.now();

  /** Time of the open entry, or of one that would be opened now. */
  entryTime(): number {
    return this.batcher.isOpen ? this.batcher.timestampMs : this.#time.now();
  }

  /** Says that the open entry has more in it. While a write is in flight, its completion brings the turn. */
  wantSubmit(): void {
    if (this.log.isIdle) this.wantTurn();
  }

  /** Asks for a turn, once. */
  wantTurn(): void {
    if (this.#isTurnRequested) return;
    this.#isTurnRequested = true;
    this.#requestTurn();
  }

  /** One turn. Throws `FatalError` and `InvariantError`: both stop the node. */
  turn(): void {
    this.#isTurnRequested = false;
    if (this.#isDetached) return;
    this.log.reader.recycle();
    for (const completion of this.#disk.poll()) {
      const event = this.log.completed(completion);
      if (event === undefined) continue;
      if (event.kind === "synced") {
        // Whoever is answered now and whoever came meanwhile: about as many as may send again.
        this.#expected = this.#inFlight + this.batcher.added - this.#submitted;
        this.#take(step(this.raft, { kind: "persisted", index: event.index, term: event.term }));
      } else this.#take(step(this.raft, { kind: "voteSaved", term: event.state.term }));
    }
    this.#applyCommitted();
    this.#submit();
    if (this.wishes.wakeSome(WOKEN_PER_TURN_MAX)) this.wantTurn();
  }

  /** Time goes on: elections, the idle frame, background work. Call about every 50 ms. */
  tick(): void {
    if (this.#isDetached) return;
    this.#take(step(this.raft, { kind: "tick" }));
    const now = this.#clock.monotonicMs();
    if (now - this.#lastRoomMs >= ROOM_INTERVAL_MS) {
      this.#lastRoomMs = now;
      this.log.askRoom();
    }
    this.#sayRoom();
    this.log.maintain(this.appliedIndex);
    if (this.batcher.isEmpty && this.log.needsIdleFrame && now - this.#lastWriteMs >= IDLE_FRAME_MS)
      this.log.appendIdleFrame();
    this.turn();
  }

  /** One line when records are refused for want of room, and one when they are taken again. */
  #sayRoom(): void {
    const { isFull, counts } = this.log;
    if (isFull === this.#wasFull) return;
    this.#wasFull = isFull;
    const fields = { free_bytes: counts.freeBytes };
    if (isFull) this.#logger.warn("disk_full", fields);
    else this.#logger.info("disk_has_room", fields);
  }

  /** Takes no more work. What is under way is finished by further turns; `isIdle` says when it is. */
  stop(): void {
    this.#isStopping = true;
    this.#isReady = false;
  }

  /**
   * Looks at nothing any more, before the disk is closed. Background work that is under way ends on the disk and counts
   * for nothing, as after a kill: the next start does it again.
   */
  detach(): void {
    this.#isDetached = true;
  }

  /** Whether no write is under way. */
  get isIdle(): boolean {
    return this.batcher.isEmpty && this.log.isIdle && this.#unapplied.length === 0;
  }

  #take(ready: RaftReady): void {
    if (ready.vote !== undefined) {
      this.#hardState = {
        ...this.#hardState,
        term: ready.vote.term,
        vote: ready.vote.vote,
        commitIndex: ready.commitIndex,
      };
      this.log.saveState(this.#hardState);
    }
    if (ready.becameLeader === true) this.#lead();
  }

  /** Opens the term, then brings the cluster settings up to date. Ready once both are applied. */
  #lead(): void {
    this.#logger.info("became_leader", { term: this.raft.term, index: this.raft.lastIndex });
    this.state.dropPending();
    this.batcher.addNoOp(this.now);
    const { idempotencyTtlMs, idempotencyKeysMax } = this.#settings;
    if (
      this.state.idempotencyTtlMs !== idempotencyTtlMs ||
      this.state.idempotencyKeysMax !== idempotencyKeysMax
    ) {
      this.propose([{ kind: "settings", idempotencyTtlMs, idempotencyKeysMax }]);
    }
    this.callbacks.add(this.raft.lastIndex, () => {
      this.#isReady = !this.#isStopping;
      this.#logger.info("ready", { applied_index: this.appliedIndex, term: this.raft.term });
    });
    this.wantTurn();
  }

  /** Puts control commands into an entry of their own, so that they stand between what came before and after. Returns its index. */
  propose(commands: readonly ControlCommand[]): number {
    assert(this.raft.role === "leader" && commands.length > 0, "A leader proposes commands");
    if (this.batcher.isOpen) this.batcher.seal();
    // 64 bytes hold every control command; a name of 120 adds to that.
    this.batcher.open(commands.length * (COMMAND_HEADER_BYTES + 64 + 120), this.now);
    for (const command of commands)
      this.batcher.addCommand((writer: ByteWriter) => putCommand(writer, command));
    this.batcher.seal();
    this.wantTurn();
    return this.raft.lastIndex;
  }

  #applyCommitted(): void {
    // What is applied is committed and durable here.
    const until = Math.min(this.raft.commitIndex, this.log.syncedIndex);
    if (this.appliedIndex >= until) return;
    let count = 0;
    for (const entry of this.#unapplied) {
      if (entry.index > until) break;
      const isEntry = readEntryHeader(entry.slab.view, entry.at, this.#header);
      assert(isEntry, "What was sealed is an entry");
      this.#applier.apply(entry.slab.bytes, entry.slab.view, entry.at, this.#header);
      entry.slab.pins -= 1;
      count += 1;
    }
    this.#unapplied.splice(0, count);
    this.sink.submittedMs = this.#lastWriteMs;
    this.waiters.wake(this.appliedIndex, this.sink);
    this.callbacks.wake(this.appliedIndex);
  }

  /**
   * Whether requests are still coming in: then the next pass of the event loop brings more of them into this write, and a
   * write costs the processor as much as ten requests do. No timer: it ends when as many are here as were under way when
   * the last write ended, when two passes bring nothing, or in time.
   */
  #isGathering(): boolean {
    if (this.batcher.queue.length > 0) return false;
    if (this.batcher.added - this.#submitted >= this.#expected) return false;
    this.#emptyPasses = this.batcher.added === this.#gathered ? this.#emptyPasses + 1 : 0;
    if (this.#emptyPasses >= EMPTY_PASSES) return false;
    this.#gathered = this.batcher.added;
    const now = this.#clock.monotonicMs();
    if (this.#gatherUntilMs === 0) this.#gatherUntilMs = now + GATHER_MS_MAX;
    return now < this.#gatherUntilMs;
  }

  #submit(): void {
    if (!this.log.isIdle || this.batcher.isEmpty) return;
    if (this.#isGathering()) {
      this.wantTurn();
      return;
    }
    this.#gatherUntilMs = 0;
    const write = this.batcher.take();
    if (write === undefined) return;
    if (!this.log.append(write)) {
      // No segment has room yet: its preparation is under way, and its completion brings a turn.
      this.log.maintain(this.appliedIndex);
      return;
    }
    this.batcher.queue.shift();
    this.#inFlight = this.batcher.added - this.#submitted;
    this.#submitted = this.batcher.added;
    this.#lastWriteMs = this.#clock.monotonicMs();
  }
}
