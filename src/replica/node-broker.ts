// The replica as the HTTP room asks for it: writes to their ways in, reads from applied state. Holds no state of its own.

import { noSuchPartition, type Topic } from "../broker/mod.ts";
import type { KeyEntry } from "../kv/mod.ts";
import { InvariantError } from "../lib/assert.ts";
import { encodeText } from "../lib/bytes.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { partitionKey } from "../log/mod.ts";
import type { Refusal } from "../model/errors.ts";
import type { KvWrite } from "../model/kv.ts";
import type { ProduceRequest } from "../model/produce.ts";
import type { RecordSlice } from "../model/record.ts";
import type { Transaction, TransactionOutcome } from "../model/transaction.ts";
import { Backups } from "./backups.ts";
import { type ControlLimits, Controls } from "./controls.ts";
import { GroupCommits } from "./group-commits.ts";
import { KeyChanges, namespaceWish } from "./key-changes.ts";
import { KeyValues, type KvLimits } from "./key-values.ts";
import type { Members } from "./members.ts";
import { Producer } from "./produce.ts";
import type { Replica } from "./replica.ts";
import { RetentionPass } from "./retention-pass.ts";
import { ROCKET_LIMITS, type RocketLimits } from "./rocket-ring.ts";
import { RocketTopics } from "./rocket-topics.ts";
import { hashState } from "./state-hash.ts";
import { Transactions } from "./transactions.ts";

/** What `read` found; the bytes are valid until the caller gives up its turn. */
interface Found {
  readonly slices: readonly RecordSlice[];
  readonly startOffset: number;
  readonly nextOffset: number;
}

/** One node's broker. */
export class NodeBroker {
  readonly replica: Replica;
  readonly retentionPass: RetentionPass;
  readonly rocket: RocketTopics;
  readonly backups: Backups;
  readonly #producer: Producer;
  readonly #controls: Controls;
  readonly #keyValues: KeyValues;
  readonly #keyChanges: KeyChanges;
  readonly #transactions: Transactions;

