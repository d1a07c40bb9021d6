// One connection to a server that does not speak HTTP: first a conversation, then the same request again and again, the next
// one when the one before is answered. The twin of the HTTP generator's connection, so that no side has the better client.

import type { Socket } from "bun";
import { connect, Outbox, type SocketUser } from "../../src/load/mod.ts";

/** Counts replies in the bytes of a connection. */
export interface ReplyReader {
  /** Replies among them that say no. */
  readonly errors: number;
  /** @returns how many replies ended within `bytes`. */
  feed(bytes: Uint8Array): number;
}

/** How a server is spoken to on one connection. */
export interface Dialogue {
  readonly port: number;
  /** What is said first; it ends when requests can be sent. */
  greet(wire: Wire): Promise<void>;
  /** One request, and how many replies answer it. */
  readonly request: Uint8Array;
  readonly repliesPerRequest: number;
  readonly reader: ReplyReader;
}

/** A connection whose bytes are asked for, piece by piece. */
export class Wire implements SocketUser {
  readonly #outbox = new Outbox();
  #arrived: Uint8Array = new Uint8Array(0);
  #wanted: { resolve: (bytes: Uint8Array) => void; reject: (error: Error) => void } | undefined;
  /** Takes all bytes from now on, in place of `next`. */
  listener: ((bytes: Uint8Array) => void) | undefined;

  static async open(port: number): Promise<Wire> {
    const wire = new Wire();
    await connect({ hostname: "127.0.0.1", port, tls: false }, wire);
    return wire;
  }

  send(bytes: Uint8Array): void {
    this.#outbox.write(bytes);
  }

  /** All that arrived since the last call, at least one byte. Rejects when the server hangs up. */
  next(): Promise<Uint8Array> {
    if (this.#arrived.length > 0) {
      const bytes = this.#arrived;
      this.#arrived = new Uint8Array(0);
      return Promise.resolve(bytes);
    }
    return new Promise((resolve, reject) => {
      this.#wanted = { resolve, reject };
    });
  }

  /** Reads until `isWhole` says so. @returns all bytes since the last call. */
  async until(isWhole: (bytes: Buffer) => boolean): Promise<Buffer> {
    let bytes = Buffer.alloc(0);
    while (!isWhole(bytes)) bytes = Buffer.concat([bytes, await this.next()]);
    return bytes;
  }

  close(): void {
    this.#outbox.close();
  }

  opened(socket: Socket<SocketUser>): void {
    socket.setNoDelay(true);
    this.#outbox.attach(socket);
  }

  received(bytes: Uint8Array): void {
    if (this.listener !== undefined) {
      this.listener(bytes);
      return;
    }
    this.#arrived = Buffer.concat([this.#arrived, bytes]);
    const wanted = this.#wanted;
    this.#wanted = undefined;
    if (wanted !== undefined) void this.next().then(wanted.resolve, wanted.reject);
  }

  drained(): void {
    this.#outbox.drain();
  }

  closed(reason: string): void {
    this.#outbox.attach(undefined);
    this.#wanted?.reject(new Error(reason));
  }
}

/** Who follows a connection. */
export interface Follower {
  /** So many replies came. */
  replied(replies: number): void;
  /** A request has all its replies: the moments of sending and of the last one. */
  answered(sent: number, now: number): void;
}

/** Sends the request of `dialogue` again and again until it is closed. */
export class DialogueConnection {
  readonly #dialogue: Dialogue;
  readonly #follower: Follower;
  #wire: Wire | undefined;
  #sent = 0;
  #replies = 0;

  constructor(dialogue: Dialogue, follower: Follower) {
    this.#dialogue = dialogue;
    this.#follower = follower;
  }

  /** Replies that said no, so far. */
  get errors(): number {
    return this.#dialogue.reader.errors;
  }

  /** Connects, greets, and sends the first request. */
  async open(): Promise<void> {
    const wire = await Wire.open(this.#dialogue.port);
    this.#wire = wire;
    await this.#dialogue.greet(wire);
    wire.listener = (bytes) => this.#received(bytes);
    this.#send(performance.now());
  }

  /** Ends the connection. A server that ends it before is noticed by its missing replies. */
  close(): void {
    this.#wire?.close();
    this.#wire = undefined;
  }

  #received(bytes: Uint8Array): void {
    const now = performance.now();
    const replies = this.#dialogue.reader.feed(bytes);
    this.#follower.replied(replies);
    this.#replies += replies;
    if (this.#replies < this.#dialogue.repliesPerRequest) return;
    this.#follower.answered(this.#sent, now);
    this.#send(now);
  }

  #send(now: number): void {
    this.#replies = 0;
    this.#sent = now;
    this.#wire?.send(this.#dialogue.request);
  }
}
