// One node of a simulated cluster through all its lives: the production `Replica`, `NodeBroker` and `Forming` over a simulated
// disk, network and clocks, put together as `src/main.ts` does it. Does what it is told when it is told; the world says when.

import { assert } from "../../../src/lib/assert.ts";
import { FatalError } from "../../../src/lib/fatal.ts";
import type { Logger } from "../../../src/lib/logger.ts";
import type { Prng } from "../../../src/lib/prng.ts";
import { type Identity, openIdentity, setAside } from "../../../src/log/mod.ts";
import type { Configuration } from "../../../src/raft/mod.ts";
import type { TermRuns } from "../../../src/raft/terms.ts";
import {
  type Clock,
  Forming,
  NodeBroker,
  Replica,
  type Transport,
} from "../../../src/replica/mod.ts";
import type { PeerAddress } from "../../../src/replica/ports.ts";
import { SimDisk } from "../../support/sim-disk.ts";
import { isDamage } from "../faults.ts";
import { plantClusterBug, plantedDisk } from "./planted.ts";
import type { ClusterWorld } from "./world.ts";

const NEVER = Number.POSITIVE_INFINITY;
/** Where the wall clocks stand at the beginning. */
const EPOCH_MS = 1_700_000_000_000;
const FORMING_MS = 20;
const RETENTION_MS = 1000;
/** Milliseconds until a turn that was asked for: a pass of the event loop. */
const TURN_MS_MAX = 0.2;
const WORDS = ["debug", "info", "warn", "error"] as const;

/** What a node had made durable when it was last looked at. */
interface Durable {
  readonly syncedIndex: number;
  readonly terms: TermRuns;
}

/** How far a node had got when it was last looked at, and by which configuration it went then. */
interface Marks {
  commitIndex: number;
  appliedIndex: number;
  syncedIndex: number;
  configuration: Configuration | undefined;
}

const NO_MARKS: Marks = {
  commitIndex: 0,
  appliedIndex: 0,
  syncedIndex: 0,
  configuration: undefined,
};

/** A node, whether its process runs or not. */
export class ClusterNode {
  readonly id: string;
  readonly priority: number;
  disk: SimDisk;
  replica: Replica | undefined;
  broker: NodeBroker | undefined;
  /** Processes so far. */
  life = 0;
  /** Replicas so far: a process makes another one when files took the place of its log. */
  generation = 0;
  isUp = false;
  isPaused = false;
  /** What it promised may be lost: it was wiped, or sectors of it rotted. */
  isLossy = false;
  hasRot = false;
  /** The node has found that something is lost, and has not come to terms with it. */
  hasFoundLoss = false;
  hasFailedSync = false;
  /** Whether its disk has been full since the process started. */
  mayBeFull = false;
  /** Room taken away from its disk, to be given back. */
  takenBytes = 0;
  wallSkewMs = 0;
  /** The clock's milliseconds per one of the world's. */
  rate = 1;
  /** How much longer than usual its disk takes. */
  diskFactor = 1;
  diskStalledUntilMs = 0;

  // When it next does what.
  startMs = 0;
  resumeMs = NEVER;
  turnMs = NEVER;
  tickMs = NEVER;
  diskMs = NEVER;
  retentionMs = NEVER;
  /** Of a node that is empty, or whose log was replaced. */
  openMs = NEVER;

  /** What is known of the present process: never to go back. */
  readyFloor = 0;
  wasReady = false;
  /** The newest membership that it went by. */
  epoch = 0;
  marks: Marks = { ...NO_MARKS };
  /** It has everything that was agreed on up to here, durably. */
  heldIndex = 0;
  /** Requests that came while it was paused. */
  readonly deferred: (() => void)[] = [];
  #forming: Forming | undefined;
  #isReplaced = false;
  #bornMs = 0;
  #durable: Durable | undefined;
  readonly #world: ClusterWorld;
  readonly #prng: Prng;
  readonly #diskPrng: Prng;

