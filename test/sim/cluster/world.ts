// The world of a cluster: nodes, the network between them, clients, and everything that may go wrong with them. One thread,
// one seed: a run can be lived through again, event by event. Each event does one thing at one node, lets promises settle,
// and looks.

import { drainMicrotasks } from "bun:jsc";
import { InvariantError } from "../../../src/lib/assert.ts";
import { FatalError } from "../../../src/lib/fatal.ts";
import { Prng } from "../../../src/lib/prng.ts";
import { FileError, joinCluster, openIdentity } from "../../../src/log/mod.ts";
import type { Membership } from "../../../src/model/cluster.ts";
import type { PeerAddress } from "../../../src/replica/ports.ts";
import { SimCrash } from "../../support/sim-disk.ts";
import { SimNetwork } from "../../support/sim-network.ts";
import { isDamage } from "../faults.ts";
import { claim, Violation } from "../shadow.ts";
import { Clients } from "./clients.ts";
import { ClusterFaults } from "./faults.ts";
import { Invariants } from "./invariants.ts";
import { checkNode, judge } from "./judge.ts";
import { Ledger, observeApplied } from "./ledger.ts";
import { MemberClient } from "./members.ts";
import { ClusterNode, urlOf } from "./node.ts";
import { type ClusterPlan, drawClusterPlan } from "./plan.ts";
import { type ClusterBug, plantEverywhere } from "./planted.ts";
import { ClusterTrace } from "./trace.ts";

const PORT = 7000;
/** Milliseconds in which a healed cluster must take a write, and in which all of it must be in step. */
const WRITE_MS_MAX = 30_000;
const SETTLE_MS_MAX = 240_000;
/** Events after which a healed cluster is taken to go round in circles. */
const SETTLE_EVENTS_MAX = 120_000;
const MENDING_MS = 200;
/** Times that everything is looked at, while damage is found and mended. */
const LOOKS_MAX = 20;
/** Milliseconds until a node that ended is started again, at most. */
const DOWN_MS_MAX = 1500;

/** What a world may be told besides its seed. */
export interface ClusterWorldOptions {
  readonly keepTrace?: boolean;
  readonly bug?: ClusterBug | undefined;
}

/** A world from its seed to its end. */
export class ClusterWorld {
  readonly plan: ClusterPlan;
  readonly trace: ClusterTrace;
  readonly network: SimNetwork;
  readonly nodes: readonly ClusterNode[];
  readonly addresses: readonly PeerAddress[];
  readonly ledger: Ledger;
  /** For what clients do with keys. */
  readonly keyPrng: Prng;
  /** For what they do with what is in memory only. */
  readonly rocketPrng: Prng;
  readonly clients: Clients;
  readonly members: MemberClient;
  readonly faults: ClusterFaults;
  readonly scheduler: Prng;
  readonly bug: ClusterBug | undefined;
  /** Milliseconds since the world began. */
  now = 0;
  isHealed = false;
  readonly #invariants: Invariants;
  /** What promises threw; looked at after each event. */
  readonly #thrown: { readonly node: ClusterNode; readonly error: unknown }[] = [];
  readonly #afterwards: (() => void)[] = [];
  /** At whom something is happening. */
  #present: ClusterNode | undefined;

  constructor(seed: number, options: ClusterWorldOptions = {}) {
    const prng = new Prng(seed);
    this.bug = options.bug;
    this.plan = drawClusterPlan(prng.fork("plan"));
    this.trace = new ClusterTrace(options.keepTrace ?? false);
    this.scheduler = prng.fork("scheduler");
    const { faults, latencyMsMax, voters, spares } = this.plan;
    this.network = new SimNetwork(prng.fork("network"), {
      latencyMsMax,
      breaksPerMillion: faults.breaks ? 60 : 0,
      clogsPerMillion: faults.clogs ? 60 : 0,
    });
    const count = voters + spares;
    this.addresses = Array.from({ length: count }, (_, i) => ({
      nodeId: `n${i + 1}`,
      host: `n${i + 1}`,
      port: PORT,
    }));
    this.ledger = new Ledger((id) => this.clients.produces[id - 1]);
    const clocks = prng.fork("clocks");
    this.nodes = this.addresses.map(({ nodeId }, i) => {
      const prngs = { node: prng.fork(`node ${nodeId}`), disk: prng.fork(`disk ${nodeId}`) };
      const node = new ClusterNode(this, i + 1, prngs);
      node.rate = 1 + (clocks.below(2001) - 1000) * (this.plan.driftPerMille / 1_000_000);
      node.wallSkewMs = Math.floor((clocks.below(2001) - 1000) * (this.plan.skewMsMax / 1000));
      node.startMs = clocks.below(300);
      return node;
    });
    this.keyPrng = prng.fork("keys");
    this.rocketPrng = prng.fork("rockets");
    this.clients = new Clients(this, prng.fork("workload"));
    this.members = new MemberClient(this, prng.fork("members"));
    this.faults = new ClusterFaults(this, prng.fork("faults"));
    this.#invariants = new Invariants(this);
    this.trace.event("plan", JSON.stringify(this.plan));
  }

