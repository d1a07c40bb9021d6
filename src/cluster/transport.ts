// The Transport port over TCP: one connection to every peer on which we send, one from every peer on which it sends. Dials
// for ever, with a growing pause; one timer serves all pauses, deadlines and signs of life.

import type { Logger } from "../lib/logger.ts";
import type { Delivery, PeerAddress, PeerHello, PeerLink, Transport } from "../replica/mod.ts";
import { Complaints } from "./complaints.ts";
import { REFUSAL_REASONS, type RefusalReason } from "./handshake.ts";
import type { Link, LinkEnd, LinkEvents } from "./link.ts";
import { Peer, type PeerStats, retryMs } from "./peer.ts";
import { Sockets, type SocketsOptions } from "./sockets.ts";

/** How long things may take, in milliseconds. */
export interface TransportTimes {
  /** Until a connection must be made and its handshake be over. */
  readonly handshakeMs: number;
  /** Between two signs of life on each connection. */
  readonly aliveMs: number;
  /** Without a sign of life from the other side, until the connection counts as lost. */
  readonly silenceMs: number;
}

const TIMES: TransportTimes = { handshakeMs: 5000, aliveMs: 1000, silenceMs: 3000 };
/** Incoming connections that have not proven anything: the oldest makes room for the newest. */
const STRANGERS_MAX = 64;
/** A connection that lived so long was no mistake: the next try comes soon. */
const LASTING_MS = 1000;
/** Bytes that wait for `poll`; beyond them, peers have to wait. */
const INBOX_BYTES_MAX = 16_777_216;

/** What a transport is made of. */
export interface ClusterTransportOptions extends SocketsOptions {
  readonly logger: Logger;
  /** 5, 1 and 3 seconds when absent. */
  readonly times?: Partial<TransportTimes>;
}

/** Counted since the start; plain numbers for the metrics. */
export interface TransportStats {
  readonly peers: readonly PeerStats[];
  /** Connections of either direction that this node refused, by reason. */
  readonly refusals: Readonly<Record<RefusalReason, number>>;
}

/** `Transport` over sockets. */
export class ClusterTransport implements Transport {
  onWake: () => void = () => undefined;
  readonly #logger: Logger;
  readonly #complaints: Complaints;
  readonly #times: TransportTimes;
  readonly #sockets: Sockets;
  /** Whom to be connected to, and everybody who ever was one of them: what was counted stays. */
  readonly #peers = new Map<string, Peer>();
  readonly #known = new Map<string, Peer>();
  readonly #strangers = new Set<Link>();
  readonly #refusals: Record<RefusalReason, number>;
  #hello: PeerHello | undefined;
  #inbox: Delivery[] = [];
  #inboxBytes = 0;
  /** Above 0 while a method runs, from which `onWake` must not be called. */
  #depth = 0;
  #isWakeOwed = false;
  #isFlushOwed = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #nextAliveMs = 0;

