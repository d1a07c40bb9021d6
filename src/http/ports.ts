// What the HTTP room needs of the rest. `main.ts` hands in the real thing, contract tests hand in a fake.
// Requests go down as plain data and outcomes come back by number, so that the two sides may one day be threads.

import type { TopicShape } from "../broker/mod.ts";
import type { Result } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import type { KvWrite } from "../model/kv.ts";
import type { ProduceRequest } from "../model/produce.ts";
import type { RecordSlice } from "../model/record.ts";
import type { Transaction, TransactionOutcome } from "../model/transaction.ts";

/** The socket that the server listens on, as the operating system knows it. */
export interface ListenerPort {
  /** Descriptors that the process may have, of all kinds. */
  readonly descriptorsMax: number;
  /** Connections that are open, to within a few dozen. */
  connections(): number;
  /** Lets connections come, or wait. Returns whether it does. */
  setAccepting(isAccepting: boolean): boolean;
}

/** `sealed` goes to the log; `rocket` stays in memory. */
export type WriteMode = "sealed" | "rocket";

/** A topic as a request sees it. Stable while the topic lives; do not keep it across an await: ask again. */
export interface TopicView {
  readonly id: number;
  readonly name: string;
  readonly partitions: number;
  readonly mode: WriteMode;
}

/** Readable range and stored size of one partition. */
export interface PartitionView {
  readonly startOffset: number;
  readonly nextOffset: number;
  /** Stored bytes of the readable records: keys, values and headers. */
  readonly bytes: number;
}

/** Where one group stands in one partition. */
export interface GroupView {
  readonly group: string;
  readonly partition: number;
  readonly committedOffset: number;
}

/** Rules as set for one topic or partition; 0 means none. */
export interface RetentionView {
  readonly ttlMs: number;
  readonly maxBytes: number;
}

/** What `read` found. The bytes are valid until the caller gives up its turn: encode at once. */
export interface RecordBatch {
  readonly slices: readonly RecordSlice[];
  /** Readable range at the moment of the read. */
  readonly startOffset: number;
  readonly nextOffset: number;
}

/** What `read` is asked for. */
export interface ReadRequest {
  readonly topicId: number;
  readonly partition: number;
  /** First wanted offset, within the readable range. */
  readonly offset: number;
  readonly maxRecords: number;
  /** Roughly how many bytes of values; slices may bring more, and always bring the first record. */
  readonly maxBytes: number;
}

/** How the node is doing, for `/ready`, `/admin/sealed/status` and metrics. */
export interface NodeStatus {
  readonly ready: boolean;
  /** Why not: a fixed word, such as `replaying`, `waiting_for_peers`, `no_leader`, `repairing` or `stopping`. */
  readonly reason: string;
  /** Commit index. */
  readonly lastSyncedBatchId: number;
  readonly segmentBytes: number;
  readonly readOnly: boolean;
}

/** One node of the cluster. */
export interface NodeView {
  readonly nodeId: string;
  /** Where its peers reach it: `host:port`; empty on a node that has none. */
  readonly address: string;
  /** Base of its HTTP address, without a slash at its end; empty when it is not known. */
  readonly httpUrl: string;
  /** The higher, the sooner it leads. */
  readonly priority: number;
  readonly isVoter: boolean;
  readonly isLearner: boolean;
}

/** Who belongs to the cluster, as this node knows it. */
export interface MembershipView {
  /** Grows with every change. */
  readonly epoch: number;
  /** A change is half done: both the old and the new majority must agree. */
  readonly isJoint: boolean;
  readonly nodes: readonly NodeView[];
}

/** What a node is added with. */
export type NewNode = Pick<NodeView, "nodeId" | "address" | "httpUrl"> & {
  /** Left out: that of a node that does not say. */
  readonly priority?: number | undefined;
};

/** Where in the log a change of the cluster stands. */
export interface ChangeView {
  readonly index: number;
}

/** A node that was added, or was there. */
export interface AddedView extends ChangeView {
  readonly isVoter: boolean;
}

/** A key with its value. The bytes are valid until the caller gives up its turn. */
export interface KeyView {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly cas: number;
  /** When it ends, in the log's time; 0: it does not. */
  readonly deadlineMs: number;
}

/** One change of one key. */
export interface KeyChangeView {
  readonly kind: "put" | "deleted" | "expired";
  readonly key: Uint8Array;
  readonly cas: number;
  readonly deadlineMs: number;
  /** Of a put. */
  readonly value: Uint8Array | undefined;
  /** Index of its entry. */
  readonly index: number;
}

/** Changes of a namespace from an entry on. */
export interface KeyChangesView {
  readonly changes: readonly KeyChangeView[];
  /** Where to go on. */
  readonly nextIndex: number;
  /** The first entry that the log still has. */
  readonly firstIndex: number;
}

/** Keys and values as HTTP sees them. */
export interface KvPort {
  /** Takes a change of a key, as `produce` takes records: `firstOffset` is the key's `cas`, `count` 0 when nothing was deleted. */
  writeKey(waiter: number, request: KvWrite): Refusal | undefined;
  /** A key with its value; undefined when it has none. A promise: its time is over; ask again when it resolves. */
  readKey(
    namespace: string,
    key: Uint8Array,
  ): KeyView | undefined | Promise<Result<undefined, Refusal>>;
  /**
   * Hands over keys in the order of their bytes, from `first` on or after it, until `take` says no. A promise: some have just
   * ended; ask again when it resolves.
   */
  listKeys(
    request: { readonly namespace: string; readonly first: Uint8Array; readonly isAfter: boolean },
    take: (entry: KeyView) => boolean,
  ): undefined | Promise<Result<undefined, Refusal>>;
  /** Milliseconds that a key has left; 0: it does not end. */
  timeLeft(deadlineMs: number): number;
  /** Changes of a namespace from the entry `from` on, as far as this node has applied. None and a later first entry: they are gone. */
  keyChanges(namespace: string, from: number): KeyChangesView | Promise<KeyChangesView>;
  /** Calls `wake` once, in a later turn, when there may be a change from the entry `from` on. Returns how to take the wish back. */
  onKeyChange(namespace: string, from: number, wake: () => void): () => void;
}

