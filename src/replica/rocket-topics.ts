// Rocket topics: their records lie in the memory of the leader alone, and only the blocks of offsets that they are given are
// of the log. A record is answered without waiting for a disk or a peer; it ends with this leader, its offset is never given
// again: whoever leads next begins behind the last block that was reserved.

import { NO_ROCKET_KEY, type Topic } from "../broker/mod.ts";
import { partitionKey } from "../log/mod.ts";
import { COMMAND_HEADER_BYTES, putCommand } from "../model/command-codec.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { ProduceRequest } from "../model/produce.ts";
import type { RecordSlice } from "../model/record.ts";
import { Batcher } from "./batcher.ts";
import type { Replica } from "./replica.ts";
import { type RocketLimits, type RocketPartition, RocketRing } from "./rocket-ring.ts";

/** Offsets of one block: at 300,000 records a second one is reserved every 0.2 s. */
export const ROCKET_BLOCK = 65_536;
/** Requests that may wait for a block; their bodies are within the room for bodies that are under way. */
const WAITING_MAX = 10_000;
const RESERVED_BYTES = COMMAND_HEADER_BYTES + 16;

const TOO_MANY = refuse("overloaded", "Too many requests wait for offsets to be reserved");

/** A partition while this node leads. */
interface Lane {
  readonly topic: Topic;
  readonly partition: number;
  readonly records: RocketPartition;
  /** Offsets below it are this leader's to give. */
  reservedEnd: number;
  isReserving: boolean;
  /** Requests that wait for a block, oldest first. */
  readonly waiting: { readonly waiter: number; readonly request: ProduceRequest }[];
}

/** What a pass over the partitions goes by; 0: no such limit. */
interface PassLimits {
  readonly ttlMs: number;
  readonly maxBytes: number;
}

/** The rocket topics of one node. */
export class RocketTopics {
  readonly #replica: Replica;
  readonly #ring: RocketRing;
  readonly #lanes = new Map<number, Lane>();
  #waiting = 0;

  constructor(replica: Replica, limits: RocketLimits) {
    this.#replica = replica;
    this.#ring = new RocketRing(limits);
  }

  /** Bytes of memory that records take, and records that left because there was no room. */
  get counts(): { readonly bytes: number; readonly evicted: number } {
    return { bytes: this.#ring.bytes, evicted: this.#ring.evicted };
  }

  /** Takes a produce to a partition that exists; this node leads. */
  produce(
    waiter: number,
    topic: Topic,
    partition: number,
    request: ProduceRequest,
  ): Refusal | undefined {
    if (request.idempotencyKey !== undefined) return NO_ROCKET_KEY;
    const bytes = Batcher.dataBytes(request);
    const bytesMax = this.#ring.requestBytesMax;
    if (bytes > bytesMax) {
      return refuse("payload_too_large", `Cannot keep ${bytes} bytes of one request in memory`, {
        max_bytes: bytesMax,
        got_bytes: bytes,
      });
    }
    const lane = this.#laneOf(topic, partition);
    if (lane.waiting.length === 0 && lane.records.nextOffset + request.count <= lane.reservedEnd) {
      this.#append(lane, waiter, request);
      return undefined;
    }
    if (this.#waiting >= WAITING_MAX) return TOO_MANY;
    this.#waiting += 1;
    // The request is used again by whoever made it; what lies in its body is the broker's from now on.
    const ranges = request.ranges?.slice(0, 2 * request.count);
    lane.waiting.push({ waiter, request: { ...request, ranges } });
    this.#reserve(lane);
    return undefined;
  }

  #laneOf(topic: Topic, partition: number): Lane {
    const key = partitionKey(topic.id, partition);
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    // Everything that anybody reserved before this node led is applied, and no offset below was this leader's.
    const reservedEnd = topic.nextOffset[partition] ?? 0;
    const lane: Lane = {
      topic,
      partition,
      records: this.#ring.partition(key, reservedEnd),
      reservedEnd,
      isReserving: false,
      waiting: [],
    };
    this.#lanes.set(key, lane);
    return lane;
  }

  #append(lane: Lane, waiter: number, request: ProduceRequest): void {
    const { records, partition } = lane;
    const { sink, wishes } = this.#replica;
    if (request.expectedOffset >= 0 && request.expectedOffset !== records.nextOffset) {
      this.#refuseExpected(waiter, request.expectedOffset, records.nextOffset);
      return;
    }
    const firstOffset = this.#ring.append(records, request, this.#replica.now());
    if (lane.reservedEnd - records.nextOffset <= ROCKET_BLOCK / 2) this.#reserve(lane);
    sink.produced(waiter, firstOffset, request.count, partition, 0, -1, -1);
    if (wishes.size === 0) return;
    wishes.grant(records.key, records.nextOffset);
    this.#replica.wantTurn();
  }

