// One cleartext HTTP/2 connection (prior knowledge) that keeps a fixed number of streams busy. A minimal client: no
// priorities, no push, no header table; flow control both ways. It connects again by itself when it is closed.

import type { Socket } from "bun";
import { connect, type Run, type SocketUser } from "./connection.ts";
import {
  decodeStatus,
  FLAG,
  FRAME,
  FRAME_HEADER_BYTES,
  frame,
  opening,
  SETTING,
  WINDOW_DEFAULT,
  windowUpdate,
} from "./http2-frames.ts";
import { Http2Outgoing } from "./http2-outgoing.ts";
import { Http2Stream, type PreparedRequest, prepareHttp2, setStream } from "./http2-stream.ts";

const RECONNECT_DELAY_MS = 20;
const FRAME_PAYLOAD_DEFAULT = 16_384;
const STREAM_ID_MAX = 2 ** 31 - 1;
// The window is 2 GiB: giving it back in pieces of 256 MiB costs nothing and never lets the server wait.
const WINDOW_RETURN_BYTES = 2 ** 28;
const NOTHING = new Uint8Array(0);

/** A connection with `streamCount` lanes. */
export class Http2Connection implements SocketUser {
  readonly #run: Run;
  readonly #authority: string;
  readonly #outgoing = new Http2Outgoing();
  readonly #streams: Http2Stream[];
  /** Streams in flight by number. */
  readonly #active = new Map<number, Http2Stream>();
  /** Streams whose body waits for the server's permission. */
  #blocked: Http2Stream[] = [];
  #rest: Uint8Array = NOTHING;
  #nextId = 1;
  #window = WINDOW_DEFAULT;
  #streamWindow = WINDOW_DEFAULT;
  #framePayloadMax = FRAME_PAYLOAD_DEFAULT;
  #consumed = 0;
  #isReady = false;

