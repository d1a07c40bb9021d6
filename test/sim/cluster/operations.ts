// What clients ask for, as they remember it: a produce with everything that its records must look like, and a call with what
// became of its attempts.

import { encodeText, viewOf } from "../../../src/lib/bytes.ts";
import type { Ack, ProduceRequest } from "../../../src/model/produce.ts";
import type { RecordCursor } from "../../../src/model/record.ts";
import { claim } from "../shadow.ts";

/** Where a produce stands in the log. */
export interface StoredAt {
  readonly partition: number;
  readonly firstOffset: number;
  /** Of its entry. */
  readonly index: number;
}

/** One produce, however often it is sent. */
export class Produce {
  readonly id: number;
  readonly topicId: number;
  readonly topic: string;
  /** Asked partition, -1 for none. */
  readonly asked: number;
  readonly sizes: readonly number[];
  readonly hasKey: boolean;
  readonly idempotencyKey: string | undefined;
  /** Another produce, stored before, whose key this one uses. */
  readonly rival: Produce | undefined;
  readonly expectedOffset: number;
  readonly ack: Ack;
  /** Some client waits for it. */
  isOpen = false;
  /** `refused`: certainly not stored. `weak`: acknowledged before it was certain that it stays. */
  fate: "open" | "stored" | "weak" | "refused" | "unknown" = "open";
  /** Set by the ledger when it is agreed on. */
  stored: StoredAt | undefined;
  /** Numbers of the events in which it was first sent and at last answered. */
  calledAt = 0;
  returnedAt: number | undefined;
  /** Where a node said that it certainly is. */
  said: Omit<StoredAt, "index"> | undefined;

  constructor(
    fields: Pick<
      Produce,
      | "id"
      | "topicId"
      | "topic"
      | "asked"
      | "sizes"
      | "hasKey"
      | "idempotencyKey"
      | "rival"
      | "expectedOffset"
      | "ack"
    >,
  ) {
    this.id = fields.id;
    this.topicId = fields.topicId;
    this.topic = fields.topic;
    this.asked = fields.asked;
    this.sizes = fields.sizes;
    this.hasKey = fields.hasKey;
    this.idempotencyKey = fields.idempotencyKey;
    this.rival = fields.rival;
    this.expectedOffset = fields.expectedOffset;
    this.ack = fields.ack;
  }

  get key(): Uint8Array | undefined {
    return this.hasKey ? encodeText(`k${this.id}`) : undefined;
  }

  /** The value of the record at `place`: it says whose it is, and every byte follows from that. */
  value(place: number): Uint8Array {
    const value = new Uint8Array(this.sizes[place] ?? 0);
    const view = viewOf(value);
    view.setUint32(0, this.id, true);
    view.setUint32(4, place, true);
    for (let i = 8; i < value.length; i++) value[i] = byteAt(this.id, place, i);
    return value;
  }

  /** Whether a record is the one at `place`, byte for byte; the cursor stands on it. */
  isRecord(
    place: number,
    value: Uint8Array,
    cursor: Pick<RecordCursor, "keyStart" | "keyEnd" | "bytes">,
  ): boolean {
    if (value.length !== this.sizes[place]) return false;
    const view = viewOf(value);
    if (view.getUint32(0, true) !== this.id || view.getUint32(4, true) !== place) return false;
    for (let i = 8; i < value.length; i++) if (value[i] !== byteAt(this.id, place, i)) return false;
    if (cursor.keyStart < 0 !== !this.hasKey) return false;
    const { key } = this;
    if (key === undefined) return true;
    return Buffer.compare(cursor.bytes.subarray(cursor.keyStart, cursor.keyEnd), key) === 0;
  }

  /** Checks that it is where a node said that it is. */
  checkStored(): void {
    const { id, said, stored } = this;
    claim(
      said === undefined ||
        (stored?.partition === said.partition && stored.firstOffset === said.firstOffset),
      `Produce ${id} is said to be at ${said?.firstOffset} of partition ${said?.partition}, and is ${stored === undefined ? "nowhere" : `at ${stored.firstOffset} of ${stored.partition}`}`,
    );
  }

  /** As the broker takes it. */
  request(): ProduceRequest {
    const { asked, expectedOffset, ack, topicId, sizes } = this;
    const head = {
      topicId,
      partition: asked,
      key: this.key,
      idempotencyKey:
        this.idempotencyKey === undefined ? undefined : encodeText(this.idempotencyKey),
      expectedOffset,
      ack,
      headers: undefined,
      count: sizes.length,
    };
    if (sizes.length === 1) return { ...head, body: this.value(0), ranges: undefined };
    const ranges = new Int32Array(2 * sizes.length);
    const body = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    for (const [place, size] of sizes.entries()) {
      body.set(this.value(place), at);
      ranges[2 * place] = at;
      at += size;
      ranges[2 * place + 1] = at;
    }
    return { ...head, body, ranges };
  }
}

const byteAt = (id: number, place: number, i: number): number =>
  (id * 31 + place * 7 + i * 13) & 255;
