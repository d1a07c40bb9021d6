// A whole node on a simulated disk, driven by hand: for tests of one promise, where the simulated world tests all of them.

import { drainMicrotasks } from "bun:jsc";
import { silentLogger } from "../../src/lib/logger.ts";
import { Prng } from "../../src/lib/prng.ts";
import type { Result } from "../../src/lib/result.ts";
import { type LogLimits, openIdentity } from "../../src/log/mod.ts";
import type { Refusal } from "../../src/model/errors.ts";
import type { ProduceRequest } from "../../src/model/produce.ts";
import { RecordCursor } from "../../src/model/record.ts";
import { ALONE, NodeBroker, noPeers, Replica } from "../../src/replica/mod.ts";
import type { RocketLimits } from "../../src/replica/rocket-ring.ts";
import { SimDisk, type SimDiskOptions } from "./sim-disk.ts";

/** How a produce ended. */
export type ProduceOutcome =
  | {
      readonly firstOffset: number;
      readonly count: number;
      readonly partition: number;
      readonly raftIndex: number;
      readonly synced: number;
      readonly duplicate: number;
    }
  | { readonly refused: Refusal };

/** What a test may choose about a node. */
export interface SimNodeOptions {
  readonly limits?: Partial<LogLimits>;
  readonly settings?: { readonly idempotencyTtlMs: number; readonly idempotencyKeysMax: number };
  readonly rocket?: RocketLimits;
  readonly keyLimits?: { readonly keysMax?: number; readonly bytesMax?: number };
}

const LIMITS: LogLimits = {
  segmentBytes: 1 << 20,
  reserveBytes: 1 << 20,
  slabBytes: 1 << 16,
  tailBytes: 1 << 18,
};
const STEPS_MAX = 100_000;

/** An empty disk. */
export const simDisk = (seed = 1, options: Partial<SimDiskOptions> = {}): SimDisk =>
  new SimDisk({ prng: new Prng(seed), writesOnce: true, ...options });

/** The clocks of one machine; tests move them. */
export class TestClock {
  monotonic = 1000;
  wall = 1_700_000_000_000;

  readonly wallMs = (): number => this.wall;
  readonly monotonicMs = (): number => this.monotonic;

  /** Both go on. */
  pass(elapsedMs: number): void {
    this.monotonic += elapsedMs;
    this.wall += elapsedMs;
  }
}

/** One life of a node. */
export class SimNode {
  readonly disk: SimDisk;
  readonly clock: TestClock;
  readonly replica: Replica;
  readonly broker: NodeBroker;
  /** By waiter. */
  readonly outcomes = new Map<number, ProduceOutcome>();
  isTurnRequested = false;
  #nextWaiter = 1;

  constructor(disk: SimDisk, options: SimNodeOptions = {}, clock = new TestClock()) {
    this.disk = disk;
    this.clock = clock;
    let salt = 1;
    const randomId = (): string => "0123456789abcdef".repeat(2);
    this.replica = new Replica({
      identity: openIdentity(disk.files, { nodeId: "node1", randomId, startsAlone: true }),
      disk,
      transport: noPeers(),
      cluster: ALONE,
      random: () => 0.5,
      clock,
      sink: {
        submittedMs: 0,
        produced: (waiter, firstOffset, count, partition, raftIndex, synced, duplicate) => {
          const outcome = { firstOffset, count, partition, raftIndex, synced, duplicate };
          this.outcomes.set(waiter, outcome);
        },
        refused: (waiter, refused) => this.outcomes.set(waiter, { refused }),
      },
      requestTurn: () => {
        this.isTurnRequested = true;
      },
      logger: silentLogger,
      limits: { ...LIMITS, ...options.limits },
      settings: options.settings ?? { idempotencyTtlMs: 1e9, idempotencyKeysMax: 1e6 },
      randomId,
      randomSalt: () => ++salt,
    });
    const limits = {
      topicsMax: 100,
      partitionsMax: 1000,
      groupsMax: 1000,
      waitingMax: 1000,
      keysMax: 10_000,
      bytesMax: 1 << 26,
      namespacesMax: 100,
      ...options.keyLimits,
    };
    this.broker = new NodeBroker(this.replica, limits, options.rocket);
  }

  /** A node that takes writes. */
  static ready(disk: SimDisk, options: SimNodeOptions = {}, clock = new TestClock()): SimNode {
    const node = new SimNode(disk, options, clock);
    node.until(() => node.replica.isReady);
    return node;
  }

  /** Lets turns, the disk and time go on until something is so. */
  until(isDone: () => boolean): void {
    for (let i = 0; i < STEPS_MAX; i++) {
      drainMicrotasks();
      if (isDone()) return;
      if (this.isTurnRequested) {
        this.isTurnRequested = false;
        this.replica.turn();
      } else if (!this.disk.step()) {
        this.clock.pass(50);
        this.replica.tick();
      }
    }
    throw new Error("The node does not get there");
  }

