// The broker's state and how commands change it. `apply` is for entries, in log order; `fold` is for items of deltas and
// bases, which say the same things without the records.

import { assert } from "../lib/assert.ts";
import {
  COMMAND,
  type CommandCursor,
  type ControlCommand,
  newRemembered,
  RETENTION_ALL_PARTITIONS,
  RETENTION_ALL_TOPICS,
} from "../model/command-codec.ts";
import { GroupTable } from "./groups.ts";
import { KeyWindow } from "./key-window.ts";
import { effectiveRule, NO_RULE, type RetentionRule } from "./retention.ts";

/** How records of a topic are kept; the position is the number in the log. */
const WRITE_MODES = ["sealed", "rocket"] as const;

/** `sealed` goes to the log; `rocket` stays in memory. */
export type WriteMode = (typeof WRITE_MODES)[number];

/** A topic and its partitions; the arrays have one element per partition. */
export interface Topic {
  readonly id: number;
  readonly name: string;
  readonly partitions: number;
  readonly mode: WriteMode;
  readonly createdMs: number;
  readonly startOffset: Float64Array;
  readonly nextOffset: Float64Array;
  /** Stored bytes of all records ever, and of those below the floor. */
  readonly bytesTotal: Float64Array;
  readonly bytesBelow: Float64Array;
  /** The leader's pending state: next offset after everything in its log. Equal to `nextOffset` elsewhere. */
  readonly reservedOffset: Float64Array;
  rule: RetentionRule;
  readonly partitionRules: Map<number, RetentionRule>;
  /** Where the leader's round robin stands. */
  rotation: number;
  /** The leader has a deletion of this topic in its log. */
  isBeingDeleted: boolean;
}

const newTopic = (command: Extract<ControlCommand, { kind: "topicCreated" }>): Topic => ({
  id: command.topicId,
  name: command.name,
  partitions: command.partitions,
  mode: WRITE_MODES[command.mode] ?? "sealed",
  createdMs: command.createdMs,
  startOffset: new Float64Array(command.partitions),
  nextOffset: new Float64Array(command.partitions),
  bytesTotal: new Float64Array(command.partitions),
  bytesBelow: new Float64Array(command.partitions),
  reservedOffset: new Float64Array(command.partitions),
  rule: NO_RULE,
  partitionRules: new Map(),
  rotation: 0,
  isBeingDeleted: false,
});

/** Everything that the log says of topics, groups and keys. */
export class BrokerState {
  readonly groups = new GroupTable();
  readonly keys = new KeyWindow();
  readonly #byId = new Map<number, Topic>();
  readonly #byName = new Map<string, Topic>();
  topicIdMax = 0;
  idempotencyTtlMs = 0;
  idempotencyKeysMax = 0;
  /** Keys that count pushed out before their time: a sign that the limit is too small. */
  keysDroppedEarly = 0;
  #allTopicsRule: RetentionRule = NO_RULE;
  #partitionCount = 0;
  readonly #outcome = newRemembered();

  /** Whether the log has settings: a new log gets them from its first leader. */
  get hasSettings(): boolean {
    return this.idempotencyKeysMax > 0;
  }

  get topicCount(): number {
    return this.#byId.size;
  }

  get partitionCount(): number {
    return this.#partitionCount;
  }

  byId(id: number): Topic | undefined {
    return this.#byId.get(id);
  }

  byName(name: string): Topic | undefined {
    return this.#byName.get(name);
  }

  /** Every topic, in order of creation. */
  topics(): Iterable<Topic> {
    return this.#byId.values();
  }

