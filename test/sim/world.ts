// The world of one node: its disk, its clocks, its clients, and everything that may go wrong with them. One thread, one
// seed: a run can be lived through again, step by step. Each step does one thing, lets promises settle, and looks.

import { drainMicrotasks } from "bun:jsc";
import { FatalError } from "../../src/lib/fatal.ts";
import { Prng } from "../../src/lib/prng.ts";
import { FileError } from "../../src/log/mod.ts";
import { SimCrash, SimDisk } from "../support/sim-disk.ts";
import { Clients } from "./clients.ts";
import { Faults, isDamage } from "./faults.ts";
import { checkIndexes, checkRules, checkState, newWatermarks } from "./invariants.ts";
import { Node } from "./node.ts";
import { acknowledged } from "./outcomes.ts";
import { drawPlan, type Plan } from "./plan.ts";
import { type BugName, plantBug, plantedDirectory } from "./planted.ts";
import { recordsOf, settle } from "./settle.ts";
import { claim, Shadow, Violation } from "./shadow.ts";
import { Trace } from "./trace.ts";

/** Milliseconds between two ticks of the replica, as in production. */
const TICK_MS = 50;
const RETENTION_MS = 1000;
/** Steps in which a healed node must be ready and take a write. */
const LIVENESS_STEPS_MAX = 4000;
/** Where the wall clock stands at the beginning. */
const EPOCH_MS = 1_700_000_000_000;

/** A world from its seed to its end. */
export class World {
  readonly plan: Plan;
  readonly trace: Trace;
  readonly shadow = new Shadow();
  readonly scheduler: Prng;
  readonly bug: BugName | undefined;
  disk: SimDisk;
  node: Node | undefined;
  /** Milliseconds since the world began. */
  now = 0;
  wallSkewMs = 0;
  /** Whether the disk has been full since the node started. */
  mayBeFull = false;
  /** Whether the end has come: a rotten sector was found and the node refuses to go on. */
  isOver = false;
  readonly #clients: Clients;
  readonly #faults: Faults;
  readonly #nodePrng: Prng;
  #life = 0;
  #nextTickMs = TICK_MS;
  #nextRetentionMs = RETENTION_MS;
  #marks = newWatermarks();
  /** What promises threw; looked at after each step. */
  readonly #thrown: unknown[] = [];

  constructor(
    seed: number,
    options: { readonly keepTrace?: boolean; readonly bug?: BugName | undefined } = {},
  ) {
    const prng = new Prng(seed);
    this.bug = options.bug;
    this.plan = drawPlan(prng.fork("plan"));
    this.trace = new Trace(options.keepTrace ?? false);
    this.scheduler = prng.fork("scheduler");
    this.#nodePrng = prng.fork("node");
    const diskPrng = prng.fork("disk");
    const freeBytesLimit = 2 ** 27;
    const diskOptions = {
      prng: diskPrng,
      reads: this.plan.reads,
      freeBytesLimit,
      writesOnce: true,
    };
    this.disk = new SimDisk(diskOptions, plantedDirectory(this.bug, diskPrng, freeBytesLimit));
    this.#clients = new Clients(this, prng.fork("workload"));
    this.#faults = new Faults(this, prng.fork("faults"));
    this.shadow.clockJumps = this.plan.faults.clock;
    for (const settings of this.plan.settings) {
      this.shadow.ttlMsMin = Math.min(this.shadow.ttlMsMin, settings.idempotencyTtlMs);
      this.shadow.keysMaxMin = Math.min(this.shadow.keysMaxMin, settings.idempotencyKeysMax);
    }
    this.trace.event("plan", JSON.stringify(this.plan));
  }

  /** Lives through all of it. Throws `Violation` and whatever else should not happen. */
  run(): void {
    for (let step = 0; step < this.plan.steps && !this.isOver; step++) {
      this.#step();
      if (!this.isOver) this.#guard(() => this.#faults.maybe());
    }
    if (!this.isOver) this.#liveness();
  }

  /** Hands an answer on when it comes, unless the node that gave it is dead by then. */
  later<T>(node: Node, answer: Promise<T>, judge: (value: T) => void): void {
    answer.then(judge).catch((error: unknown) => {
      if (this.node !== node) return;
      // The node stops once the damage is noted; until then nobody is served what was read.
      if (error instanceof FatalError && isDamage(error) && this.#faults.explains(error))
        this.trace.event("damage", error.message);
      else this.#thrown.push(error);
    });
  }

  /** Does one thing, lets it settle, looks. */
  #step(): void {
    this.trace.step += 1;
    this.trace.now = this.now;
    this.#guard(() => this.#act());
    this.#guard(() => this.#look());
  }