  constructor(run: Run, streamCount: number) {
    this.#run = run;
    this.#authority = `${run.hostname}:${run.port}`;
    const request = prepareHttp2(run.work.request, this.#authority);
    this.#streams = Array.from(
      { length: streamCount },
      () => new Http2Stream(run.work, request, (stream) => this.#start(stream)),
    );
  }

  /** Connects for the first time; rejects when that fails. Sends nothing before the server's settings. */
  async open(): Promise<void> {
    await connect(this.#run, this);
  }

  close(): void {
    this.#outgoing.close();
  }

  opened(socket: Socket<SocketUser>): void {
    if (!this.#run.isOpen) {
      socket.end();
      return;
    }
    socket.setNoDelay(true);
    this.#rest = NOTHING;
    this.#nextId = 1;
    this.#window = WINDOW_DEFAULT;
    this.#streamWindow = WINDOW_DEFAULT;
    this.#framePayloadMax = FRAME_PAYLOAD_DEFAULT;
    this.#consumed = 0;
    this.#outgoing.attach(socket);
    this.#outgoing.add(opening());
  }

  drained(): void {
    this.#outgoing.drain();
  }

  closed(reason: string): void {
    this.#isReady = false;
    this.#outgoing.attach(undefined);
    this.#active.clear();
    this.#blocked = [];
    for (const stream of this.#streams) {
      if (stream.state !== "busy") continue;
      stream.state = "new";
      if (this.#run.isOpen) this.#run.tally.failed(reason);
    }
    if (this.#run.isOpen) setTimeout(() => this.#reconnect(), RECONNECT_DELAY_MS);
  }

  received(chunk: Uint8Array): void {
    const now = performance.now();
    this.#run.tally.received(chunk.length, now);
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const length =
        ((bytes[at] as number) << 16) |
        ((bytes[at + 1] as number) << 8) |
        (bytes[at + 2] as number);
      const start = at + FRAME_HEADER_BYTES;
      const end = start + length;
      if (end > bytes.length) break;
      this.#readFrame(bytes, at, start, end, now);
      at = end;
    }
    this.#rest = at === bytes.length ? NOTHING : bytes.slice(at);
    this.#outgoing.flush();
  }

  #readFrame(bytes: Uint8Array, at: number, start: number, end: number, now: number): void {
    const flags = bytes[at + 4] as number;
    const id = integer(bytes, at + 5) & STREAM_ID_MAX;
    switch (bytes[at + 3]) {
      case FRAME.headers:
        this.#readHeaders(bytes, start, flags, id);
        break;
      case FRAME.data:
        this.#readData(bytes, start, end, flags, id, now);
        break;
      case FRAME.resetStream:
        this.#reset(id, now);
        return;
      case FRAME.settings:
        if ((flags & FLAG.acknowledged) === 0) this.#readSettings(bytes, start, end, now);
        return;
      case FRAME.ping:
        if ((flags & FLAG.acknowledged) === 0) {
          this.#outgoing.add(frame(FRAME.ping, FLAG.acknowledged, 0, bytes.slice(start, end)));
        }
        return;
      case FRAME.windowUpdate:
        this.#readWindowUpdate(id, integer(bytes, start) & STREAM_ID_MAX);
        return;
      default: // Everything else does not matter here; after GOAWAY the server closes, and `closed` goes on.
        return;
    }
    if ((flags & FLAG.endStream) !== 0) this.#finish(id, now);
  }

  #readHeaders(bytes: Uint8Array, start: number, flags: number, id: number): void {
    const stream = this.#active.get(id);
    if (stream === undefined) return;
    const skipped = ((flags & FLAG.padded) === 0 ? 0 : 1) + ((flags & FLAG.priority) === 0 ? 0 : 5);
    const status = decodeStatus(bytes, start + skipped);
    if (status >= 200) stream.status = status; // Trailers have no status; interim replies do not count.
  }

  #readData(
    bytes: Uint8Array,
    start: number,
    end: number,
    flags: number,
    id: number,
    now: number,
  ): void {
    const stream = this.#active.get(id);
    this.#consumed += end - start;
    if (this.#consumed >= WINDOW_RETURN_BYTES) {
      this.#outgoing.add(windowUpdate(0, this.#consumed));
      this.#consumed = 0;
    }
    if (stream?.body === undefined) return;
    stream.consumed += end - start;
    if (stream.consumed >= WINDOW_RETURN_BYTES) {
      this.#outgoing.add(windowUpdate(id, stream.consumed));
      stream.consumed = 0;
    }
    const padding = (flags & FLAG.padded) === 0 ? 0 : (bytes[start] as number) + 1;
    stream.body.add(
      bytes,
      padding === 0 ? start : start + 1,
      padding === 0 ? end : end - padding + 1,
    );
    this.#run.tally.streamed(stream.body.takeLines(), now);
  }

  #readSettings(bytes: Uint8Array, start: number, end: number, now: number): void {
    for (let at = start; at + 6 <= end; at += 6) {
      const name = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      const value = integer(bytes, at + 2) >>> 0;
      if (name === SETTING.frameSizeMax) this.#framePayloadMax = value;
      if (name === SETTING.initialWindow) {
        for (const stream of this.#active.values()) stream.window += value - this.#streamWindow;
        this.#streamWindow = value;
      }
      if (name === SETTING.streamsMax && value < this.#streams.length) {
        this.#run.tally.failed(
          `The server allows ${value} streams on a connection, not ${this.#streams.length}`,
        );
        this.#streams.length = value;
      }
    }
    this.#outgoing.add(frame(FRAME.settings, FLAG.acknowledged, 0, NOTHING));
    if (!this.#isReady) this.#begin(now);
    this.#sendBodies();
  }

