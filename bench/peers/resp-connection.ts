// One connection that sends the same Redis command again and again, one at a time: the twin of the HTTP generator's
// connection, so that neither side of a comparison has the better client.

import type { Socket } from "bun";

const LINE_FEED = 10;
const DOLLAR = 36;
const MINUS = 45;

/** Encodes a command as an array of bulk strings. */
export function encodeCommand(parts: readonly string[]): Uint8Array {
  const text = parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join("");
  return Buffer.from(`*${parts.length}\r\n${text}`);
}

/** Reads replies that are one line, or a bulk string of one line and its value. */
export class RespReply {
  isError = false;
  #lines = 0;
  #first = 0;

  /** @returns true when `bytes` end a reply. */
  feed(bytes: Uint8Array): boolean {
    for (const byte of bytes) {
      if (this.#first === 0) {
        this.#first = byte;
        this.#lines = byte === DOLLAR ? 2 : 1;
        this.isError = byte === MINUS;
      }
      if (byte === LINE_FEED && --this.#lines === 0) {
        this.#first = 0;
        return true;
      }
    }
    return false;
  }
}

/** Told of every reply, with the moments of sending and receiving. */
export type ReplyListener = (isError: boolean, sent: number, now: number) => void;

/** Sends `command` until it is closed. */
export class RespConnection {
  readonly #command: Uint8Array;
  readonly #listener: ReplyListener;
  readonly #reply = new RespReply();
  #socket: Socket<RespConnection> | undefined;
  #sent = 0;

  constructor(command: Uint8Array, listener: ReplyListener) {
    this.#command = command;
    this.#listener = listener;
  }

  /** Connects and sends the first command. */
  async open(port: number): Promise<void> {
    const socket = await Bun.connect<RespConnection>({
      hostname: "127.0.0.1",
      port,
      socket: HANDLERS,
      data: this,
    });
    socket.setNoDelay(true);
    this.#socket = socket;
    this.#send(performance.now());
  }

  /** Takes what arrived; sends the next command when it ends a reply. */
  received(bytes: Uint8Array): void {
    const now = performance.now();
    if (!this.#reply.feed(bytes)) return;
    this.#listener(this.#reply.isError, this.#sent, now);
    this.#send(now);
  }

  /** Ends the connection. A server that ends it before is noticed by its missing replies. */
  close(): void {
    this.#socket?.end();
    this.#socket = undefined;
  }

  #send(now: number): void {
    this.#sent = now;
    // A command of some hundred bytes always fits into an empty socket buffer.
    this.#socket?.write(this.#command, 0, this.#command.length);
  }
}

const HANDLERS = {
  data: (socket: Socket<RespConnection>, bytes: Uint8Array): void => socket.data.received(bytes),
  close: (socket: Socket<RespConnection>): void => socket.data.close(),
};
