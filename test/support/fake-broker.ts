// A broker in memory behind the HTTP room's port, so that contract tests run in milliseconds.
// It keeps the promises of the port that a client can see, and has levers for the ones that need a bad day.

import {
  noSuchPartition,
  noSuchTopic,
  shapeRefusal,
  type TopicShape,
} from "../../src/broker/mod.ts";
import type {
  AddedView,
  BackupStream,
  BrokerPort,
  ChangeView,
  GroupView,
  MembershipView,
  NewNode,
  NodeStatus,
  NodeView,
  PartitionView,
  ReadRequest,
  RecordBatch,
  RetentionView,
  TopicView,
} from "../../src/http/mod.ts";
import { fail, type Result, succeed } from "../../src/lib/result.ts";
import { BackupWriter } from "../../src/log/backup-format.ts";
import { FORMAT_VERSION } from "../../src/log/format.ts";
import { NODE_PRIORITY_DEFAULT } from "../../src/model/cluster.ts";
import { type Refusal, refuse } from "../../src/model/errors.ts";
import type { ProduceRequest, ProduceSink } from "../../src/model/produce.ts";
import { putRecord, recordSize } from "../../src/model/record.ts";
import type { Transaction, TransactionOutcome } from "../../src/model/transaction.ts";
import { FakeKeys } from "./fake-keys.ts";

interface StoredRecord {
  readonly bytes: Uint8Array;
  readonly timestampMs: number;
}

interface Partition {
  startOffset: number;
  readonly records: StoredRecord[];
}

interface Topic extends TopicView {
  readonly ranges: Partition[];
  readonly groups: Map<string, number>;
  readonly keys: Map<
    string,
    { fingerprint: string; offset: number; count: number; partition: number }
  >;
  retention: { ttlMs: number; maxBytes: number };
  turn: number;
}

