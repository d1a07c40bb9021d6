// Where rows of a query or a join go: into one JSON reply, or out line by line as they are found.

import { limits } from "../config/mod.ts";
import type { Result } from "../lib/result.ts";
import type { Refusal } from "../model/errors.ts";
import { limitExceeded } from "../streams/mod.ts";
import type { HttpRooms } from "./rooms.ts";
import type { Outcome } from "./route.ts";
import type { Turns } from "./stream-turns.ts";

const encoder = new TextEncoder();

/** Takes the parts of a reply. */
export interface StreamOutput {
  /** Rows that one reply may have. */
  readonly rowsMax: number;
  /** Whether no more rows should come: the reply is large enough. */
  readonly isFull: boolean;
  row(json: string): void;
  aggregate(json: string): void;
  /** Lets go of what has gathered; a promise while the reader is not ready. A refusal: the reply is too large. */
  flush(): Refusal | undefined | Promise<undefined>;
}

/** Makes the reply: `work` fills it, and answers the fields that stand behind rows and aggregates. */
export type StreamWork = (output: StreamOutput) => Promise<Result<string, Refusal>>;

/** Whether a request wants lines. */
export const wantsLines = (request: Request): boolean =>
  request.headers.get("accept")?.includes("application/x-ndjson") ?? false;

/** Answers with one JSON object. @param hasAggregates Whether it has a list of these. */
export async function answerJson(work: StreamWork, hasAggregates: boolean): Promise<Outcome> {
  const output = new JsonOutput();
  const tail = await work(output);
  if (!tail.ok) return tail;
  const body = output.finish(tail.value, hasAggregates);
  return {
    ok: true,
    value: new Response(body, { headers: { "content-type": "application/json" } }),
  };
}

/** Answers with lines, from now on: what goes wrong later is the last line. */
export function answerLines(rooms: HttpRooms, turns: Turns, work: StreamWork): Outcome {
  const output = new LineOutput(rooms, turns);
  turns.isHandedOn = true;
  const body = output.open(async () => {
    const tail = await work(output);
    return tail.ok
      ? `{"ok":true,${tail.value}}\n`
      : `${await rooms.errors.reply(tail.error).text()}\n`;
  });
  return {
    ok: true,
    value: new Response(body, { headers: { "content-type": "application/x-ndjson" } }),
  };
}

/** Rows and aggregates side by side, in pieces that are bytes already. */
class JsonOutput implements StreamOutput {
  readonly rowsMax = limits.STREAM_ROWS_MAX;
  readonly #rows = new Pieces();
  readonly #aggregates = new Pieces();

  get isFull(): boolean {
    return this.#rows.bytes >= limits.STREAM_REPLY_BYTES_MAX;
  }

  row(json: string): void {
    this.#rows.item(json);
  }

  aggregate(json: string): void {
    this.#aggregates.item(json);
  }

  flush(): Refusal | undefined {
    // Rows end the page when they are large; aggregates cannot be cut.
    return this.#aggregates.bytes > AGGREGATE_BYTES_MAX
      ? limitExceeded("reply_bytes", AGGREGATE_BYTES_MAX)
      : undefined;
  }

  finish(
    tail: string,
    hasAggregates: boolean,
  ): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
    const between = encoder.encode(hasAggregates ? '],"aggregates":[' : "");
    const aggregates = hasAggregates ? this.#aggregates.take() : [];
    const pieces: readonly Uint8Array[] = [
      encoder.encode('{"ok":true,"rows":['),
      ...this.#rows.take(),
      between,
      ...aggregates,
      encoder.encode(`],${tail}}`),
    ].filter((piece) => piece.length > 0);
    const size = this.#rows.bytes + this.#aggregates.bytes;
    return size <= JOINED_BYTES_MAX ? joined(pieces) : oneByOne(pieces);
  }
}

