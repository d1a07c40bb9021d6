// One HTTP/1.1 connection with one request in flight. It never sends anything twice: what became of a request without a
// reply is for the caller to say, and a client that repeats a write by itself would prove nothing.

import type { Socket } from "bun";
import {
  connect,
  encodeHttp1,
  Http1Reply,
  Outbox,
  type RequestShape,
  type SocketUser,
} from "../load/mod.ts";

const REPLY_MS_MAX = 15_000;

/** A whole reply. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** No reply came. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
  /** False: the request has surely not left. */
  readonly wasSent: boolean;

  constructor(message: string, wasSent: boolean) {
    super(message);
    this.wasSent = wasSent;
  }
}

/** Connects with the first request and again after each loss. Give it one request at a time. */
export class Connection implements Disposable {
  readonly url: string;
  readonly #target: { readonly hostname: string; readonly port: number; readonly tls: boolean };
  #link: Link | undefined;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.url = url;
    this.#target = { hostname, port: Number(port), tls: false };
  }

  /** Sends a request. @throws NoAnswer when there is no reply, and when none comes in time. */
  async request(shape: RequestShape): Promise<Answer> {
    if (this.#link?.isOpen !== true) {
      const link = new Link();
      try {
        await connect(this.#target, link);
      } catch (error) {
        throw new NoAnswer(error instanceof Error ? error.message : String(error), false);
      }
      this.#link = link;
    }
    return await this.#link.request(
      encodeHttp1(shape, `${this.#target.hostname}:${this.#target.port}`),
    );
  }

  [Symbol.dispose](): void {
    this.#link?.end("closed by us");
    this.#link = undefined;
  }
}

/** One socket, from its open to its close. */
class Link implements SocketUser {
  readonly #outbox = new Outbox();
  readonly #decoder = new TextDecoder();
  readonly #reply = new Http1Reply((bytes, start, end) => {
    this.#body += this.#decoder.decode(bytes.subarray(start, end), { stream: true });
  });
  #body = "";
  #waiting: PromiseWithResolvers<Answer> | undefined;
  #timer: Timer | undefined;
  isOpen = false;

  request(bytes: Uint8Array): Promise<Answer> {
    if (!this.isOpen) return Promise.reject(new NoAnswer("The connection was closed", false));
    this.#body = "";
    this.#waiting = Promise.withResolvers<Answer>();
    this.#timer = setTimeout(() => this.end(`No reply within ${REPLY_MS_MAX} ms`), REPLY_MS_MAX);
    this.#outbox.write(bytes);
    return this.#waiting.promise;
  }

  end(reason: string): void {
    this.#outbox.close();
    this.closed(reason);
  }

  opened(socket: Socket<SocketUser>): void {
    socket.setNoDelay(true);
    this.#outbox.attach(socket);
    this.isOpen = true;
  }

  received(bytes: Uint8Array): void {
    if (this.#reply.feed(bytes)) this.#answer();
  }

  drained(): void {
    this.#outbox.drain();
  }

  closed(reason: string): void {
    this.isOpen = false;
    if (this.#waiting === undefined) return;
    if (this.#reply.ended()) {
      this.#answer();
      return;
    }
    clearTimeout(this.#timer);
    this.#waiting.reject(new NoAnswer(reason, true));
    this.#waiting = undefined;
  }

  #answer(): void {
    clearTimeout(this.#timer);
    if (this.#reply.closes) this.isOpen = false;
    this.#waiting?.resolve({ status: this.#reply.status, body: this.#body });
    this.#waiting = undefined;
  }
}
