// Streams a partition: server-sent events, or lines. The client pulls; nothing is made that it has not asked for,
// so a slow reader holds one piece and no more, and one that stops reading is cut off and resumes by offset.

import { limits } from "../../config/mod.ts";
import { assert } from "../../lib/assert.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import type { Refusal } from "../../model/errors.ts";
import { RecordCursor } from "../../model/record.ts";
import { findPartition, recordsGate } from "../lookup.ts";
import type { RecordBatch, TopicView } from "../ports.ts";
import { borrowWriter, type RecordWriter, returnWriter } from "../record-writer.ts";
import type { HttpRooms } from "../rooms.ts";
import { type Call, guarded, type Outcome, type Route, type RouteDoc } from "../route.ts";
import { checkPath, checkQuery, invalidParameter } from "../schemas/check.ts";
import { PartitionPath, TailQuery } from "../schemas/requests.ts";
import { offsetRemoved, tooManyReaders } from "../waiting.ts";

const DOC: RouteDoc = {
  method: "GET",
  path: "/broker/tail/:topic/:partition",
  id: "tail",
  summary: "Stream records as they come",
  description:
    "Server-Sent Events whose `id` is the offset; a reconnect with `Last-Event-ID` goes on after it. With `Accept: application/x-ndjson` one JSON record per line instead, or with `encoding=raw` bare values as `application/octet-stream`.",
  tag: "records",
  access: "read",
  params: PartitionPath,
  query: TailQuery,
  headers: [
    {
      name: "Last-Event-ID",
      description: "The last offset that was received: the stream goes on after it.",
      schema: { type: "integer", minimum: 0 },
    },
  ],
  reply: "text/event-stream",
  otherForms: ["application/x-ndjson", "application/octet-stream"],
  mayRedirect: true,
};

/** The tail route. */
export const tailRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, DOC, (call) => tail(rooms, call)),
];

type Form = "events" | "lines" | "raw";

const HEADERS = {
  events: {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  },
  lines: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
  raw: { "content-type": "application/octet-stream", "cache-control": "no-store" },
} as const;

function tail(rooms: HttpRooms, call: Call): Outcome {
  const path = checkPath(PartitionPath, call.params);
  if (!path.ok) return path;
  const query = checkQuery(TailQuery, call.request.url);
  if (!query.ok) return query;
  const wantsLines = (call.request.headers.get("accept") ?? "").includes("application/x-ndjson");
  const { encoding } = query.value;
  if (encoding === "raw" && !wantsLines) {
    return fail(invalidParameter("encoding", "raw", "needs Accept: application/x-ndjson"));
  }
  const topic = findPartition(rooms, call.grant, path.value.topic, path.value.partition);
  if (!topic.ok) return topic;
  const from = firstOffset(
    rooms,
    call.request,
    topic.value,
    path.value.partition,
    query.value.offset,
  );
  if (!from.ok) return from;
  if (rooms.stats.tailReaders + rooms.stats.longPolls >= limits.TAIL_READERS_MAX)
    return fail(tooManyReaders());

  const form: Form = !wantsLines ? "events" : encoding === "raw" ? "raw" : "lines";
  const headers = HEADERS[form];
  if (call.request.method === "HEAD") return succeed(new Response(null, { headers }));
  // Bare values leave no room for a sign of life, so their connection may be silent for ever.
  if (form === "raw") rooms.lifecycle.keepOpen(call.request);
  const stream = new Tail(
    rooms,
    topic.value,
    path.value.partition,
    from.value,
    form,
    encoding === "b64",
  );
  return succeed(new Response(stream.open(), { headers }));
}

function firstOffset(
  rooms: HttpRooms,
  request: Request,
  topic: TopicView,
  partition: number,
  asked: number | undefined,
): Result<number, Refusal> {
  const { startOffset, nextOffset } = rooms.broker.partition(topic.id, partition);
  const lastId = request.headers.get("last-event-id");
  if (lastId !== null && !/^\d{1,15}$/.test(lastId)) {
    return fail(invalidParameter("Last-Event-ID", lastId, "must be an offset"));
  }
  const wanted = lastId === null ? (asked ?? nextOffset) : Number(lastId) + 1;
  if (wanted < 0) return succeed(startOffset);
  return wanted < startOffset ? fail(offsetRemoved(wanted, startOffset)) : succeed(wanted);
}

const encoder = new TextEncoder();
/** Headers leave with the first bytes: without these a client would wait for a record to know that it is heard. */
const HELLO = { events: encoder.encode(": open\n\n"), lines: encoder.encode("\n"), raw: undefined };
const SIGN_OF_LIFE = {
  events: encoder.encode(": alive\n\n"),
  lines: encoder.encode("\n"),
  raw: undefined,
};

const cursor = new RecordCursor();

type Controller = ReadableStreamDefaultController<Uint8Array>;

/** One reader of one partition. */
class Tail {
  readonly #rooms: HttpRooms;
  readonly #topic: TopicView;
  readonly #partition: number;
  readonly #form: Form;
  readonly #isBase64: boolean;
  #nextOffset: number;
  #isOpen = false;
  #hasSent = false;
  /** Takes back what the tail waits for. */
  #ends: (() => void)[] = [];
  #wake: (() => void) | undefined;
  #cancelStall: () => void = () => undefined;

  constructor(
    rooms: HttpRooms,
    topic: TopicView,
    partition: number,
    nextOffset: number,
    form: Form,
    isBase64: boolean,
  ) {
    this.#rooms = rooms;
    this.#topic = topic;
    this.#partition = partition;
    this.#nextOffset = nextOffset;
    this.#form = form;
    this.#isBase64 = isBase64;
  }

