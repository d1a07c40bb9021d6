// One node's engine: drives consensus, log and state in turns. A turn is one synchronous function: take what peers sent and
// what the disk has finished, commit, apply, answer, submit the next write, send to followers what they lack. The simulator
// runs this very class.

import { BrokerState } from "../broker/mod.ts";
import { KvState } from "../kv/mod.ts";
import { assert } from "../lib/assert.ts";
import { type ByteWriter, viewOf } from "../lib/bytes.ts";
import { FatalError } from "../lib/fatal.ts";
import type { Logger } from "../lib/logger.ts";
import {
  type ChainEnd,
  type Disk,
  type HardState,
  type Identity,
  type IncomingFiles,
  type LogLimits,
  newEntryHeader,
  partitionKey,
  readEntryHeader,
  SegmentLog,
} from "../log/mod.ts";
import { isAlone, isMember, type Membership } from "../model/cluster.ts";
import { COMMAND_HEADER_BYTES, type ControlCommand, putCommand } from "../model/command-codec.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Ack, ProduceSink } from "../model/produce.ts";
import {
  createRaft,
  type RaftMessage,
  type RaftReady,
  type RaftState,
  step,
  termAt,
} from "../raft/mod.ts";
import { guessHttpUrl, isOtherThan, peersOf } from "./addresses.ts";
import type { Applier } from "./apply.ts";
import { Batcher } from "./batcher.ts";
import { Concerns, type WriteConcern } from "./concerns.ts";
import { FileReceiver, FileSender, type PieceHead } from "./file-transfer.ts";
import { Followers } from "./followers.ts";
import { Gathering } from "./gathering.ts";
import { Intake } from "./intake.ts";
import { namespaceWish } from "./key-changes.ts";
import { type Clock, LogTime } from "./log-time.ts";
import { Members } from "./members.ts";
import { PeerClocks } from "./peer-clocks.ts";
import {
  decodePeer,
  encodeEntriesHead,
  encodePieceHead,
  encodeRaft,
  encodeRecordsHead,
  encodeTalk,
  type PeerTalk,
} from "./peer-codec.ts";
import type { PeerAddress, PeerHello, RequestTurn, Transport } from "./ports.ts";
import { Reads } from "./reads.ts";
import { RecordRepairs } from "./record-repairs.ts";
import { recoverState } from "./recovered-state.ts";
import { Repairs } from "./repairs.ts";
import { UnappliedEntries } from "./unapplied.ts";
import { EntryCallbacks, RecordWishes } from "./waiters.ts";

/** What a replica is told about its part in a cluster. */
export interface ClusterOptions {
  readonly writeConcern: WriteConcern;
  /** Milliseconds between two ticks. */
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Base of this node's HTTP address. */
  readonly httpUrl: string;
  /** Where members are reached, over what the membership says. */
  readonly addresses: readonly PeerAddress[];
  /** A follower that lacks more of the log than so many bytes gets files instead. */
  readonly catchUpBytes: number;
}

/** What a replica is made of. */
export interface ReplicaOptions {
  readonly identity: Identity;
  readonly disk: Disk;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly sink: ProduceSink;
  readonly requestTurn: RequestTurn;
  readonly logger: Logger;
  readonly limits: LogLimits;
  readonly cluster: ClusterOptions;
  /** Bytes of memory that keys may take before the node stops; no limit when absent. */
  readonly keyMemoryBytesMax?: number;
  /** Cluster settings that this node asks for when it leads. */
  readonly settings: { readonly idempotencyTtlMs: number; readonly idempotencyKeysMax: number };
  /** In [0, 1): for election timeouts. */
  readonly random: () => number;
  readonly randomId: () => string;
  readonly randomSalt: () => number;
}

/** Readers woken in one turn. */
const WOKEN_PER_TURN_MAX = 200;
/** Without a write for this long, a frame makes the last batch certain. */
const IDLE_FRAME_MS = 50;
const ROOM_INTERVAL_MS = 1000;
const UPKEEP_INTERVAL_MS = 50;
/** Every sealed segment is verified once in this time, and no two in less than that. */
const SCRUB_PASS_MS = 7 * 24 * 3600 * 1000;
const SCRUB_INTERVAL_MS_MIN = 1000;
/** Of one follower: what may be on its way to it. */
const INFLIGHT_BYTES_MAX = 4 << 20;
const INFLIGHT_MESSAGES_MAX = 256;
/** A new leader looks for so long whether clocks agree with its own: those of the others come with their answers. */
const CLOCKS_WAIT_MS = 5000;
/** A node that starts asks for the commit index of a current leader this often. */
const READY_TIMEOUT_MS = 2000;
/** A leader whose disk does not answer offers leadership this often: nothing is taken while it waits to be taken over. */
const STUCK_INTERVAL_MS = 3000;
/** A refusal that cannot be confirmed for this long is not given. */
const CONFIRM_TIMEOUT_MS = 2000;
/** Entries that are sealed and not committed may take this much memory. */
const UNCOMMITTED_BYTES_MAX = 256 << 20;

/** Numbers for reads that a millisecond has: those of a later life begin above those of an earlier one. */
const READS_PER_MS = 1024;

const NOT_READY = refuse("not_ready", "The node is not ready to take writes");
const REPLACED = refuse("not_ready", "The node has just been filled by another one");
const STOPPING = refuse("not_ready", "The node is stopping");
const NOT_LEADER = refuse("not_leader", "No leader is known at the moment");
const HANDING_OVER = refuse("not_leader", "Leadership is being handed over");
const NO_QUORUM = refuse("no_quorum", "Too much waits for a majority of the nodes");
const UNKNOWN = refuse(
  "timeout",
  "The node stopped leading before the write was confirmed: it may have been stored or not",
  { outcome: "unknown" },
);