  /** Lives through all of it. Throws `Violation` and whatever else should not happen. */
  run(): void {
    observeApplied((header, bytes, at) =>
      this.ledger.applied(this.#present?.id ?? "nobody", header, bytes, at),
    );
    plantEverywhere(this.bug);
    try {
      if (!this.plan.isFormed) this.#form();
      const { durationMs, eventsMax } = this.plan;
      while (this.now < durationMs && this.trace.step < eventsMax) this.#event(true);
      this.#heal();
      this.#rest();
      this.#lookAtAll();
      judge(this);
    } catch (error) {
      if (error instanceof InvariantError)
        throw new Violation(`${this.#present?.id}: ${error.message}`, { cause: error });
      throw error;
    } finally {
      observeApplied(undefined);
      plantEverywhere(undefined);
    }
  }

  nodeOf(nodeId: string): ClusterNode {
    const node = this.nodes.find(({ id }) => id === nodeId);
    claim(node !== undefined, `There is no node ${nodeId}`);
    return node;
  }

  /** Nodes whose process runs, with a log. */
  live(): ClusterNode[] {
    return this.nodes.filter(({ replica }) => replica !== undefined);
  }

  /** Runs one act of a node; its end, where it was asked for, is part of it. */
  guard(node: ClusterNode, act: () => void): void {
    const before = this.#present;
    this.#present = node;
    try {
      act();
    } catch (error) {
      this.#ended(node, error);
    }
    this.#present = before;
  }

  /** Hands an answer on when it comes, unless the process that gave it is gone by then. */
  later<T>(node: ClusterNode, answer: Promise<T>, take: (value: T) => void): void {
    const { life } = node;
    const isGone = (): boolean => !node.isUp || node.life !== life;
    answer
      .then((value) => {
        if (!isGone()) take(value);
      })
      .catch((error: unknown) => {
        if (isGone()) return;
        // The node stops once the damage is noted; until then nobody is served what was read.
        if (error instanceof FatalError && isDamage(error) && node.hasRot)
          this.trace.about(node, "damage", error.message);
        else this.#thrown.push({ node, error });
      });
  }

  /** Looks at an answer. What is wrong with it ends the event, wherever the answer came from. */
  judge(node: ClusterNode, look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#thrown.push({ node, error });
    }
  }

