// Decides a transaction: looks at everything that it expects and everything that it is to do, by the applied state and by what
// the log says beyond it, then puts all of it into one entry, or nothing. An entry is durable, committed and applied whole.

import {
  choosePartition,
  isName,
  noSuchPartition,
  noSuchTopic,
  type Topic,
} from "../broker/mod.ts";
import { decodeText, encodeText } from "../lib/bytes.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { CHUNK_COMMAND_BYTES } from "../model/command-codec.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { ProduceRequest } from "../model/produce.ts";
import type {
  Expectation,
  Transaction,
  TransactionCommit,
  TransactionOutcome,
  TransactionRecord,
} from "../model/transaction.ts";
import { Batcher } from "./batcher.ts";
import { GroupCommits } from "./group-commits.ts";
import { Idempotency, rememberedBytes, TRANSACTION_SCOPE } from "./idempotency.ts";
import { casMismatch, type KeyValues } from "./key-values.ts";
import type { Replica } from "./replica.ts";

/** Bytes of a write besides what it carries. */
const ENTRY_OVERHEAD_BYTES = 1024;
/** Bytes of what a part came to, as it is remembered, at most. */
const OUTCOME_BYTES = 24;
const DISK_FULL = refuse("disk_full");

/** A record with its place. */
interface Placed {
  readonly topic: Topic;
  readonly partition: number;
  readonly offset: number;
  readonly request: ProduceRequest;
}

/** Part of a transaction, for saying which one failed. */
type PartName = "expect" | "produce" | "commit" | "kv";

/** What the rest of the broker lends. */
interface TransactionParts {
  readonly replica: Replica;
  readonly keyValues: KeyValues;
  readonly groupCommits: GroupCommits;
  /** Groups in all, counted per partition. */
  readonly groupsMax: number;
}

/** The way in for transactions. */
export class Transactions {
  readonly #parts: TransactionParts;
  readonly #keys: Idempotency;

  constructor(parts: TransactionParts) {
    this.#parts = parts;
    this.#keys = new Idempotency(parts.replica);
  }

  /**
   * Takes a transaction, or says at once why not.
   * @param note Called, before the sink is, with what it came to.
   */
  transact(
    waiter: number,
    transaction: Transaction,
    note: (outcome: TransactionOutcome) => void,
  ): Refusal | undefined {
    const { replica, keyValues } = this.#parts;
    const gate = replica.writeGate();
    if (gate !== undefined) return gate;
    const { idempotencyKey, produce, kv, expect } = transaction;
    if (idempotencyKey !== undefined) {
      this.#print(transaction);
      const told = (detail: Uint8Array): void => note(decodeOutcome(detail));
      if (this.#keys.isKnown(waiter, TRANSACTION_SCOPE, idempotencyKey, told)) return undefined;
    }
    keyValues.trim();
    const isGrowing = produce.length > 0 || kv.some(({ value }) => value !== undefined);
    if (isGrowing && replica.log.isFull) return DISK_FULL;

    for (const [i, expectation] of expect.entries()) {
      const refusal = this.#unmet(expectation);
      if (refusal !== undefined) return this.#refuse(waiter, refusal, "expect", i);
    }
    const placed = this.#place(produce);
    if (!placed.ok) return this.#refuse(waiter, placed.error.refusal, "produce", placed.error.at);
    for (const [i, commit] of transaction.commit.entries()) {
      const refusal = this.#commitRefusal(commit);
      if (refusal !== undefined) return this.#refuse(waiter, refusal, "commit", i);
    }
    const over = keyValues.overBudget(kv);
    if (over !== undefined) return over;
    const bytes = this.#bytesOf(transaction, placed.value);
    const bytesMax = replica.log.writeBytesMax - ENTRY_OVERHEAD_BYTES;
    if (bytes > bytesMax) {
      return refuse("payload_too_large", `Cannot store ${bytes} bytes in one entry`, {
        max_bytes: bytesMax,
        got_bytes: bytes,
      });
    }
    this.#write(waiter, transaction, placed.value, bytes, note);
    return undefined;
  }

  /** Everything is decided: from here on it happens. */
  #write(
    waiter: number,
    transaction: Transaction,
    placed: readonly Placed[],
    bytes: number,
    note: (outcome: TransactionOutcome) => void,
  ): void {
    const { replica, keyValues, groupCommits } = this.#parts;
    const { idempotencyKey, kv, ack } = transaction;
    const looked = kv.map(({ namespace, key }) => keyValues.look(namespace, key));
    replica.batcher.open(bytes, replica.now);
    for (const { topic, partition, offset, request } of placed) {
      replica.batcher.addRecords(topic.id, partition, offset, request);
      topic.reservedOffset[partition] = offset + 1;
    }
    for (const { topic, group, partition, offset } of transaction.commit) {
      const { id } = replica.state.byName(topic) ?? { id: 0 };
      groupCommits.add(id, partition, encodeText(group), offset);
    }
    const cas = kv.map((step, i) => {
      const { current, isExpired } = looked[i] ?? { current: 0, isExpired: false };
      const isPut = step.value !== undefined;
      // A key whose time is over is deleted by its end.
      if (!isPut && current === 0 && !isExpired) return 0;
      const made = keyValues.add(step, isPut && isExpired);
      return isPut || current > 0 ? made : 0;
    });
    const outcome = {
      raftIndex: replica.openIndex,
      produced: placed.map(({ partition, offset }) => ({ partition, offset })),
      cas,
    };
    if (idempotencyKey !== undefined) {
      const detail = encodeOutcome(outcome);
      const done = { partition: 0, count: 0, firstOffset: 0, detail };
      this.#keys.remember(TRANSACTION_SCOPE, idempotencyKey, done);
    }
    note(outcome);
    replica.waitFor(ack, waiter, 0, 0, 0, idempotencyKey === undefined ? -1 : 0);
    replica.wantSubmit();
  }

