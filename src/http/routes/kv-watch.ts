// Streams what becomes of the keys of a namespace, as Server-Sent Events: a read of the log by position, so that whoever
// resumes misses nothing. The `id` of an event is the batch up to which everything has been shown.

import { limits } from "../../config/mod.ts";
import { decodeText } from "../../lib/bytes.ts";
import { fail, type Result, succeed } from "../../lib/result.ts";
import { type Refusal, refuse } from "../../model/errors.ts";
import { readGate } from "../lookup.ts";
import type { KeyChangesView, KeyChangeView } from "../ports.ts";
import type { HttpRooms } from "../rooms.ts";
import type { Outcome } from "../route.ts";
import { invalidParameter } from "../schemas/check.ts";
import { tooManyReaders } from "../waiting.ts";

/** What a watch is about. */
export interface WatchRequest {
  readonly namespace: string;
  readonly prefix: Uint8Array;
  /** First batch; undefined: from now on. */
  readonly from: number | undefined;
}

const HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
} as const;

/** Answers with the stream. */
export function watchKeys(
  rooms: HttpRooms,
  request: Request,
  asked: WatchRequest,
): Outcome | Promise<Outcome> {
  const refusal = readGate(rooms);
  if (refusal !== undefined) return fail(refusal);
  const { lastSyncedBatchId } = rooms.broker.status();
  const from = firstBatch(request, asked.from, lastSyncedBatchId + 1);
  if (!from.ok) return from;
  if (rooms.stats.tailReaders + rooms.stats.longPolls >= limits.TAIL_READERS_MAX)
    return fail(tooManyReaders());
  const begin = (found: KeyChangesView): Outcome => {
    if (from.value < found.firstIndex && found.firstIndex > 1)
      return fail(removed(from.value, found.firstIndex));
    if (request.method === "HEAD") return succeed(new Response(null, { headers: HEADERS }));
    return succeed(new Response(new Watch(rooms, asked, from.value).open(), { headers: HEADERS }));
  };
  // What is asked for may be gone: that is said before anything is sent.
  const found = rooms.broker.keyChanges(asked.namespace, from.value);
  return found instanceof Promise ? found.then(begin) : begin(found);
}

function firstBatch(
  request: Request,
  asked: number | undefined,
  next: number,
): Result<number, Refusal> {
  const lastId = request.headers.get("last-event-id");
  if (lastId === null) return succeed(Math.max(1, asked ?? next));
  if (/^\d{1,15}$/.test(lastId)) return succeed(Number(lastId) + 1);
  return fail(invalidParameter("Last-Event-ID", lastId, "must be a batch_id"));
}

const removed = (from: number, firstIndex: number): Refusal =>
  refuse(
    "offset_out_of_range",
    `Changes of batch ${from} are no longer in the log: the first is ${firstIndex}`,
    { first_batch_id: firstIndex },
  );

const encoder = new TextEncoder();
const HELLO = encoder.encode(": open\n\n");
const SIGN_OF_LIFE = encoder.encode(": alive\n\n");

type Controller = ReadableStreamDefaultController<Uint8Array>;

/** One reader of one namespace. */
class Watch {
  readonly #rooms: HttpRooms;
  readonly #asked: WatchRequest;
  #nextIndex: number;
  #isOpen = false;
  #hasSent = false;
  #wake: (() => void) | undefined;
  #cancelStall: () => void = () => undefined;

  constructor(rooms: HttpRooms, asked: WatchRequest, nextIndex: number) {
    this.#rooms = rooms;
    this.#asked = asked;
    this.#nextIndex = nextIndex;
  }

  open(): ReadableStream<Uint8Array> {
    this.#isOpen = true;
    this.#rooms.stats.tailReaders += 1;
    return new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#pull(controller), cancel: () => this.#close() },
      { highWaterMark: 0 },
    );
  }

  async #pull(controller: Controller): Promise<void> {
    this.#cancelStall();
    while (this.#isOpen) {
      if (this.#rooms.lifecycle.isStopping) return this.#end(controller, "stopping");
      const found = await this.#rooms.broker.keyChanges(this.#asked.namespace, this.#nextIndex);
      if (!this.#isOpen) return;
      if (this.#nextIndex < found.firstIndex && found.nextIndex === this.#nextIndex)
        return this.#end(controller, "offset_out_of_range");
      const hasMore = found.nextIndex > this.#nextIndex;
      this.#nextIndex = found.nextIndex;
      const piece = this.#pieceOf(found.changes);
      if (piece.length > 0) return this.#send(controller, piece);
      if (hasMore) continue;
      if (!this.#hasSent) return this.#send(controller, HELLO);
      const isThere = await this.#wait();
      if (!isThere && this.#isOpen) return this.#send(controller, SIGN_OF_LIFE);
    }
  }

  #pieceOf(changes: readonly KeyChangeView[]): Uint8Array {
    const { prefix } = this.#asked;
    const shown = changes.filter(
      ({ key }) => Buffer.compare(key.subarray(0, prefix.length), prefix) === 0,
    );
    const lines = shown.map((change, i) => {
      // Only the last one of a batch says its number: who is cut off before it gets the whole batch again.
      const isLast = shown[i + 1]?.index !== change.index;
      return eventOf(this.#rooms, change, isLast);
    });
    return encoder.encode(lines.join(""));
  }

  #send(controller: Controller, piece: Uint8Array): void {
    this.#hasSent = true;
    controller.enqueue(piece);
    this.#cancelStall = this.#rooms.alarms.after(limits.TAIL_STALL_MS, () => {
      this.#rooms.logger.info("watch_cut_off", { namespace: this.#asked.namespace });
      this.#close();
      controller.error(new Error("The reader took nothing for too long"));
    });
  }

  #end(controller: Controller, reason: string): void {
    controller.enqueue(encoder.encode(`event: end\ndata: {"reason":"${reason}"}\n\n`));
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

  /** Waits for a change; false when it is time for a sign of life. */
  #wait(): Promise<boolean> {
    const { alarms, broker, lifecycle } = this.#rooms;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const ends: (() => void)[] = [];
    const finish = (isThere: boolean): void => {
      for (const end of ends.splice(0)) end();
      this.#wake = undefined;
      resolve(isThere);
    };
    this.#wake = () => finish(true);
    ends.push(
      alarms.after(limits.TAIL_KEEP_ALIVE_MS, () => finish(false)),
      lifecycle.onStop(() => finish(true)),
      broker.onKeyChange(this.#asked.namespace, this.#nextIndex, () => finish(true)),
    );
    return promise;
  }
}

function eventOf(rooms: HttpRooms, change: KeyChangeView, isLast: boolean): string {
  const { kind, key, cas, value, index, deadlineMs } = change;
  const data = {
    key: decodeText(key),
    cas,
    ...(value !== undefined && {
      value: value.toBase64(),
      ttl_ms: rooms.broker.timeLeft(deadlineMs),
    }),
    batch_id: index,
  };
  return `event: ${kind}\n${isLast ? `id: ${index}\n` : ""}data: ${JSON.stringify(data)}\n\n`;
}
