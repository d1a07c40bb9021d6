// Transports over loopback for tests that look at one of them closely, and strangers who speak to them badly.

import { ClusterTransport, type ClusterTransportOptions } from "../../src/cluster/mod.ts";
import { createLogger } from "../../src/lib/logger.ts";
import { helloOf, Listener } from "../suites/transport.ts";

const WAIT_MS_MAX = 10_000;

/** One line of a transport's log. */
export interface PeerLogLine {
  readonly event: string;
  readonly peer?: string;
  readonly reason?: string;
  readonly detail?: string;
  readonly unsaid?: number;
}

/** A transport with what it was given and what it logged. */
export interface PeerNode extends AsyncDisposable {
  readonly transport: ClusterTransport;
  readonly listener: Listener;
  readonly lines: readonly PeerLogLine[];
}

/** Starts a transport on a free port. */
export function peerNode(id: string, options: Partial<ClusterTransportOptions> = {}): PeerNode {
  const lines: PeerLogLine[] = [];
  const transport = new ClusterTransport({
    host: "127.0.0.1",
    port: 0,
    tls: undefined,
    secret: "a secret that all of them have",
    logger: createLogger({
      level: "debug",
      room: "cluster",
      write: (line) => lines.push(JSON.parse(line) as PeerLogLine),
      now: Date.now,
    }),
    ...options,
  });
  transport.introduce(helloOf(id));
  return {
    transport,
    listener: new Listener(id, transport),
    lines,
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

/** Waits for what must come about. */
export async function untilTrue(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + WAIT_MS_MAX;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`Waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Makes two nodes know each other; `through` is the port at which the first finds the second. */
export async function introducePair(
  one: PeerNode,
  other: PeerNode,
  through?: number,
): Promise<void> {
  knowPair(one, other, through);
  await untilTrue("both are connected", () => isLinkedPair(one, other));
}

/** The same without waiting. */
export function knowPair(one: PeerNode, other: PeerNode, through = other.transport.port): void {
  const host = "127.0.0.1";
  one.transport.setPeers([{ nodeId: other.listener.id, host, port: through }]);
  other.transport.setPeers([{ nodeId: one.listener.id, host, port: one.transport.port }]);
}

const isLinkedPair = (one: PeerNode, other: PeerNode): boolean =>
  one.transport.link(other.listener.id).isConnected &&
  other.transport.link(one.listener.id).isConnected &&
  one.listener.deliveries.length > 0 &&
  other.listener.deliveries.length > 0;

/** What a raw connection saw. */
export interface Stranger extends AsyncDisposable {
  readonly received: Uint8Array[];
  readonly isClosed: boolean;
  write(bytes: Uint8Array): void;
}

/** Connects without being anybody. */
export async function stranger(port: number, allowHalfOpen = false): Promise<Stranger> {
  const received: Uint8Array[] = [];
  let isClosed = false;
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen,
    socket: {
      data: (_socket, chunk) => {
        received.push(chunk);
      },
      close: () => {
        isClosed = true;
      },
      error: () => undefined,
    },
  });
  return {
    received,
    get isClosed() {
      return isClosed;
    },
    write: (bytes) => {
      socket.write(bytes);
    },
    [Symbol.asyncDispose]: () => {
      socket.terminate();
      return Promise.resolve();
    },
  };
}

/** Somebody in between who sees and may change what the dialler sends. */
export interface Middle extends AsyncDisposable {
  readonly port: number;
  /** What becomes of the next pieces; undefined: they go through as they are. */
  change: ((chunk: Uint8Array) => readonly Uint8Array[]) | undefined;
  /** Nothing goes through any more, and nobody is told. */
  isSilent: boolean;
}

/** Listens in front of `target`. */
export function middle(target: number): Middle {
  type Sides = { readonly to: Promise<Bun.Socket<unknown>> };
  const sockets = new Set<Bun.Socket<unknown>>();
  const listener = Bun.listen<Sides>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => {
        sockets.add(socket as Bun.Socket<unknown>);
        const to = Bun.connect<unknown>({
          hostname: "127.0.0.1",
          port: target,
          socket: {
            data: (_other, chunk) => {
              if (!self.isSilent) socket.write(chunk);
            },
            close: () => {
              if (!self.isSilent) socket.end();
            },
            error: () => undefined,
          },
        });
        socket.data = { to };
        to.then((other) => sockets.add(other)).catch(() => socket.end());
      },
      data: (socket, chunk) => {
        if (self.isSilent) return;
        const pieces = self.change?.(chunk) ?? [chunk];
        socket.data.to
          .then((other) => {
            for (const piece of pieces) other.write(piece);
          })
          .catch(() => undefined);
      },
      close: (socket) => {
        socket.data.to.then((other) => other.end()).catch(() => undefined);
      },
      error: () => undefined,
    },
  });
  const self: Middle = {
    port: listener.port,
    change: undefined,
    isSilent: false,
    [Symbol.asyncDispose]: () => {
      listener.stop(true);
      for (const socket of sockets) socket.terminate();
      return Promise.resolve();
    },
  };
  return self;
}