  #act(): void {
    const { node } = this;
    if (node === undefined) {
      this.#pass(1 + this.scheduler.below(20));
      if (this.scheduler.chance(0.5)) this.start();
      return;
    }
    const { disk, client, time } = this.plan.weights;
    const turn = node.isTurnRequested ? 40 : 0;
    let draw = this.scheduler.below(disk + client + time + turn);
    if (draw < disk) {
      if (!this.disk.step()) this.#pass(1);
      return;
    }
    draw -= disk;
    if (draw < turn) {
      node.turn();
      return;
    }
    draw -= turn;
    if (draw < client) {
      if (node.isSettled && node.inFlight < this.plan.inFlightMax) this.#clients.act(node);
      return;
    }
    this.#pass(1 + this.scheduler.below(this.plan.elapsedMsMax));
  }

  #look(): void {
    drainMicrotasks();
    const thrown = this.#thrown.shift();
    if (thrown !== undefined) throw thrown;
    const { node } = this;
    if (node === undefined) return;
    checkIndexes(node, this.#marks);
    if (!node.isSettled && node.replica.isReady) this.#settle(node);
    if (!node.isSettled) return;
    checkState(node, this.shadow);
    if (this.trace.step % 16 === 0) checkRules(node, this.shadow);
  }

  /** Lets time go by, with what is done at its marks. */
  #pass(elapsedMs: number): void {
    this.now += elapsedMs;
    const { node } = this;
    if (node === undefined) return;
    if (this.now >= this.#nextTickMs) {
      this.#nextTickMs = this.now + TICK_MS;
      node.replica.tick();
    }
    if (this.now >= this.#nextRetentionMs) {
      this.#nextRetentionMs = this.now + RETENTION_MS;
      if (this.plan.isHurried) node.broker.compact();
      else node.broker.retentionPass.start();
    }
  }

  /** Runs one act; a crash, and an end that was asked for, are part of it. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (error instanceof SimCrash) this.powerFails("in a primitive");
      else if (error instanceof FatalError) this.#died(error);
      else throw error;
    }
  }

  /** The node stopped by itself: right when the disk failed it, wrong at any other time. */
  #died(error: FatalError): void {
    this.trace.event("died", `${error.reason}: ${error.message}`);
    if (!this.#faults.explains(error)) {
      throw new Violation(`The node stopped with ${error.reason}: ${error.message}`, {
        cause: error,
      });
    }
    if (isDamage(error)) this.#faults.refuseForGood();
    // The next process may find in memory what the medium will never have.
    else if (this.scheduler.chance(0.5)) this.processDies("after a failed sync");
    else this.powerFails("after a failed sync");
  }

  /** Starts a node on what is there. It may be cut off, and try again. */
  start(): void {
    this.#life += 1;
    this.trace.life = this.#life;
    this.trace.event("start", this.disk.files.list().sort().join(" "));
    const startedMs = this.now - this.scheduler.below(1000);
    try {
      this.node = new Node({
        life: this.#life,
        plan: this.plan,
        disk: this.disk,
        clock: {
          wallMs: () => EPOCH_MS + this.now + this.wallSkewMs,
          monotonicMs: () => this.now - startedMs,
        },
        prng: this.#nodePrng,
        onProduced: (life, waiter, outcome) => {
          const { node } = this;
          const write = this.shadow.writes[waiter - 1];
          claim(node?.life === life && write !== undefined, `A dead node answers ${waiter}`);
          node.inFlight -= 1;
          this.trace.event("produced", `write ${waiter} ${JSON.stringify(outcome)}`);
          acknowledged(this.shadow, write, outcome, { life, now: this.now });
        },
        onRefused: (life, waiter, refusal) => {
          const { node } = this;
          claim(node?.life === life, `A dead node refuses ${waiter}`);
          node.inFlight -= 1;
          this.#clients.refused(node, waiter, refusal);
        },
      });
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      this.trace.event("no start", error.message);
      if (error.kind === "no_space" && this.mayBeFull) this.processDies("no room to start");
      else if (error.kind === "io" && this.#faults.hasFailedSync) this.processDies("no sync");
      else throw error;
      return;
    }
    plantBug(this.bug, this.node);
    this.#marks = newWatermarks();
    this.trace.event("started", `applied ${this.node.replica.appliedIndex}`);
  }

  #settle(node: Node): void {
    settle(node, this.shadow, (topicId, partition, offset) => {
      const { nextOffset } = node.broker.partition(topicId, partition);
      const records: ReturnType<typeof recordsOf> = [];
      while (offset + records.length < nextOffset) {
        const from = offset + records.length;
        const request = { topicId, partition, offset: from, maxRecords: 1e9, maxBytes: 1 << 18 };
        const found = this.#wait(node, node.broker.read(request), (batch) =>
          recordsOf(batch.slices, from),
        );
        claim(found.length > 0, `Reading ${topicId}/${partition} ends at ${from} of ${nextOffset}`);
        records.push(...found);
      }
      return records;
    });
    node.isSettled = true;
    this.trace.event("settled", `applied ${node.replica.appliedIndex}`);
  }

  /** Lets the disk work until an answer is there. */
  #wait<T, R>(node: Node, answer: T | Promise<T>, use: (value: T) => R): R {
    if (!(answer instanceof Promise)) return use(answer);
    const done: R[] = [];
    this.later(node, answer, (value) => done.push(use(value)));
    for (let i = 0; i < 10_000; i++) {
      drainMicrotasks();
      const thrown = this.#thrown.shift();
      if (thrown !== undefined) throw thrown;
      const [result] = done;
      if (result !== undefined) return result;
      this.disk.isStalled = false;
      this.disk.step();
    }
    throw new Violation("A read does not end");
  }

  /** The power fails: what was not synced may be gone. */
  powerFails(why: string): void {
    this.trace.event("power", why);
    this.disk.crash();
    this.#reopen();
  }

  /** The process ends and the machine goes on: what was written is there to be seen, and may yet be lost. */
  processDies(why: string): void {
    this.trace.event("kill", why);
    this.#reopen();
  }

  #reopen(): void {
    this.disk = this.disk.reopened();
    this.node = undefined;
    this.#thrown.length = 0;
    for (const write of this.shadow.writes) if (write.fate === "pending") write.fate = "unknown";
    this.#faults.onReopened();
  }

  /** Stops in good order: what is under way is finished first. */
  stops(): void {
    const { node } = this;
    if (node === undefined) return;
    this.trace.event("stop");
    node.replica.stop();
    for (let i = 0; i < 2000 && !node.replica.isIdle; i++) {
      if (node.isTurnRequested) node.turn();
      if (!this.disk.step()) this.#pass(5);
      this.#look();
    }
    if (!node.replica.isIdle) {
      this.processDies("stopping took too long");
      return;
    }
    claim(
      !this.shadow.writes.some(({ fate }) => fate === "pending"),
      "A node that stopped in good order left writes unanswered",
    );
    this.disk.completeAll();
    this.#look();
    node.replica.log.close();
    this.processDies("stopped");
  }

  /** All is well from here on: the node must become ready, take a write, and still have everything. */
  #liveness(): void {
    this.trace.event("heal");
    this.#faults.heal();
    const before = this.shadow.writes.length;
    let isWritten = false;
    for (let i = 0; i < LIVENESS_STEPS_MAX && !this.isOver; i++) {
      this.#guard(() => {
        const { node } = this;
        if (node === undefined) this.start();
        else if (node.isTurnRequested) node.turn();
        else if (!this.disk.step()) this.#pass(10);
      });
      this.#guard(() => this.#look());
      const { node } = this;
      if (node?.isSettled !== true || node.replica.log.isFull) continue;
      if (node.inFlight > 0) continue;
      const last = this.shadow.writes.at(-1);
      isWritten = last?.life === node.life && last.fate === "stored" && last.id > before;
      if (isWritten) break;
      this.#clients.act(node);
    }
    claim(this.isOver || isWritten, "A healed node takes no write");
    if (this.isOver) return;
    // Once more from the disk alone, so that what memory served is looked at too.
    this.processDies("to look at everything");
    for (let i = 0; i < LIVENESS_STEPS_MAX && !this.isOver; i++) {
      this.#guard(() => {
        if (this.node === undefined) this.start();
        else if (this.node.isTurnRequested) this.node.turn();
        else if (!this.disk.step()) this.#pass(10);
      });
      this.#guard(() => this.#look());
      if (this.node?.isSettled === true) return;
    }
    claim(this.isOver, "A healed node does not become ready");
  }
}
