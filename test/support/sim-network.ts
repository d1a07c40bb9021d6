// A network in memory for the simulated world: nothing is delivered until the world says `step`, time passes when it says
// `advance`, and what a real network may do to TCP connections happens by the seed. What it may not do, it does not: within
// one connection nothing is lost, doubled or reordered but between priorities; a connection ends, and what was on it is lost
// from some point on.

import { assert } from "../../src/lib/assert.ts";
import type { Prng } from "../../src/lib/prng.ts";
import type {
  Delivery,
  PeerAddress,
  PeerHello,
  PeerLink,
  Transport,
} from "../../src/replica/ports.ts";

/** What a world chooses about its network. */
export interface SimNetworkOptions {
  /** Milliseconds that a message is on its way, at most, when nothing is clogged. 20 when absent. */
  readonly latencyMsMax?: number;
  /** How many connections in a million break, per millisecond. None when absent. */
  readonly breaksPerMillion?: number;
  /** How many connections in a million stand still for a while, per millisecond. None when absent. */
  readonly clogsPerMillion?: number;
}

const UNSENT_BYTES_MAX = 1_048_576;
const WINDOW_BYTES_MIN = 65_536;
const WINDOW_BYTES_MAX = 4_194_304;
const CLOG_MS_MAX = 2000;
/** A gigabit a second. */
const MS_PER_BYTE = 8e-6;
/** Milliseconds after which a side that hears nothing gives a connection up. */
const SILENCE_MS_MIN = 1000;
const SILENCE_MS_MAX = 4000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 1000;
const NEVER = Number.POSITIVE_INFINITY;

interface Flight {
  readonly bytes: Uint8Array;
  readonly readyMs: number;
}

/** One connection, on which `from` sends. */
interface Stream {
  readonly from: SimTransport;
  readonly to: SimTransport;
  readonly fromHello: PeerHello;
  readonly latencyMs: number;
  /** Bytes on their way that the sender's kernel holds. */
  readonly windowBytes: number;
  readonly flights: { urgent: Flight[]; bulk: Flight[] };
  readonly bytes: { urgent: number; bulk: number };
  /** When either side learns that it has ended. */
  senderEndMs: number;
  receiverEndMs: number;
  isSenderOpen: boolean;
  isReceiverOpen: boolean;
  clogUntilMs: number;
  /** When it breaks because a direction is blocked. */
  breakMs: number;
  /** Whether nothing gets from `from` to `to`. */
  isBlocked: boolean;
  /** When something can next happen on it. */
  nextMs: number;
}

type Act = () => void;

/** All nodes and what is between them. */
export class SimNetwork {
  nowMs = 0;
  /** Tries to connect that failed, by `from to`. */
  readonly failures = new Map<string, number>();
  readonly #prng: Prng;
  readonly #options: Required<SimNetworkOptions>;
  readonly #nodes = new Map<string, SimTransport>();
  readonly #blocked = new Set<string>();
  #streams: Stream[] = [];
  /** Some stream is closed at both ends. */
  #hasClosed = false;

  constructor(prng: Prng, options: SimNetworkOptions = {}) {
    this.#prng = prng;
    this.#options = { latencyMsMax: 20, breaksPerMillion: 0, clogsPerMillion: 0, ...options };
  }

  /** A node's transport; a new one where the last was closed or crashed. */
  node(id: string): Transport {
    const present = this.#nodes.get(id);
    if (present !== undefined && !present.isDead) return present;
    const made = new SimTransport(id, this);
    this.#nodes.set(id, made);
    return made;
  }