  #begin(now: number): void {
    this.#isReady = true;
    for (const stream of this.#streams) {
      if (stream.state === "busy") this.#start(stream);
      else if (stream.state === "new") this.#giveBack(stream, now);
    }
  }

  #readWindowUpdate(id: number, increment: number): void {
    if (id === 0) this.#window += increment;
    else {
      const stream = this.#active.get(id);
      if (stream !== undefined) stream.window += increment;
    }
    if (this.#blocked.length > 0) this.#sendBodies();
  }

  #start(stream: Http2Stream): void {
    if (!this.#isReady) return; // `#begin` does it.
    const { request } = stream;
    const length = request.body.length;
    stream.id = this.#nextId;
    stream.window = this.#streamWindow;
    this.#nextId += 2;
    if (this.#nextId > STREAM_ID_MAX) this.#outgoing.close(); // Numbers are used up: `closed` connects again.
    this.#active.set(stream.id, stream);
    this.#run.tally.sent(request.whole.length, stream.sent);
    if (
      length <= this.#window &&
      length <= stream.window &&
      length <= this.#framePayloadMax &&
      this.#blocked.length === 0
    ) {
      const { buffer, start } = this.#outgoing.add(request.whole);
      setStream(buffer, start, stream.id);
      if (request.whole !== request.headers)
        setStream(buffer, start + request.headers.length, stream.id);
      this.#window -= length;
      return;
    }
    const { buffer, start } = this.#outgoing.add(request.headers);
    setStream(buffer, start, stream.id);
    this.#blocked.push(stream);
    this.#sendBodies();
  }

  /** Sends as much of the waiting bodies as the server allows, first come first served. */
  #sendBodies(): void {
    this.#blocked = this.#blocked.filter((stream) => {
      const { body } = stream.request;
      while (stream.bodySent < body.length) {
        const allowed = Math.min(
          this.#window,
          stream.window,
          this.#framePayloadMax,
          body.length - stream.bodySent,
        );
        if (allowed <= 0) return true;
        const piece = body.subarray(stream.bodySent, stream.bodySent + allowed);
        stream.bodySent += allowed;
        stream.window -= allowed;
        this.#window -= allowed;
        const isLast = stream.bodySent === body.length;
        this.#outgoing.add(frame(FRAME.data, isLast ? FLAG.endStream : 0, stream.id, piece));
      }
      return false;
    });
  }

  #reset(id: number, now: number): void {
    const stream = this.#active.get(id);
    if (stream === undefined) return;
    this.#active.delete(id);
    this.#blocked = this.#blocked.filter((other) => other !== stream);
    this.#run.tally.failed("The server reset a stream");
    this.#giveBack(stream, now);
  }

  #finish(id: number, now: number): void {
    const stream = this.#active.get(id);
    if (stream === undefined) return;
    this.#active.delete(id);
    const { work, tally } = this.#run;
    const isGood = stream.status >= 200 && stream.status < 300;
    let records = isGood ? work.recordsPerReply : 0;
    if (stream.body !== undefined) {
      const { intended, sent } = stream;
      const reading = isGood ? stream.body.read({ intended, sent, now }) : undefined;
      stream.body.clear();
      if (reading !== undefined) {
        records = reading.records;
        if (reading.next !== undefined) stream.request = this.#prepare(reading.next);
      }
    }
    tally.reply(stream.status, stream.intended, stream.sent, now, records);
    this.#giveBack(stream, now);
  }

  #prepare(shape: Parameters<typeof prepareHttp2>[0]): PreparedRequest {
    return prepareHttp2(shape, this.#authority);
  }

  #giveBack(stream: Http2Stream, now: number): void {
    stream.state = "waiting";
    this.#run.pacer.idle(stream, now);
  }

  #reconnect(): void {
    if (!this.#run.isOpen) return;
    connect(this.#run, this).catch((error: unknown) => {
      this.#run.tally.failed(error instanceof Error ? error.message : String(error));
      setTimeout(() => this.#reconnect(), RECONNECT_DELAY_MS);
    });
  }
}

/** A 32-bit number, the highest byte first. */
function integer(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
