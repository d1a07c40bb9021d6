// What the replica needs of the world besides a disk and a clock.

/** Asks for a turn soon, outside of the present one. Asking twice before it comes is one turn. */
export type RequestTurn = () => void;

/** What a node says of itself when a connection is made. Verified by the transport before anything else is taken. */
export interface PeerHello {
  readonly nodeId: string;
  /** 32 hexadecimal digits; empty for a node that belongs to no cluster yet. */
  readonly clusterId: string;
  /** 32 hexadecimal digits, new with every empty or repaired directory. */
  readonly incarnation: string;
  /** Base of its HTTP address, without a slash at its end. */
  readonly httpUrl: string;
}

/** One thing that came from a peer. */
export type Delivery =
  /** A connection from the peer was made, and it is who it says. */
  | { readonly kind: "connected"; readonly from: PeerHello }
  /** The last connection from the peer ended. */
  | { readonly kind: "disconnected"; readonly from: PeerHello }
  /** One message, whole. The bytes are the receiver's to keep. */
  | { readonly kind: "message"; readonly from: PeerHello; readonly bytes: Uint8Array };

/** Where a peer listens. */
export interface PeerAddress {
  readonly nodeId: string;
  readonly host: string;
  readonly port: number;
}

/** How one connection to a peer is. */
export interface PeerLink {
  readonly isConnected: boolean;
  /** What it last said of itself; undefined before it was ever met. */
  readonly hello: PeerHello | undefined;
  /** Bytes taken by `send` that the kernel does not have yet. */
  readonly unsentBytes: number;
  /** Since the node started. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/**
 * Messages between nodes: submit, then poll. Nothing here blocks, nothing is promised to arrive, and what arrives from one
 * peer over one connection arrives whole, once and in order per priority. One suite (`test/suites/transport.ts`) holds for
 * the real one and for the simulated one.
 */
export interface Transport {
  /** Called, never from inside a method of this transport, when `poll` would return something. */
  onWake: () => void;
  /** What this node says of itself from the next connection on; connections that said something else are made anew. */
  introduce(hello: PeerHello): void;
  /** Whom to be connected to: others are let go. */
  setPeers(peers: readonly PeerAddress[]): void;
  link(nodeId: string): PeerLink;
  /**
   * Sends one message, given in parts that are put together. `urgent` ones overtake `bulk` ones between pieces.
   * False: it was not taken, since there is no connection or too much is unsent (1 MiB and one message of `bulk`; 1 MiB of
   * `urgent`). The parts may change as soon as this returns.
   */
  send(to: string, priority: "urgent" | "bulk", parts: readonly Uint8Array[]): boolean;
  /** Takes what arrived since the last call, in order per peer. */
  poll(): Delivery[];
  /** Closes every connection and stops listening. */
  close(): Promise<void>;
}