  /** Why an expectation does not hold; undefined when it does. */
  #unmet(expectation: Expectation): Refusal | undefined {
    const { keyValues, groupCommits } = this.#parts;
    if (expectation.kind === "key") {
      const { namespace, key, cas } = expectation;
      const { current, isExpired } = keyValues.look(namespace, key);
      if (cas === current) return undefined;
      // What is said here must stay true for whoever asks another node next.
      if (isExpired) keyValues.expire(namespace, key);
      return casMismatch(cas, current);
    }
    const { partition, group, committedOffset } = expectation;
    const topic = this.#topic(expectation.topic, partition);
    if (!topic.ok) return topic.error;
    const current = groupCommits.committed(topic.value.id, partition, encodeText(group));
    if (current === committedOffset) return undefined;
    const shown = (offset: number): number | null => (offset < 0 ? null : offset);
    return refuse(
      "offset_mismatch",
      `Group ${group} has committed offset ${shown(current)}, not ${shown(committedOffset)}`,
      { expected: shown(committedOffset), current: shown(current) },
    );
  }

  /** A topic and one of its partitions, or why they cannot be used. */
  #topic(name: string, partition: number): Result<Topic, Refusal> {
    const topic = this.#parts.replica.state.byName(name);
    if (topic === undefined || topic.isBeingDeleted) return fail(noSuchTopic(name));
    return partition < topic.partitions ? succeed(topic) : fail(noSuchPartition(topic, partition));
  }

  /** Gives each record its partition and offset. */
  #place(
    records: readonly TransactionRecord[],
  ): Result<readonly Placed[], { readonly refusal: Refusal; readonly at: number }> {
    const placed: Placed[] = [];
    /** By topic and partition: the next offset, those before it in this transaction counted. */
    const next = new Map<string, number>();
    for (const [at, record] of records.entries()) {
      const found = this.#topic(record.topic, record.partition);
      if (!found.ok) return fail({ refusal: found.error, at });
      const topic = found.value;
      if (topic.mode !== "sealed") {
        const message = `Topic ${topic.name} is kept in memory only: a transaction cannot write to it`;
        return fail({ refusal: refuse("invalid_parameter", message), at });
      }
      const partition = record.partition >= 0 ? record.partition : spread(topic, record.key);
      const name = `${topic.id} ${partition}`;
      const offset = next.get(name) ?? topic.reservedOffset[partition] ?? 0;
      next.set(name, offset + 1);
      placed.push({ topic, partition, offset, request: requestOf(topic, partition, record) });
    }
    return succeed(placed);
  }

  /** Why a group cannot move so; undefined when it can. A step back would let two do the same work. */
  #commitRefusal({
    topic: name,
    group,
    partition,
    offset,
  }: TransactionCommit): Refusal | undefined {
    const { groupCommits, groupsMax } = this.#parts;
    const found = this.#topic(name, partition);
    if (!found.ok) return found.error;
    const topic = found.value;
    if (!isName(group))
      return refuse("invalid_parameter", "A group name is 1 to 120 of A-Z a-z 0-9 . _ -");
    const end = topic.reservedOffset[partition] ?? 0;
    if (offset >= end)
      return refuse(
        "invalid_parameter",
        `Cannot commit offset ${offset}: the partition ends before ${end}`,
      );
    const current = groupCommits.committed(topic.id, partition, encodeText(group));
    if (current < 0 && groupCommits.count >= groupsMax)
      return refuse("overloaded", `Cannot begin another group: the limit is ${groupsMax}`);
    if (offset > current) return undefined;
    return refuse(
      "offset_mismatch",
      `Group ${group} has committed offset ${current}: a transaction cannot commit ${offset}`,
      { current },
    );
  }

  #bytesOf(transaction: Transaction, placed: readonly Placed[]): number {
    const { keyValues } = this.#parts;
    const records = placed.reduce(
      (sum, { request }) => sum + Batcher.dataBytes(request) + CHUNK_COMMAND_BYTES,
      0,
    );
    const commits = transaction.commit.reduce(
      (sum, { group }) => sum + GroupCommits.bytesOf(encodeText(group)),
      0,
    );
    const keys = transaction.kv.reduce((sum, step) => sum + keyValues.bytesOf(step), 0);
    const outcome = (transaction.produce.length + transaction.kv.length + 2) * 2 * OUTCOME_BYTES;
    return records + commits + keys + outcome + rememberedBytes(transaction.idempotencyKey);
  }

  /** Refuses by present state, and says which part it was. What names no topic is asked again by whoever asks. */
  #refuse(waiter: number, refusal: Refusal, part: PartName, at: number): Refusal | undefined {
    const named = { ...refusal, fields: { failed: { [part]: at }, ...refusal.fields } };
    if (refusal.code === "topic_not_found") return named;
    this.#keys.refuseLater(waiter, named);
    return undefined;
  }

  #print({ expect, produce, commit, kv }: Transaction): void {
    const print = this.#keys.fingerprint.reset();
    const text = (value: string): void => {
      print.bytes(encodeText(value));
    };
    print.number(expect.length).number(produce.length).number(commit.length).number(kv.length);
    for (const one of expect) {
      text(one.kind);
      if (one.kind === "key") {
        text(one.namespace);
        print.bytes(one.key).number(one.cas);
      } else {
        text(`${one.topic} ${one.group} ${one.partition} ${one.committedOffset}`);
      }
    }
    for (const { topic, partition, key, value } of produce) {
      text(`${topic} ${partition}`);
      print.bytes(key).bytes(value);
    }
    for (const { topic, group, partition, offset } of commit)
      text(`${topic} ${group} ${partition} ${offset}`);
    for (const { namespace, key, value, ttlMs } of kv) {
      text(`${namespace} ${ttlMs}`);
      print.bytes(key).bytes(value);
    }
  }

  /** What is under way is nobody's any more: this node no longer leads. */
  drop(): void {
    this.#keys.drop();
  }
}

