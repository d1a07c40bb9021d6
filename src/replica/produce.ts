// Decides a produce: topic, partition, duplicate, expectation, room. What passes is encoded into the open entry with its
// offsets; what does not never enters the log.

import { choosePartition, KeyWindow, type Topic } from "../broker/mod.ts";
import { Fingerprint } from "../lib/checksum.ts";
import { newRemembered, putRemembered } from "../model/command-codec.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { ProduceRequest } from "../model/produce.ts";
import { Batcher } from "./batcher.ts";
import type { Replica } from "./replica.ts";

const DISK_FULL = refuse("disk_full");

/** Bytes of a write besides its records: frame, header, one chunk, one key, padding. */
const ENTRY_OVERHEAD_BYTES = 1024;
/** Bytes of a `remembered` command besides its key. */
const REMEMBERED_BYTES = 48;

/** The way in for records. */
export class Producer {
  readonly #replica: Replica;
  /** Keys whose first write is under way; the tag is the index of its entry. */
  readonly #pendingKeys = new KeyWindow();
  readonly #found = newRemembered();
  readonly #outcome = newRemembered();
  readonly #fingerprint = new Fingerprint();

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** Takes a produce, or says at once why not. */
  produce(waiter: number, request: ProduceRequest): Refusal | undefined {
    const replica = this.#replica;
    const gate = replica.writeGate();
    if (gate !== undefined) return gate;
    const topic = replica.state.byId(request.topicId);
    if (topic === undefined || topic.isBeingDeleted) return refuse("topic_not_found");
    if (request.partition >= topic.partitions) {
      return refuse(
        "partition_not_found",
        `Topic ${topic.name} has ${topic.partitions} partitions, not partition ${request.partition}`,
      );
    }
    // Before anything that may refuse: a duplicate answers as the first did, also when the disk is full.
    if (
      request.idempotencyKey !== undefined &&
      this.#isKnown(waiter, topic, request, request.idempotencyKey)
    )
      return undefined;
    if (replica.log.isFull) return DISK_FULL;

    const partition = request.partition >= 0 ? request.partition : this.#spread(topic, request.key);
    const baseOffset = topic.reservedOffset[partition] ?? 0;
    if (request.expectedOffset >= 0 && request.expectedOffset !== baseOffset) {
      this.#refuseLater(
        waiter,
        refuse(
          "offset_mismatch",
          `The next offset is ${baseOffset}, not ${request.expectedOffset}`,
          { next_offset: baseOffset },
        ),
      );
      return undefined;
    }
    const key = request.idempotencyKey;
    const bytes = Batcher.dataBytes(request);
    if (bytes > replica.log.writeBytesMax - ENTRY_OVERHEAD_BYTES) {
      return refuse("payload_too_large", `Cannot store ${bytes} bytes in one entry`, {
        max_bytes: replica.log.writeBytesMax - ENTRY_OVERHEAD_BYTES,
        got_bytes: bytes,
      });
    }
    replica.batcher.open(
      bytes + (key === undefined ? 0 : REMEMBERED_BYTES + key.length),
      replica.now,
    );
    replica.batcher.addRecords(topic.id, partition, baseOffset, request);
    topic.reservedOffset[partition] = baseOffset + request.count;
    if (key !== undefined) this.#remember(topic, partition, baseOffset, request, key);
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

  /** Whether the key was used in the window; then the answer is on its way. */
  #isKnown(waiter: number, topic: Topic, request: ProduceRequest, key: Uint8Array): boolean {
    const { state, appliedIndex, callbacks, sink } = this.#replica;
    const found = this.#found;
    const print = this.#printOf(request);
    this.#pendingKeys.trim(Number.MAX_SAFE_INTEGER, appliedIndex);
    if (this.#pendingKeys.find(topic.id, key, found)) {
      const { partition, firstOffset, count, timestampMs: entryIndex } = found;
      const isSame = found.fingerprintLow === print.low && found.fingerprintHigh === print.high;
      callbacks.add(
        entryIndex,
        () => {
          if (isSame) sink.produced(waiter, firstOffset, count, partition, 0, -1, 1);
          else sink.refused(waiter, refuse("idempotency_key_reused"));
        },
        (refusal) => sink.refused(waiter, refusal),
      );
      return true;
    }
    if (!state.keys.find(topic.id, key, found)) return false;
    // Expired at this entry's time: applying this very produce pushes it out.
    if (found.timestampMs + state.idempotencyTtlMs <= this.#replica.entryTime()) return false;
    if (found.fingerprintLow !== print.low || found.fingerprintHigh !== print.high) {
      this.#refuseLater(waiter, refuse("idempotency_key_reused"));
    } else {
      // It is committed: that stays true whoever leads.
      const { partition, firstOffset, count } = found;
      queueMicrotask(() => sink.produced(waiter, firstOffset, count, partition, 0, -1, 1));
    }
    return true;
  }

  #printOf(request: ProduceRequest): Fingerprint {
    const print = this.#fingerprint.reset().number(request.count).number(request.partition);
    print.bytes(request.key).bytes(request.headers);
    const { ranges, body } = request;
    if (ranges === undefined) return print.bytes(body);
    for (let i = 0; i < request.count; i++)
      print.bytes(body.subarray(ranges[2 * i], ranges[2 * i + 1]));
    return print;
  }

  #remember(
    topic: Topic,
    partition: number,
    baseOffset: number,
    request: ProduceRequest,
    key: Uint8Array,
  ): void {
    const { batcher, openIndex } = this.#replica;
    const outcome = this.#outcome;
    outcome.topicId = topic.id;
    outcome.partition = partition;
    outcome.count = request.count;
    outcome.firstOffset = baseOffset;
    outcome.timestampMs = batcher.timestampMs;
    // `#isKnown` has just computed it.
    outcome.fingerprintLow = this.#fingerprint.low;
    outcome.fingerprintHigh = this.#fingerprint.high;
    batcher.addCommand((writer) => putRemembered(writer, outcome, key));
    outcome.timestampMs = openIndex;
    this.#pendingKeys.add(key, outcome);
  }

  /** What is under way is nobody's any more: this node no longer leads. */
  drop(): void {
    this.#pendingKeys.trim(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  }

  /** Refuses by present state: once what it was computed from is committed, and this node is known to lead still. */
  #refuseLater(waiter: number, refusal: Refusal): void {
    const { sink } = this.#replica;
    this.#replica.confirm(
      () => sink.refused(waiter, refusal),
      (reason) => sink.refused(waiter, reason),
    );
  }
}
