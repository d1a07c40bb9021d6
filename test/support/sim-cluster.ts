// A whole cluster on simulated disks and a simulated network, driven by hand: for tests of one promise, where the simulated
// world tests all of them. One clock; nothing is left to chance but by the seed.

import { drainMicrotasks } from "bun:jsc";
import { Prng } from "../../src/lib/prng.ts";
import type { Result } from "../../src/lib/result.ts";
import type { LogLimits } from "../../src/log/mod.ts";
import type { Refusal } from "../../src/model/errors.ts";
import type { WriteConcern } from "../../src/replica/concerns.ts";
import type { PeerAddress } from "../../src/replica/ports.ts";
import { SimCrash } from "./sim-disk.ts";
import { isSentOn, SimMember, TICK_MS } from "./sim-member.ts";
import { SimNetwork } from "./sim-network.ts";

/** What a test may choose about a cluster. */
export interface SimClusterOptions {
  /** Nodes that found it; three when absent. */
  readonly voters?: number;
  /** Nodes that are there besides, and belong to nothing yet. */
  readonly spares?: number;
  readonly writeConcern?: WriteConcern;
  readonly catchUpBytes?: number;
  readonly limits?: Partial<LogLimits>;
  /** By node, from the first; 100 when absent. */
  readonly priorities?: readonly number[];
  /** The node that is told to found the cluster. */
  readonly bootstrap?: string;
  readonly latencyMsMax?: number;
  readonly freeBytesLimit?: number;
}

const PORT = 7000;
/** Milliseconds in which what a test waits for must come about. */
const UNTIL_MS = 30_000;
/** Things that may happen in one millisecond before the cluster is taken to go round in circles. */
const STEPS_MAX = 100_000;

/** Several nodes, the network between them, and one clock. */
export class SimCluster {
  readonly options: SimClusterOptions;
  readonly network: SimNetwork;
  readonly nodes: readonly SimMember[];
  readonly addresses: readonly PeerAddress[];
  /** Milliseconds since it began. */
  nowMs = 0;
  #nextWaiter = 1;
  /** Nodes whose power fails in a file primitive, when they do. */
  readonly crashed: SimMember[] = [];

  constructor(options: SimClusterOptions = {}, seed = 1) {
    this.options = options;
    const prng = new Prng(seed);
    const { voters = 3, spares = 0, latencyMsMax = 2 } = options;
    this.network = new SimNetwork(prng.fork("network"), { latencyMsMax });
    this.addresses = Array.from({ length: voters + spares }, (_, i) => ({
      nodeId: `n${i + 1}`,
      host: `n${i + 1}`,
      port: PORT,
    }));
    this.nodes = this.addresses.map(
      ({ nodeId }, i) => new SimMember(this, nodeId, i, prng.fork(nodeId)),
    );
  }

  /** A cluster that has been founded and takes writes. */
  static ready(options: SimClusterOptions = {}, seed = 1): SimCluster {
    const cluster = new SimCluster(options, seed);
    for (const node of cluster.founders) node.start();
    cluster.settle();
    return cluster;
  }

  /** The nodes that found it. */
  get founders(): readonly SimMember[] {
    return this.nodes.slice(0, this.options.voters ?? 3);
  }

  /** The `i`th node, from 1. */
  node(i: number): SimMember {
    const node = this.nodes[i - 1];
    if (node === undefined) throw new Error(`There is no node ${i}`);
    return node;
  }

  /** Nodes with a log. */
  live(): SimMember[] {
    return this.nodes.filter((node) => node.hasReplica);
  }

  /** The node that leads and takes writes, once there is one. */
  leader(): SimMember {
    this.until(() => this.#leading() !== undefined);
    return this.#leading() as SimMember;
  }

  #leading(): SimMember | undefined {
    const leading = this.live().filter(({ replica }) => replica.isLeading);
    return leading.sort((left, right) => right.replica.raft.term - left.replica.raft.term)[0];
  }

  /** Founders other than the leader. */
  followers(): [SimMember, SimMember, ...SimMember[]] {
    const leader = this.leader();
    const others = this.founders.filter((node) => node !== leader);
    return others as [SimMember, SimMember, ...SimMember[]];
  }

  /** Cuts a node off from all others, both ways. */
  isolate(node: SimMember): void {
    for (const other of this.nodes) if (other !== node) this.block(node, other);
  }

  /** Nothing gets from one to the other, nor back. */
  block(one: SimMember, other: SimMember): void {
    this.network.block(one.id, other.id);
    this.network.block(other.id, one.id);
  }

