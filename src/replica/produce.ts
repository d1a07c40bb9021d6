// Decides a produce: topic, partition, duplicate, expectation, room. What passes is encoded into the open entry with its
// offsets; what does not never enters the log.

import { choosePartition, noSuchPartition, type Topic } from "../broker/mod.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { ProduceRequest } from "../model/produce.ts";
import { Batcher } from "./batcher.ts";
import { Idempotency, rememberedBytes } from "./idempotency.ts";
import type { Replica } from "./replica.ts";
import type { RocketTopics } from "./rocket-topics.ts";

const DISK_FULL = refuse("disk_full");

/** Bytes of a write besides its records: frame, header, one chunk, one key, padding. */
const ENTRY_OVERHEAD_BYTES = 1024;
const NO_DETAIL = new Uint8Array(0);

/** The way in for records. */
export class Producer {
  readonly #replica: Replica;
  readonly #keys: Idempotency;
  readonly #rocket: RocketTopics;

  constructor(replica: Replica, rocket: RocketTopics) {
    this.#replica = replica;
    this.#keys = new Idempotency(replica);
    this.#rocket = rocket;
  }

  /** Takes a produce, or says at once why not. */
  produce(waiter: number, request: ProduceRequest): Refusal | undefined {
    const replica = this.#replica;
    const gate = replica.writeGate();
    if (gate !== undefined) return gate;
    const topic = replica.state.byId(request.topicId);
    if (topic === undefined || topic.isBeingDeleted) return refuse("topic_not_found");
    if (request.partition >= topic.partitions) {
      return noSuchPartition(topic, request.partition);
    }
    if (topic.mode === "rocket") {
      const partition =
        request.partition >= 0 ? request.partition : this.#spread(topic, request.key);
      return this.#rocket.produce(waiter, topic, partition, request);
    }
    // Before anything that may refuse: a duplicate answers as the first did, also when the disk is full.
    const key = request.idempotencyKey;
    if (key !== undefined) {
      this.#print(request);
      if (this.#keys.isKnown(waiter, topic.id, key)) return undefined;
    }
    if (replica.log.isFull) return DISK_FULL;

    const partition = request.partition >= 0 ? request.partition : this.#spread(topic, request.key);
    const baseOffset = topic.reservedOffset[partition] ?? 0;
    if (request.expectedOffset >= 0 && request.expectedOffset !== baseOffset) {
      this.#keys.refuseLater(
        waiter,
        refuse(
          "offset_mismatch",
          `The next offset is ${baseOffset}, not ${request.expectedOffset}`,
          { next_offset: baseOffset },
        ),
      );
      return undefined;
    }
    const bytes = Batcher.dataBytes(request);
    if (bytes > replica.log.writeBytesMax - ENTRY_OVERHEAD_BYTES) {
      return refuse("payload_too_large", `Cannot store ${bytes} bytes in one entry`, {
        max_bytes: replica.log.writeBytesMax - ENTRY_OVERHEAD_BYTES,
        got_bytes: bytes,
      });
    }
    replica.batcher.open(bytes + rememberedBytes(key), replica.now);
    replica.batcher.addRecords(topic.id, partition, baseOffset, request);
    topic.reservedOffset[partition] = baseOffset + request.count;
    if (key !== undefined) {
      const done = { partition, count: request.count, firstOffset: baseOffset, detail: NO_DETAIL };
      this.#keys.remember(topic.id, key, done);
    }
    replica.waitFor(
      request.ack,
      waiter,
      baseOffset,
      request.count,
      partition,
      key === undefined ? -1 : 0,
    );
    replica.wantSubmit();
    return undefined;
  }

  /** By key where there is one, else in turn; a batch counts once. */
  #spread(topic: Topic, key: Uint8Array | undefined): number {
    if (key !== undefined) return choosePartition(key, topic.partitions);
    const partition = topic.rotation;
    topic.rotation = (partition + 1) % topic.partitions;
    return partition;
  }

  /** Puts in what makes two requests different. */
  #print(request: ProduceRequest): void {
    const print = this.#keys.fingerprint.reset().number(request.count).number(request.partition);
    print.bytes(request.key).bytes(request.headers);
    const { ranges, body } = request;
    if (ranges === undefined) print.bytes(body);
    else
      for (let i = 0; i < request.count; i++)
        print.bytes(body.subarray(ranges[2 * i], ranges[2 * i + 1]));
  }

  /** What is under way is nobody's any more: this node no longer leads. */
  drop(): void {
    this.#keys.drop();
  }
}
