// One keep-alive HTTP/1.1 connection with one request in flight: bytes prepared once, one write and one read each.

import type { Socket } from "bun";
import { connect, Outbox, type Run, type SocketUser } from "./connection.ts";
import { Http1Reply } from "./http1-reply.ts";
import type { Lane } from "./pacer.ts";
import { ReplyBody } from "./reply-body.ts";
import type { RequestShape } from "./work.ts";

const RECONNECT_DELAY_MS = 20;

/** Puts a request into bytes, ready to be sent any number of times. */
export function encodeHttp1(shape: RequestShape, authority: string): Uint8Array {
  const body = shape.body ?? new Uint8Array(0);
  const headers = Object.entries(shape.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  if (shape.body !== undefined) headers.push(`content-length: ${body.length}\r\n`);
  const head = `${shape.method} ${shape.path} HTTP/1.1\r\nhost: ${authority}\r\n${headers.join("")}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/** A lane that is a whole connection. It connects again by itself when the server closes it. */
export class Http1Connection implements Lane, SocketUser {
  readonly #run: Run;
  readonly #authority: string;
  readonly #outbox = new Outbox();
  readonly #body: ReplyBody | undefined;
  #reply: Http1Reply;
  #request: Uint8Array;
  // "waiting" is with the pacer, "busy" has a request, "new" is neither: before the first open, and after a loss.
  #state: "new" | "waiting" | "busy" = "new";
  #isOpen = false;
  #intended = 0;
  #sent = 0;

  constructor(run: Run) {
    this.#run = run;
    this.#authority = `${run.hostname}:${run.port}`;
    this.#body = ReplyBody.of(run.work);
    this.#reply = this.#newReply();
    this.#request = encodeHttp1(run.work.request, this.#authority);
  }

  /** Connects for the first time; rejects when that fails. */
  async open(): Promise<void> {
    await connect(this.#run, this);
  }

  close(): void {
    this.#outbox.close();
  }

  send(intended: number, now: number): void {
    this.#state = "busy";
    this.#intended = intended;
    this.#sent = now;
    this.#run.tally.sent(this.#request.length, now);
    if (this.#isOpen) this.#outbox.write(this.#request); // Else `opened` does it.
  }

  opened(socket: Socket<SocketUser>): void {
    if (!this.#run.isOpen) {
      socket.end();
      return;
    }
    socket.setNoDelay(true);
    this.#outbox.attach(socket);
    this.#isOpen = true;
    if (this.#state === "busy") this.#outbox.write(this.#request);
    else if (this.#state === "new") this.#rest(performance.now());
  }

  received(bytes: Uint8Array): void {
    const now = performance.now();
    const { tally } = this.#run;
    tally.received(bytes.length, now);
    const isWhole = this.#reply.feed(bytes);
    if (this.#body !== undefined) tally.streamed(this.#body.takeLines(), now);
    if (isWhole) this.#finish(now);
  }

  drained(): void {
    this.#outbox.drain();
  }

  closed(reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#outbox.attach(undefined);
    const isBusy = this.#state === "busy";
    const isWhole = isBusy && this.#reply.ended();
    const isLost = isBusy && !isWhole;
    if (isBusy) this.#state = "new";
    if (!this.#run.isOpen) return;
    if (isWhole) this.#count(performance.now());
    else if (isLost) this.#run.tally.failed(reason);
    this.#reply = this.#newReply();
    setTimeout(() => this.#reconnect(), isLost ? RECONNECT_DELAY_MS : 0);
  }

  #reconnect(): void {
    if (!this.#run.isOpen) return;
    connect(this.#run, this).catch((error: unknown) => {
      this.#run.tally.failed(error instanceof Error ? error.message : String(error));
      setTimeout(() => this.#reconnect(), RECONNECT_DELAY_MS);
    });
  }

  #finish(now: number): void {
    this.#state = "new";
    this.#count(now);
    // A request sent into a socket whose end is on its way would be lost: `closed` connects again.
    if (this.#reply.closes) this.#outbox.close();
    else this.#rest(now);
  }

  #rest(now: number): void {
    this.#state = "waiting";
    this.#run.pacer.idle(this, now);
  }

  #count(now: number): void {
    const { status } = this.#reply;
    const { work, tally } = this.#run;
    const isGood = status >= 200 && status < 300;
    let records = isGood ? work.recordsPerReply : 0;
    if (this.#body !== undefined) {
      const times = { intended: this.#intended, sent: this.#sent, now };
      const reading = isGood ? this.#body.read(times) : undefined;
      this.#body.clear();
      if (reading !== undefined) {
        records = reading.records;
        if (reading.next !== undefined) this.#request = encodeHttp1(reading.next, this.#authority);
      }
    }
    tally.reply(status, this.#intended, this.#sent, now, records);
  }

  #newReply(): Http1Reply {
    const body = this.#body;
    return body === undefined
      ? new Http1Reply()
      : new Http1Reply((bytes, start, end) => body.add(bytes, start, end));
  }
}
