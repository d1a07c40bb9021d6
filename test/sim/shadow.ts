// What the world must be like, in plain maps and arrays: every acknowledged act, in the order in which it was acknowledged.
// The node is asked for nothing here. What it says is held against this, and what it keeps after a crash is taken over.

import { encodeHeaders, recordSize } from "../../src/model/record.ts";

/** A promise was broken. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Stops the run with `message` unless `condition` holds. */
export function claim(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Violation(message);
}

/** One produce as a client sent it, and what became of it. */
export interface Write {
  readonly id: number;
  /** The write whose bytes these are: itself, or the one that it repeats. */
  readonly contentId: number;
  /** In which it was sent. */
  readonly life: number;
  readonly topicId: number;
  /** Asked partition, -1 for none. */
  readonly asked: number;
  readonly key: Uint8Array | undefined;
  readonly headers: Uint8Array | undefined;
  readonly idempotencyKey: string | undefined;
  readonly expectedOffset: number;
  readonly values: readonly Uint8Array[];
  readonly fingerprint: string;
  /** The earliest time that its entry may carry. */
  readonly openedMs: number;
  /** When it was sent: the latest time that its entry may carry. */
  readonly sentMs: number;
  /** What its key stood for when it was sent: its answer may come after that has left the window. */
  readonly ownerBefore: Write | undefined;
  fate: "pending" | "unknown" | "stored" | "absent" | "answered";
  partition: number;
  firstOffset: number;
  /** Place among all stored writes with a key. */
  keyedOrdinal: number;
}

/** One record that the log has. */
export interface StoredRecord {
  readonly write: Write;
  readonly index: number;
}

/** One partition as it must be. */
export interface ShadowPartition {
  readonly records: StoredRecord[];
  /** Stored bytes of the first so many records. */
  readonly bytesUpTo: number[];
  floor: number;
  /** Floors that clients asked for: the highest that each may have set. */
  readonly floorsAsked: { upTo: number }[];
}

/** One topic as it must be. */
export interface ShadowTopic {
  readonly id: number;
  readonly name: string;
  readonly partitions: readonly ShadowPartition[];
  /** By `partition/group`. */
  readonly groups: Map<string, { committed: number; readonly attempted: Set<number> }>;
  isAlive: boolean;
  /** A deletion was asked for, and its outcome is not known. */
  isBeingDeleted: boolean;
}

/** Limits as set at one level. */
export interface ShadowRule {
  readonly ttlMs: number;
  readonly maxBytes: number;
}

/** A change of topics or rules whose outcome is not known yet. */
export type PendingControl =
  | {
      readonly kind: "create";
      readonly name: string;
      readonly partitions: number;
      readonly rule: ShadowRule;
    }
  | { readonly kind: "rule"; readonly level: string; readonly change: Partial<ShadowRule> };

const NO_RULE: ShadowRule = { ttlMs: 0, maxBytes: 0 };

/** Everything that was promised. */
export class Shadow {
  readonly topics = new Map<number, ShadowTopic>();
  readonly writes: Write[] = [];
  /** The write that a key stands for, by `topic key`. */
  readonly keys = new Map<string, Write>();
  /** By `*`, `topic`, `topic/partition`. */
  readonly rules = new Map<string, ShadowRule>();
  readonly controls = new Set<PendingControl>();
  /** Offsets that were asked to be committed, by `topic name/partition/group`: a topic may be deleted and made again meanwhile. */
  readonly #attempts = new Map<string, Set<number>>();
  /** Floors that were asked for and not answered yet, by `topic name/partition`, for the same reason. */
  readonly #floorsAsked = new Map<string, Set<{ upTo: number }>>();
  keyedCount = 0;
  /** Highest index that was acknowledged. */
  acknowledgedIndex = 0;
  /** The smallest limits that any life asked for. */
  ttlMsMin = Number.MAX_SAFE_INTEGER;
  keysMaxMin = Number.MAX_SAFE_INTEGER;
  /** Whether anything but a delete-before may have raised a floor. */
  mayRetain = false;
  /** Whether a restart may have made time jump. */
  clockJumps = false;

  /** A topic by the name that it has now. */
  byName(name: string): ShadowTopic | undefined {
    return [...this.topics.values()].find((topic) => topic.isAlive && topic.name === name);
  }