  /** Does something when this event is over, if the node still runs then. */
  afterwards(node: ClusterNode, act: () => void): void {
    const { life } = node;
    this.#afterwards.push(() => {
      if (node.isUp && node.life === life) act();
    });
  }

  /** A line of a node's own log. */
  said(node: ClusterNode, event: string, fields?: Readonly<Record<string, unknown>>): void {
    this.trace.about(node, event, fields === undefined ? "" : JSON.stringify(fields));
    if (event === "log_damaged") this.foundLoss(node, String(fields?.["what"]));
    // Only one thing rots at a time, and its copy from a peer took its place.
    if (event === "segment_repaired") node.hasRot = false;
  }

  /** A node found that it has lost something: right when the world took it away, wrong at any other time. */
  foundLoss(node: ClusterNode, message: string): void {
    claim(node.hasRot, `${node.id} lost what nobody took: ${message}`);
    node.isLossy = true;
    node.hasFoundLoss = true;
  }

  /** A node has recovered, and is not heard of yet. */
  recovered(node: ClusterNode): void {
    this.#invariants.recovered(node);
  }

  /** Who votes, as far as it was agreed on. */
  voters(): readonly string[] {
    return (
      this.ledger.membership?.voters ??
      this.addresses.slice(0, this.plan.voters).map(({ nodeId }) => nodeId)
    );
  }

  /** The power of one machine fails. */
  powerFails(node: ClusterNode, why: string): void {
    this.#end(node, "power", why, true);
  }

  /** A process ends, and its machine goes on. */
  processDies(node: ClusterNode, why: string): void {
    this.#end(node, "kill", why, false);
  }

  /** A machine is lost, with its disk. */
  wipe(node: ClusterNode): void {
    this.#end(node, "wipe", "with its disk", true);
    node.wipe();
  }

  #end(node: ClusterNode, what: string, why: string, isMachine: boolean): void {
    this.trace.about(node, what, why);
    if (node.isUp) node.end(isMachine);
    node.startMs = this.now + 1 + this.scheduler.below(this.isHealed ? 50 : DOWN_MS_MAX);
    this.clients.nodeEnded(node);
    this.members.nodeEnded(node);
    // What its promises threw went with it; what was found wrong with its answers did not.
    const others = this.#thrown.filter(
      (thrown) => thrown.node !== node || thrown.error instanceof Violation,
    );
    this.#thrown.splice(0, this.#thrown.length, ...others);
  }

  /** A node stopped by itself: right when its disk failed it, wrong at any other time. */
  #ended(node: ClusterNode, error: unknown): void {
    if (error instanceof SimCrash) {
      this.powerFails(node, "in a primitive");
      return;
    }
    if (error instanceof FatalError || error instanceof FileError) {
      const reason = error instanceof FatalError ? error.reason : error.kind;
      this.trace.about(node, "died", `${reason}: ${error.message}`);
      if (isExplained(node, error)) {
        if (this.scheduler.chance(0.5)) this.processDies(node, "after its end");
        else this.powerFails(node, "after its end");
        return;
      }
      throw new Violation(`${node.id} stopped with ${reason}: ${error.message}`, { cause: error });
    }
    if (error instanceof Violation) throw error;
    this.#present = node;
    throw error;
  }

  /** Every voter is told of the cluster before it is first started, as if a forming had gone well. */
  #form(): void {
    const clusterId = "c".repeat(32);
    const voters = this.nodes.slice(0, this.plan.voters);
    const identities = voters.map((node) =>
      openIdentity(node.disk.files, {
        nodeId: node.id,
        startsAlone: false,
        randomId: node.randomId,
      }),
    );
    const membership: Membership = {
      epoch: 1,
      voters: voters.map(({ id }) => id),
      outgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
      members: voters.map((node, i) => ({
        nodeId: node.id,
        address: `${node.id}:${PORT}`,
        httpUrl: urlOf(node.id),
        priority: node.priority,
        incarnation: identities[i]?.meta.incarnation ?? "",
        isReturning: false,
      })),
    };
    for (const [i, node] of voters.entries()) {
      const identity = identities[i];
      if (identity !== undefined) joinCluster(node.disk.files, identity, clusterId, membership);
    }
  }

  /** Lets the next thing happen. */
  #event(hasFaults: boolean): void {
    this.trace.step += 1;
    const networkMs = this.network.nextMs;
    const clientMs = Math.min(
      this.clients.nextMs,
      hasFaults ? this.members.nextMs : Number.POSITIVE_INFINITY,
    );
    const faultMs = hasFaults ? this.faults.nextMs : Number.POSITIVE_INFINITY;
    let nodeMs = Number.POSITIVE_INFINITY;
    let node: ClusterNode | undefined;
    for (const one of this.nodes) {
      const { nextMs } = one;
      if (nextMs >= nodeMs) continue;
      nodeMs = nextMs;
      node = one;
    }
    const next = Math.max(this.now, Math.min(networkMs, clientMs, faultMs, nodeMs));
    if (next > this.now) {
      this.now = next;
      this.network.advance(next - this.network.nowMs);
    }
    this.trace.now = next;
    let looked: readonly ClusterNode[] = [];
    if (nodeMs <= next && node !== undefined) {
      const actor = node;
      this.guard(actor, () => actor.act());
      looked = [actor];
    } else if (networkMs <= next) this.network.step();
    else if (clientMs <= next) {
      if (this.clients.nextMs <= next) this.clients.act();
      else this.members.act();
      looked = this.nodes;
    } else {
      this.faults.strike();
      looked = this.nodes;
    }
    this.#settle();
    for (const one of looked) this.guard(one, () => this.#invariants.look(one));
  }

  /** Lets promises settle. What they throw ends the node that made them. */
  #settle(): void {
    drainMicrotasks();
    for (const act of this.#afterwards.splice(0)) act();
    for (let thrown = this.#thrown.shift(); thrown !== undefined; thrown = this.#thrown.shift()) {
      const { node, error } = thrown;
      this.guard(node, () => {
        throw error;
      });
    }
  }

  /**
   * All is well from here on, first for a majority alone: it must take a write. Then for everybody: every node must be in
   * step, and everything still be there.
   */
  #heal(): void {
    this.isHealed = true;
    const majority = this.faults.majority();
    this.trace.event("heal", majority.map(({ id }) => id).join(" ") || "all");
    this.faults.heal(majority);
    this.clients.hurry();
    const { records } = this.ledger;
    this.#until(() => this.ledger.records > records, WRITE_MS_MAX, "A majority takes no write");
    this.trace.event("heal", "all");
    this.faults.heal([]);
    const { acknowledged } = this.clients;
    this.#until(
      () => this.clients.acknowledged > acknowledged,
      WRITE_MS_MAX,
      "A healed cluster takes no write",
    );
    this.clients.isClosing = true;
    this.#until(() => this.clients.isIdle, SETTLE_MS_MAX, "A client gets no answer");
  }

  /** Waits until every member is in step with the others. */
  #rest(): void {
    this.#until(
      () => this.#invariants.isSettled(),
      SETTLE_MS_MAX,
      "A healed cluster does not come to rest",
    );
  }

  /** Reads everything everywhere. Who finds damage is mended by the others, and looked at again. */
  #lookAtAll(): void {
    for (let round = 0; round < LOOKS_MAX; round++) {
      const wasWhole = this.live().map((node) => checkNode(this, node));
      if (wasWhole.every(Boolean)) return;
      // Whoever found damage is about to stop, or to ask the others.
      const untilMs = this.now + MENDING_MS;
      this.#until(() => this.now >= untilMs, SETTLE_MS_MAX, "Time stands still");
      this.#rest();
    }
    claim(false, "What was found damaged is not mended");
  }

  #until(isDone: () => boolean, elapsedMs: number, complaint: string): void {
    const untilMs = this.now + elapsedMs;
    const untilStep = this.trace.step + SETTLE_EVENTS_MAX;
    while (!isDone()) {
      const isLate = this.now > untilMs || this.trace.step > untilStep;
      if (isLate) throw new Violation(`${complaint}: ${this.#invariants.describe()}`);
      this.#event(false);
    }
  }

  /** Lets everything go on until an answer is there; undefined when the node met damage over it, or ended. */
  wait<T>(node: ClusterNode, answer: T | Promise<T>): T | undefined {
    if (!(answer instanceof Promise)) return answer;
    const done: { readonly value: T | undefined }[] = [];
    const { life, generation } = node;
    const damaged = (error: unknown): undefined => {
      if (!(error instanceof FatalError) || !isDamage(error) || !node.hasRot) throw error;
      done.push({ value: undefined });
    };
    this.later(node, answer.catch(damaged), (value) => done.push({ value }));
    this.#settle();
    this.#until(
      () => done.length > 0 || node.life !== life || node.generation !== generation,
      SETTLE_MS_MAX,
      "A read does not end",
    );
    return done[0]?.value;
  }
}

/** Whether the world gave a node a reason to stop so. */
function isExplained(node: ClusterNode, error: FatalError | FileError): boolean {
  if (error instanceof FileError)
    return (
      (error.kind === "no_space" && node.mayBeFull) || (error.kind === "io" && node.hasFailedSync)
    );
  if (isDamage(error)) return node.hasRot;
  return node.hasFailedSync && error.reason === "sync_failed";
}