  open(): ReadableStream<Uint8Array> {
    this.#isOpen = true;
    this.#rooms.stats.tailReaders += 1;
    return new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#pull(controller), cancel: () => this.#close() },
      // Nothing ahead of the client: each piece is made when the last one has left.
      { highWaterMark: 0 },
    );
  }

  async #pull(controller: Controller): Promise<void> {
    this.#cancelStall();
    while (this.#isOpen) {
      const { broker, lifecycle } = this.#rooms;
      if (broker.topic(this.#topic.name)?.id !== this.#topic.id)
        return this.#end(controller, "topic_deleted");
      if (lifecycle.isStopping) return this.#end(controller, "stopping");
      if (recordsGate(this.#rooms, this.#topic) !== undefined)
        return this.#end(controller, "not_leader");
      const range = broker.partition(this.#topic.id, this.#partition);
      // Retention overtook the reader: it learns the first offset when it resumes.
      if (this.#nextOffset < range.startOffset) return this.#end(controller, "offset_out_of_range");
      if (this.#nextOffset < range.nextOffset) {
        const piece = await this.#piece();
        if (piece !== undefined && this.#isOpen) return this.#send(controller, piece);
        continue;
      }
      const hello = HELLO[this.#form];
      if (!this.#hasSent && hello !== undefined) return this.#send(controller, hello);
      const hasRecords = await this.#wait();
      const sign = SIGN_OF_LIFE[this.#form];
      if (!hasRecords && sign !== undefined && this.#isOpen) return this.#send(controller, sign);
    }
  }

  #send(controller: Controller, piece: Uint8Array): void {
    this.#hasSent = true;
    controller.enqueue(piece);
    this.#cancelStall = this.#rooms.alarms.after(limits.TAIL_STALL_MS, () => {
      this.#rooms.logger.info("tail_cut_off", {
        topic: this.#topic.name,
        partition: this.#partition,
      });
      this.#close();
      controller.error(new Error("The reader took nothing for too long"));
    });
  }

  #end(controller: Controller, reason: string): void {
    if (this.#form === "events") {
      controller.enqueue(encoder.encode(`event: end\ndata: {"reason":"${reason}"}\n\n`));
    }
    this.#close();
    controller.close();
  }

  #close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#rooms.stats.tailReaders -= 1;
    this.#cancelStall();
    this.#wake?.();
  }

  /** Waits for a record; false when it is time for a sign of life. */
  #wait(): Promise<boolean> {
    const { alarms, broker, lifecycle } = this.#rooms;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const finish = (hasRecords: boolean): void => {
      for (const end of this.#ends) end();
      this.#ends = [];
      this.#wake = undefined;
      resolve(hasRecords);
    };
    this.#wake = () => finish(true);
    this.#ends = [
      alarms.after(limits.TAIL_KEEP_ALIVE_MS, () => finish(false)),
      lifecycle.onStop(() => finish(true)),
      broker.onRecords(this.#topic.id, this.#partition, this.#nextOffset, () => finish(true)),
    ];
    return promise;
  }

  /** The next piece of the stream; undefined when there was nothing to show. */
  #piece(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const writer = borrowWriter().reset(this.#partition, this.#isBase64 ? "b64" : "text");
    return this.#fill(writer);
  }

  #fill(writer: RecordWriter): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    for (;;) {
      const before = this.#nextOffset;
      const batch = this.#rooms.broker.read({
        topicId: this.#topic.id,
        partition: this.#partition,
        offset: before,
        maxRecords: limits.TAIL_RECORDS_MAX,
        maxBytes: limits.TAIL_PIECE_BYTES,
      });
      if (batch instanceof Promise) {
        return batch.then((records) =>
          this.#append(writer, records) || this.#nextOffset === before
            ? this.#finish(writer)
            : this.#fill(writer),
        );
      }
      if (this.#append(writer, batch) || this.#nextOffset === before) return this.#finish(writer);
    }
  }

  /** Writes records; true when the piece is large enough or the partition ends. */
  #append(writer: RecordWriter, batch: RecordBatch): boolean {
    // Below the range: the next look ends the stream instead of skipping records in silence.
    if (this.#nextOffset < batch.startOffset) return true;
    const traffic = this.#rooms.stats.traffic(this.#topic.id);
    for (const slice of batch.slices) {
      cursor.reset(slice.bytes, slice.start, slice.end);
      let offset = slice.baseOffset - 1;
      while (cursor.next()) {
        offset += 1;
        if (offset < this.#nextOffset) continue;
        if (writer.length >= limits.TAIL_PIECE_BYTES) return true;
        const timestampMs = slice.timestampMs + cursor.timestampDelta;
        if (this.#form === "raw") writer.rawLine(cursor);
        else if (this.#form === "lines") writer.line(offset, timestampMs, cursor);
        else writer.event(offset, timestampMs, cursor);
        this.#nextOffset = offset + 1;
        traffic.recordsOut += 1;
        traffic.bytesOut += cursor.valueEnd - cursor.valueStart;
      }
      assert(!cursor.isBroken, `Records at ${slice.baseOffset} of ${this.#topic.name} can be read`);
      this.#nextOffset = Math.max(this.#nextOffset, slice.baseOffset + slice.count);
    }
    return writer.length >= limits.TAIL_PIECE_BYTES || this.#nextOffset >= batch.nextOffset;
  }

  #finish(writer: RecordWriter): Uint8Array | undefined {
    const piece = writer.length === 0 ? undefined : writer.copy();
    returnWriter(writer);
    return piece;
  }
}