  /** Lets everything that is under way come to its end, idle frame and background work included. */
  rest(): void {
    for (let i = 0; i < 5; i++) {
      this.until(() => this.replica.isIdle && this.disk.pending === 0 && !this.isTurnRequested);
      this.clock.pass(60);
      this.replica.tick();
    }
    this.until(() => this.replica.isIdle && this.disk.pending === 0 && !this.isTurnRequested);
  }

  /** Waits for a promise of this node. */
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
    return this.good(this.broker.createTopic(request)).topicId;
  }

  /** Sends a produce and gives its waiter; a refusal at once is an outcome, too. */
  send(
    topicId: number,
    body: Uint8Array | string,
    fields: Partial<Omit<ProduceRequest, "idempotencyKey" | "key">> & {
      readonly idempotencyKey?: string;
      readonly key?: string;
    } = {},
  ): number {
    const waiter = this.#nextWaiter++;
    const bytes = (text: string | undefined): Uint8Array | undefined =>
      text === undefined ? undefined : new TextEncoder().encode(text);
    const request = {
      topicId,
      ack: "configured" as const,
      partition: 0,
      expectedOffset: -1,
      headers: undefined,
      ranges: undefined,
      count: 1,
      ...fields,
      body: typeof body === "string" ? new TextEncoder().encode(body) : body,
      key: bytes(fields.key),
      idempotencyKey: bytes(fields.idempotencyKey),
    };
    const refused = this.broker.produce(waiter, request);
    if (refused !== undefined) this.outcomes.set(waiter, { refused });
    return waiter;
  }

  /** How a produce ended. */
  outcome(waiter: number): ProduceOutcome {
    this.until(() => this.outcomes.has(waiter));
    return this.outcomes.get(waiter) as ProduceOutcome;
  }

  /** Sends a produce and waits for its first offset. */
  produce(...args: Parameters<SimNode["send"]>): number {
    const outcome = this.outcome(this.send(...args));
    if ("refused" in outcome) throw new Error(`Refused: ${outcome.refused.code}`);
    return outcome.firstOffset;
  }

  /** The code of a refused produce. */
  refusedProduce(...args: Parameters<SimNode["send"]>): string {
    const outcome = this.outcome(this.send(...args));
    return "refused" in outcome ? outcome.refused.code : "none";
  }

  /** Sends changes of keys of the namespace `n` as one transaction, those without a value deletions; how it ended. */
  transactKeys(...steps: (readonly [key: string, value?: string])[]): ProduceOutcome {
    const waiter = this.#nextWaiter++;
    const encoder = new TextEncoder();
    const kv = steps.map(([key, value]) => ({
      namespace: "n",
      key: encoder.encode(key),
      value: value === undefined ? undefined : encoder.encode(value),
      ttlMs: 0,
    }));
    const parts = { idempotencyKey: undefined, expect: [], produce: [], commit: [], kv };
    const transaction = { ...parts, ack: "configured" } as const;
    const refused = this.broker.transact(waiter, transaction, () => undefined);
    if (refused !== undefined) this.outcomes.set(waiter, { refused });
    return this.outcome(waiter);
  }

  /** Values of a range, read as a client would: again and again until it has them all. */
  values(topicId: number, partition = 0, from = 0, to = Number.POSITIVE_INFINITY): Uint8Array[] {
    const { startOffset, nextOffset } = this.broker.partition(topicId, partition);
    const values: Uint8Array[] = [];
    const cursor = new RecordCursor();
    const end = Math.min(nextOffset, to);
    for (let at = Math.max(from, startOffset); at < end; ) {
      const request = { topicId, partition, offset: at, maxRecords: end - at, maxBytes: 1 << 20 };
      const batch = this.broker.read(request);
      const take = (found: Awaited<typeof batch>): number => {
        for (const slice of found.slices) {
          cursor.reset(slice.bytes, slice.start, slice.end);
          for (let offset = slice.baseOffset; cursor.next(); offset++) {
            if (offset !== at || offset >= end) continue;
            values.push(slice.bytes.slice(cursor.valueStart, cursor.valueEnd));
            at += 1;
          }
        }
        return at;
      };
      const before = at;
      // In the same turn as the answer: afterwards the bytes may be used again.
      if (batch instanceof Promise) this.wait(batch.then(take));
      else take(batch);
      if (at === before) throw new Error(`Nothing at ${at} of ${end}`);
    }
    return values;
  }

  /** The same as texts. */
  texts(topicId: number, partition = 0): string[] {
    return this.values(topicId, partition).map((value) => new TextDecoder().decode(value));
  }

  /** The process dies, the machine lives on: the next node on the same disk. */
  restarted(options: SimNodeOptions = {}): SimNode {
    return SimNode.ready(this.disk.reopened(), options, this.clock);
  }

  /** The power fails: the next node on what is left. */
  crashed(options: SimNodeOptions = {}): SimNode {
    this.disk.crash();
    return this.restarted(options);
  }
}