/** Bytes of aggregates in one JSON reply; NDJSON has no such bound. */
const AGGREGATE_BYTES_MAX = 4 * limits.STREAM_REPLY_BYTES_MAX;

/** Bytes that are put together in one go; copying more would hold the thread for milliseconds. */
const JOINED_BYTES_MAX = 4_194_304;

function oneByOne(pieces: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  let next = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        const piece = pieces[next++];
        if (piece === undefined) controller.close();
        else controller.enqueue(piece);
      },
    },
    { highWaterMark: 0 },
  );
}

function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Items of a JSON list, encoded a piece at a time. */
class Pieces {
  readonly #pieces: Uint8Array[] = [];
  #text = "";
  #hasItems = false;
  /** Roughly: characters of what is not encoded yet. */
  #encoded = 0;

  get bytes(): number {
    return this.#encoded + this.#text.length;
  }

  item(json: string): void {
    this.#text += this.#hasItems ? `,${json}` : json;
    this.#hasItems = true;
    if (this.#text.length >= limits.STREAM_PIECE_BYTES) this.#encode();
  }

  take(): readonly Uint8Array[] {
    this.#encode();
    return this.#pieces;
  }

  #encode(): void {
    const piece = encoder.encode(this.#text);
    this.#pieces.push(piece);
    this.#encoded += piece.length;
    this.#text = "";
  }
}

/** One line per row, which leave when there are enough of them and the reader is ready. */
class LineOutput implements StreamOutput {
  readonly rowsMax = limits.STREAM_LINES_MAX;
  readonly isFull = false;
  readonly #rooms: HttpRooms;
  readonly #turns: Turns;
  #text = "";
  #hasStarted = false;
  /** The reader's wish for a piece, and the promise that it waits on until there is one. */
  #wanted = Promise.withResolvers<void>();
  #served = Promise.withResolvers<void>();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(rooms: HttpRooms, turns: Turns) {
    this.#rooms = rooms;
    this.#turns = turns;
  }

  open(work: () => Promise<string>): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          this.#controller = controller;
          this.#served = Promise.withResolvers<void>();
          this.#wanted.resolve();
          if (!this.#hasStarted) {
            this.#hasStarted = true;
            void this.#run(work);
          }
          return this.#served.promise;
        },
        cancel: () => {
          this.#leave();
          // Nobody else will say that the work is over.
          if (!this.#hasStarted) this.#turns.end();
        },
      },
      { highWaterMark: 0 },
    );
  }

  row(json: string): void {
    this.#text += `{"row":${json}}\n`;
  }

  aggregate(json: string): void {
    this.#text += `{"aggregate":${json}}\n`;
  }

  flush(): undefined | Promise<undefined> {
    return this.#text.length < limits.STREAM_PIECE_BYTES ? undefined : this.#send();
  }

  async #run(work: () => Promise<string>): Promise<void> {
    try {
      const last = await work();
      this.#text += last;
      await this.#send();
      if (!this.#turns.isGone) this.#controller?.close();
    } catch (error) {
      this.#rooms.logger.error("stream_failed", {
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      if (!this.#turns.isGone) this.#controller?.error(new Error("The node failed"));
    }
    this.#served.resolve();
    this.#turns.end();
  }

  /** Waits until the reader wants a piece, and hands it over. */
  async #send(): Promise<undefined> {
    const cancelStall = this.#rooms.alarms.after(limits.STREAM_STALL_MS, () => {
      this.#controller?.error(new Error("The reader took nothing for too long"));
      this.#leave();
    });
    await this.#wanted.promise;
    cancelStall();
    if (this.#turns.isGone) return;
    this.#wanted = Promise.withResolvers<void>();
    this.#controller?.enqueue(encoder.encode(this.#text));
    this.#text = "";
    this.#served.resolve();
  }

  #leave(): void {
    this.#turns.isGone = true;
    this.#wanted.resolve();
    this.#served.resolve();
  }
}