  /** The node's process or machine is gone, and with it whatever it had not polled. */
  crash(id: string): void {
    const node = this.#nodes.get(id);
    if (node === undefined || node.isDead) return;
    node.die();
    // A process that dies is noticed at once, a machine without power only by its silence.
    const isSilent = this.#prng.chance(0.5);
    for (const stream of this.#streams) {
      if (stream.from === node) {
        stream.isSenderOpen = false;
        this.#loseSome(stream);
        stream.receiverEndMs = Math.min(stream.receiverEndMs, this.#noticeMs(stream, isSilent));
      }
      if (stream.to === node) {
        this.#dropFlights(stream);
        stream.isReceiverOpen = false;
        stream.senderEndMs = Math.min(stream.senderEndMs, this.#noticeMs(stream, isSilent));
      }
      if (stream.from === node || stream.to === node) this.#touch(stream);
    }
  }

  /** A crashed node is back, without memory. */
  restart(id: string): Transport {
    assert(this.#nodes.get(id)?.isDead !== false, `Cannot restart ${id}: it runs`);
    return this.node(id);
  }

  /** Nothing gets from one node to the other any more. Their connections stand still, and end after a while. */
  block(from: string, to: string): void {
    this.#blocked.add(`${from} ${to}`);
    for (const stream of this.#between(from, to)) {
      if (stream.breakMs === NEVER) stream.breakMs = this.nowMs + this.#silenceMs();
      this.#touch(stream);
    }
  }

  /** It does again. Connections that did not end meanwhile go on. */
  unblock(from: string, to: string): void {
    if (!this.#blocked.delete(`${from} ${to}`)) return;
    const isWhole = !this.#isBlocked(to, from);
    for (const stream of this.#between(from, to)) {
      if (isWhole) stream.breakMs = NEVER;
      this.#touch(stream);
    }
  }

  /** Lets time pass, in which connections break and clog; nothing is delivered. */
  advance(elapsedMs: number): void {
    this.nowMs += elapsedMs;
    const { breaksPerMillion, clogsPerMillion } = this.#options;
    const broken = this.#struck(breaksPerMillion * elapsedMs);
    if (broken !== undefined) this.#break(broken);
    const clogged = this.#struck(clogsPerMillion * elapsedMs);
    if (clogged === undefined) return;
    clogged.clogUntilMs = this.nowMs + this.#prng.below(CLOG_MS_MAX);
    this.#touch(clogged);
  }

  /** One of the connections, if what strikes so many of a million of them strikes one. */
  #struck(perMillion: number): Stream | undefined {
    const { length } = this.#streams;
    if (perMillion === 0 || length === 0) return undefined;
    if (!this.#prng.chance((perMillion * length) / 1_000_000)) return undefined;
    return this.#streams[this.#prng.below(length)];
  }

  /** How many things could happen at this moment. */
  get deliverable(): number {
    return this.#acts().length;
  }

  /** When the next thing can happen: now, later, or never. */
  get nextMs(): number {
    let next = NEVER;
    for (const stream of this.#streams) if (stream.nextMs < next) next = stream.nextMs;
    for (const node of this.#nodes.values()) {
      if (node.isWakeOwed) return this.nowMs;
      const { dialMs } = node;
      if (dialMs < next) next = dialMs;
    }
    return Math.max(next, this.nowMs);
  }

  /** Makes one thing happen, drawn from those that can. False: there is none. */
  step(): boolean {
    const acts = this.#acts();
    if (acts.length === 0) return false;
    acts[acts.length === 1 ? 0 : this.#prng.below(acts.length)]?.();
    if (!this.#hasClosed) return true;
    this.#hasClosed = false;
    this.#streams = this.#streams.filter((stream) => stream.isSenderOpen || stream.isReceiverOpen);
    return true;
  }

  // -- for the transports

  /** The open connection on which `from` sends to a node. */
  outgoing(from: SimTransport, to: string): Stream | undefined {
    const stream = from.streams.get(to);
    return stream?.isSenderOpen === true ? stream : undefined;
  }

  send(stream: Stream, priority: "urgent" | "bulk", bytes: Uint8Array): boolean {
    const unsent = Math.max(0, stream.bytes[priority] - stream.windowBytes);
    if (unsent + (priority === "urgent" ? bytes.length : 0) > UNSENT_BYTES_MAX) return false;
    const queue = stream.flights[priority];
    const after = queue.at(-1)?.readyMs ?? 0;
    const jitterMs = this.#prng.below(this.#options.latencyMsMax + 1) / 4;
    const sentMs = Math.max(after, this.nowMs + stream.latencyMs + jitterMs);
    queue.push({ bytes, readyMs: sentMs + bytes.length * MS_PER_BYTE });
    stream.bytes[priority] += bytes.length;
    if (queue.length === 1) this.#touch(stream);
    return true;
  }

  unsentBytes({ bytes, windowBytes }: Stream): number {
    return Math.max(0, bytes.urgent + bytes.bulk - windowBytes);
  }

  /** A node closes its side of the connections with a peer. What it sent before still arrives. */
  letGo(node: SimTransport, peer: string): void {
    for (const stream of this.#streams) {
      if (stream.from === node && stream.to.id === peer && stream.isSenderOpen) {
        stream.isSenderOpen = false;
        const lastMs = Math.max(
          this.#noticeMs(stream, false),
          ...[stream.flights.urgent, stream.flights.bulk].map(
            (queue) => queue.at(-1)?.readyMs ?? 0,
          ),
        );
        stream.receiverEndMs = Math.min(stream.receiverEndMs, lastMs);
        this.#touch(stream);
        node.forgetDial();
      }
      if (stream.to === node && stream.from.id === peer && stream.isReceiverOpen)
        this.#endReceiver(stream);
    }
  }

  // -- what can happen

  #acts(): Act[] {
    const acts: Act[] = [];
    for (const stream of this.#streams) if (stream.nextMs <= this.nowMs) this.#actsOf(stream, acts);
    for (const node of this.#nodes.values()) {
      if (node.dialMs <= this.nowMs) {
        for (const [peer, retryMs] of node.peers) {
          if (retryMs <= this.nowMs && this.outgoing(node, peer) === undefined)
            acts.push(() => this.#dial(node, peer));
        }
      }
      if (node.isWakeOwed) acts.push(() => node.wake());
    }
    return acts;
  }

  /** What may happen on a connection now. */
  #actsOf(stream: Stream, acts: Act[]): void {
    const { nowMs } = this;
    if (stream.breakMs <= nowMs) acts.push(() => this.#break(stream));
    if (stream.isSenderOpen && stream.senderEndMs <= nowMs)
      acts.push(() => this.#endSender(stream));
    if (!stream.isReceiverOpen) return;
    if (stream.receiverEndMs <= nowMs) acts.push(() => this.#endReceiver(stream));
    if (stream.isBlocked || stream.clogUntilMs > nowMs) return;
    for (const priority of ["urgent", "bulk"] as const) {
      const [head] = stream.flights[priority];
      if (head !== undefined && head.readyMs <= nowMs)
        acts.push(() => this.#deliver(stream, priority));
    }
  }

  /** Something has changed on a connection: finds out when something can next happen there. */
  #touch(stream: Stream): void {
    stream.isBlocked = this.#isBlocked(stream.from.id, stream.to.id);
    let next = stream.breakMs;
    if (stream.isSenderOpen) next = Math.min(next, stream.senderEndMs);
    else if (!stream.isReceiverOpen) this.#hasClosed = true;
    if (stream.isReceiverOpen) {
      next = Math.min(next, stream.receiverEndMs);
      if (!stream.isBlocked) {
        const { urgent, bulk } = stream.flights;
        const ready = Math.min(urgent[0]?.readyMs ?? NEVER, bulk[0]?.readyMs ?? NEVER);
        next = Math.min(next, Math.max(ready, stream.clogUntilMs));
      }
    }
    stream.nextMs = next;
  }

  #deliver(stream: Stream, priority: "urgent" | "bulk"): void {
    const flight = stream.flights[priority].shift();
    if (flight === undefined) return;
    stream.bytes[priority] -= flight.bytes.length;
    this.#touch(stream);
    stream.to.receive({ kind: "message", from: stream.fromHello, bytes: flight.bytes });
  }

  #dial(from: SimTransport, toId: string): void {
    const to = this.#nodes.get(toId);
    const { hello } = from;
    if (hello === undefined) return;
    const isThere = to !== undefined && !to.isDead && to.hello !== undefined;
    const isOpen = !this.#isBlocked(from.id, toId) && !this.#isBlocked(toId, from.id);
    if (!isThere || !isOpen || !to.lets(hello)) {
      const pair = `${from.id} ${toId}`;
      this.failures.set(pair, (this.failures.get(pair) ?? 0) + 1);
      from.retryAt(toId, this.nowMs + this.#drawn(RETRY_MS_MIN, RETRY_MS_MAX));
      return;
    }
    // A second connection of the same peer takes the place of the first.
    for (const stream of this.#streams) {
      if (stream.from.id === from.id && stream.to === to && stream.isReceiverOpen)
        this.#endReceiver(stream);
    }
    const stream: Stream = {
      from,
      to,
      fromHello: hello,
      latencyMs: this.#prng.below(this.#options.latencyMsMax + 1),
      windowBytes: this.#drawn(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX),
      flights: { urgent: [], bulk: [] },
      bytes: { urgent: 0, bulk: 0 },
      senderEndMs: NEVER,
      receiverEndMs: NEVER,
      isSenderOpen: true,
      isReceiverOpen: true,
      clogUntilMs: 0,
      breakMs: NEVER,
      isBlocked: false,
      nextMs: NEVER,
    };
    this.#streams.push(stream);
    from.streams.set(toId, stream);
    from.forgetDial();
    from.met(toId, to.hello);
    to.met(from.id, hello);
    to.receive({ kind: "connected", from: hello });
  }

  #break(stream: Stream): void {
    stream.breakMs = NEVER;
    this.#loseSome(stream);
    stream.senderEndMs = Math.min(stream.senderEndMs, this.#noticeMs(stream, false));
    stream.receiverEndMs = Math.min(stream.receiverEndMs, this.#noticeMs(stream, false));
    this.#touch(stream);
  }

  /** From a point on, what was on its way is lost; what is sent before the sender notices is lost too. */
  #loseSome(stream: Stream): void {
    const isBlocked = this.#isBlocked(stream.from.id, stream.to.id);
    for (const priority of ["urgent", "bulk"] as const) {
      const queue = stream.flights[priority];
      const survivors = this.#prng.below(queue.length + 1);
      queue.length = isBlocked ? 0 : survivors;
      // The last to be lost never becomes ready, and neither does anything behind it.
      queue.push({ bytes: new Uint8Array(0), readyMs: NEVER });
    }
  }

  #endSender(stream: Stream): void {
    stream.isSenderOpen = false;
    this.#touch(stream);
    stream.from.retryAt(stream.to.id, this.nowMs + this.#prng.below(RETRY_MS_MIN));
  }

  #endReceiver(stream: Stream): void {
    stream.isReceiverOpen = false;
    this.#dropFlights(stream);
    stream.senderEndMs = Math.min(stream.senderEndMs, this.#noticeMs(stream, false));
    this.#touch(stream);
    stream.to.receive({ kind: "disconnected", from: stream.fromHello });
  }

  #dropFlights({ flights, bytes }: Stream): void {
    flights.urgent.length = 0;
    flights.bulk.length = 0;
    bytes.urgent = 0;
    bytes.bulk = 0;
  }

  /** When the other side of a connection learns of its end. */
  #noticeMs({ from, to, latencyMs }: Stream, isSilent: boolean): number {
    const isBlocked = this.#isBlocked(from.id, to.id) || this.#isBlocked(to.id, from.id);
    return this.nowMs + (isSilent || isBlocked ? this.#silenceMs() : latencyMs);
  }

  #between(one: string, other: string): Stream[] {
    return this.#streams.filter(
      ({ from, to }) =>
        (from.id === one && to.id === other) || (from.id === other && to.id === one),
    );
  }

  #isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from} ${to}`);
  }

  #silenceMs(): number {
    return this.#drawn(SILENCE_MS_MIN, SILENCE_MS_MAX);
  }

  #drawn(minimum: number, maximum: number): number {
    return minimum + this.#prng.below(maximum - minimum + 1);
  }
}

/** `Transport` over the simulated network. */
class SimTransport implements Transport {
  readonly id: string;
  onWake: () => void = () => undefined;
  hello: PeerHello | undefined;
  isDead = false;
  /** Something came about inside a method, of which nobody has been told. */
  isWakeOwed = false;
  /** When each peer is dialled next. */
  readonly peers = new Map<string, number>();
  /** The last connection on which it sends to a peer, open or not. */
  readonly streams = new Map<string, Stream>();
  /** When the next peer is dialled; undefined until it is looked up. */
  #dialMs: number | undefined;
  readonly #network: SimNetwork;
  readonly #met = new Map<string, PeerHello>();
  readonly #bytesSent = new Map<string, number>();
  readonly #bytesReceived = new Map<string, number>();
  #inbox: Delivery[] = [];
  #isInside = false;

  constructor(id: string, network: SimNetwork) {
    this.id = id;
    this.#network = network;
  }

  introduce(hello: PeerHello): void {
    assert(hello.nodeId === this.id, `Cannot introduce ${this.id} as ${hello.nodeId}`);
    if (this.isDead || JSON.stringify(hello) === JSON.stringify(this.hello)) return;
    this.hello = { ...hello };
    this.#dialMs = undefined;
    this.#inside(() => {
      for (const peer of this.peers.keys()) {
        this.#network.letGo(this, peer);
        this.retryAt(peer, this.#network.nowMs);
      }
    });
  }

  setPeers(peers: readonly PeerAddress[]): void {
    if (this.isDead) return;
    const wanted = new Set(peers.map(({ nodeId }) => nodeId));
    this.#inside(() => {
      for (const peer of this.peers.keys()) {
        if (wanted.has(peer)) continue;
        this.#network.letGo(this, peer);
        this.peers.delete(peer);
      }
    });
    for (const peer of wanted) if (!this.peers.has(peer)) this.peers.set(peer, this.#network.nowMs);
    this.#dialMs = undefined;
  }

  link(nodeId: string): PeerLink {
    const stream = this.peers.has(nodeId) ? this.#network.outgoing(this, nodeId) : undefined;
    return {
      isConnected: stream !== undefined,
      hello: this.#met.get(nodeId),
      unsentBytes: stream === undefined ? 0 : this.#network.unsentBytes(stream),
      bytesSent: this.#bytesSent.get(nodeId) ?? 0,
      bytesReceived: this.#bytesReceived.get(nodeId) ?? 0,
    };
  }

  send(to: string, priority: "urgent" | "bulk", parts: readonly Uint8Array[]): boolean {
    const stream = this.#network.outgoing(this, to);
    if (stream === undefined) return false;
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    if (!this.#network.send(stream, priority, bytes)) return false;
    this.#bytesSent.set(to, (this.#bytesSent.get(to) ?? 0) + bytes.length);
    return true;
  }

  poll(): Delivery[] {
    const deliveries = this.#inbox;
    this.#inbox = [];
    this.isWakeOwed = false;
    return deliveries;
  }

  close(): Promise<void> {
    if (!this.isDead) {
      for (const peer of this.peers.keys()) this.#network.letGo(this, peer);
      this.die();
    }
    return Promise.resolve();
  }

  // -- for the network

  /** When the next peer is dialled. */
  get dialMs(): number {
    if (this.#dialMs !== undefined) return this.#dialMs;
    let next = NEVER;
    if (!this.isDead && this.hello !== undefined) {
      for (const [peer, retryMs] of this.peers)
        if (retryMs < next && this.#network.outgoing(this, peer) === undefined) next = retryMs;
    }
    this.#dialMs = next;
    return next;
  }

  /** Connections or peers have changed. */
  forgetDial(): void {
    this.#dialMs = undefined;
  }

  die(): void {
    this.isDead = true;
    this.#dialMs = undefined;
    this.isWakeOwed = false;
    this.#inbox = [];
    this.peers.clear();
  }

  /** Whether somebody who says this of itself may connect. */
  lets(hello: PeerHello): boolean {
    const mine = this.hello?.clusterId ?? "";
    const isOther = mine !== "" && hello.clusterId !== "" && mine !== hello.clusterId;
    return this.peers.has(hello.nodeId) && !isOther;
  }

  met(peer: string, hello: PeerHello | undefined): void {
    if (hello !== undefined) this.#met.set(peer, hello);
  }

  retryAt(peer: string, atMs: number): void {
    this.#dialMs = undefined;
    if (this.peers.has(peer)) this.peers.set(peer, atMs);
  }

  receive(delivery: Delivery): void {
    if (this.isDead) return;
    if (delivery.kind === "message") {
      const { nodeId } = delivery.from;
      const before = this.#bytesReceived.get(nodeId) ?? 0;
      this.#bytesReceived.set(nodeId, before + delivery.bytes.length);
    }
    this.#inbox.push(delivery);
    if (this.#isInside) this.isWakeOwed = true;
    else this.onWake();
  }

  wake(): void {
    this.isWakeOwed = false;
    this.onWake();
  }

  #inside(act: () => void): void {
    this.#isInside = true;
    act();
    this.#isInside = false;
  }
}
