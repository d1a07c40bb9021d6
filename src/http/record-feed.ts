// Walks the records of one partition, or of all partitions of a topic merged by time, up to where they ended at the start.
// Holds a copy of what it read last, so that whoever walks may give up the turn at any record.

import { limits } from "../config/mod.ts";
import { assert } from "../lib/assert.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { RecordCursor, type RecordSlice } from "../model/record.ts";
import { recordsGate } from "./lookup.ts";
import type { RecordBatch, TopicView } from "./ports.ts";
import type { HttpRooms } from "./rooms.ts";

const READ_RECORDS = 4096;
const READ_BUFFER_BYTES = 2 * limits.STREAM_READ_BYTES;
const NOTHING = new Uint8Array(0);

/** The records of one partition. */
export class PartitionFeed {
  readonly partition: number;
  readonly cursor = new RecordCursor();
  /** Of the record at the cursor. */
  offset = -1;
  timestampMs = 0;
  /** Whether there is a record at the cursor that was not consumed. */
  hasRecord = false;
  /** The first offset that was not consumed. */
  position: number;
  /** Why it cannot go on. */
  refusal: Refusal | undefined;
  readonly #rooms: HttpRooms;
  readonly #topic: TopicView;
  readonly #endOffset: number;
  #buffer: Uint8Array<ArrayBuffer> = NOTHING;
  #slices: RecordSlice[] = [];
  #walked = 0;
  #hasEnded = false;

  constructor(rooms: HttpRooms, topic: TopicView, partition: number, from: number) {
    this.#rooms = rooms;
    this.#topic = topic;
    this.partition = partition;
    this.position = from;
    this.#endOffset = rooms.broker.partition(topic.id, partition).nextOffset;
  }

  /** Whether nothing more comes: everything that was there at the start was walked. */
  get isAtEnd(): boolean {
    return !this.hasRecord && this.position >= this.#endOffset;
  }

  /** Goes to the next record unless it stands at one. `fill`: records must be read first. */
  step(): "record" | "fill" | "end" {
    if (this.hasRecord) return "record";
    for (;;) {
      const [slice] = this.#slices;
      if (slice === undefined) {
        return this.#hasEnded || this.position >= this.#endOffset ? "end" : "fill";
      }
      while (this.cursor.next()) {
        this.#walked += 1;
        if (this.#walked < this.position) continue;
        if (this.#walked >= this.#endOffset) {
          this.#hasEnded = true;
          this.#slices = [];
          return "end";
        }
        this.offset = this.#walked;
        this.timestampMs = slice.timestampMs + this.cursor.timestampDelta;
        this.hasRecord = true;
        return "record";
      }
      assert(!this.cursor.isBroken, `Records at ${slice.baseOffset} can be read`);
      this.position = Math.max(this.position, slice.baseOffset + slice.count);
      this.#slices.shift();
      this.#enter();
    }
  }

  /** Takes the record at the cursor, whose bytes stay until the next step. */
  consume(): void {
    this.hasRecord = false;
    this.position = this.offset + 1;
  }

  /** Reads records. Without a promise when they are in memory. */
  fill(): undefined | Promise<undefined> {
    const { broker } = this.#rooms;
    const topic = broker.topic(this.#topic.name);
    if (topic?.id !== this.#topic.id)
      return this.#stop(refuse("topic_not_found", `Topic ${this.#topic.name} was deleted`));
    const elsewhere = recordsGate(this.#rooms, topic);
    if (elsewhere !== undefined) return this.#stop(elsewhere);
    const batch = broker.read({
      topicId: topic.id,
      partition: this.partition,
      offset: Math.max(this.position, broker.partition(topic.id, this.partition).startOffset),
      maxRecords: READ_RECORDS,
      maxBytes: limits.STREAM_READ_BYTES,
    });
    if (batch instanceof Promise) return batch.then((records) => this.#keep(records));
    return this.#keep(batch);
  }

  #stop(refusal: Refusal): undefined {
    this.refusal = refusal;
    this.#hasEnded = true;
  }

  #keep(batch: RecordBatch): undefined {
    // Retention may have moved on since the last look.
    this.position = Math.max(this.position, batch.startOffset);
    this.#slices = this.#copied(batch.slices);
    if (this.#slices.length === 0) this.#hasEnded = true;
    this.#enter();
  }

  /** Copies into memory that is used again for every read: as garbage it would be a megabyte a millisecond. */
  #copied(slices: readonly RecordSlice[]): RecordSlice[] {
    const size = slices.reduce((sum, { start, end }) => sum + end - start, 0);
    if (this.#buffer.length < size)
      this.#buffer = new Uint8Array(Math.max(size, READ_BUFFER_BYTES));
    let at = 0;
    return slices.map((slice) => {
      const start = at;
      this.#buffer.set(slice.bytes.subarray(slice.start, slice.end), start);
      at += slice.end - slice.start;
      return { ...slice, bytes: this.#buffer, start, end: at };
    });
  }

  #enter(): void {
    const [slice] = this.#slices;
    if (slice === undefined) return;
    this.cursor.reset(slice.bytes, slice.start, slice.end);
    this.#walked = slice.baseOffset - 1;
  }
}

/** Records of some partitions of a topic, the earliest first; of the same time the lower partition's. */
export class RecordFeed {
  readonly parts: readonly PartitionFeed[];
  readonly #recordsMax: number;
  /** Records that were consumed. */
  consumed = 0;

  constructor(parts: readonly PartitionFeed[], recordsMax: number) {
    this.parts = parts;
    this.#recordsMax = recordsMax;
  }

  /** Whether as many records were consumed as may be. */
  get isUsedUp(): boolean {
    return this.consumed >= this.#recordsMax;
  }

  /** Whether everything that was there at the start was walked. */
  get isAtEnd(): boolean {
    return this.parts.every((part) => part.isAtEnd);
  }

  /** Why it cannot go on. */
  get refusal(): Refusal | undefined {
    return this.parts.find((part) => part.refusal !== undefined)?.refusal;
  }

  /** The part whose record comes next; undefined behind the last one. A promise when records must be read first. */
  next(): PartitionFeed | undefined | Promise<PartitionFeed | undefined> {
    if (this.isUsedUp) return undefined;
    let first: PartitionFeed | undefined;
    for (const part of this.parts) {
      let state = part.step();
      while (state === "fill") {
        const filling = part.fill();
        if (filling !== undefined) return filling.then(() => this.next());
        state = part.step();
      }
      if (state === "record" && (first === undefined || part.timestampMs < first.timestampMs))
        first = part;
    }
    return first;
  }

  /** Takes the record of a part that `next` has named. */
  consume(part: PartitionFeed): void {
    part.consume();
    this.consumed += 1;
  }
}