/** One node: log, state and consensus, moved by `turn` and `tick`. */
export class Replica {
  readonly state = new BrokerState();
  readonly kv = new KvState();
  readonly log: SegmentLog;
  readonly raft: RaftState;
  readonly concerns: Concerns;
  readonly callbacks = new EntryCallbacks();
  readonly wishes = new RecordWishes();
  readonly batcher: Batcher;
  readonly reads: Reads;
  readonly members: Members;
  readonly repairs: Repairs;
  readonly sink: ProduceSink;
  readonly transport: Transport;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What this node says of itself. */
  readonly self: PeerHello;
  /** What start took, for logs and metrics. */
  readonly replayedEntries: number;
  /** Elections that this node has won. */
  elections = 0;
  /** Entries that were fetched again because they were lost or damaged here. */
  repairedEntries = 0;
  /** Called when pending state is dropped: this node no longer leads. */
  onLost: () => void = () => undefined;
  /** Called when other files took the place of this log: a new replica is to be made of them. */
  onReplaced: () => void = () => undefined;
  /** Called as time goes on, every `UPKEEP_INTERVAL_MS`. */
  onTick: () => void = () => undefined;
  /** Called at the end of each turn in which a topic went away or its floor rose. */
  onTopicChange: (topicId: number) => void = () => undefined;
  readonly #disk: Disk;
  readonly #time: LogTime;
  readonly #requestTurn: RequestTurn;
  readonly #settings: ReplicaOptions["settings"];
  readonly #cluster: ClusterOptions;
  readonly #random: () => number;
  readonly #applier: Applier;
  readonly #followers: Followers;
  readonly #intake = new Intake();
  readonly #recordRepairs: RecordRepairs;
  readonly #sender: FileSender;
  readonly #receiver: FileReceiver;
  #incoming: IncomingFiles | undefined;
  readonly #unapplied = new UnappliedEntries();
  readonly #header = newEntryHeader();
  #appliedChain: ChainEnd;
  readonly #peerClocks: PeerClocks;
  /** The lives that the membership in force means, by node. */
  readonly #lives = new Map<string, string>();
  #isReady = false;
  #isLeading = false;
  #isAskingReady = false;
  #isStopping = false;
  #isDetached = false;
  #wasFull = false;
  #isTurnRequested = false;
  #lastWriteMs = 0;
  #lastUpkeepMs = Number.NEGATIVE_INFINITY;
  /** Last entry that this node sealed as a leader. */
  #sealedIndex = 0;
  #isSealingMembership = false;
  #hasHandedOver = false;
  /** Until when a new leader may step forward to its clock. */
  #stepUntilMs = Number.NEGATIVE_INFINITY;
  readonly #gathering = new Gathering();
  #lastRoomMs = Number.NEGATIVE_INFINITY;
  /** Grows whenever a floor rises or a topic goes. */
  #floorsVersion = 0;
  #nextScrubMs = 0;
  readonly #scrubPassMs: number;
  #hardState: HardState;
  #redirect: Refusal | undefined;
  #redirectUrl = "";