  attemptsOf(key: string): Set<number> {
    const found = this.#attempts.get(key) ?? new Set<number>();
    this.#attempts.set(key, found);
    return found;
  }

  floorsAskedOf(key: string): Set<{ upTo: number }> {
    const found = this.#floorsAsked.get(key) ?? new Set<{ upTo: number }>();
    this.#floorsAsked.set(key, found);
    return found;
  }

  /** Remembers a topic that was created. */
  created(id: number, name: string, partitions: number): ShadowTopic {
    claim(!this.topics.has(id), `Topic id ${id} was given twice`);
    claim(
      [...this.topics.keys()].every((known) => known < id),
      `Topic id ${id} goes back`,
    );
    claim(this.byName(name) === undefined, `Topic ${name} was created while it existed`);
    const topic: ShadowTopic = {
      id,
      name,
      partitions: Array.from({ length: partitions }, (_, i) => ({
        records: [],
        bytesUpTo: [0],
        floor: 0,
        floorsAsked: [...this.floorsAskedOf(`${name}/${i}`)],
      })),
      groups: new Map(),
      isAlive: true,
      isBeingDeleted: false,
    };
    this.topics.set(id, topic);
    return topic;
  }

  partition(topicId: number, partition: number): ShadowPartition {
    const found = this.topics.get(topicId)?.partitions[partition];
    claim(found !== undefined, `Partition ${partition} of topic ${topicId} was never made`);
    return found;
  }

  /** The write that a key stands for in a topic. */
  owner(write: Write): Write | undefined {
    return write.idempotencyKey === undefined
      ? undefined
      : this.keys.get(`${write.topicId} ${write.idempotencyKey}`);
  }

  /** Whether the window may have let go of a key. */
  mayHaveExpired(owner: Write, life: number, now: number): boolean {
    if (this.keyedCount - owner.keyedOrdinal >= this.keysMaxMin) return true;
    if (this.ttlMsMin > 1e12) return false;
    return (
      (this.clockJumps && owner.life !== life) ||
      1.1 * (now - owner.openedMs) + 100 >= this.ttlMsMin
    );
  }

  /** Puts a write at its place; everything before it in its partition is there already. */
  store(write: Write, partition: number, firstOffset: number): void {
    const { records, bytesUpTo } = this.partition(write.topicId, partition);
    claim(
      records.length === firstOffset,
      `Write ${write.id} got offset ${firstOffset} of topic ${write.topicId}/${partition}, whose next is ${records.length}`,
    );
    write.fate = "stored";
    write.partition = partition;
    write.firstOffset = firstOffset;
    for (const [index, value] of write.values.entries()) {
      records.push({ write, index });
      const size = recordSize(write.key?.length ?? -1, write.headers?.length ?? -1, value.length);
      bytesUpTo.push((bytesUpTo.at(-1) ?? 0) + size);
    }
    if (write.idempotencyKey === undefined) return;
    this.keyedCount += 1;
    write.keyedOrdinal = this.keyedCount;
    this.keys.set(`${write.topicId} ${write.idempotencyKey}`, write);
  }

  /** The rule that holds for a partition, field by field from the narrowest level. */
  ruleOf(topicId: number, partition: number): ShadowRule {
    const levels = [`${topicId}/${partition}`, `${topicId}`, "*"].map(
      (level) => this.rules.get(level) ?? NO_RULE,
    );
    return {
      ttlMs: levels.find((rule) => rule.ttlMs > 0)?.ttlMs ?? 0,
      maxBytes: levels.find((rule) => rule.maxBytes > 0)?.maxBytes ?? 0,
    };
  }

  setRule(level: string, change: Partial<ShadowRule>): void {
    this.rules.set(level, { ...(this.rules.get(level) ?? NO_RULE), ...change });
  }
}

/** A value that tells to which write it belongs, and in which every byte follows from that. */
export function contentOf(writeId: number, index: number, bytes: number): Uint8Array {
  const value = new Uint8Array(Math.max(8, bytes));
  for (let i = 8; i < value.length; i++) value[i] = (writeId * 31 + index * 7 + i * 13) & 255;
  new DataView(value.buffer).setUint32(0, writeId, true);
  new DataView(value.buffer).setUint32(4, index, true);
  return value;
}

/** Headers of a write that has some. */
export const headersOf = (writeId: number): Uint8Array =>
  encodeHeaders([["ce-id", String(writeId)]]);