  /** Everybody reaches everybody. */
  heal(): void {
    for (const { id } of this.nodes)
      for (const other of this.nodes) this.network.unblock(id, other.id);
  }

  /** Lets everything go on until something is so. */
  until(isDone: () => boolean, withinMs = UNTIL_MS): void {
    const untilMs = this.nowMs + withinMs;
    for (let steps = 0, atMs = this.nowMs; ; steps += 1) {
      drainMicrotasks();
      if (isDone()) return;
      if (this.nowMs > untilMs) throw new Error(`The cluster does not get there: ${this.state()}`);
      if (this.nowMs !== atMs) {
        atMs = this.nowMs;
        steps = 0;
      }
      if (steps > STEPS_MAX) throw new Error(`The cluster goes round in circles: ${this.state()}`);
      this.#step();
    }
  }

  /** Lets time pass. */
  pass(elapsedMs: number): void {
    const endMs = this.nowMs + elapsedMs;
    this.until(() => this.nowMs >= endMs, elapsedMs + 1);
  }

  /** Waits until all that run are in step, and lets what is under way in the background come to its end. */
  settle(): void {
    for (let i = 0; i < 2; i += 1) {
      this.until(() => this.#isInStep());
      this.pass(150);
    }
    this.until(() => this.#isInStep());
  }

  #isInStep(): boolean {
    const index = this.#leading()?.replica.raft.lastIndex;
    if (index === undefined) return false;
    return this.nodes.every((node) => {
      if (!node.isUp) return true;
      if (!node.hasReplica || node.disk.pending > 0) return false;
      const { replica } = node;
      const { members } = replica.membership;
      const isWhole = members.every(({ isReturning }) => !isReturning);
      return (
        isWhole &&
        replica.appliedIndex === index &&
        replica.isIdle &&
        replica.isReady &&
        !replica.raft.isFenced
      );
    });
  }

  /** The next thing happens: a turn, an act of a disk, of the network, or time goes on. */
  #step(): void {
    for (const node of this.nodes) if (this.#guard(node, () => node.act())) return;
    if (this.network.nextMs <= this.nowMs && this.network.step()) return;
    const next = Math.min(this.network.nextMs, ...this.nodes.map((node) => node.nextMs));
    const nextMs = Math.max(Math.min(next, this.nowMs + TICK_MS), this.nowMs + 0.01);
    this.network.advance(nextMs - this.nowMs);
    this.nowMs = nextMs;
  }

  /** A power failure in a file primitive is the end of the node; whatever else is thrown is the test's. */
  #guard(node: SimMember, act: () => boolean): boolean {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof SimCrash)) throw error;
      node.powerLoss();
      this.crashed.push(node);
      return true;
    }
  }

  /** Waits for a promise. */
  wait<T>(answer: T | Promise<T>): T {
    const done: T[] = [];
    const failed: unknown[] = [];
    Promise.resolve(answer).then(
      (value) => done.push(value),
      (error: unknown) => failed.push(error),
    );
    this.until(() => done.length + failed.length > 0);
    if (failed.length > 0) throw failed[0];
    return done[0] as T;
  }

  /** The value of a result that is expected to be good. */
  good<T>(answer: Promise<Result<T, Refusal>>): T {
    const result = this.wait(answer);
    if (!result.ok) throw new Error(`Refused: ${result.error.code} ${result.error.message}`);
    return result.value;
  }

  /** The code of a refusal that is expected. */
  refusal<T>(answer: Promise<Result<T, Refusal>>): string {
    const result = this.wait(answer);
    return result.ok ? "none" : result.error.code;
  }

  /** Makes a topic and gives its id. */
  topic(name: string, partitions = 1): number {
    const request = { name, partitions, mode: "sealed" as const, ttlMs: 0, maxBytes: 0 };
    for (;;) {
      const made = this.wait(this.leader().broker.createTopic(request));
      if (made.ok) return made.value.topicId;
      if (!isSentOn(made.error)) throw new Error(`Refused: ${made.error.code}`);
      this.pass(TICK_MS);
    }
  }

  /** Stores a record by whoever leads, and gives its offset. Sent again, as by a client, where nothing of it was taken. */
  produce(...args: Parameters<SimMember["send"]>): number {
    for (;;) {
      const leader = this.leader();
      const waiter = leader.send(...args);
      this.until(() => leader.isAnswered(waiter));
      if (!leader.isSentOn(waiter)) return leader.stored(waiter).firstOffset;
      this.pass(TICK_MS);
    }
  }

  nextWaiter(): number {
    return this.#nextWaiter++;
  }

  /** What everybody is at, for complaints. */
  state(): string {
    return this.nodes.map((node) => node.state()).join("; ");
  }
}