/** A backup as it is read. */
export interface BackupStream {
  /** The last entry of the log that is in it. */
  readonly appliedIndex: number;
  /** The next bytes; undefined behind the end. One call at a time. Rejects when the disk does. */
  next(): Promise<Uint8Array | undefined>;
  /** Ends it, wherever it is. */
  close(): void;
}

/** The broker as HTTP sees it. Reads answer from committed, applied state. Every promise resolves; none rejects for a cause a client can meet. */
export interface BrokerPort extends KvPort {
  status(): NodeStatus;
  /**
   * Asked first by every write, before anything that the request names is looked up: undefined when this node may take it.
   * Else `redirect_to_leader` (with the field `leader_url`), `not_leader`, `no_quorum` or `not_ready`. Makes nothing while open.
   */
  writeGate(): Refusal | undefined;
  /**
   * Asked by every read of a rocket topic, whose records the leader alone has: undefined when this node leads, also while
   * it takes no writes; else as `writeGate`.
   */
  leaderGate(): Refusal | undefined;
  topic(name: string): TopicView | undefined;
  topics(): Iterable<TopicView>;
  partition(topicId: number, partition: number): PartitionView;
  groups(topicId: number): Iterable<GroupView>;
  committedOffset(topicId: number, partition: number, group: string): number | undefined;
  retention(topicId: number): RetentionView;

  /**
   * Takes a produce. Returns undefined when it was taken: its end comes by the sink, later.
   * Returns the refusal when it was not: the sink is not called, and nothing of it has entered the log.
   */
  produce(waiter: number, request: ProduceRequest): Refusal | undefined;

  /**
   * Takes a transaction, as `produce` takes records. `note` is told what it came to before the sink is: at once for a first
   * one, and what the first came to for a repeated one.
   */
  transact(
    waiter: number,
    transaction: Transaction,
    note: (outcome: TransactionOutcome) => void,
  ): Refusal | undefined;

  createTopic(
    shape: TopicShape,
  ): Promise<Result<{ readonly topicId: number; readonly created: boolean }, Refusal>>;
  deleteTopic(name: string): Promise<Result<{ readonly deletedRecords: number }, Refusal>>;
  commit(request: {
    readonly topic: string;
    readonly group: string;
    readonly partition: number;
    readonly offset: number;
  }): Promise<Result<undefined, Refusal>>;
  deleteBefore(request: {
    readonly topic: string;
    readonly partition: number;
    readonly beforeOffset: number;
  }): Promise<Result<{ readonly deletedCount: number; readonly freedBytes: number }, Refusal>>;
  /** `topic` `*`: all, present and future. `partition` undefined: all. A limit undefined: unchanged; 0: removed. */
  setRetention(request: {
    readonly topic: string;
    readonly partition: number | undefined;
    readonly ttlMs: number | undefined;
    readonly maxBytes: number | undefined;
  }): Promise<
    Result<
      {
        readonly ttlApplied: boolean;
        readonly sizeApplied: boolean;
        readonly sealedBytesAfter: number;
      },
      Refusal
    >
  >;
  /** One retention pass with these limits over all topics; 0: no such limit. */
  collect(request: {
    readonly maxAgeMs: number;
    readonly maxBytes: number;
  }): Promise<Result<{ readonly sealedBytesAfter: number }, Refusal>>;
  /** Starts reclaiming in the background. */
  compact(): void;

  /** Reads records. Resolves at once, without a promise, when they are in memory. */
  read(request: ReadRequest): RecordBatch | Promise<RecordBatch>;
  /**
   * Calls `wake` once, in a later turn, when the partition has a record at `offset` or the topic is gone.
   * Returns a function that takes the wish back.
   */
  onRecords(topicId: number, partition: number, offset: number, wake: () => void): () => void;
  /**
   * Whether a read right now would be linearizable; asks a quorum where there is one. Resolves within `timeoutMs`.
   * `no_quorum` or `not_ready` when it would not.
   */
  readBarrier(timeoutMs: number): Promise<Result<undefined, Refusal>>;
  /** Begins a backup of everything that is applied here now. `overloaded`, `not_ready`. */
  backup(): Result<BackupStream, Refusal>;
  /** A hash of the replicated state at an applied index: equal on every node that has applied as much. */
  stateHash(): { readonly appliedIndex: number; readonly hash: string };

  membership(): MembershipView;
  /** Adds a node as a learner. `change_in_progress`, `invalid_parameter`. */
  addNode(request: NewNode): Promise<Result<AddedView, Refusal>>;
  /** Makes a learner a voter. `change_in_progress`, `not_found`. */
  promoteNode(nodeId: string): Promise<Result<ChangeView, Refusal>>;
  /** Takes a node out. `change_in_progress`, `not_found`. */
  removeNode(nodeId: string): Promise<Result<ChangeView, Refusal>>;
  /** Hands leadership to a voter that has caught up; resolves when this node has let go of it. `not_found`. */
  transferLeadership(nodeId: string): Promise<Result<undefined, Refusal>>;
}