  /** Listens. Throws `FatalError` when the address is taken or a TLS file is of no use. */
  constructor(options: ClusterTransportOptions) {
    this.#logger = options.logger;
    this.#complaints = new Complaints(options.logger);
    this.#times = { ...TIMES, ...options.times };
    this.#refusals = Object.fromEntries(REFUSAL_REASONS.map((reason) => [reason, 0])) as Record<
      RefusalReason,
      number
    >;
    this.#sockets = new Sockets(options, {
      events: this.#events,
      run: (act) => this.#event(act),
      me: () => this.#hello,
      isPeer: (nodeId) => this.#peers.has(nodeId),
      stranger: (link) => this.#welcome(link),
    });
    this.#nextAliveMs = performance.now() + this.#times.aliveMs;
  }

  /** The port it listens on. */
  get port(): number {
    return this.#sockets.port;
  }

  /** What was counted. */
  get stats(): TransportStats {
    const peers = [...this.#peers.values()].map((peer) => peer.stats());
    return { peers, refusals: { ...this.#refusals } };
  }

  introduce(hello: PeerHello): void {
    this.#inside(() => {
      const before = this.#hello;
      const isSame =
        before?.nodeId === hello.nodeId &&
        before.clusterId === hello.clusterId &&
        before.incarnation === hello.incarnation &&
        before.httpUrl === hello.httpUrl;
      if (isSame) return;
      this.#hello = { ...hello };
      for (const stranger of this.#strangers) stranger.end({ reason: "let_go" });
      for (const peer of this.#peers.values()) {
        peer.outgoing?.end({ reason: "let_go" });
        peer.incoming?.end({ reason: "let_go" });
        dialSoon(peer);
      }
      this.#tick();
    });
  }

  setPeers(peers: readonly PeerAddress[]): void {
    this.#inside(() => {
      const wanted = new Map(peers.map((address) => [address.nodeId, address]));
      for (const [nodeId, peer] of this.#peers) {
        if (wanted.has(nodeId)) continue;
        peer.outgoing?.end({ reason: "let_go" });
        peer.incoming?.end({ reason: "let_go" });
        this.#peers.delete(nodeId);
      }
      for (const [nodeId, address] of wanted) {
        const peer = this.#known.get(nodeId) ?? new Peer(address);
        if (!this.#peers.has(nodeId)) {
          peer.address = address;
          dialSoon(peer);
          this.#known.set(nodeId, peer);
          this.#peers.set(nodeId, peer);
        } else if (peer.address.host !== address.host || peer.address.port !== address.port) {
          peer.address = address;
          peer.outgoing?.end({ reason: "let_go" });
          dialSoon(peer);
        }
      }
      this.#tick();
    });
  }

  link(nodeId: string): PeerLink {
    const peer = this.#known.get(nodeId);
    return {
      isConnected: peer?.outgoing?.isOpen ?? false,
      hello: peer?.hello,
      unsentBytes: peer?.outgoing?.unsentBytes ?? 0,
      bytesSent: peer?.bytesSent ?? 0,
      bytesReceived: peer?.bytesReceived ?? 0,
    };
  }

  send(to: string, priority: "urgent" | "bulk", parts: readonly Uint8Array[]): boolean {
    const peer = this.#peers.get(to);
    const link = peer?.outgoing;
    if (peer === undefined || link === undefined) return false;
    this.#depth += 1;
    const isTaken = link.send(priority, parts);
    this.#depth -= 1;
    if (!isTaken) return false;
    peer.messagesSent += 1;
    if (!this.#isFlushOwed) {
      // What one turn sends to one peer goes to the kernel together, at the turn's end.
      this.#isFlushOwed = true;
      queueMicrotask(this.#flush);
    }
    return true;
  }

  poll(): Delivery[] {
    const deliveries = this.#inbox;
    this.#inbox = [];
    if (this.#inboxBytes > INBOX_BYTES_MAX) {
      const nowMs = performance.now();
      for (const peer of this.#peers.values()) peer.incoming?.resume(nowMs);
    }
    this.#inboxBytes = 0;
    return deliveries;
  }

  close(): Promise<void> {
    this.#inside(() => {
      this.#isClosed = true;
      this.#hello = undefined;
      clearTimeout(this.#timer);
      for (const stranger of this.#strangers) stranger.end({ reason: "let_go" });
      for (const peer of this.#peers.values()) {
        peer.outgoing?.end({ reason: "let_go" });
        peer.incoming?.end({ reason: "let_go" });
      }
      this.#peers.clear();
      this.#inbox = [];
      this.#sockets.stop();
    });
    return Promise.resolve();
  }

  // -- connections

  /** Counts a stranger in; too many, and the one that has dawdled longest goes. */
  #welcome(link: Link): void {
    this.#strangers.add(link);
    const [oldest] = this.#strangers;
    if (this.#strangers.size > STRANGERS_MAX) oldest?.end({ reason: "too_many" });
    this.#arm(link.startedMs + this.#times.handshakeMs);
  }

  readonly #events: LinkEvents = {
    opened: (link) => (link.side === "dialler" ? this.#openedTo(link) : this.#openedFrom(link)),
    message: (link, bytes) => {
      if (link.peer === undefined || link.side === "dialler") return;
      this.#inbox.push({ kind: "message", from: link.peer, bytes });
      this.#inboxBytes += bytes.length;
    },
    received: (link) => {
      if (this.#inboxBytes > INBOX_BYTES_MAX) link.pause();
    },
    ended: (link, end) => {
      this.#strangers.delete(link);
      const nodeId = link.side === "dialler" ? link.target : link.peer?.nodeId;
      const peer = nodeId === undefined ? undefined : this.#peers.get(nodeId);
      if (peer?.outgoing === link) this.#endedTo(peer, link);
      if (peer?.incoming === link) this.#endedFrom(peer, link);
      this.#report(link, end);
    },
  };

  #openedTo(link: Link): void {
    const peer = this.#peers.get(link.target ?? "");
    if (peer?.outgoing !== link) return;
    peer.hello = link.peer;
    peer.connects += 1;
    this.#logger.info("connected_to", { peer: link.target, url: link.peer?.httpUrl });
  }

  #openedFrom(link: Link): void {
    this.#strangers.delete(link);
    const hello = link.peer;
    const peer = this.#peers.get(hello?.nodeId ?? "");
    if (hello === undefined || peer === undefined) {
      link.end({ reason: "let_go" });
      return;
    }
    peer.incoming?.end({ reason: "replaced" });
    peer.incoming = link;
    peer.hello = hello;
    this.#inbox.push({ kind: "connected", from: hello });
    this.#logger.info("connected_from", { peer: hello.nodeId, url: hello.httpUrl });
    // It is there: no reason to wait with our own connection, nor for an answer that was lost.
    const { outgoing } = peer;
    if (outgoing?.isAttached === false && performance.now() - outgoing.startedMs > LASTING_MS)
      outgoing.end({ reason: "unreachable" });
    if (peer.outgoing === undefined) {
      dialSoon(peer);
      this.#arm(0);
    }
  }

  #endedTo(peer: Peer, link: Link): void {
    const nowMs = performance.now();
    peer.settle(link);
    peer.outgoing = undefined;
    if (link.openedMs === 0) peer.failures += 1;
    if (link.openedMs !== 0 && nowMs - link.openedMs > LASTING_MS) peer.attempts = 0;
    peer.retryAtMs = nowMs + retryMs(peer.attempts, Math.random());
    peer.attempts += 1;
    this.#arm(peer.retryAtMs);
  }

  #endedFrom(peer: Peer, link: Link): void {
    peer.settle(link);
    peer.incoming = undefined;
    if (link.peer !== undefined) this.#inbox.push({ kind: "disconnected", from: link.peer });
  }

  #report(link: Link, end: LinkEnd): void {
    if (this.#isClosed) return;
    const { reason, detail, isTheirs = false } = end;
    const isRefusal = REFUSAL_REASONS.some((one) => one === reason);
    if (isRefusal && !isTheirs) this.#refusals[reason as RefusalReason] += 1;
    const direction = link.side === "dialler" ? "to" : "from";
    const peer = link.peer?.nodeId ?? link.target ?? end.claimed;
    // What a stranger calls itself is neither proven nor bounded: it does not make a complaint a new one.
    const known = peer !== undefined && this.#peers.has(peer) ? peer : "stranger";
    const fields = { peer: known, direction, ...(detail !== undefined && { detail }) };
    const nowMs = performance.now();
    if (reason === "other_cluster") {
      this.#complaints.warn("other_cluster", known, fields, nowMs);
    } else if (isTheirs) {
      this.#complaints.warn("refused_by_peer", `${known} ${reason}`, { ...fields, reason }, nowMs);
    } else if (isRefusal) {
      this.#complaints.warn("peer_refused", `${known} ${reason}`, { ...fields, reason }, nowMs);
    } else if (link.openedMs !== 0) {
      this.#logger.info(`disconnected_${direction}`, { ...fields, reason });
    } else if (reason !== "let_go" && link.side === "dialler") {
      this.#complaints.warn("peer_unreachable", known, { ...fields, reason }, nowMs);
    }
  }

  // -- turns of the loop

  /** Runs what a socket or the timer calls for; wakes whoever polls once, when all of it is parsed. */
  #event(act: () => void): void {
    const before = this.#inbox.length;
    act();
    if (this.#inbox.length > before) this.#wake();
  }

  /** Runs a method, from which nobody may be woken: what it brought about is told afterwards. */
  #inside(act: () => void): void {
    const before = this.#inbox.length;
    this.#depth += 1;
    act();
    this.#depth -= 1;
    if (this.#inbox.length > before) this.#wake(true);
  }

  #wake(isLater = this.#depth > 0): void {
    if (!isLater) {
      if (!this.#isClosed) this.onWake();
      return;
    }
    if (this.#isWakeOwed) return;
    this.#isWakeOwed = true;
    setImmediate(() => {
      this.#isWakeOwed = false;
      if (!this.#isClosed && this.#inbox.length > 0) this.onWake();
    });
  }

  readonly #flush = (): void => {
    this.#isFlushOwed = false;
    this.#event(() => {
      for (const peer of this.#peers.values()) peer.outgoing?.flush();
    });
  };

  /** Does what is due, and sets the timer for what is next. */
  #tick(): void {
    const nowMs = performance.now();
    const isLate = nowMs - this.#nextAliveMs > this.#times.aliveMs / 2;
    const isAliveDue = nowMs >= this.#nextAliveMs;
    if (isAliveDue) this.#nextAliveMs = nowMs + this.#times.aliveMs;
    for (const stranger of this.#strangers) {
      if (nowMs - stranger.startedMs >= this.#times.handshakeMs)
        stranger.end({ reason: "too_slow" });
    }
    for (const peer of this.#peers.values()) {
      const { outgoing } = peer;
      const isStuck =
        outgoing?.isOpen === false && nowMs - outgoing.startedMs >= this.#times.handshakeMs;
      if (isStuck) outgoing.end({ reason: outgoing.isAttached ? "too_slow" : "unreachable" });
      if (isAliveDue) this.#keepAlive(peer, nowMs, isLate);
      if (peer.outgoing === undefined && this.#hello !== undefined && nowMs >= peer.retryAtMs)
        peer.outgoing = this.#sockets.dial(peer.address, peer.attempts);
    }
    this.#armNext();
  }

  /** @param isLate This loop stood still: what the others said meanwhile has not been read yet. */
  #keepAlive(peer: Peer, nowMs: number, isLate: boolean): void {
    for (const link of [peer.outgoing, peer.incoming]) {
      if (link?.isOpen !== true) continue;
      if (isLate) link.heardMs = nowMs;
      if (!link.isPaused && nowMs - link.heardMs > this.#times.silenceMs)
        link.end({ reason: "silent" });
      else link.sendAlive();
    }
  }

  #armNext(): void {
    let next = this.#nextAliveMs;
    for (const stranger of this.#strangers)
      next = Math.min(next, stranger.startedMs + this.#times.handshakeMs);
    for (const { outgoing, retryAtMs } of this.#peers.values()) {
      if (outgoing === undefined) next = Math.min(next, retryAtMs);
      else if (!outgoing.isOpen)
        next = Math.min(next, outgoing.startedMs + this.#times.handshakeMs);
    }
    clearTimeout(this.#timer);
    this.#timerMs = Number.POSITIVE_INFINITY;
    if (this.#peers.size > 0 || this.#strangers.size > 0) this.#arm(next);
  }

  /** Sees to it that the timer rings at `atMs` or before. */
  #arm(atMs: number): void {
    if (this.#isClosed || atMs >= this.#timerMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = atMs;
    // Rounded up: a timer that rings early would have nothing to do and be set again.
    const waitMs = Math.max(1, Math.ceil(atMs - performance.now()));
    this.#timer = setTimeout(() => {
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.#event(() => this.#tick());
    }, waitMs);
  }
}

function dialSoon(peer: Peer): void {
  peer.attempts = 0;
  peer.retryAtMs = 0;
}