  constructor(
    replica: Replica,
    limits: ControlLimits & KvLimits,
    rocketLimits: RocketLimits = ROCKET_LIMITS,
  ) {
    this.replica = replica;
    this.backups = new Backups(replica);
    this.rocket = new RocketTopics(replica, rocketLimits);
    this.#producer = new Producer(replica, this.rocket);
    this.#keyValues = new KeyValues(replica, limits);
    this.#keyChanges = new KeyChanges(replica);
    const groupCommits = new GroupCommits(replica);
    this.#controls = new Controls(replica, limits, groupCommits);
    this.#transactions = new Transactions({
      replica,
      keyValues: this.#keyValues,
      groupCommits,
      groupsMax: limits.groupsMax,
    });
    this.retentionPass = new RetentionPass(replica, this.#controls, this.rocket);
    replica.onTopicChange = (topicId) => this.#wakeReaders(topicId);
    replica.onLost = () => {
      this.#producer.drop();
      this.#keyValues.drop();
      this.#transactions.drop();
      groupCommits.drop();
      this.rocket.drop();
    };
    replica.onTick = () => this.#keyValues.tick();
  }

  status(): {
    ready: boolean;
    reason: string;
    lastSyncedBatchId: number;
    segmentBytes: number;
    readOnly: boolean;
  } {
    const { replica } = this;
    return {
      ready: replica.isReady,
      reason: replica.isReady ? "" : this.#whyNot(),
      lastSyncedBatchId: replica.raft.commitIndex,
      segmentBytes: replica.log.segmentBytes,
      readOnly: replica.log.isFull,
    };
  }

  #whyNot(): string {
    const { isStopping, isRemoved, raft } = this.replica;
    if (isStopping) return "stopping";
    if (isRemoved) return "removed";
    if (raft.isFenced) return "repairing";
    return raft.leaderId === undefined ? "no_leader" : "replaying";
  }

  writeGate(): Refusal | undefined {
    return this.replica.writeGate();
  }

  leaderGate(): Refusal | undefined {
    return this.replica.isLeading ? undefined : this.replica.writeGate();
  }

  topic(name: string): Topic | undefined {
    return this.replica.state.byName(name);
  }

  topics(): Iterable<Topic> {
    return this.replica.state.topics();
  }

  partition(
    topicId: number,
    partition: number,
  ): { startOffset: number; nextOffset: number; bytes: number } {
    const topic = this.replica.state.byId(topicId);
    if (topic?.mode === "rocket") return this.rocket.range(topic, partition);
    return {
      startOffset: topic?.startOffset[partition] ?? 0,
      nextOffset: topic?.nextOffset[partition] ?? 0,
      bytes: (topic?.bytesTotal[partition] ?? 0) - (topic?.bytesBelow[partition] ?? 0),
    };
  }

  groups(topicId: number): Iterable<{ group: string; partition: number; committedOffset: number }> {
    return this.replica.state.groups.of(topicId);
  }

  committedOffset(topicId: number, partition: number, group: string): number | undefined {
    const found = this.replica.state.groups.get(topicId, partition, encodeText(group));
    return found < 0 ? undefined : found;
  }

  retention(topicId: number): { ttlMs: number; maxBytes: number } {
    const topic = this.replica.state.byId(topicId);
    return topic === undefined
      ? { ttlMs: 0, maxBytes: 0 }
      : this.replica.state.ruleAt(topic, undefined);
  }

  produce(waiter: number, request: ProduceRequest): Refusal | undefined {
    try {
      return this.#producer.produce(waiter, request);
    } catch (error) {
      // The open entry may hold half of it, and must never be written.
      throw new InvariantError("A produce is taken whole or refused", { cause: error });
    }
  }

  /** Takes a change of a key: its end comes by the sink. Returns the refusal when it was not taken. */
  writeKey(waiter: number, request: KvWrite): Refusal | undefined {
    try {
      return this.#keyValues.write(waiter, request);
    } catch (error) {
      throw new InvariantError("A change of a key is taken whole or refused", { cause: error });
    }
  }

  /** Takes a transaction: its end comes by the sink, after `note` was told what it came to. */
  transact(
    waiter: number,
    transaction: Transaction,
    note: (outcome: TransactionOutcome) => void,
  ): Refusal | undefined {
    try {
      return this.#transactions.transact(waiter, transaction, note);
    } catch (error) {
      throw new InvariantError("A transaction is taken whole or refused", { cause: error });
    }
  }

  /**
   * A key with its value, valid until the caller gives up its turn. A promise: this node leads, and the key's time is over;
   * ask again when it resolves, since the log says then that it is, or that it got another value before.
   */
  readKey(
    namespace: string,
    key: Uint8Array,
  ): KeyEntry | undefined | Promise<Result<undefined, Refusal>> {
    const { kv } = this.replica;
    const known = kv.namespace(namespace);
    const entry = known && kv.get(known, key);
    if (known === undefined || entry === undefined || !this.#isOver(entry)) return entry;
    this.#keyValues.endExpired(known, key);
    return this.#settled();
  }

  /**
   * Keys with their values in the order of their bytes, from `first` on, or after it: until `take` says no. Keys whose time is
   * over are none where this node leads; the answer then waits until the log says so.
   */
  listKeys(
    request: { readonly namespace: string; readonly first: Uint8Array; readonly isAfter: boolean },
    take: (entry: KeyEntry) => boolean,
  ): undefined | Promise<Result<undefined, Refusal>> {
    const { kv } = this.replica;
    const known = kv.namespace(request.namespace);
    if (known === undefined) return undefined;
    const over: Uint8Array[] = [];
    for (const entry of kv.list(known, request.first, request.isAfter)) {
      if (this.#isOver(entry)) over.push(entry.key.slice());
      else if (!take(entry)) break;
    }
    if (over.length === 0) return undefined;
    for (const key of over) this.#keyValues.endExpired(known, key);
    return this.#settled();
  }

  #isOver({ deadlineMs }: KeyEntry): boolean {
    const { isLeading } = this.replica;
    return isLeading && deadlineMs > 0 && deadlineMs <= this.replica.entryTime();
  }

  #settled(): Promise<Result<undefined, Refusal>> {
    return new Promise((resolve) => {
      this.replica.confirm(
        () => resolve(succeed(undefined)),
        (refusal) => resolve(fail(refusal)),
      );
    });
  }

  /** Milliseconds that a key has left by the log's time; at least 1 while it is there. */
  timeLeft(deadlineMs: number): number {
    return deadlineMs === 0 ? 0 : Math.max(1, deadlineMs - this.replica.now());
  }

  /** What became of a namespace's keys from an entry on. See `KeyChanges`. */
  keyChanges(namespace: string, from: number): ReturnType<KeyChanges["read"]> {
    return this.#keyChanges.read(namespace, from);
  }

  /** Calls `wake` once, in a later turn, when a namespace may have a change in the entry `from` or later. */
  onKeyChange(namespace: string, from: number, wake: () => void): () => void {
    const { kv, wishes } = this.replica;
    const known = kv.namespace(namespace);
    const key = namespaceWish(known?.id);
    const isThere = known !== undefined && known.changedIndex >= from;
    const cancel = wishes.add(key, isThere ? -1 : from, wake);
    if (isThere) {
      wishes.grant(key, 0);
      this.replica.wantTurn();
    }
    return cancel;
  }

  createTopic(
    request: Parameters<Controls["createTopic"]>[0],
  ): ReturnType<Controls["createTopic"]> {
    return this.#controls.createTopic(request);
  }

  deleteTopic(name: string): ReturnType<Controls["deleteTopic"]> {
    const topic = this.topic(name);
    if (topic?.mode !== "rocket") return this.#controls.deleteTopic(name);
    // The log knows of none of them.
    const deletedRecords = this.rocket.recordsOf(topic);
    return this.#controls
      .deleteTopic(name)
      .then((deleted) => (deleted.ok ? succeed({ deletedRecords }) : deleted));
  }

  commit(request: Parameters<Controls["commit"]>[0]): ReturnType<Controls["commit"]> {
    return this.#controls.commit(request);
  }

  deleteBefore(
    request: Parameters<Controls["deleteBefore"]>[0],
  ): ReturnType<Controls["deleteBefore"]> {
    const topic = this.topic(request.topic);
    if (topic?.mode !== "rocket") return this.#controls.deleteBefore(request);
    const { partition, beforeOffset } = request;
    const gate = this.writeGate();
    if (gate !== undefined) return Promise.resolve(fail(gate));
    if (partition >= topic.partitions)
      return Promise.resolve(fail(noSuchPartition(topic, partition)));
    return Promise.resolve(succeed(this.rocket.deleteBefore(topic, partition, beforeOffset)));
  }

  setRetention(
    request: Parameters<Controls["setRetention"]>[0],
  ): ReturnType<Controls["setRetention"]> {
    return this.#controls.setRetention(request);
  }

  collect(request: {
    readonly maxAgeMs: number;
    readonly maxBytes: number;
  }): Promise<Result<{ readonly sealedBytesAfter: number }, Refusal>> {
    const gate = this.replica.writeGate();
    if (gate !== undefined) return Promise.resolve(fail(gate));
    return this.retentionPass
      .run(() => ({ ttlMs: request.maxAgeMs, maxBytes: request.maxBytes }))
      .then(() => succeed({ sealedBytesAfter: this.replica.log.segmentBytes }));
  }

  compact(): void {
    this.retentionPass.start();
    this.replica.log.reclaimNow();
    this.replica.log.maintain(this.replica.appliedIndex);
  }

  read(request: {
    readonly topicId: number;
    readonly partition: number;
    readonly offset: number;
    readonly maxRecords: number;
    readonly maxBytes: number;
  }): Found | Promise<Found> {
    const { topicId, partition } = request;
    const { startOffset, nextOffset } = this.partition(topicId, partition);
    if (this.replica.state.byId(topicId)?.mode === "rocket")
      return { slices: this.rocket.read(request), startOffset, nextOffset };
    const slices = this.replica.log.reader.read({ ...request, endOffset: nextOffset });
    return slices instanceof Promise
      ? // Nothing is found where the floor has risen meanwhile: who asked has to learn of it.
        slices.then((found) => ({
          slices: found,
          startOffset: Math.max(startOffset, this.partition(topicId, partition).startOffset),
          nextOffset,
        }))
      : { slices, startOffset, nextOffset };
  }

  onRecords(topicId: number, partition: number, offset: number, wake: () => void): () => void {
    const topic = this.replica.state.byId(topicId);
    const isThere = topic === undefined || offset < this.partition(topicId, partition).nextOffset;
    const cancel = this.replica.wishes.add(
      partitionKey(topicId, partition),
      isThere ? -1 : offset,
      wake,
    );
    if (isThere) {
      this.replica.wishes.grant(partitionKey(topicId, partition), 0);
      this.replica.wantTurn();
    }
    return cancel;
  }

  readBarrier(timeoutMs: number): Promise<Result<undefined, Refusal>> {
    return new Promise((resolve) => this.replica.reads.barrier(timeoutMs, resolve));
  }

  stateHash(): { readonly appliedIndex: number; readonly hash: string } {
    const { appliedIndex, kv, state } = this.replica;
    return { appliedIndex, hash: hashState(state, kv) };
  }

  backup(): ReturnType<Backups["open"]> {
    return this.backups.open();
  }

  membership(): {
    readonly epoch: number;
    readonly isJoint: boolean;
    readonly nodes: readonly {
      readonly nodeId: string;
      readonly address: string;
      readonly httpUrl: string;
      readonly priority: number;
      readonly isVoter: boolean;
      readonly isLearner: boolean;
    }[];
  } {
    const { epoch, voters, outgoing, learners, members } = this.replica.membership;
    return {
      epoch,
      isJoint: outgoing.length > 0,
      nodes: members.map(({ nodeId, address, priority }) => ({
        nodeId,
        address,
        httpUrl: this.replica.urlOf(nodeId),
        priority,
        isVoter: voters.includes(nodeId),
        isLearner: learners.includes(nodeId),
      })),
    };
  }

  addNode(request: Parameters<Members["add"]>[0]): ReturnType<Members["add"]> {
    return this.replica.members.add(request);
  }

  promoteNode(nodeId: string): ReturnType<Members["promote"]> {
    return this.replica.members.promote(nodeId);
  }

  removeNode(nodeId: string): ReturnType<Members["remove"]> {
    return this.replica.members.remove(nodeId);
  }

  transferLeadership(nodeId: string): ReturnType<Members["transfer"]> {
    return this.replica.members.transfer(nodeId);
  }

  /** A topic that is gone, or whose floor rose, answers everyone who waits for it. */
  #wakeReaders(topicId: number): void {
    const topic = this.replica.state.byId(topicId);
    if (topic !== undefined) return;
    this.rocket.forget(topicId);
    for (let partition = 0; partition < 256; partition++) {
      this.replica.wishes.grant(partitionKey(topicId, partition), Number.MAX_SAFE_INTEGER);
    }
    this.replica.wantTurn();
  }
}