  constructor(world: ClusterWorld, index: number, prngs: { node: Prng; disk: Prng }) {
    this.#world = world;
    this.#prng = prngs.node;
    this.#diskPrng = prngs.disk;
    this.id = `n${index}`;
    this.priority = world.plan.priorities === "equal" ? 100 : 100 + index;
    this.disk = this.#newDisk();
  }

  /** What a node has on an empty disk. */
  #newDisk(): SimDisk {
    const prng = this.#diskPrng.fork(`disk ${this.life}`);
    const { reads } = this.#world.plan;
    const options = { prng, reads, freeBytesLimit: 2 ** 26, writesOnce: true };
    return new SimDisk({ ...options, ...plantedDisk(this.#world.bug) });
  }

  /** A random id, as the node itself draws them. */
  readonly randomId = (): string =>
    Array.from({ length: 4 }, () => this.#prng.u32().toString(16).padStart(8, "0")).join("");

  /** When something is due here; never, while it is paused, but for its disk. */
  get nextMs(): number {
    if (!this.isUp) return this.startMs;
    const disk = this.#nextDiskMs;
    if (this.isPaused) return Math.min(disk, this.resumeMs);
    return Math.min(disk, this.turnMs, this.tickMs, this.retentionMs, this.openMs);
  }

  get #nextDiskMs(): number {
    if (this.disk.pending === 0) {
      this.diskMs = NEVER;
      return NEVER;
    }
    if (this.diskMs === NEVER) {
      const { diskMsMax } = this.#world.plan;
      this.diskMs =
        this.#world.now + (this.#diskPrng.below(1000) / 1000) * diskMsMax * this.diskFactor;
    }
    return Math.max(this.diskMs, this.diskStalledUntilMs);
  }

  /** Does what is due first. */
  act(): void {
    const { now } = this.#world;
    if (!this.isUp) this.start();
    else if (this.#nextDiskMs <= now) {
      this.diskMs = NEVER;
      this.disk.step();
    } else if (this.isPaused) this.resume();
    else if (this.turnMs <= now) this.turn();
    else if (this.tickMs <= now) this.#tick();
    else if (this.openMs <= now) this.#reopen();
    else if (this.retentionMs <= now) {
      this.retentionMs = now + RETENTION_MS;
      // Floors that rise while everything is looked at would be taken for a difference.
      if (this.#world.plan.isHurried) this.replica?.log.reclaimNow();
      if (!this.#world.clients.isClosing) this.broker?.retentionPass.start();
    }
  }

  turn(): void {
    this.turnMs = NEVER;
    this.replica?.turn();
  }

  #tick(): void {
    this.tickMs = this.#world.now + this.#world.plan.tickMs / this.rate;
    this.replica?.tick();
  }

  /** Asks for a turn at the end of what is happening. */
  #wake(): void {
    this.turnMs = Math.min(this.turnMs, this.#world.now);
  }

  /** A process is started. Throws whatever ends it. */
  start(): void {
    this.life += 1;
    this.isUp = true;
    this.startMs = NEVER;
    this.#bornMs = this.#world.now - this.#prng.below(1000);
    this.readyFloor = this.#world.ledger.lastIndex;
    this.wasReady = false;
    this.marks = { ...NO_MARKS };
    this.#world.trace.about(this, "start", this.disk.files.list().sort().join(" "));
    this.#open(this.#world.network.node(this.id));
  }

  /** The log is opened, or the node looks for its cluster. A member whose data is of no use sets it aside, whole. */
  #open(transport: Transport): void {
    this.openMs = NEVER;
    for (;;) {
      try {
        const { id: nodeId, randomId } = this;
        const identity = openIdentity(this.disk.files, { nodeId, startsAlone: false, randomId });
        if (identity.meta.clusterId === "") this.#beginForming(transport, identity);
        else this.#begin(transport, identity);
        return;
      } catch (error) {
        if (!(error instanceof FatalError) || !isDamage(error)) throw error;
        this.#world.foundLoss(this, error.message);
        this.#world.trace.about(this, "set_aside", error.message);
        setAside(this.disk.files);
        this.hasRot = false;
      }
    }
  }

  #beginForming(transport: Transport, identity: Identity): void {
    const { addresses, plan } = this.#world;
    const isListed = ({ nodeId }: PeerAddress): boolean =>
      nodeId === this.id || addresses.findIndex((at) => at.nodeId === nodeId) < plan.voters;
    this.#forming = new Forming({
      disk: this.disk,
      identity,
      transport,
      clock: this.#clock(),
      logger: this.#logger(),
      nodes: addresses.filter(isListed).map((at) => ({
        ...at,
        priority: this.#world.nodeOf(at.nodeId).priority,
      })),
      isBootstrap: false,
      httpUrl: urlOf(this.id),
      randomId: this.randomId,
    });
    transport.onWake = () => undefined;
    this.#world.trace.about(this, "forming");
    this.openMs = this.#world.now;
  }

  /** Goes on with what is not a replica yet, or no longer. */
  #reopen(): void {
    this.openMs = this.#world.now + FORMING_MS;
    const transport = this.#world.network.node(this.id);
    if (this.#isReplaced) {
      this.#isReplaced = false;
      this.replica?.log.close();
      this.#open(transport);
      return;
    }
    assert(this.#forming !== undefined, "A node without a log looks for its cluster");
    if (!this.#forming.turn()) return;
    this.#forming = undefined;
    this.#open(transport);
  }

  #begin(transport: Transport, identity: Identity): void {
    const { plan } = this.#world;
    this.generation += 1;
    const { generation } = this;
    const settings = plan.settings[Number(this.id.slice(1)) % plan.settings.length];
    assert(settings !== undefined, "A plan has settings");
    this.noteDurable();
    this.replica = undefined;
    this.broker = undefined;
    this.marks = { ...NO_MARKS };
    this.wasReady = false;
    const { clients } = this.#world;
    const replica = new Replica({
      identity,
      disk: this.disk,
      transport,
      cluster: {
        writeConcern: plan.writeConcern,
        tickMs: plan.tickMs,
        electionTicks: plan.electionTicks,
        heartbeatTicks: plan.heartbeatTicks,
        httpUrl: urlOf(this.id),
        addresses: this.#world.addresses,
        catchUpBytes: plan.catchUpBytes,
      },
      random: () => this.#prng.below(1 << 20) / (1 << 20),
      clock: this.#clock(),
      sink: {
        submittedMs: 0,
        produced: (waiter, firstOffset, count, partition, raftIndex, synced, duplicate) => {
          const outcome = { firstOffset, count, partition, raftIndex, synced, duplicate };
          this.#world.judge(this, () => clients.produced(this, generation, waiter, outcome));
        },
        refused: (waiter, refusal) =>
          this.#world.judge(this, () => clients.refused(this, generation, waiter, refusal)),
      },
      requestTurn: () => {
        const soonMs = this.#world.now + (this.#prng.below(1000) / 1000) * TURN_MS_MAX;
        this.turnMs = Math.min(this.turnMs, soonMs);
      },
      logger: this.#logger(),
      limits: plan.limits,
      settings,
      randomId: this.randomId,
      randomSalt: () => this.#prng.u32(),
    });
    // Whatever wakes it does so from inside a step of the disk or of the network: its turn comes right after.
    this.disk.onWake = () => this.#wake();
    transport.onWake = () => this.#wake();
    this.broker = new NodeBroker(replica, {
      topicsMax: 100,
      partitionsMax: 1000,
      groupsMax: 1000,
      waitingMax: 1000,
      keysMax: 10_000,
      bytesMax: 1 << 26,
      namespacesMax: 100,
    });
    replica.onReplaced = () => {
      this.#world.trace.about(this, "replaced");
      this.#isReplaced = true;
      this.openMs = this.#world.now;
    };
    plantClusterBug(this.#world.bug, this, replica);
    this.replica = replica;
    this.tickMs = this.#world.now;
    this.retentionMs = this.#world.now + RETENTION_MS;
    const { appliedIndex, raft } = replica;
    this.#world.trace.about(
      this,
      "recovered",
      `applied ${appliedIndex}, ends at ${raft.lastIndex}, term ${raft.term}, fenced ${raft.isFenced}`,
    );
    if (this.hasFoundLoss) this.hasRot = false;
    this.hasFoundLoss = false;
    this.#world.recovered(this);
  }

  #clock(): Clock {
    return {
      wallMs: () => EPOCH_MS + Math.floor(this.#world.now) + this.wallSkewMs,
      monotonicMs: () => (this.#world.now - this.#bornMs) * this.rate,
    };
  }

  #logger(): Logger {
    const say = (event: string, fields?: Readonly<Record<string, unknown>>): void => {
      this.#world.said(this, event, fields);
    };
    const logger: Record<string, unknown> = { room: () => logger };
    for (const word of WORDS) logger[word] = say;
    return logger as unknown as Logger;
  }

  /** The process gets no turn until it is told to go on. */
  pause(untilMs: number): void {
    this.isPaused = true;
    this.resumeMs = untilMs;
  }

  resume(): void {
    this.isPaused = false;
    this.resumeMs = NEVER;
    const { now } = this.#world;
    this.tickMs = Math.max(this.tickMs, now);
    this.#wake();
    for (const request of this.deferred.splice(0)) request();
  }

  /** The process is gone. @param isMachine The machine too: what was not synced may be lost. */
  end(isMachine: boolean): void {
    this.noteDurable();
    if (isMachine) this.disk.crash();
    this.disk = this.disk.reopened();
    this.#world.network.crash(this.id);
    this.isUp = false;
    this.isPaused = false;
    this.replica = undefined;
    this.broker = undefined;
    this.#forming = undefined;
    this.#isReplaced = false;
    this.hasFailedSync = false;
    this.mayBeFull = this.takenBytes > 0;
    this.diskFactor = 1;
    this.diskStalledUntilMs = 0;
    this.deferred.length = 0;
    for (const when of ["turnMs", "tickMs", "diskMs", "retentionMs", "openMs", "resumeMs"] as const)
      this[when] = NEVER;
  }

  /** Everything that it had is gone. Its process is not running. */
  wipe(): void {
    this.disk = this.#newDisk();
    this.#durable = undefined;
    this.epoch = 0;
    this.heldIndex = 0;
    this.isLossy = true;
    this.hasRot = false;
    this.takenBytes = 0;
    this.mayBeFull = false;
  }

  /** Whether the entry `index` of `term` is durable here, or was, before what the world took away. */
  holds(index: number, term: number): boolean {
    if (this.isLossy) return true;
    this.noteDurable();
    const durable = this.#durable;
    if (durable === undefined || index > durable.syncedIndex) return false;
    // What it has compacted was agreed on.
    const isCompacted = index < durable.terms.firstIndex;
    const known = isCompacted ? this.#world.ledger.at(index)?.term : durable.terms.at(index);
    return known === term;
  }

  /** Where its durable log ends; undefined for a node that may not vote before it is mended. */
  durableEnd(): { readonly index: number; readonly term: number } | undefined {
    if (this.isLossy) return undefined;
    this.noteDurable();
    const { syncedIndex: index, terms } = this.#durable ?? { syncedIndex: 0, terms: undefined };
    return { index, term: terms?.at(index) ?? 0 };
  }

  /** Remembers what is durable, before the process that knows it ends. */
  noteDurable(): void {
    const { replica } = this;
    if (replica === undefined) return;
    this.#durable = { syncedIndex: replica.log.syncedIndex, terms: replica.raft.terms };
  }
}

/** Base of a node's HTTP address. */
export const urlOf = (nodeId: string): string => `http://${nodeId}`;
