// What is kept of one other node: its connections, when to try again, and what went back and forth.

import type { PeerAddress, PeerHello } from "../replica/mod.ts";
import type { Link } from "./link.ts";

const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 1000;

/** Counted since the start; plain numbers for the metrics. */
export interface PeerStats {
  readonly nodeId: string;
  /** A connection to it is open, so that messages can be sent. */
  readonly isConnected: boolean;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  /** Connections to it that were opened. */
  readonly connects: number;
  /** Connections to it that could not be opened. */
  readonly failures: number;
  readonly unsentBytes: number;
}

/** How long to wait before try number `attempt` + 1, spread so that nodes do not dial in step. @param chance In [0, 1). */
export const retryMs = (attempt: number, chance: number): number =>
  Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(attempt, 10)) * (0.5 + chance / 2);

/** One other node. */
export class Peer {
  address: PeerAddress;
  hello: PeerHello | undefined;
  /** The connection on which we send, in whatever state. */
  outgoing: Link | undefined;
  /** The open connection on which it sends. */
  incoming: Link | undefined;
  /** Tries since the last connection that lasted. */
  attempts = 0;
  retryAtMs = 0;
  messagesSent = 0;
  connects = 0;
  failures = 0;
  #bytesSent = 0;
  #bytesReceived = 0;
  #messagesReceived = 0;

  constructor(address: PeerAddress) {
    this.address = address;
  }

  /** Keeps what an ended connection counted. */
  settle(link: Link): void {
    this.#bytesSent += link.bytesSent;
    this.#bytesReceived += link.bytesReceived;
    this.#messagesReceived += link.messagesReceived;
  }

  /** Bytes on the wire, frames and handshakes included, over all connections. */
  get bytesSent(): number {
    return this.#bytesSent + (this.outgoing?.bytesSent ?? 0) + (this.incoming?.bytesSent ?? 0);
  }

  get bytesReceived(): number {
    const { outgoing, incoming } = this;
    return this.#bytesReceived + (outgoing?.bytesReceived ?? 0) + (incoming?.bytesReceived ?? 0);
  }

  stats(): PeerStats {
    return {
      nodeId: this.address.nodeId,
      isConnected: this.outgoing?.isOpen ?? false,
      bytesSent: this.bytesSent,
      bytesReceived: this.bytesReceived,
      messagesSent: this.messagesSent,
      messagesReceived: this.#messagesReceived + (this.incoming?.messagesReceived ?? 0),
      connects: this.connects,
      failures: this.failures,
      unsentBytes: this.outgoing?.unsentBytes ?? 0,
    };
  }
}