/** By key where there is one, else in turn. */
function spread(topic: Topic, key: Uint8Array | undefined): number {
  if (key !== undefined) return choosePartition(key, topic.partitions);
  const partition = topic.rotation;
  topic.rotation = (partition + 1) % topic.partitions;
  return partition;
}

const requestOf = (topic: Topic, partition: number, record: TransactionRecord): ProduceRequest => ({
  topicId: topic.id,
  partition,
  key: record.key,
  idempotencyKey: undefined,
  expectedOffset: -1,
  ack: "configured",
  headers: undefined,
  body: record.value,
  ranges: undefined,
  count: 1,
});

/** What it came to, as it is remembered with its key: numbers only, whoever asks again has the names. */
function encodeOutcome({ raftIndex, produced, cas }: TransactionOutcome): Uint8Array {
  const places = produced.flatMap(({ partition, offset }) => [partition, offset]);
  return encodeText(JSON.stringify([raftIndex, places, cas]));
}

function decodeOutcome(detail: Uint8Array): TransactionOutcome {
  const [raftIndex, places, cas]: [number, number[], number[]] = JSON.parse(decodeText(detail));
  const produced = Array.from({ length: places.length / 2 }, (_, i) => ({
    partition: places[2 * i] ?? 0,
    offset: places[2 * i + 1] ?? 0,
  }));
  return { raftIndex, produced, cas };
}