  /** The offset that is told must be that of a node which still leads. */
  #refuseExpected(waiter: number, expected: number, nextOffset: number): void {
    const { sink } = this.#replica;
    const message = `The next offset is ${nextOffset}, not ${expected}`;
    const refusal = refuse("offset_mismatch", message, { next_offset: nextOffset });
    this.#replica.confirm(
      () => sink.refused(waiter, refusal),
      (reason) => sink.refused(waiter, reason),
    );
  }

  /** Proposes the next block, or as many as those who wait need; one entry of the log for all that reserve in it. */
  #reserve(lane: Lane): void {
    if (lane.isReserving) return;
    lane.isReserving = true;
    const { topic, partition, records } = lane;
    const wanted = lane.waiting.reduce(
      (offset, { request }) => offset + request.count,
      records.nextOffset,
    );
    const reservedEnd = Math.max(
      lane.reservedEnd + ROCKET_BLOCK,
      Math.ceil(wanted / ROCKET_BLOCK) * ROCKET_BLOCK,
    );
    const replica = this.#replica;
    replica.batcher.open(RESERVED_BYTES, replica.now);
    replica.batcher.addCommand((writer) =>
      putCommand(writer, { kind: "rocketReserved", topicId: topic.id, partition, reservedEnd }),
    );
    replica.wantSubmit();
    replica.callbacks.add(
      replica.openIndex,
      () => this.#reserved(lane, reservedEnd),
      // Whoever waits is told by `drop`.
      () => undefined,
    );
  }

  #reserved(lane: Lane, reservedEnd: number): void {
    // The topic may be gone, or leadership have come and gone.
    if (this.#lanes.get(lane.records.key) !== lane) return;
    lane.reservedEnd = reservedEnd;
    lane.isReserving = false;
    while (lane.waiting.length > 0) {
      const next = lane.waiting[0];
      if (next === undefined || lane.records.nextOffset + next.request.count > reservedEnd) break;
      lane.waiting.shift();
      this.#waiting -= 1;
      this.#append(lane, next.waiter, next.request);
    }
    if (lane.waiting.length > 0) this.#reserve(lane);
  }

  /** Readable range and stored bytes of a partition; on a node that does not lead there is nothing before what is reserved. */
  range(
    topic: Topic,
    partition: number,
  ): { readonly startOffset: number; readonly nextOffset: number; readonly bytes: number } {
    const records = this.#ring.find(partitionKey(topic.id, partition));
    const reservedEnd = topic.nextOffset[partition] ?? 0;
    if (records === undefined)
      return { startOffset: reservedEnd, nextOffset: reservedEnd, bytes: 0 };
    const { startOffset, nextOffset, storedBytes } = records;
    return { startOffset, nextOffset, bytes: storedBytes };
  }

  /** Records of a partition from an offset within its range; valid until the caller gives up its turn. */
  read(request: {
    readonly topicId: number;
    readonly partition: number;
    readonly offset: number;
    readonly maxRecords: number;
    readonly maxBytes: number;
  }): readonly RecordSlice[] {
    const records = this.#ring.find(partitionKey(request.topicId, request.partition));
    if (records === undefined) return [];
    const offset = Math.max(request.offset, records.startOffset);
    return this.#ring.read(records, offset, request.maxRecords, request.maxBytes);
  }

  /** Drops records below an offset, at most up to the end. */
  deleteBefore(
    topic: Topic,
    partition: number,
    beforeOffset: number,
  ): { readonly deletedCount: number; readonly freedBytes: number } {
    const records = this.#ring.find(partitionKey(topic.id, partition));
    if (records === undefined) return { deletedCount: 0, freedBytes: 0 };
    const dropped = this.#ring.dropBefore(records, beforeOffset);
    return { deletedCount: dropped.records, freedBytes: dropped.bytes };
  }

  /** Records of a topic that are there now. */
  recordsOf(topic: Topic): number {
    let records = 0;
    for (let partition = 0; partition < topic.partitions; partition++) {
      const { startOffset, nextOffset } = this.range(topic, partition);
      records += nextOffset - startOffset;
    }
    return records;
  }

  /** Drops what has outlived its rule. */
  trim(limitsOf: (topic: Topic, partition: number) => PassLimits): void {
    const nowMs = this.#replica.now();
    for (const { topic, partition, records } of this.#lanes.values()) {
      if (records.oldest === undefined) continue;
      const { ttlMs, maxBytes } = limitsOf(topic, partition);
      if (ttlMs > 0) this.#ring.dropUntil(records, nowMs - ttlMs);
      if (maxBytes > 0) this.#ring.dropToBytes(records, maxBytes);
    }
  }

  /** A topic is gone, with everything in it. */
  forget(topicId: number): void {
    for (const lane of [...this.#lanes.values()]) {
      if (lane.topic.id !== topicId) continue;
      this.#refuse(lane, refuse("topic_not_found"));
      this.#lanes.delete(lane.records.key);
      this.#ring.forget(lane.records.key);
    }
  }

  /** This node leads no more: what it had in memory is gone, and readers must look elsewhere. */
  drop(): void {
    const { state, wishes } = this.#replica;
    const gate = this.#replica.writeGate() ?? refuse("not_leader");
    for (const lane of this.#lanes.values()) this.#refuse(lane, gate);
    this.#lanes.clear();
    this.#ring.clear();
    if (wishes.size === 0) return;
    for (const topic of state.topics()) {
      if (topic.mode !== "rocket") continue;
      for (let partition = 0; partition < topic.partitions; partition++)
        wishes.grant(partitionKey(topic.id, partition), Number.MAX_SAFE_INTEGER);
    }
    this.#replica.wantTurn();
  }

  /** Nothing of what waits was given an offset: it may be sent elsewhere. */
  #refuse(lane: Lane, refusal: Refusal): void {
    this.#waiting -= lane.waiting.length;
    for (const { waiter } of lane.waiting.splice(0)) this.#replica.sink.refused(waiter, refusal);
  }
}