  /** Recovers the log and the state. Blocks; nothing is served yet. Throws `FatalError`, `FileError`. */
  constructor(options: ReplicaOptions) {
    const { disk, cluster } = options;
    this.#disk = disk;
    this.clock = options.clock;
    this.#peerClocks = new PeerClocks(options.clock);
    this.transport = options.transport;
    this.#requestTurn = options.requestTurn;
    this.logger = options.logger;
    this.#settings = options.settings;
    this.#cluster = cluster;
    this.#random = options.random;
    this.#scrubPassMs = options.limits.scrubPassMs ?? SCRUB_PASS_MS;
    this.sink = options.sink;

    const {
      log: recovered,
      applier,
      hardState,
    } = recoverState(disk.files, this.state, this.kv, {
      identity: options.identity,
      segmentBytes: options.limits.segmentBytes,
      startSegmentBytes: options.limits.startSegmentBytes ?? options.limits.segmentBytes,
      randomId: options.randomId,
      randomSalt: options.randomSalt,
      report: (event, fields) => options.logger.warn(event, fields),
    });
    this.#hardState = hardState;
    this.#applier = applier;
    this.identity = { ...options.identity, meta: recovered.meta };
    const { nodeId, clusterId, incarnation } = recovered.meta;
    this.self = { nodeId, clusterId, incarnation, httpUrl: cluster.httpUrl };
    const end = recovered.active.chain;
    this.#appliedChain = recovered.appliedChain;
    this.#applier.onChange = (topic, partition) => {
      if (partition < 0) {
        this.#floorsVersion += 1;
        this.onTopicChange(topic.id);
      } else this.wishes.grant(partitionKey(topic.id, partition), topic.nextOffset[partition] ?? 0);
    };
    const { keyMemoryBytesMax = Number.POSITIVE_INFINITY } = options;
    const checkMemory = (): void => {
      const { memoryBytes } = this.kv;
      if (memoryBytes > keyMemoryBytesMax)
        throw new FatalError(
          "state_over_budget",
          `Cannot hold the keys of the log: they take ${memoryBytes} bytes, the limit is ${keyMemoryBytesMax}. Raise RF_KV_BYTES`,
        );
    };
    checkMemory();
    this.#applier.onKeyChange = (namespace, index) => {
      checkMemory();
      this.wishes.grant(namespaceWish(namespace.id), index + 1);
      // Whoever waits for a namespace that was not there does not know its number.
      if (namespace.changedIndex === 0) this.wishes.grant(namespaceWish(undefined), index + 1);
    };
    this.replayedEntries = recovered.replayedEntries;
    this.log = new SegmentLog({
      disk,
      recovered,
      limits: options.limits,
      randomSalt: options.randomSalt,
    });
    for (const bytes of recovered.unapplied) {
      const view = viewOf(bytes);
      readEntryHeader(view, 0, this.#header);
      this.#unapplied.add({ index: this.#header.index, bytes, view, at: 0, slab: undefined });
    }
    this.#applier.onConfigured = (membership, index) => this.#saveMembership(membership, index);
    this.#time = new LogTime(options.clock, end.timestampMs);
    const { membership } = this.#hardState;
    for (const member of membership.members) this.#lives.set(member.nodeId, member.incarnation);
    this.raft = createRaft({
      nodeId,
      configuration: membership,
      configurationIndex: this.#hardState.configurationIndex,
      term: hardState.term,
      vote: hardState.vote,
      commitIndex: this.#appliedChain.index,
      appliedIndex: this.#appliedChain.index,
      lastIndex: end.index,
      runs: recovered.terms.map(([index, term]) => ({ index, term })),
      electionTicks: cluster.electionTicks,
      heartbeatTicks: cluster.heartbeatTicks,
      random: this.#random(),
      // What is not known of the past might be a promise: without its old life a node has no say.
      isFenced: !isMember(membership, this.self),
      inflightBytesMax: INFLIGHT_BYTES_MAX,
      inflightMessagesMax: INFLIGHT_MESSAGES_MAX,
    });
    if (this.#hardState !== recovered.hardState) this.log.saveState(this.#hardState);
    this.concerns = new Concerns(cluster.writeConcern);
    this.reads = new Reads(
      () => this.clock.monotonicMs(),
      (context) => {
        this.#take(step(this.raft, { kind: "read", context }));
        this.wantTurn();
      },
      Math.floor(this.clock.wallMs()) * READS_PER_MS,
    );
    this.members = new Members(this);
    this.batcher = new Batcher({
      tail: this.log.tail,
      chain: end,
      writeBytesMax: this.log.writeBytesMax,
      nextIndex: () => this.#propose(),
    });
    this.batcher.onSeal = (entry) => this.#unapplied.add(entry);
    this.#followers = new Followers({
      raft: this.raft,
      log: this.log,
      transport: this.transport,
      encode: (message) => encodeRaft(message, this.clock.wallMs()),
      sent: (to, prevIndex, lastIndex, bytes) =>
        this.#take(step(this.raft, { kind: "sent", to, prevIndex, lastIndex, bytes })),
      needsFiles: (to, nextIndex, entryBytes) => {
        const offer = this.#sender.offer(to, nextIndex, entryBytes);
        if (offer !== undefined)
          this.#take(step(this.raft, { kind: "snapshotStarted", to, index: offer.index }));
      },
      catchUpBytes: cluster.catchUpBytes,
      isMoreComing: () => !this.batcher.isEmpty,
      wantTurn: () => this.wantTurn(),
    });
    const transfer = {
      disk,
      log: this.log,
      logger: options.logger,
      nowMs: () => this.clock.monotonicMs(),
      talk: (to: string, talk: PeerTalk): void => {
        this.transport.send(to, "urgent", [encodeTalk(talk, this.clock.wallMs())]);
      },
      sendPiece: (to: string, piece: PieceHead, bytes: Uint8Array): boolean =>
        this.transport.send(to, "bulk", [encodePieceHead(piece, this.clock.wallMs()), bytes]),
    };
    this.#recordRepairs = new RecordRepairs({
      ...transfer,
      sendRecords: (to, repair, floor, kept) => {
        const head = encodeRecordsHead(repair, floor, this.clock.wallMs());
        this.transport.send(to, "bulk", [head, kept]);
      },
      peers: () => this.#connectedPeers(),
      floorOf: this.#floorOf,
      knows: (key) => Math.floor(key / partitionKey(1, 0)) <= this.state.topicIdMax,
      endOf: (key) => {
        const topic = this.state.byId(Math.floor(key / partitionKey(1, 0)));
        return topic?.nextOffset[key % partitionKey(1, 0)] ?? -1;
      },
    });
    this.repairs = new Repairs({
      ...transfer,
      records: this.#recordRepairs,
      intake: this.#intake,
      sendEntries: (to, _firstIndex, parts) => {
        const head = encodeEntriesHead(this.clock.wallMs());
        this.transport.send(to, "bulk", [head, ...parts]);
      },
      peers: () => this.#connectedPeers(),
      repaired: (entries) => {
        this.repairedEntries += entries;
      },
    });
    this.log.onCompacted = (index) => {
      if (index > this.raft.compactedIndex)
        this.#take(step(this.raft, { kind: "compacted", index }));
    };
    this.log.onDamaged = (segment, message) => {
      // Who is alone has nobody to ask.
      if (isAlone(this.membership, this.self.nodeId)) return false;
      this.repairs.add(segment, message);
      return true;
    };
    this.#sender = new FileSender(transfer);
    this.#receiver = new FileReceiver({
      ...transfer,
      complete: (incoming) => {
        this.#incoming = incoming;
        this.wantTurn();
      },
    });
    this.log.reader.onRetire = () => this.wantTurn();
    disk.onWake = () => this.turn();
    this.transport.onWake = () => this.turn();
    this.transport.introduce(this.self);
    if (this.isListOther) {
      const members = membership.members.map((member) => member.nodeId).join(",");
      this.logger.warn("node_list_differs", { members });
    }
    this.#meetPeers(membership);
  }

  /** Whether what this node answers to reads is committed, and as new as a current leader's when it started. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether this node takes writes: it leads, and the entry that opens its term is applied. */
  get isLeading(): boolean {
    return this.#isLeading && !this.#isStopping;
  }

  /** Whether new work is refused because the node is going down. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  get appliedIndex(): number {
    return this.#applier.appliedIndex;
  }

  /** The last entry that was applied. */
  get appliedChain(): ChainEnd {
    return this.#appliedChain;
  }

  /** Where the files are: for what reads them beside the log. */
  get disk(): Disk {
    return this.#disk;
  }

  /** Who belongs to the cluster, as far as this node has applied and saved it. */
  get membership(): Membership {
    return this.#hardState.membership;
  }

  /** Whether this node knows that it does not belong to the cluster any more. */
  get isRemoved(): boolean {
    return !this.membership.members.some(({ nodeId }) => nodeId === this.self.nodeId);
  }

  /** A membership is applied and not saved yet. */
  get isSavingMembership(): boolean {
    return this.#hardState.configurationIndex !== this.raft.configurationIndex;
  }

  /** Index that the entry now being built, or the next one, gets. */
  get openIndex(): number {
    return this.raft.lastIndex + 1;
  }

  /** Index of the newest entry that something waits in; equal to `appliedIndex` when nothing is under way. */
  get pendingIndex(): number {
    return this.batcher.isOpen ? this.openIndex : this.raft.lastIndex;
  }

  /** When a peer last said anything: milliseconds ago, `Infinity` for never. */
  lastContactMs(nodeId: string): number {
    return this.#peerClocks.silentMs(nodeId);
  }

  /** Whether the configured list names other nodes than belong to the cluster: then it only supplies addresses. */
  get isListOther(): boolean {
    return isOtherThan(this.#cluster.addresses, this.membership);
  }

  /** The time for an entry that is opened now. */
  readonly now = (): number => this.#time.now();

  /** Time of the open entry, or of one that would be opened now. */
  entryTime(): number {
    return this.batcher.isOpen ? this.batcher.timestampMs : this.#time.now();
  }

  /** Why a write cannot be taken here; undefined when it can. */
  writeGate(): Refusal | undefined {
    if (this.#isLeading && !this.#isStopping) {
      // The one that takes over must have everything: nothing is added meanwhile.
      if (this.raft.transferee !== undefined) return HANDING_OVER;
      return this.#unapplied.bytes > UNCOMMITTED_BYTES_MAX ? NO_QUORUM : undefined;
    }
    if (this.#isStopping) return STOPPING;
    const { leaderId, nodeId } = this.raft;
    if (leaderId === nodeId) return NOT_READY;
    if (leaderId === undefined) return this.#isReady ? NOT_LEADER : NOT_READY;
    const leader_url = this.urlOf(leaderId);
    if (leader_url === "") return NOT_LEADER;
    if (this.#redirectUrl !== leader_url) {
      this.#redirectUrl = leader_url;
      this.#redirect = refuse("redirect_to_leader", "Writes go to the leader", { leader_url });
    }
    return this.#redirect;
  }

  /** Base of a member's HTTP address; empty when it is not known. */
  urlOf(nodeId: string): string {
    if (nodeId === this.self.nodeId) return this.self.httpUrl;
    const said = this.transport.link(nodeId).hello?.httpUrl;
    if (said !== undefined && said !== "") return said;
    const member = this.membership.members.find((known) => known.nodeId === nodeId);
    if (member !== undefined && member.httpUrl !== "") return member.httpUrl;
    return guessHttpUrl(nodeId, this.#cluster.addresses);
  }

  /** Adds a produce that waits for the entry now being built. */
  waitFor(
    ack: Ack,
    waiter: number,
    firstOffset: number,
    count: number,
    partition: number,
    duplicate: number,
  ): void {
    const voters = this.#hardState.membership.voters.length;
    const { openIndex } = this;
    this.concerns.add(ack, voters, openIndex, waiter, firstOffset, count, partition, duplicate);
  }

  /**
   * Calls `run` in a later turn, once everything that this node has taken so far is applied and it is certain that it still
   * leads; or `lost` when that cannot be known.
   */
  confirm(run: () => void, lost: (refusal: Refusal) => void): void {
    const confirm = (): void => {
      this.reads.barrier(CONFIRM_TIMEOUT_MS, (answer) => {
        if (answer.ok && this.#isLeading) run();
        else lost(this.writeGate() ?? NOT_LEADER);
      });
    };
    if (this.pendingIndex > this.appliedIndex)
      this.callbacks.add(this.pendingIndex, confirm, () => lost(this.writeGate() ?? NOT_LEADER));
    else confirm();
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
    if (this.#incoming !== undefined) {
      if (!this.#has(this.#incoming.offer)) {
        this.#makeWay(this.#incoming);
        return;
      }
      this.#incoming = undefined;
      this.#receiver.decline();
    }
    this.#receive();
    this.#sender.flush();
    this.#complete();
    this.#applyCommitted();
    this.#submit();
    this.#followers.replicate();
    this.concerns.widened(this.membership, this.#matchOf, this.sink);
    this.reads.wake(this.appliedIndex);
    if (this.wishes.wakeSome(WOKEN_PER_TURN_MAX)) this.wantTurn();
  }

  /** Whether the log goes as far by now. Entries may have come while the files did, and what was acknowledged must stay. */
  #has({ index, term }: { readonly index: number; readonly term: number }): boolean {
    return index <= this.raft.commitIndex || termAt(this.raft, index) === term;
  }

  /** A complete set of files waits to take the place of this log: once nothing is under way, this replica is over. */
  #makeWay(incoming: IncomingFiles): void {
    this.#isReady = false;
    this.#complete();
    if (!this.log.isQuiet) return;
    this.#isDetached = true;
    // Readers that wait here look again, and find the one that comes after.
    this.wishes.wakeAll();
    this.#sender.close();
    this.reads.close(REPLACED);
    this.log.replaceBy(incoming);
    const { index } = incoming.offer;
    this.logger.info("files_installed", { index });
    for (const nodeId of this.membership.members.map((member) => member.nodeId)) {
      const talk = { kind: "filesEnded", index, isInstalled: true } as const;
      this.transport.send(nodeId, "urgent", [encodeTalk(talk, this.clock.wallMs())]);
    }
    this.onReplaced();
  }

  readonly #matchOf = (nodeId: string): number => this.raft.progress.get(nodeId)?.matchIndex ?? 0;

  /** Members that can be asked, the leader first: it has everything. */
  #connectedPeers(): readonly string[] {
    const { leaderId } = this.raft;
    return this.membership.members
      .map(({ nodeId }) => nodeId)
      .filter((nodeId) => nodeId !== this.self.nodeId && this.transport.link(nodeId).isConnected)
      .sort((left, right) => Number(right === leaderId) - Number(left === leaderId));
  }

  /** Takes what the disk has finished. */
  #complete(): void {
    for (const completion of this.#disk.poll()) {
      const event = this.log.completed(completion);
      if (event === undefined) continue;
      if (event.kind === "synced") {
        this.#gathering.synced(this.batcher.added);
        const term = termAt(this.raft, event.index) ?? 0;
        this.#take(step(this.raft, { kind: "persisted", index: event.index, term }));
        this.concerns.synced(event.index, this.raft.commitIndex, this.sink);
      } else this.#stateSaved(event.state);
    }
  }

  #stateSaved(state: HardState): void {
    const { term, vote, configurationIndex: index, membership } = state;
    this.#take(step(this.raft, { kind: "stateSaved", term, vote }));
    if (index <= this.raft.configurationIndex) return;
    // It holds from here on, and not before: a restart would not know of it.
    this.#take(step(this.raft, { kind: "configured", configuration: membership, index }));
    this.#forgetLives(membership);
    this.#tellApplied();
    const isFenced = !isMember(membership, this.self);
    if (isFenced !== this.raft.isFenced) this.#take(step(this.raft, { kind: "fence", isFenced }));
    // It is told nothing any more: what it answers would grow old without anybody noticing.
    if (this.isRemoved) this.#isReady = false;
    this.logger.info("membership", {
      index,
      epoch: membership.epoch,
      voters: membership.voters.join(","),
      learners: membership.learners.join(","),
    });
    this.#meetPeers(membership);
    this.members.tick();
  }

  #meetPeers(membership: Membership): void {
    this.transport.setPeers(peersOf(this.self.nodeId, membership, this.#cluster.addresses));
  }

  #saveMembership(membership: Membership, configurationIndex: number): void {
    this.#hardState = { ...this.#hardState, membership, configurationIndex };
    this.#saveState();
  }

  #saveState(): void {
    const commitIndex = Math.min(this.raft.commitIndex, this.log.syncedIndex);
    this.#hardState = { ...this.#hardState, commitIndex };
    this.log.saveState(this.#hardState);
  }

  /** Takes what peers sent. */
  #receive(): void {
    for (const delivery of this.transport.poll()) {
      const { from } = delivery;
      if (delivery.kind === "connected") {
        this.logger.info("peer_connected", { node: from.nodeId });
        if (from.clusterId === "") this.#welcome(from);
        else this.#sender.met(from.nodeId);
        this.members.met(from);
      } else if (delivery.kind === "disconnected") {
        this.logger.warn("peer_disconnected", { node: from.nodeId });
        this.#take(step(this.raft, { kind: "unreachable", nodeId: from.nodeId }));
      } else this.#message(from, delivery.bytes);
    }
  }

  /** A node that belongs nowhere is told where it belongs. */
  #welcome(from: PeerHello): void {
    const talk = {
      kind: "form",
      clusterId: this.self.clusterId,
      membership: this.membership,
    } as const;
    this.transport.send(from.nodeId, "urgent", [encodeTalk(talk, this.clock.wallMs())]);
  }

  #message(from: PeerHello, bytes: Uint8Array): void {
    const peer = decodePeer(bytes);
    if (peer === undefined) {
      this.logger.warn("peer_message_malformed", { node: from.nodeId, bytes: bytes.length });
      return;
    }
    this.#peerClocks.heard(from.nodeId, peer.wallMs);
    if (peer.kind === "talk" && peer.talk.kind === "empty") this.#welcome(from);
    if (from.clusterId !== this.self.clusterId) return;
    if (peer.kind === "talk") {
      this.#hear(from.nodeId, peer.talk);
      return;
    }
    if (peer.kind === "entries") {
      this.repairs.take(from.nodeId, peer.bytes, peer.entriesStart);
      return;
    }
    if (peer.kind === "records") {
      this.#recordRepairs.take(from.nodeId, peer.repair, peer.floor, peer.kept);
      return;
    }
    if (peer.kind === "piece") {
      this.#receiver.take(from.nodeId, peer, peer.bytes);
      return;
    }
    const { message } = peer;
    if (message.from !== from.nodeId || message.to !== this.self.nodeId) return;
    if (isCounted(message) && !this.#isKnown(from)) return;
    if (message.kind !== "append") {
      this.#take(step(this.raft, { kind: "received", message }));
      return;
    }
    if (!this.#intake.isWhole(message, bytes, peer.entriesStart)) {
      this.logger.warn("peer_entries_damaged", { node: from.nodeId, index: message.prevIndex + 1 });
      return;
    }
    const ready = step(this.raft, { kind: "received", message });
    this.#take(ready);
    if (ready.accepted === undefined) return;
    this.#intake.each(
      bytes,
      peer.entriesStart,
      ready.accepted.firstIndex,
      (entries, at, header) => {
        this.#time.follow(header.timestampMs);
        this.batcher.addEntry(entries, at, header);
      },
    );
    assert(this.batcher.chain.index === ready.accepted.lastIndex, "What was accepted is taken");
  }

  /** What a peer says apart from consensus. */
  #hear(from: string, talk: PeerTalk): void {
    switch (talk.kind) {
      case "wantFiles":
        this.#sender.list(from, talk.index);
        break;
      case "files":
        this.#receiver.listed(from, talk.offer);
        break;
      case "wantPiece":
        this.#sender.piece(from, talk.index, talk.file, talk.position);
        break;
      case "wantEntries":
        this.repairs.serve(from, talk.index, talk.lastIndex);
        break;
      case "lacksEntries":
        this.repairs.lacks(from);
        break;
      case "wantRecords":
        this.#recordRepairs.serve(from, talk.index, talk.key, talk.offset, talk.endOffset);
        break;
      case "full":
        this.members.heardFull(from);
        break;
      case "filesEnded":
        this.#sender.end(from, !talk.isInstalled);
        // What is wrong may be the files themselves: those of the log are scrubbed, and this one first.
        if (!talk.isInstalled) this.log.scrubBase();
        this.#take(
          step(
            this.raft,
            talk.isInstalled
              ? { kind: "snapshotFinished", to: from, index: talk.index }
              : { kind: "snapshotFailed", to: from },
          ),
        );
        break;
      default:
        break;
    }
  }

  /** Whether the membership knows this life of the node. */
  #isKnown(from: PeerHello): boolean {
    const { members } = this.membership;
    const member = members.find(({ nodeId }) => nodeId === from.nodeId);
    return member !== undefined && member.incarnation === from.incarnation;
  }

  /** From here on another life of a node counts: what the one before had acknowledged is not what this one has. */
  #forgetLives(membership: Membership): void {
    for (const { nodeId, incarnation } of membership.members) {
      const before = this.#lives.get(nodeId);
      this.#lives.set(nodeId, incarnation);
      if (before !== undefined && before !== incarnation) this.forget(nodeId);
    }
  }

  /** Whatever a follower had is not to be counted on any more. */
  forget(nodeId: string): void {
    this.#take(step(this.raft, { kind: "forget", nodeId }));
  }

  /** Time goes on: elections, the idle frame, background work. Call every `tickMs`. */
  tick(): void {
    if (this.#isDetached) return;
    // Who is alone has nobody to wait for.
    const isDue = this.raft.role === "follower" && isAlone(this.membership, this.self.nodeId);
    if (isDue) this.#take(step(this.raft, { kind: "campaign" }));
    else this.#take(step(this.raft, { kind: "tick", random: this.#random() }));
    const now = this.clock.monotonicMs();
    if (now - this.#lastUpkeepMs >= UPKEEP_INTERVAL_MS) {
      this.#lastUpkeepMs = now;
      this.#upkeep(now);
    }
    this.reads.tick();
    this.turn();
  }

  #upkeep(now: number): void {
    if (now - this.#lastRoomMs >= ROOM_INTERVAL_MS) {
      this.#lastRoomMs = now;
      this.log.askRoom();
      this.#tellFull();
    }
    this.#sayRoom();
    this.#stepForward();
    this.log.maintain(this.appliedIndex);
    this.log.reclaim(now, { floorOf: this.#floorOf, version: this.#floorsVersion });
    this.onTick();
    const { commitIndex } = this.raft;
    if (
      this.batcher.isEmpty &&
      this.log.needsIdleFrame(commitIndex) &&
      now - this.#lastWriteMs >= IDLE_FRAME_MS
    )
      this.log.appendIdleFrame(commitIndex);
    this.members.tick();
    this.#receiver.tick();
    this.repairs.tick();
    this.#scrubWhenDue(now);
    for (const { to, index } of this.#sender.unanswered()) this.#offerAgain(to, index);
    for (const to of this.#sender.expired())
      this.#take(step(this.raft, { kind: "snapshotFailed", to }));
    this.#handOverWhenStuck(now);
    this.#handOverAtEnd();
    if (!this.#isReady && !this.#isStopping && !this.#isAskingReady && !this.isRemoved)
      this.#askReady();
  }

  /** First offset of a partition that is alive; `Infinity` when its topic is gone. What is applied here is durable here. */
  readonly #floorOf = (key: number): number => {
    const topic = this.state.byId(Math.floor(key / partitionKey(1, 0)));
    return topic?.startOffset[key % partitionKey(1, 0)] ?? Number.POSITIVE_INFINITY;
  };

  /** What was offered may have been compacted meanwhile: then there will be another offer. */
  #offerAgain(to: string, index: number): void {
    if (this.raft.progress.get(to)?.state !== "snapshot") return;
    const isThere = termAt(this.raft, index) !== undefined;
    if (!isThere) this.#sender.end(to);
    this.#take(
      step(
        this.raft,
        isThere ? { kind: "snapshotStarted", to, index } : { kind: "snapshotFailed", to },
      ),
    );
  }

  /** Sealed segments are looked at again and again, so that damage is found while peers still have the same entries. */
  #scrubWhenDue(now: number): void {
    if (now < this.#nextScrubMs) return;
    if (this.#nextScrubMs > 0) this.log.scrub();
    const passMs = this.#scrubPassMs;
    this.#nextScrubMs = now + Math.max(SCRUB_INTERVAL_MS_MIN, passMs / this.log.counts.segments);
  }

  /** A leader whose disk is full takes no records, and one whose disk does not answer would go on being heard, and take no write: another one should lead. */
  #handOverWhenStuck(now: number): void {
    if (!this.#isLeading || this.raft.transferee !== undefined) return;
    if (this.#isStuck(now)) this.members.offer("the disk does not answer", STUCK_INTERVAL_MS);
    // Where nobody has room it stays: who takes it could do no more.
    else if (this.log.isFull) this.members.offerForRoom(STUCK_INTERVAL_MS);
  }

  /** Whether a write has been under way for longer than elections take. */
  #isStuck(now: number): boolean {
    const { electionTicks, tickMs } = this.#cluster;
    return !this.log.isIdle && now - this.#lastWriteMs >= 2 * electionTicks * tickMs;
  }

  /** Ready is who has applied what a current leader had committed. */
  #askReady(): void {
    this.#isAskingReady = true;
    this.reads.barrier(READY_TIMEOUT_MS, (answer) => {
      this.#isAskingReady = false;
      if (answer.ok) this.#becomeReady();
    });
  }

  #becomeReady(): void {
    if (this.#isStopping || this.#isReady || this.isRemoved) return;
    this.#isReady = true;
    this.logger.info("ready", { applied_index: this.appliedIndex, term: this.raft.term });
  }

  /** Whoever leads must know to whom the lead is of no use. */
  #tellFull(): void {
    const { leaderId } = this.raft;
    if (!this.log.isFull || leaderId === undefined || leaderId === this.self.nodeId) return;
    this.transport.send(leaderId, "urgent", [encodeTalk({ kind: "full" }, this.clock.wallMs())]);
  }

  /** One line when records are refused for want of room, and one when they are taken again. */
  #sayRoom(): void {
    const { isFull, counts } = this.log;
    if (isFull === this.#wasFull) return;
    this.#wasFull = isFull;
    const fields = { free_bytes: counts.freeBytes };
    if (isFull) this.logger.warn("disk_full", fields);
    else this.logger.info("disk_has_room", fields);
  }

  /** Hands leadership to a voter, once it has everything that was taken here. */
  transfer(to: string): void {
    if (this.batcher.isOpen) this.batcher.seal();
    this.#take(step(this.raft, { kind: "transfer", to }));
    this.wantTurn();
  }

  /**
   * Hands leadership to a voter because the own disk is full or does not answer. What has its place in the log and no place
   * on this disk cannot be sent: then the other one stands without it.
   */
  giveUpTo(to: string): void {
    const isStanding = this.log.isIdle || this.#isStuck(this.clock.monotonicMs());
    const isAtOnce = isStanding && this.raft.lastIndex > this.log.placedEnd.index;
    this.#take(step(this.raft, { kind: "transfer", to, isAtOnce }));
    this.wantTurn();
  }

  /** Takes no more work. What is under way is finished by further turns; `isIdle` says when it is. */
  stop(): void {
    this.#isStopping = true;
    this.#isReady = false;
    this.reads.close(STOPPING);
  }

  /**
   * Looks at nothing any more, before the disk is closed. Background work that is under way ends on the disk and counts
   * for nothing, as after a kill: the next start does it again.
   */
  detach(): void {
    this.#isDetached = true;
  }

  /** Whether no write is under way; a leader that stops has handed over then, if there is anybody. */
  get isIdle(): boolean {
    return this.#isDrained && (this.raft.role !== "leader" || !this.#canHandOver);
  }

  get #isDrained(): boolean {
    if (!this.batcher.isEmpty || !this.log.isIdle) return false;
    return this.raft.role !== "leader" || this.#unapplied.isEmpty;
  }

  get #canHandOver(): boolean {
    if (!this.#isStopping) return false;
    return this.#hasHandedOver
      ? this.raft.transferee !== undefined
      : this.members.furthest() !== undefined;
  }

  /** A leader that stops, and has finished what it took, leaves the cluster with another one. */
  #handOverAtEnd(): void {
    if (!this.#isStopping || this.#hasHandedOver || !this.#isDrained) return;
    const to = this.raft.role === "leader" ? this.members.furthest() : undefined;
    if (to === undefined) return;
    this.#hasHandedOver = true;
    this.transfer(to);
  }

  #take(ready: RaftReady): void {
    if (ready.lostLeadership === true) this.#lose();
    if (ready.truncateFrom !== undefined) this.#truncate(ready.truncateFrom);
    if (ready.hardState !== undefined) {
      this.#hardState = { ...this.#hardState, ...ready.hardState };
      this.#saveState();
    }
    for (const message of ready.messages)
      this.transport.send(message.to, "urgent", [encodeRaft(message, this.clock.wallMs())]);
    for (const { context, index } of ready.reads ?? []) {
      this.reads.confirmed(context, index);
      this.wantTurn();
    }
    if (ready.snapshotOffered !== undefined)
      this.#receiver.offered(ready.snapshotOffered.from, ready.snapshotOffered.index);
    for (const context of ready.failedReads ?? []) this.reads.failed(context);
    if (ready.becameLeader === true) this.#lead();
  }

  /** Opens the term, then brings the cluster settings up to date. Takes writes once both are applied. */
  #lead(): void {
    this.elections += 1;
    const { term, lastIndex } = this.raft;
    this.logger.info("became_leader", { term, index: lastIndex });
    this.state.dropPending();
    this.members.lead();
    this.#stepUntilMs = this.clock.monotonicMs() + CLOCKS_WAIT_MS;
    this.#stepForward();
    this.batcher.addNoOp(this.now);
    const { idempotencyTtlMs, idempotencyKeysMax } = this.#settings;
    if (
      this.state.idempotencyTtlMs !== idempotencyTtlMs ||
      this.state.idempotencyKeysMax !== idempotencyKeysMax
    ) {
      this.propose([{ kind: "settings", idempotencyTtlMs, idempotencyKeysMax }]);
    }
    this.callbacks.add(
      this.raft.lastIndex,
      () => {
        this.state.dropPending();
        this.#isLeading = true;
        this.#becomeReady();
        this.members.tick();
      },
      () => undefined,
    );
    this.wantTurn();
  }

  /** A new leader takes up the time of day, once, if a majority agrees on what that is. */
  #stepForward(): void {
    const isOver = this.raft.role !== "leader" || this.clock.monotonicMs() > this.#stepUntilMs;
    if (isOver || !this.#peerClocks.agree(this.membership.voters, this.self.nodeId)) return;
    this.#stepUntilMs = Number.NEGATIVE_INFINITY;
    this.#time.stepForward();
  }

  /** Leads no more: pending state is nobody's, and what is not committed has an outcome that nobody here knows. */
  #lose(): void {
    this.logger.warn("lost_leadership", { term: this.raft.term });
    this.#isLeading = false;
    this.batcher.dropOpen();
    const sealedIndex = this.#sealedIndex;
    const gate = this.writeGate() ?? NOT_LEADER;
    // What never got a place in the log may be sent elsewhere; the rest must not be written twice.
    const refusalOf = (index: number): Refusal => (index > sealedIndex ? gate : UNKNOWN);
    this.state.dropPending();
    this.onLost();
    this.concerns.lost(refusalOf, this.sink);
    this.callbacks.refuse(refusalOf);
  }

  /** Entries from `index` on are no longer of the log: another leader has others in their place. */
  #truncate(index: number): void {
    const { first, end } = this.#unapplied.cutAt(index, this.#appliedChain);
    this.logger.warn("log_truncated", {
      after_index: end.index,
      last_index: this.batcher.chain.index,
    });
    this.batcher.cut(end, first);
    this.log.cut(end);
    this.#unapplied.cut(index);
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

  /** Puts a membership into an entry of its own. Returns its index. */
  proposeMembership(membership: Membership): number {
    if (this.batcher.isOpen) this.batcher.seal();
    const bytes = JSON.stringify(membership).length * 3;
    this.batcher.open(COMMAND_HEADER_BYTES + bytes, this.now);
    this.batcher.addCommand((writer: ByteWriter) =>
      putCommand(writer, { kind: "configured", membership }),
    );
    this.#isSealingMembership = true;
    this.batcher.seal();
    this.#isSealingMembership = false;
    this.wantTurn();
    return this.raft.lastIndex;
  }

  /** Gives the entry that is being sealed its place in the log. */
  #propose(): { readonly index: number; readonly term: number } {
    const isConfiguration = this.#isSealingMembership;
    this.#take(step(this.raft, { kind: "proposed", entries: 1, isConfiguration }));
    this.#sealedIndex = this.raft.lastIndex;
    return { index: this.raft.lastIndex, term: this.raft.term };
  }

  #applyCommitted(): void {
    // What is applied is committed and durable here.
    const until = Math.min(this.raft.commitIndex, this.log.syncedIndex);
    const applied = this.#unapplied.apply(until, this.#applier);
    if (applied === undefined) return;
    this.#appliedChain = applied;
    this.#tellApplied();
    this.sink.submittedMs = this.#lastWriteMs;
    this.concerns.applied(this.appliedIndex, this.sink);
    this.callbacks.wake(this.appliedIndex);
  }

  /** A membership counts as applied once it is saved, and what stands behind it no sooner. */
  #tellApplied(): void {
    const { configurationIndex } = this.#hardState;
    const index = this.isSavingMembership
      ? Math.min(this.appliedIndex, configurationIndex - 1)
      : this.appliedIndex;
    if (index > this.raft.appliedIndex) this.#take(step(this.raft, { kind: "applied", index }));
  }

  /** Whether a write waits for the requests that are coming in. What a leader sent is not waited with. */
  #isGathering(): boolean {
    if (this.batcher.queue.length > 0 || !this.#isLeading) return false;
    return this.#gathering.isOn(this.batcher.added, this.clock);
  }

  #submit(): void {
    if (!this.log.isIdle || this.batcher.isEmpty) return;
    // No entry becomes durable before its term is: a start would take that for a lost promise.
    if (!this.raft.isStateSaved) return;
    if (this.#isGathering()) {
      this.wantTurn();
      return;
    }
    this.#gathering.end();
    const write = this.batcher.take();
    if (write === undefined) return;
    if (!this.log.append(write, this.raft.commitIndex)) {
      // No segment has room yet: its preparation is under way, and its completion brings a turn.
      this.log.maintain(this.appliedIndex);
      return;
    }
    this.batcher.queue.shift();
    this.#gathering.submitted(this.batcher.added);
    this.#lastWriteMs = this.clock.monotonicMs();
  }
}

/** Messages by which a node is counted: only the life of it that the membership means has a say. */
const isCounted = ({ kind }: RaftMessage): boolean =>
  kind === "appendReply" ||
  kind === "heartbeatReply" ||
  kind === "voteReply" ||
  kind === "preVoteReply";
