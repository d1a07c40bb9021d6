// One node of a cluster driven by hand, through all its lives: the production `Replica`, `NodeBroker` and `Forming` over a
// simulated disk, put together as `src/main.ts` does it, set-aside and replaced logs included.

import { FatalError } from "../../src/lib/fatal.ts";
import type { Logger } from "../../src/lib/logger.ts";
import type { Prng } from "../../src/lib/prng.ts";
import { type Identity, type LogLimits, openIdentity, setAside } from "../../src/log/mod.ts";
import { isAlone } from "../../src/model/cluster.ts";
import type { Refusal } from "../../src/model/errors.ts";
import type { ProduceRequest } from "../../src/model/produce.ts";
import { RecordCursor } from "../../src/model/record.ts";
import { type Clock, Forming, NodeBroker, Replica, ReplicaProbe } from "../../src/replica/mod.ts";
import type { PeerAddress } from "../../src/replica/ports.ts";
import type { SimCluster } from "./sim-cluster.ts";
import { SimDisk } from "./sim-disk.ts";
import { TappedTransport } from "./tapped-transport.ts";

const LIMITS: LogLimits = {
  segmentBytes: 1 << 16,
  reserveBytes: 1 << 18,
  slabBytes: 1 << 15,
  tailBytes: 1 << 17,
};
/** Every node ticks so often. */
export const TICK_MS = 10;
const ELECTION_TICKS = 30;
const HEARTBEAT_TICKS = 5;
/** Where the wall clocks stand at the beginning. */
const EPOCH_MS = 1_700_000_000_000;
const FORMING_MS = 20;
const NEVER = Number.POSITIVE_INFINITY;

/** Whether a write was refused by a node that takes none: nothing of it was taken. */
export const isSentOn = ({ code }: Refusal): boolean =>
  ["not_leader", "redirect_to_leader", "not_ready"].includes(code);

/** What was said of a produce that was stored. */
export interface Stored {
  readonly firstOffset: number;
  readonly raftIndex: number;
  readonly synced: number;
  readonly duplicate: number;
}

/** A node, whether its process runs or not. */
export class SimMember {
  readonly id: string;
  disk: SimDisk;
  isUp = false;
  /** While true its disk does nothing at all. */
  isDiskHeld = false;
  wallSkewMs = 0;
  /** Its own list of nodes; the founders and itself when absent. */
  list: readonly string[] | undefined;
  /** Lines of its log, as `event` and fields. */
  readonly said: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[] =
    [];
  /** How produces ended, by waiter, in the order in which it was told. */
  readonly outcomes = new Map<number, (Stored | { readonly refused: Refusal })[]>();
  readonly #cluster: SimCluster;
  readonly #index: number;
  readonly #prng: Prng;
  #transport: TappedTransport | undefined;
  #replica: Replica | undefined;
  #broker: NodeBroker | undefined;
  #forming: Forming | undefined;
  #isTurnWanted = false;
  #isReplaced = false;
  #tickMs = NEVER;
  #formMs = NEVER;
  #bornMs = 0;
  #disks = 0;

  constructor(cluster: SimCluster, id: string, index: number, prng: Prng) {
    this.#cluster = cluster;
    this.id = id;
    this.#index = index;
    this.#prng = prng;
    this.disk = this.#newDisk();
  }