/** A broker without a log. */
export class FakeBroker implements BrokerPort {
  readonly #sink: ProduceSink;
  readonly #fakeKeys: FakeKeys;
  readonly #transactions = new Map<
    string,
    { readonly print: string; readonly outcome: TransactionOutcome }
  >();
  readonly #topics = new Map<string, Topic>();
  readonly #wakes = new Set<{
    topic: Topic;
    partition: number;
    offset: number;
    wake: () => void;
  }>();
  #nextTopicId = 1;
  #raftIndex = 0;
  /** What every produce is refused with, when set. */
  refuseWith: Refusal | undefined;
  /** Takes produces and never confirms them, when set. */
  isSilent = false;
  /** Reads come by a promise, when set. */
  isSlow = false;
  isReady = true;
  /** Writes go elsewhere, when not set. */
  isLeader = true;
  /** Where they go; empty: nobody knows. */
  leaderUrl = "";
  /** Takes everything but records and never answers, when set. */
  isStuck = false;
  /** Confirms produces in two steps, when set; the second waits for `syncEverywhere`. */
  isBehind = false;
  /** What the second step says: 1 or 0. */
  readonly #unsynced: ((synced: number) => void)[] = [];
  /** Milliseconds that a read barrier was last given. */
  barrierMs = 0;
  /** A change of the cluster is under way, when set. */
  isChanging = false;
  #epoch = 1;
  nodes: NodeView[] = [
    {
      nodeId: "node1",
      address: "",
      httpUrl: "",
      priority: 100,
      isVoter: true,
      isLearner: false,
    },
  ];
  /** The outcome of a read barrier. */
  barrier: Result<undefined, Refusal> = succeed(undefined);

  constructor(sink: ProduceSink) {
    this.#sink = sink;
    this.#fakeKeys = new FakeKeys(sink, () => ++this.#raftIndex);
  }

  status(): NodeStatus {
    return {
      ready: this.isReady,
      reason: this.isReady ? "" : "replaying",
      lastSyncedBatchId: this.#raftIndex,
      segmentBytes: 0,
      readOnly: false,
    };
  }

  writeGate(): Refusal | undefined {
    if (!this.isReady) return refuse("not_ready");
    if (this.isLeader) return undefined;
    if (this.leaderUrl === "") return refuse("not_leader");
    return refuse("redirect_to_leader", undefined, { leader_url: this.leaderUrl });
  }

  leaderGate(): Refusal | undefined {
    return this.writeGate();
  }

  /** Lets the second step of every produce come. */
  syncEverywhere(synced = 1): void {
    for (const finish of this.#unsynced.splice(0)) finish(synced);
  }

  /** Comes at once, and never when the broker is stuck. */
  #turn(): Promise<void> | undefined {
    return this.isStuck ? new Promise(() => undefined) : undefined;
  }

  /** The outcome of what is not a produce. */
  async #settle<T>(decide: () => Result<T, Refusal>): Promise<Result<T, Refusal>> {
    await this.#turn();
    return decide();
  }

  topic(name: string): TopicView | undefined {
    return this.#topics.get(name);
  }

  topics(): Iterable<TopicView> {
    return this.#topics.values();
  }

  #byId(topicId: number): Topic {
    const topic = [...this.#topics.values()].find(({ id }) => id === topicId);
    if (topic === undefined) throw new Error(`There is no topic ${topicId}`);
    return topic;
  }

  partition(topicId: number, partition: number): PartitionView {
    const range = this.#byId(topicId).ranges[partition]!;
    const bytes = range.records
      .slice(range.startOffset)
      .reduce((sum, record) => sum + record.bytes.length, 0);
    return { startOffset: range.startOffset, nextOffset: range.records.length, bytes };
  }

  *groups(topicId: number): Iterable<GroupView> {
    for (const [key, committedOffset] of this.#byId(topicId).groups) {
      const [group = "", partition = ""] = key.split("/");
      yield { group, partition: Number(partition), committedOffset };
    }
  }

  committedOffset(topicId: number, partition: number, group: string): number | undefined {
    return this.#byId(topicId).groups.get(`${group}/${partition}`);
  }

  retention(topicId: number): RetentionView {
    return this.#byId(topicId).retention;
  }

  writeKey(...[waiter, request]: Parameters<FakeKeys["writeKey"]>): Refusal | undefined {
    const refusal = this.refuseWith ?? this.writeGate();
    return refusal ?? this.#fakeKeys.writeKey(waiter, request);
  }

  transact(
    waiter: number,
    transaction: Transaction,
    note: (outcome: TransactionOutcome) => void,
  ): Refusal | undefined {
    const gate = this.refuseWith ?? this.writeGate();
    if (gate !== undefined) return gate;
    const { expect, produce, commit, kv, idempotencyKey } = transaction;
    const name = idempotencyKey === undefined ? "" : Buffer.from(idempotencyKey).toString("hex");
    const print = JSON.stringify([expect, produce, commit, kv], (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value,
    );
    const before = idempotencyKey === undefined ? undefined : this.#transactions.get(name);
    if (before !== undefined) {
      if (before.print !== print) return refuse("idempotency_key_reused");
      note(before.outcome);
      setImmediate(() => this.#sink.produced(waiter, 0, 0, 0, 0, -1, 1));
      return undefined;
    }
    const refusal = this.#whyNot(transaction);
    if (refusal !== undefined) {
      setImmediate(() => this.#sink.refused(waiter, refusal));
      return undefined;
    }
    const produced = produce.map(({ topic: topicName, partition: asked, key, value }) => {
      const topic = this.#topics.get(topicName)!;
      const partition = asked >= 0 ? asked : topic.turn++ % topic.partitions;
      const range = topic.ranges[partition]!;
      const bytes = new Uint8Array(recordSize(key?.length ?? -1, -1, value.length));
      putRecord(bytes, 0, key, undefined, value, 0, value.length);
      range.records.push({ bytes, timestampMs: Date.now() });
      return { partition, offset: range.records.length - 1 };
    });
    for (const { topic, group, partition, offset } of commit)
      this.#topics.get(topic)!.groups.set(`${group}/${partition}`, offset);
    const cas = kv.map((step) => this.#fakeKeys.change(step));
    const outcome = { raftIndex: ++this.#raftIndex, produced, cas };
    if (idempotencyKey !== undefined) this.#transactions.set(name, { print, outcome });
    this.#wakeUp();
    note(outcome);
    const duplicate = idempotencyKey === undefined ? -1 : 0;
    setImmediate(() => this.#sink.produced(waiter, 0, 0, 0, outcome.raftIndex, 1, duplicate));
    return undefined;
  }

  /** Why a transaction cannot happen. */
  #whyNot({ expect, produce, commit }: Transaction): Refusal | undefined {
    const failed = (refusal: Refusal, part: string, at: number): Refusal => ({
      ...refusal,
      fields: { failed: { [part]: at }, ...refusal.fields },
    });
    const missing = (name: string): Refusal | undefined =>
      this.#topics.has(name) ? undefined : noSuchTopic(name);
    for (const [at, one] of expect.entries()) {
      if (one.kind === "key") {
        const current = this.#fakeKeys.casOf(one.namespace, one.key);
        if (current !== one.cas)
          return failed(
            refuse("cas_mismatch", undefined, { expected: one.cas, current }),
            "expect",
            at,
          );
        continue;
      }
      const gone = missing(one.topic);
      if (gone !== undefined) return failed(gone, "expect", at);
      const known = this.#topics.get(one.topic)?.groups.get(`${one.group}/${one.partition}`) ?? -1;
      const shown = (offset: number): number | null => (offset < 0 ? null : offset);
      if (known !== one.committedOffset) {
        const fields = { expected: shown(one.committedOffset), current: shown(known) };
        return failed(refuse("offset_mismatch", undefined, fields), "expect", at);
      }
    }
    for (const [at, { topic: name, partition }] of produce.entries()) {
      const gone = missing(name);
      if (gone !== undefined) return failed(gone, "produce", at);
      const topic = this.#topics.get(name)!;
      if (partition >= topic.partitions)
        return failed(noSuchPartition(topic, partition), "produce", at);
    }
    for (const [at, { topic: name, group, partition, offset }] of commit.entries()) {
      const gone = missing(name);
      if (gone !== undefined) return failed(gone, "commit", at);
      const topic = this.#topics.get(name)!;
      if (offset >= (topic.ranges[partition]?.records.length ?? 0))
        return failed(refuse("invalid_parameter"), "commit", at);
      const current = topic.groups.get(`${group}/${partition}`) ?? -1;
      if (offset <= current)
        return failed(refuse("offset_mismatch", undefined, { current }), "commit", at);
    }
    return undefined;
  }

  readKey(...args: Parameters<FakeKeys["readKey"]>): ReturnType<FakeKeys["readKey"]> {
    return this.#fakeKeys.readKey(...args);
  }

  listKeys(...args: Parameters<FakeKeys["listKeys"]>): undefined {
    return this.#fakeKeys.listKeys(...args);
  }

  timeLeft(deadlineMs: number): number {
    return this.#fakeKeys.timeLeft(deadlineMs);
  }

  keyChanges(...args: Parameters<FakeKeys["keyChanges"]>): ReturnType<FakeKeys["keyChanges"]> {
    return this.#fakeKeys.keyChanges(...args);
  }

  onKeyChange(...args: Parameters<FakeKeys["onKeyChange"]>): () => void {
    return this.#fakeKeys.onKeyChange(...args);
  }

  produce(waiter: number, request: ProduceRequest): Refusal | undefined {
    const refusal = this.refuseWith ?? this.writeGate();
    if (refusal !== undefined) return refusal;
    const topic = this.#byId(request.topicId);
    const { key, idempotencyKey, ranges, body } = request;
    if (topic.mode === "rocket" && idempotencyKey !== undefined)
      return refuse("invalid_parameter", "A rocket topic takes no idempotency_key");
    const partition =
      request.partition >= 0
        ? request.partition
        : key === undefined
          ? topic.turn++ % topic.partitions
          : Bun.hash.xxHash32(key, 0) % topic.partitions;
    const fingerprint = `${Bun.hash(body)}/${request.count}/${request.partition}/${key === undefined ? "" : Bun.hash(key)}`;
    const idempotency =
      idempotencyKey === undefined ? undefined : Buffer.from(idempotencyKey).toString("hex");
    const before = idempotency === undefined ? undefined : topic.keys.get(idempotency);
    if (before !== undefined) {
      if (before.fingerprint !== fingerprint) return refuse("idempotency_key_reused");
      queueMicrotask(() =>
        this.#sink.produced(waiter, before.offset, before.count, before.partition, 0, -1, 1),
      );
      return undefined;
    }
    const range = topic.ranges[partition]!;
    const offset = range.records.length;
    if (request.expectedOffset >= 0 && request.expectedOffset !== offset) {
      return refuse("offset_mismatch", undefined, { next_offset: offset });
    }
    const timestampMs = Date.now();
    for (let i = 0; i < request.count; i++) {
      const start = ranges === undefined ? 0 : ranges[i * 2]!;
      const end = ranges === undefined ? body.length : ranges[i * 2 + 1]!;
      const size = recordSize(key?.length ?? -1, request.headers?.length ?? -1, end - start);
      const bytes = new Uint8Array(size);
      putRecord(bytes, 0, key, request.headers, body, start, end);
      range.records.push({ bytes, timestampMs });
    }
    if (idempotency !== undefined) {
      topic.keys.set(idempotency, { fingerprint, offset, count: request.count, partition });
    }
    const { count, ack } = request;
    this.#wakeUp();
    if (topic.mode === "rocket") {
      this.#sink.produced(waiter, offset, count, partition, 0, -1, -1);
      return undefined;
    }
    const raftIndex = ++this.#raftIndex;
    if (!this.isSilent) {
      const synced = ack === "leader" ? 0 : 1;
      const duplicate = idempotency === undefined ? -1 : 0;
      const finish = (how: number): void =>
        this.#sink.produced(waiter, offset, count, partition, raftIndex, how, duplicate);
      if (this.isBehind) this.#unsynced.push(finish);
      setImmediate(() => finish(this.isBehind ? 2 : synced));
    }
    return undefined;
  }

  async createTopic(
    shape: TopicShape,
  ): Promise<Result<{ readonly topicId: number; readonly created: boolean }, Refusal>> {
    await this.#turn();
    const { name, partitions, mode, ttlMs = 0, maxBytes = 0 } = shape;
    const existing = this.#topics.get(name);
    if (existing !== undefined) {
      const refusal = shapeRefusal({ ...existing, rule: existing.retention }, shape);
      return refusal === undefined
        ? succeed({ topicId: existing.id, created: false })
        : fail(refusal);
    }
    const topic: Topic = {
      id: this.#nextTopicId++,
      name,
      partitions,
      mode,
      ranges: Array.from({ length: partitions }, () => ({ startOffset: 0, records: [] })),
      groups: new Map(),
      keys: new Map(),
      retention: { ttlMs, maxBytes },
      turn: 0,
    };
    this.#topics.set(name, topic);
    this.#raftIndex += 1;
    return succeed({ topicId: topic.id, created: true });
  }

  async deleteTopic(name: string): Promise<Result<{ readonly deletedRecords: number }, Refusal>> {
    await this.#turn();
    const topic = this.#topics.get(name);
    if (topic === undefined) return fail(refuse("topic_not_found"));
    this.#topics.delete(name);
    this.#wakeUp();
    const deletedRecords = topic.ranges.reduce(
      (sum, range) => sum + range.records.length - range.startOffset,
      0,
    );
    return succeed({ deletedRecords });
  }

  async commit(request: {
    readonly topic: string;
    readonly group: string;
    readonly partition: number;
    readonly offset: number;
  }): Promise<Result<undefined, Refusal>> {
    await this.#turn();
    const topic = this.#topics.get(request.topic);
    if (topic === undefined) return fail(refuse("topic_not_found"));
    const nextOffset = topic.ranges[request.partition]?.records.length ?? 0;
    if (request.offset >= nextOffset) return fail(refuse("invalid_parameter"));
    const key = `${request.group}/${request.partition}`;
    topic.groups.set(key, Math.max(request.offset, topic.groups.get(key) ?? 0));
    return succeed(undefined);
  }

  async deleteBefore(request: {
    readonly topic: string;
    readonly partition: number;
    readonly beforeOffset: number;
  }): Promise<Result<{ readonly deletedCount: number; readonly freedBytes: number }, Refusal>> {
    await this.#turn();
    const range = this.#topics.get(request.topic)?.ranges[request.partition];
    if (range === undefined) return fail(refuse("topic_not_found"));
    const floor = Math.min(request.beforeOffset, range.records.length);
    const removed = range.records.slice(range.startOffset, Math.max(floor, range.startOffset));
    range.startOffset = Math.max(range.startOffset, floor);
    const freedBytes = removed.reduce((sum, record) => sum + record.bytes.length, 0);
    return succeed({ deletedCount: removed.length, freedBytes });
  }

  async setRetention(request: {
    readonly topic: string;
    readonly partition: number | undefined;
    readonly ttlMs: number | undefined;
    readonly maxBytes: number | undefined;
  }) {
    await this.#turn();
    for (const topic of this.#topics.values()) {
      if (request.topic !== "*" && request.topic !== topic.name) continue;
      topic.retention = {
        ttlMs: request.ttlMs ?? topic.retention.ttlMs,
        maxBytes: request.maxBytes ?? topic.retention.maxBytes,
      };
    }
    return succeed({
      ttlApplied: (request.ttlMs ?? 0) > 0,
      sizeApplied: (request.maxBytes ?? 0) > 0,
      sealedBytesAfter: 0,
    });
  }

  async collect() {
    await this.#turn();
    return succeed({ sealedBytesAfter: 0 });
  }

  compact(): void {}

  read(request: ReadRequest): RecordBatch | Promise<RecordBatch> {
    const range = this.#byId(request.topicId).ranges[request.partition]!;
    const { startOffset, records } = range;
    const nextOffset = records.length;
    const first = Math.max(request.offset, startOffset);
    const slices: RecordBatch["slices"][number][] = [];
    let bytes = 0;
    for (let offset = first; offset < nextOffset && slices.length < request.maxRecords; offset++) {
      const record = records[offset]!;
      bytes += record.bytes.length;
      if (slices.length > 0 && bytes > request.maxBytes) break;
      slices.push({
        bytes: record.bytes,
        start: 0,
        end: record.bytes.length,
        baseOffset: offset,
        count: 1,
        timestampMs: record.timestampMs,
      });
    }
    const batch = { slices, startOffset, nextOffset };
    return this.isSlow ? Bun.sleep(1).then(() => batch) : batch;
  }

  onRecords(topicId: number, partition: number, offset: number, wake: () => void): () => void {
    const wish = { topic: this.#byId(topicId), partition, offset, wake };
    this.#wakes.add(wish);
    return () => this.#wakes.delete(wish);
  }

  async readBarrier(timeoutMs: number): Promise<Result<undefined, Refusal>> {
    this.barrierMs = timeoutMs;
    return this.barrier;
  }

  /** Backups that are open. */
  backups = 0;

  backup(): Result<BackupStream, Refusal> {
    if (this.backups >= 2) return fail(refuse("overloaded"));
    this.backups += 1;
    const writer = new BackupWriter();
    const id = "0".repeat(32);
    const applied = { index: this.#raftIndex, term: 1, checksum: 0, timestampMs: 0 };
    const head = { format: FORMAT_VERSION, createdMs: 0, nodeId: "node1", clusterId: id, epoch: 1 };
    const offer = { index: 0, term: 0, segments: [], archives: [], compacted: null, base: null };
    const whole = { ...head, applied, stateHash: this.stateHash().hash, offer, open: [] };
    const pieces = [() => writer.head(whole), () => writer.end()];
    let isOpen = true;
    return succeed({
      appliedIndex: this.#raftIndex,
      next: async () => pieces.shift()?.(),
      close: () => {
        if (isOpen) this.backups -= 1;
        isOpen = false;
      },
    });
  }

  stateHash(): { readonly appliedIndex: number; readonly hash: string } {
    const state = [...this.#topics.values()].map(({ name, ranges }) => [name, ranges.length]);
    const hash = Bun.hash(JSON.stringify(state)).toString(16).padStart(16, "0");
    return { appliedIndex: this.#raftIndex, hash };
  }

  membership(): MembershipView {
    return { epoch: this.#epoch, isJoint: this.isChanging, nodes: this.nodes };
  }

  /** Replaces the list of nodes by what `change` makes of it. */
  #change(change: () => NodeView[] | Refusal): Promise<Result<ChangeView, Refusal>> {
    return this.#settle(() => {
      if (this.isChanging) return fail(refuse("change_in_progress"));
      const changed = change();
      if (!Array.isArray(changed)) return fail(changed);
      this.nodes = changed;
      this.#epoch += 1;
      this.#raftIndex += 1;
      return succeed({ index: this.#raftIndex });
    });
  }

  #without(nodeId: string): NodeView[] | Refusal {
    const rest = this.nodes.filter((node) => node.nodeId !== nodeId);
    if (rest.length < this.nodes.length) return rest;
    return refuse("not_found", `There is no node ${nodeId}`);
  }

  async addNode(request: NewNode): Promise<Result<AddedView, Refusal>> {
    const { priority = NODE_PRIORITY_DEFAULT } = request;
    const node: NodeView = { ...request, priority, isVoter: false, isLearner: true };
    const known = this.nodes.find(({ nodeId }) => nodeId === node.nodeId);
    if (known?.address === node.address)
      return succeed({ index: this.#raftIndex, isVoter: known.isVoter });
    const added = await this.#change(() =>
      known === undefined ? [...this.nodes, node] : refuse("node_exists"),
    );
    return added.ok ? succeed({ ...added.value, isVoter: false }) : added;
  }

  promoteNode(nodeId: string): Promise<Result<ChangeView, Refusal>> {
    return this.#change(() => {
      const rest = this.#without(nodeId);
      return Array.isArray(rest)
        ? this.nodes.map((node) =>
            node.nodeId === nodeId ? { ...node, isVoter: true, isLearner: false } : node,
          )
        : rest;
    });
  }

  removeNode(nodeId: string): Promise<Result<ChangeView, Refusal>> {
    return this.#change(() => this.#without(nodeId));
  }

  transferLeadership(nodeId: string): Promise<Result<undefined, Refusal>> {
    return this.#settle(() => {
      const rest = this.#without(nodeId);
      if (!Array.isArray(rest)) return fail(rest);
      this.isLeader = this.nodes[0]?.nodeId === nodeId;
      return succeed(undefined);
    });
  }

  /** Wakes those whose record is there, or whose topic is gone, in a later turn. */
  #wakeUp(): void {
    for (const wish of this.#wakes) {
      const isGone = this.#topics.get(wish.topic.name) !== wish.topic;
      const { length } = wish.topic.ranges[wish.partition]!.records;
      if (!isGone && length <= wish.offset) continue;
      this.#wakes.delete(wish);
      setImmediate(wish.wake);
    }
  }
}