  /** The rule that holds for a partition. */
  ruleOf(topic: Topic, partition: number): RetentionRule {
    return effectiveRule([topic.partitionRules.get(partition), topic.rule, this.#allTopicsRule]);
  }

  /** The rule as set at one level, for setting one of its fields alone. */
  ruleAt(topic: Topic | undefined, partition: number | undefined): RetentionRule {
    if (topic === undefined) return this.#allTopicsRule;
    return (partition === undefined ? topic.rule : topic.partitionRules.get(partition)) ?? NO_RULE;
  }

  /** Applies a chunk of an entry. The base offset was decided by the leader and is verified here. */
  applyChunk(
    topicId: number,
    partition: number,
    baseOffset: number,
    count: number,
    bytes: number,
  ): Topic {
    const topic = this.#byId.get(topicId);
    assert(topic !== undefined, `Records belong to topic ${topicId}, which exists`);
    const nextOffset = topic.nextOffset[partition];
    assert(
      nextOffset === baseOffset,
      `Partition ${partition} of ${topic.name} goes on at ${nextOffset}, not at ${baseOffset}`,
    );
    topic.nextOffset[partition] = baseOffset + count;
    topic.bytesTotal[partition] = (topic.bytesTotal[partition] ?? 0) + bytes;
    if ((topic.reservedOffset[partition] ?? 0) < baseOffset + count)
      topic.reservedOffset[partition] = baseOffset + count;
    return topic;
  }

  /** Applies any command but a chunk. Returns the topic whose readers must look again. */
  apply(command: CommandCursor): Topic | undefined {
    switch (command.kind) {
      case COMMAND.remembered:
        this.#remember(command);
        return undefined;
      case COMMAND.groupCommitted:
        if (this.#byId.has(command.topicId)) this.#commit(command);
        return undefined;
      default: {
        const control = command.control();
        assert(control !== undefined, `Command kind ${command.kind} is known`);
        return this.#control(control);
      }
    }
  }

  /** Takes in an item of a delta or base. Items of topics that are gone are skipped. */
  fold(item: CommandCursor): void {
    const isOfTopic =
      item.kind === COMMAND.progressed ||
      item.kind === COMMAND.floorRaised ||
      item.kind === COMMAND.groupCommitted;
    if (isOfTopic && !this.#byId.has(item.topicId)) return;
    this.apply(item);
  }

  #remember(command: CommandCursor): void {
    const outcome = this.#outcome;
    command.remembered(outcome);
    // What has expired leaves first: the leader did not see it either, so the key may be here a second time.
    const expiredMs = outcome.timestampMs - this.idempotencyTtlMs;
    this.keys.trim(Number.MAX_SAFE_INTEGER, expiredMs);
    this.keys.add(
      command.bytes.subarray(command.rememberedKeyStart, command.rememberedKeyEnd),
      outcome,
    );
    this.keysDroppedEarly += this.keys.trim(this.idempotencyKeysMax, expiredMs);
  }

  #commit(command: CommandCursor): void {
    const group = command.bytes.subarray(command.groupStart, command.bodyEnd);
    this.groups.commit(command.topicId, command.partition, group, command.committedOffset);
  }

  #control(command: ControlCommand): Topic | undefined {
    switch (command.kind) {
      case "settings":
        this.idempotencyTtlMs = command.idempotencyTtlMs;
        this.idempotencyKeysMax = command.idempotencyKeysMax;
        return undefined;
      case "topicCreated":
        return this.#create(command);
      case "topicDeleted":
        return this.#delete(command.topicId);
      case "retentionSet":
        this.#setRule(command);
        return undefined;
      case "configured":
      case "namespaceCreated":
      case "namespaceFloor":
        // Who belongs to the cluster is the replica's matter, and keys have a state of their own.
        return undefined;
      case "progressed": {
        const topic = this.#byId.get(command.topicId);
        assert(topic !== undefined, `Progress is of topic ${command.topicId}, which exists`);
        topic.nextOffset[command.partition] = command.nextOffset;
        topic.reservedOffset[command.partition] = command.nextOffset;
        topic.bytesTotal[command.partition] =
          (topic.bytesTotal[command.partition] ?? 0) + command.bytesAdded;
        return undefined;
      }
      case "floorRaised": {
        const topic = this.#byId.get(command.topicId);
        // A retention pass may have been overtaken by a deletion; there is nothing left to hide then.
        if (topic === undefined) return undefined;
        const { partition, startOffset } = command;
        const isHigher = startOffset > (topic.startOffset[partition] ?? 0);
        if (isHigher) topic.startOffset[partition] = startOffset;
        if (isHigher) topic.bytesBelow[partition] = command.bytesBelow;
        return topic;
      }
    }
  }

  #create(command: Extract<ControlCommand, { kind: "topicCreated" }>): Topic {
    const known = this.#byId.get(command.topicId);
    // A base and the delta after it may both tell of a creation; it is one.
    if (known !== undefined) return known;
    assert(!this.#byName.has(command.name), `Topic ${command.name} is created once`);
    const topic = newTopic(command);
    this.#byId.set(topic.id, topic);
    this.#byName.set(topic.name, topic);
    this.#partitionCount += topic.partitions;
    this.topicIdMax = Math.max(this.topicIdMax, topic.id);
    return topic;
  }

  #delete(topicId: number): Topic | undefined {
    this.topicIdMax = Math.max(this.topicIdMax, topicId);
    const topic = this.#byId.get(topicId);
    if (topic === undefined) return undefined;
    this.#byId.delete(topicId);
    this.#byName.delete(topic.name);
    this.#partitionCount -= topic.partitions;
    this.groups.forget(topicId);
    return topic;
  }

  #setRule(command: Extract<ControlCommand, { kind: "retentionSet" }>): void {
    const rule: RetentionRule = { ttlMs: command.ttlMs, maxBytes: command.maxBytes };
    if (command.topicId === RETENTION_ALL_TOPICS) {
      this.#allTopicsRule = rule;
      return;
    }
    const topic = this.#byId.get(command.topicId);
    if (topic === undefined) return;
    if (command.partition === RETENTION_ALL_PARTITIONS) topic.rule = rule;
    else topic.partitionRules.set(command.partition, rule);
  }

  /** Drops the leader's pending state: what is reserved is what is applied. */
  dropPending(): void {
    for (const topic of this.#byId.values()) {
      topic.reservedOffset.set(topic.nextOffset);
      topic.isBeingDeleted = false;
    }
  }
}
