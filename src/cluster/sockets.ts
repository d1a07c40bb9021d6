// Where connections come from: listening and dialling, with TLS and without. Finds out who is there as far as TLS tells, and
// begins the handshake; what becomes of a connection is told to whoever holds it.

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Socket, TCPSocketListener } from "bun";
import { FatalError } from "../lib/fatal.ts";
import type { PeerAddress, PeerHello } from "../replica/mod.ts";
import { DiallerHandshake, type HandshakeInput, ListenerHandshake, VERSIONS } from "./handshake.ts";
import { NONCE_BYTES } from "./hello.ts";
import { ClusterKey } from "./keys.ts";
import { Link, type LinkEvents } from "./link.ts";
import { isOfAuthority, namesIn, readTlsMaterial, type TlsMaterial, type TlsPaths } from "./tls.ts";

/** Where and how this node is found. */
export interface SocketsOptions {
  /** Where to listen. Port 0 takes a free one. */
  readonly host: string;
  readonly port: number;
  readonly tls: TlsPaths | undefined;
  /** Proves nodes to each other without TLS; undefined: nothing does. */
  readonly secret: string | undefined;
}

/** Whom connections belong to. */
export interface SocketsOwner {
  readonly events: LinkEvents;
  /** Runs what a socket calls for. */
  readonly run: (act: () => void) => void;
  /** What this node says of itself; undefined while it talks to nobody. */
  readonly me: () => PeerHello | undefined;
  readonly isPeer: (nodeId: string) => boolean;
  /** Somebody connected, who has not said who they are. */
  readonly stranger: (link: Link) => void;
}

/** The listening socket, and the way to others. */
export class Sockets {
  readonly #owner: SocketsOwner;
  readonly #key: ClusterKey | undefined;
  readonly #tls: TlsMaterial | undefined;
  readonly #listener: TCPSocketListener<Link>;

  /** Listens. Throws `FatalError` when the address is taken or a TLS file is of no use. */
  constructor({ host, port, tls, secret }: SocketsOptions, owner: SocketsOwner) {
    this.#owner = owner;
    this.#tls = tls === undefined ? undefined : readTlsMaterial(tls);
    this.#key = tls === undefined ? new ClusterKey(secret) : undefined;
    this.#listener = this.#listen(host, port);
  }

  /** The port it listens on. */
  get port(): number {
    return this.#listener.port;
  }

  /** Lets nobody else in. */
  stop(): void {
    this.#listener.stop();
  }

  /** Begins a connection. @param attempt Which of a name's addresses is tried: all of them in turn. */
  dial(address: PeerAddress, attempt: number): Link {
    const link = new Link("dialler", address.nodeId, this.#owner.events, performance.now());
    this.#connect(link, address, attempt).catch((error: unknown) => {
      this.#owner.run(() => link.closed(codeOf(error)));
    });
    return link;
  }

  #listen(host: string, port: number): TCPSocketListener<Link> {
    const tls = this.#tls;
    try {
      return Bun.listen<Link>({
        hostname: host,
        port,
        ...(tls !== undefined && { tls: { ...tls, requestCert: true, rejectUnauthorized: true } }),
        socket: {
          ...this.#handlers,
          open: (socket) => {
            const link = new Link("listener", undefined, this.#owner.events, performance.now());
            socket.data = link;
            link.attach(socket);
            this.#owner.stranger(link);
            if (tls === undefined) this.#greetStranger(link, undefined);
          },
          handshake: (socket, _isDone, error) => {
            // Not the second argument: it is true for a certificate of nobody's, which `authorized` tells (and only that).
            if (!socket.authorized) refuseCertificate(socket.data, codeOf(error));
            else this.#greetStranger(socket.data, namesIn(socket.getPeerCertificate()));
          },
        },
      });
    } catch (error) {
      const code = codeOf(error);
      const reason = code === "EADDRINUSE" ? "address_in_use" : "invalid_configuration";
      const why = error instanceof Error ? error.message : String(error);
      throw new FatalError(reason, `Cannot listen for peers on ${host} port ${port}: ${why}`, {
        cause: error,
      });
    }
  }

  #greetStranger(link: Link, names: readonly string[] | undefined): void {
    const me = this.#owner.me();
    if (me === undefined) {
      link.end({ reason: "let_go" });
      return;
    }
    const input = this.#handshakeInput(me, names, this.#owner.isPeer);
    link.greet(new ListenerHandshake(input), undefined);
  }

  async #connect(link: Link, { nodeId, host, port }: PeerAddress, attempt: number): Promise<void> {
    // At each try anew: a name that means another address tomorrow must be found there.
    const addresses = isIP(host) === 0 ? await lookup(host, { all: true }) : [{ address: host }];
    const hostname = addresses[attempt % addresses.length]?.address ?? host;
    if (link.isEnded) return;
    const tls = this.#tls;
    await Bun.connect<Link>({
      hostname,
      port,
      data: link,
      // Judged in `handshake`, before a byte is said: TLS alone does not take a common name that has other names beside it.
      ...(tls !== undefined && { tls: { ...tls, serverName: nodeId, rejectUnauthorized: false } }),
      socket: {
        ...this.#handlers,
        open: (socket) => {
          link.attach(socket);
          if (tls === undefined) this.#greetPeer(link, undefined);
        },
        handshake: (socket, _isDone, error) => {
          const code = codeOf(error) ?? codeOf(socket.getAuthorizationError());
          if (isOfAuthority(socket.authorized, code)) {
            this.#greetPeer(link, namesIn(socket.getPeerCertificate()));
          } else refuseCertificate(link, code);
        },
        connectError: (_socket, error) => this.#owner.run(() => link.closed(codeOf(error))),
      },
    });
  }

  #greetPeer(link: Link, names: readonly string[] | undefined): void {
    const me = this.#owner.me();
    const { target } = link;
    if (me === undefined || target === undefined || link.isEnded) return;
    if (names !== undefined && !names.includes(target)) {
      refuseCertificate(link, `names ${names.join(" ")}`);
      return;
    }
    const input = this.#handshakeInput(me, names, (nodeId) => nodeId === target);
    const handshake = new DiallerHandshake(input, target);
    link.greet(handshake, handshake.start());
  }

  #handshakeInput(
    me: PeerHello,
    names: readonly string[] | undefined,
    isExpected: (nodeId: string) => boolean,
  ): HandshakeInput {
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    return { me, versions: VERSIONS, nonce, key: this.#key, names, isExpected };
  }

  /** What both directions do with their sockets. */
  readonly #handlers = {
    data: (socket: Socket<Link>, chunk: Uint8Array): void =>
      this.#owner.run(() => {
        socket.data.receive(chunk, performance.now());
        this.#owner.events.received(socket.data);
      }),
    drain: (socket: Socket<Link>): void => this.#owner.run(() => socket.data.drained()),
    close: (socket: Socket<Link>, error: unknown): void =>
      this.#owner.run(() => socket.data.closed(codeOf(error))),
    error: (socket: Socket<Link>, error: unknown): void =>
      this.#owner.run(() => socket.data.closed(codeOf(error))),
  };
}

const refuseCertificate = (link: Link, detail: string | undefined): void =>
  link.end({ reason: "wrong_certificate", detail, claimed: link.target });

/** The code of an error, for the log. */
function codeOf(error: unknown): string | undefined {
  if (error === undefined || error === null) return undefined;
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return String(code ?? message ?? error);
}