  #newDisk(): SimDisk {
    const { freeBytesLimit = 2 ** 26 } = this.#cluster.options;
    this.#disks += 1;
    const prng = this.#prng.fork(`disk ${this.#disks}`);
    return new SimDisk({ prng, sectorBytes: 512, freeBytesLimit, writesOnce: true });
  }

  get hasReplica(): boolean {
    return this.#replica !== undefined;
  }

  get replica(): Replica {
    if (this.#replica === undefined) throw new Error(`${this.id} has no log: ${this.state()}`);
    return this.#replica;
  }

  get broker(): NodeBroker {
    if (this.#broker === undefined) throw new Error(`${this.id} has no log: ${this.state()}`);
    return this.#broker;
  }

  get transport(): TappedTransport {
    if (this.#transport === undefined) throw new Error(`${this.id} does not run`);
    return this.#transport;
  }

  get probe(): ReplicaProbe {
    return new ReplicaProbe(this.replica, this.disk.kind, this.disk.syncLatencyUs);
  }

  /** Whether a line of its log says this. */
  hasSaid(event: string): boolean {
    return this.said.some((line) => line.event === event);
  }

  state(): string {
    if (!this.isUp) return `${this.id} is down`;
    if (this.#replica === undefined) return `${this.id} waits`;
    const { raft, appliedIndex, log, isReady, membership } = this.#replica;
    const { role, term, commitIndex, lastIndex, leaderId, isFenced } = raft;
    const { voters, learners } = membership;
    return `${this.id} ${JSON.stringify({ role, term, leaderId, lastIndex, commitIndex, appliedIndex, synced: log.syncedIndex, isReady, isFenced, voters, learners, disk: this.disk.pending })}`;
  }

  // -- its lives

  /** The process is started. Throws whatever ends it. */
  start(): void {
    this.isUp = true;
    this.#bornMs = this.#cluster.nowMs - this.#prng.below(1000);
    this.#transport = new TappedTransport(this.#cluster.network.node(this.id));
    this.#open();
  }

  /** The process is gone, the machine is not. */
  kill(): void {
    this.#end();
  }

  /** The power fails: what was not synced may be lost. */
  powerLoss(): void {
    this.disk.crash();
    this.#end();
  }

  #end(): void {
    this.disk = this.disk.reopened();
    this.#cluster.network.crash(this.id);
    this.isUp = false;
    this.#replica = undefined;
    this.#broker = undefined;
    this.#forming = undefined;
    this.#isTurnWanted = false;
    this.#isReplaced = false;
    this.#tickMs = NEVER;
    this.#formMs = NEVER;
  }

  /** The process is killed and started again. */
  restart(): void {
    if (this.isUp) this.kill();
    this.start();
  }

  /** Everything that it had is gone. */
  wipe(): void {
    if (this.isUp) this.powerLoss();
    this.disk = this.#newDisk();
  }

  /** The log is opened, or the node looks for its cluster. A member whose data is of no use sets it aside, whole. */
  #open(): void {
    for (;;) {
      let identity: Identity | undefined;
      try {
        const { id: nodeId, randomId } = this;
        identity = openIdentity(this.disk.files, { nodeId, startsAlone: false, randomId });
        if (identity.meta.clusterId === "") this.#form(identity);
        else this.#begin(identity);
        return;
      } catch (error) {
        const isLoss =
          error instanceof FatalError &&
          (error.reason === "log_corrupt" || error.reason === "data_unusable");
        // Who is alone has the only copy.
        const isAloneHere =
          identity !== undefined && isAlone(identity.hardState.membership, this.id);
        if (!isLoss || isAloneHere) throw error;
        this.logger.error("data_set_aside", { message: error.message });
        setAside(this.disk.files);
      }
    }
  }

  #form(identity: Identity): void {
    this.#formMs = this.#cluster.nowMs;
    this.#forming = new Forming({
      disk: this.disk,
      identity,
      transport: this.transport,
      clock: this.clock,
      logger: this.logger,
      nodes: this.#listed().map((address) => ({
        ...address,
        priority: this.#cluster.nodes.find(({ id }) => id === address.nodeId)?.priority ?? 100,
      })),
      isBootstrap: this.#cluster.options.bootstrap === this.id,
      httpUrl: `http://${this.id}`,
      randomId: this.randomId,
    });
  }

  #listed(): readonly PeerAddress[] {
    const { addresses, founders } = this.#cluster;
    const list = this.list ?? [this.id, ...founders.map(({ id }) => id)];
    return addresses.filter(({ nodeId }) => list.includes(nodeId));
  }

  get priority(): number {
    return this.#cluster.options.priorities?.[this.#index] ?? 100;
  }

  #begin(identity: Identity): void {
    const { options } = this.#cluster;
    const replica = new Replica({
      identity,
      disk: this.disk,
      transport: this.transport,
      cluster: {
        writeConcern: options.writeConcern ?? "majority",
        tickMs: TICK_MS,
        electionTicks: ELECTION_TICKS,
        heartbeatTicks: HEARTBEAT_TICKS,
        httpUrl: `http://${this.id}`,
        addresses: this.#listed(),
        catchUpBytes: options.catchUpBytes ?? 2 ** 30,
      },
      random: () => this.#prng.below(1 << 20) / (1 << 20),
      clock: this.clock,
      sink: {
        submittedMs: 0,
        produced: (waiter, firstOffset, _count, _partition, raftIndex, synced, duplicate) =>
          this.#tell(waiter, { firstOffset, raftIndex, synced, duplicate }),
        refused: (waiter, refused) => this.#tell(waiter, { refused }),
      },
      requestTurn: () => {
        this.#isTurnWanted = true;
      },
      logger: this.logger,
      limits: { ...LIMITS, ...options.limits },
      settings: { idempotencyTtlMs: 1e9, idempotencyKeysMax: 1e6 },
      randomId: this.randomId,
      randomSalt: () => this.#prng.u32(),
    });
    // A turn comes after what woke the node, not inside of it.
    const wake = (): void => {
      this.#isTurnWanted = true;
    };
    this.disk.onWake = wake;
    this.transport.onWake = wake;
    this.#replica = replica;
    this.#broker = new NodeBroker(replica, {
      topicsMax: 100,
      partitionsMax: 1000,
      groupsMax: 1000,
      waitingMax: 1000,
      keysMax: 10_000,
      bytesMax: 1 << 26,
      namespacesMax: 100,
    });
    replica.onReplaced = () => {
      this.#isReplaced = true;
    };
    this.#isTurnWanted = true;
    this.#tickMs = this.#cluster.nowMs;
  }

  readonly randomId = (): string =>
    Array.from({ length: 4 }, () => this.#prng.u32().toString(16).padStart(8, "0")).join("");

  readonly clock: Clock = {
    wallMs: () => EPOCH_MS + Math.floor(this.#cluster.nowMs) + this.wallSkewMs,
    monotonicMs: () => this.#cluster.nowMs - this.#bornMs,
  };

  readonly logger: Logger = {
    debug: (event, fields) => this.#say(event, fields),
    info: (event, fields) => this.#say(event, fields),
    warn: (event, fields) => this.#say(event, fields),
    error: (event, fields) => this.#say(event, fields),
    room: () => this.logger,
  };

  #say(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.said.push({ event, fields });
  }

  // -- for the cluster

  /** When something is due here. */
  get nextMs(): number {
    return Math.min(this.#tickMs, this.#formMs);
  }

  /** Does one thing that is due. False: nothing is. */
  act(): boolean {
    if (!this.isUp) return false;
    const { nowMs } = this.#cluster;
    if (this.#isReplaced) {
      this.#isReplaced = false;
      this.replica.log.close();
      this.#open();
    } else if (this.#isTurnWanted) {
      this.#isTurnWanted = false;
      this.#replica?.turn();
    } else if (!this.isDiskHeld && this.disk.step()) {
      // Something on the disk is done.
    } else if (this.#tickMs <= nowMs) {
      this.#tickMs = nowMs + TICK_MS;
      this.#replica?.tick();
    } else if (this.#formMs <= nowMs) this.#goOnForming(nowMs);
    else return false;
    return true;
  }

  #goOnForming(nowMs: number): void {
    this.#formMs = nowMs + FORMING_MS;
    if (this.#forming?.turn() !== true) return;
    this.#forming = undefined;
    this.#formMs = NEVER;
    this.#open();
  }

  // -- for tests

  /** Sends a produce and gives its waiter; a refusal at once is an outcome, too. */
  send(
    topicId: number,
    body: Uint8Array | string,
    fields: Partial<Omit<ProduceRequest, "idempotencyKey" | "key">> & {
      readonly idempotencyKey?: string;
    } = {},
  ): number {
    const waiter = this.#cluster.nextWaiter();
    const { idempotencyKey: key } = fields;
    const refused = this.broker.produce(waiter, {
      topicId,
      ack: "configured",
      partition: 0,
      expectedOffset: -1,
      headers: undefined,
      ranges: undefined,
      count: 1,
      ...fields,
      body: typeof body === "string" ? new TextEncoder().encode(body) : body,
      key: undefined,
      idempotencyKey: key === undefined ? undefined : new TextEncoder().encode(key),
    });
    if (refused !== undefined) this.#tell(waiter, { refused });
    return waiter;
  }

  #tell(waiter: number, outcome: Stored | { readonly refused: Refusal }): void {
    const told = this.outcomes.get(waiter);
    if (told === undefined) this.outcomes.set(waiter, [outcome]);
    else told.push(outcome);
  }

  /** Whether a produce was answered. */
  isAnswered(waiter: number): boolean {
    return this.outcomes.has(waiter);
  }

  /** Whether a produce was refused because this node does not take writes: nothing of it was taken. */
  isSentOn(waiter: number): boolean {
    const [told] = this.outcomes.get(waiter) ?? [];
    if (told === undefined || !("refused" in told)) return false;
    return isSentOn(told.refused);
  }

  /** What a produce was told about how widely it is synced, in order. */
  synced(waiter: number): number[] {
    return (this.outcomes.get(waiter) ?? []).map((told) => ("refused" in told ? -9 : told.synced));
  }

  /** How a produce that must be stored ended. */
  stored(waiter: number): Stored {
    this.#cluster.until(() => this.isAnswered(waiter));
    const [told] = this.outcomes.get(waiter) ?? [];
    if (told === undefined || "refused" in told)
      throw new Error(`Refused: ${JSON.stringify(told?.refused)}`);
    return told;
  }

  /** Why a produce that must not be stored was not. */
  refused(waiter: number): Refusal {
    this.#cluster.until(() => this.isAnswered(waiter));
    const [told] = this.outcomes.get(waiter) ?? [];
    if (told === undefined || !("refused" in told)) throw new Error("It was stored");
    return told.refused;
  }

  /** Values of a partition as this node has applied them. */
  texts(topicId: number, partition = 0): string[] {
    const { startOffset, nextOffset } = this.broker.partition(topicId, partition);
    const texts: string[] = [];
    const cursor = new RecordCursor();
    for (let at = startOffset; at < nextOffset; ) {
      const request = { topicId, partition, offset: at, maxRecords: 1000, maxBytes: 1 << 20 };
      const batch = this.broker.read(request);
      const take = (found: Awaited<typeof batch>): void => {
        for (const slice of found.slices) {
          cursor.reset(slice.bytes, slice.start, slice.end);
          for (let offset = slice.baseOffset; cursor.next(); offset += 1) {
            if (offset !== at || offset >= nextOffset) continue;
            texts.push(
              new TextDecoder().decode(slice.bytes.subarray(cursor.valueStart, cursor.valueEnd)),
            );
            at += 1;
          }
        }
      };
      const before = at;
      // In the same turn as the answer: afterwards the bytes may be used again.
      if (batch instanceof Promise) this.#cluster.wait(batch.then(take));
      else take(batch);
      if (at === before) throw new Error(`Nothing at ${at} of ${nextOffset}`);
    }
    return texts;
  }

  /** Bytes of all its entries that are durable, without the frames between them. */
  entries(from = 1, to = this.replica.log.syncedIndex): Uint8Array {
    const { log } = this.replica;
    const parts: Uint8Array[] = [];
    for (let at = from; at <= to; ) {
      const span = this.#cluster.wait(log.entries.read(at, to, 1 << 20));
      for (const { bytes, start, end } of span.slices) parts.push(bytes.slice(start, end));
      log.entries.release(span);
      at = span.lastIndex + 1;
    }
    return new Uint8Array(Buffer.concat(parts));
  }
}
