// Gathers the frames of one turn of an HTTP/2 connection into one write: a system call carries as many requests as
// streams came free, which is where HTTP/2 saves its time.

import type { Socket } from "bun";
import { Outbox, type SocketUser } from "./connection.ts";

const BUFFER_BYTES = 65_536;

/** Frames of one connection on their way out. */
export class Http2Outgoing {
  readonly #outbox = new Outbox();
  #buffer = new Uint8Array(BUFFER_BYTES);
  #length = 0;
  #isFlushDue = false;
  #isAttached = false;

  /** Begins anew on `socket`, or stops. */
  attach(socket: Socket<SocketUser> | undefined): void {
    this.#outbox.attach(socket);
    this.#isAttached = socket !== undefined;
    this.#length = 0;
  }

  /** Adds bytes to this turn's write. @returns the buffer; what was added is its last `bytes.length` bytes before `end`. */
  add(bytes: Uint8Array): { readonly buffer: Uint8Array; readonly start: number } {
    if (this.#length + bytes.length > this.#buffer.length) this.#grow(bytes.length);
    const start = this.#length;
    this.#buffer.set(bytes, start);
    this.#length += bytes.length;
    this.#flushLater();
    return { buffer: this.#buffer, start };
  }

  /** Writes what was added, unless earlier bytes still wait for the kernel. */
  flush(): void {
    if (this.#length === 0 || this.#outbox.isBlocked || !this.#isAttached) return;
    const length = this.#length;
    this.#length = 0;
    this.#outbox.write(this.#buffer.subarray(0, length));
    // The rest of a partial write lives in this buffer: leave it alone and go on in another.
    if (this.#outbox.isBlocked) this.#buffer = new Uint8Array(BUFFER_BYTES);
  }

  /** Goes on when the kernel takes more. */
  drain(): void {
    if (this.#outbox.drain()) this.flush();
  }

  /** Closes the socket. */
  close(): void {
    this.flush();
    this.#outbox.close();
    this.#isAttached = false;
  }

  /** A microtask runs after the callback or timer that added, so all it added goes out together. */
  #flushLater(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    queueMicrotask(() => {
      this.#isFlushDue = false;
      this.flush();
    });
  }

  #grow(bytes: number): void {
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + bytes));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}
