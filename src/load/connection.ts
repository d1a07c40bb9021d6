// What HTTP/1.1 and HTTP/2 connections of the generator have in common: what they are given, and their socket.

import type { Socket } from "bun";
import type { Pacer } from "./pacer.ts";
import type { Tally } from "./tally.ts";
import type { Work } from "./work.ts";

/** All that a connection of one run shares with the others. */
export interface Run {
  readonly hostname: string;
  readonly port: number;
  /** With the authorities that are believed, where they are not the system's. */
  readonly tls: boolean | { readonly ca: string };
  readonly work: Work;
  readonly tally: Tally;
  readonly pacer: Pacer;
  /** Turns false when the run is over; connections that end afterwards are no errors. */
  isOpen: boolean;
}

/** What a protocol does with its socket. */
export interface SocketUser {
  opened(socket: Socket<SocketUser>): void;
  received(bytes: Uint8Array): void;
  drained(): void;
  /** The socket is gone, by either side. */
  closed(reason: string): void;
}

// One object for all sockets of all runs: the user is found through the socket's own field.
const HANDLERS = {
  open: (socket: Socket<SocketUser>): void => socket.data.opened(socket),
  data: (socket: Socket<SocketUser>, bytes: Uint8Array): void => socket.data.received(bytes),
  drain: (socket: Socket<SocketUser>): void => socket.data.drained(),
  close: (socket: Socket<SocketUser>): void =>
    socket.data.closed("The server closed the connection"),
  error: (socket: Socket<SocketUser>, error: Error): void => {
    socket.data.closed(error.message);
    socket.terminate();
  },
  // The promise of `Bun.connect` rejects with the same error; without this Bun would report it twice.
  connectError: (): void => undefined,
};

/** Connects `user` to a target. Rejects when nobody listens there. */
export async function connect(
  target: Pick<Run, "hostname" | "port" | "tls">,
  user: SocketUser,
): Promise<void> {
  const { hostname, port, tls } = target;
  await Bun.connect<SocketUser>({ hostname, port, tls, socket: HANDLERS, data: user });
}

/** Bytes on their way to a socket that may take only a part of them. */
export class Outbox {
  #socket: Socket<SocketUser> | undefined;
  #left: Uint8Array | undefined;

  /** Begins anew on `socket`; without one, nothing is written any more. */
  attach(socket: Socket<SocketUser> | undefined): void {
    this.#socket = socket;
    this.#left = undefined;
  }

  /** True while the kernel has not taken all. */
  get isBlocked(): boolean {
    return this.#left !== undefined;
  }

  /** Writes `bytes`, now as far as the kernel takes them. Not to be called while `isBlocked`; they are kept, not copied. */
  write(bytes: Uint8Array): void {
    // The length is given because Bun 1.4 refuses an offset without one.
    const taken = this.#socket?.write(bytes, 0, bytes.length) ?? bytes.length;
    // A negative number says that the socket is closed: `closed` is called, and what was in flight is counted there.
    if (taken >= 0 && taken < bytes.length) this.#left = bytes.subarray(taken);
  }

  /** Goes on when the kernel takes more. @returns true when all is written. */
  drain(): boolean {
    const left = this.#left;
    this.#left = undefined;
    if (left !== undefined) this.write(left);
    return this.#left === undefined;
  }

  /** Closes the socket. */
  close(): void {
    this.#socket?.end();
    this.#socket = undefined;
  }
}
