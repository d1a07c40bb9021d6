// Requests that wait for the broker, as numbered slots: one function and a few numbers each, in plain arrays.
// A slot that timed out stays taken until the broker's completion comes, so that a late one meets no stranger.

import { limits } from "../config/mod.ts";
import { assert } from "../lib/assert.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { ProduceSink } from "../model/produce.ts";
import type { Admission } from "./admission.ts";
import type { Alarms } from "./alarms.ts";
import type { ErrorReplies } from "./errors.ts";
import { produceReply } from "./replies.ts";
import type { RouteStats, TopicTraffic } from "./stats.ts";

/** The slot carries an NDJSON batch. */
export const WAITER_BATCH = 1;
/** The reply shows where the time went. */
export const WAITER_TIMING = 2;

type Resolve = (reply: Response) => void;

// `new Promise` calls its function at once: this one hands the resolver out without a closure per request.
let handedOut: Resolve = () => undefined;
const handOut = (resolve: Resolve): void => {
  handedOut = resolve;
};

/** The slot table; it takes the broker's completions. */
export class Waiters implements ProduceSink {
  submittedMs = 0;
  readonly #admission: Admission;
  readonly #alarms: Alarms;
  readonly #errors: ErrorReplies;
  readonly #resolves: (Resolve | undefined)[] = [];
  readonly #stats: (RouteStats | undefined)[] = [];
  readonly #free: number[] = [];
  /** When the slot's wait ends, as `Bun.nanoseconds()`; 0 when it does not. */
  readonly #deadlines: number[] = [];
  readonly #reserved: number[] = [];
  readonly #flags: number[] = [];
  readonly #startedNs: number[] = [];
  readonly #parsedNs: number[] = [];
  readonly #takenNs: number[] = [];
  readonly #traffic: (TopicTraffic | undefined)[] = [];
  /** Whether the broker owes a completion. */
  readonly #isTaken: boolean[] = [];
  #open = 0;
  #isSweeping = false;

  constructor(rooms: {
    readonly admission: Admission;
    readonly alarms: Alarms;
    readonly errors: ErrorReplies;
  }) {
    this.#admission = rooms.admission;
    this.#alarms = rooms.alarms;
    this.#errors = rooms.errors;
  }

  /** Slots in use. */
  get size(): number {
    return this.#open;
  }

  /** Whether another request may wait. */
  get hasRoom(): boolean {
    return this.#open < limits.WAITERS_MAX;
  }

  /**
   * Opens a slot, which owns `reserved` bytes of admission from now on.
   * @param timeoutMs Milliseconds until it is answered without an outcome.
   */
  open(stats: RouteStats, startedNs: number, reserved: number, timeoutMs: number): number {
    assert(this.hasRoom, "A slot is opened only when there is room");
    const slot = this.#free.pop() ?? this.#resolves.length;
    this.#open += 1;
    this.#resolves[slot] = undefined;
    this.#stats[slot] = stats;
    this.#reserved[slot] = reserved;
    this.#flags[slot] = 0;
    this.#startedNs[slot] = startedNs;
    this.#parsedNs[slot] = 0;
    this.#takenNs[slot] = 0;
    this.#isTaken[slot] = false;
    this.#deadlines[slot] = startedNs + timeoutMs * 1e6;
    if (!this.#isSweeping) {
      this.#isSweeping = true;
      this.#alarms.everyTick(this.#sweep);
    }
    return slot;
  }

  /** The reply of a slot, later. Asked for once per slot. */
  reply(slot: number): Promise<Response> {
    const promise = new Promise(handOut);
    this.#resolves[slot] = handedOut;
    return promise;
  }

  /** Whether the slot still has a client that waits. */
  isWaiting(slot: number): boolean {
    return this.#resolves[slot] !== undefined;
  }

  /** Moves the end of the wait to `timeoutMs` from now. */
  extend(slot: number, timeoutMs: number): void {
    this.#deadlines[slot] = Bun.nanoseconds() + timeoutMs * 1e6;
  }

  /** Adds bytes that the slot holds from now on. */
  hold(slot: number, reserved: number): void {
    this.#reserved[slot] = (this.#reserved[slot] as number) + reserved;
  }

  /** Says what the reply will look like; with timing, that the request is read. */
  mark(slot: number, flags: number): void {
    this.#flags[slot] = flags;
    if ((flags & WAITER_TIMING) !== 0) this.#parsedNs[slot] = Bun.nanoseconds();
  }

  /** The broker is about to take the request: exactly one completion or `close` follows. */
  taken(slot: number, traffic: TopicTraffic): void {
    this.#isTaken[slot] = true;
    this.#traffic[slot] = traffic;
  }

  /** The broker has copied the request. Its completion may have come already. */
  copied(slot: number): void {
    if (((this.#flags[slot] as number) & WAITER_TIMING) !== 0)
      this.#takenNs[slot] = Bun.nanoseconds();
  }

  /** Ends a slot that the broker owes nothing for. */
  close(slot: number, reply: Response): void {
    this.#answer(slot, reply);
    this.#release(slot);
  }

  /** Ends a slot with a refusal. */
  refuse(slot: number, refusal: Refusal): void {
    this.close(slot, this.#errors.reply(refusal));
  }

  produced(
    waiter: number,
    firstOffset: number,
    count: number,
    partition: number,
    raftIndex: number,
    synced: number,
    duplicate: number,
  ): void {
    assert(this.#isTaken[waiter] === true, `Slot ${waiter} is completed once`);
    const traffic = this.#traffic[waiter];
    if (traffic !== undefined && duplicate !== 1) {
      traffic.recordsIn += count;
      traffic.bytesIn += this.#reserved[waiter] as number;
    }
    if (this.#resolves[waiter] !== undefined) {
      const flags = this.#flags[waiter] as number;
      const isBatch = (flags & WAITER_BATCH) !== 0;
      const timing = (flags & WAITER_TIMING) === 0 ? "" : this.#timing(waiter);
      this.#answer(
        waiter,
        produceReply(isBatch, firstOffset, count, partition, raftIndex, synced, duplicate, timing),
      );
    }
    this.#release(waiter);
  }

  refused(waiter: number, refusal: Refusal): void {
    assert(this.#isTaken[waiter] === true, `Slot ${waiter} is completed once`);
    if (this.#resolves[waiter] !== undefined) this.#answer(waiter, this.#errors.reply(refusal));
    this.#release(waiter);
  }

  /** Where the time of a request went, in microseconds, as the last fields of its reply. */
  #timing(slot: number): string {
    const now = Bun.nanoseconds();
    const started = this.#startedNs[slot] as number;
    const parsed = this.#parsedNs[slot] as number;
    // A completion within the call itself: the whole rest is the broker's.
    const taken = (this.#takenNs[slot] as number) || now;
    // What was answered without a write of its own has waited for one of others.
    const submitted = Math.min(Math.max(this.submittedMs * 1e6, taken), now);
    const micros = (from: number, to: number): number =>
      Math.max(0, Math.round((to - from) / 1000));
    const received = micros(started, parsed);
    const produced = micros(parsed, taken);
    const waited = micros(submitted, now);
    return `,"queue_us":${micros(taken, submitted)},"recv_parse_us":${received},"server_us":${micros(started, now)},"produce_us":${produced},"sync_wait_us":${waited}`;
  }

  #answer(slot: number, reply: Response): void {
    const resolve = this.#resolves[slot];
    if (resolve === undefined) return;
    this.#resolves[slot] = undefined;
    this.#stats[slot]?.count(reply.status, this.#startedNs[slot] as number);
    resolve(reply);
  }

  #release(slot: number): void {
    this.#admission.release(this.#reserved[slot] as number);
    this.#isTaken[slot] = false;
    this.#deadlines[slot] = 0;
    this.#stats[slot] = undefined;
    this.#traffic[slot] = undefined;
    this.#free.push(slot);
    this.#open -= 1;
  }

  /** Answers those whose time is over. Looks at numbers only: 100,000 slots take 0.1 ms. */
  readonly #sweep = (): boolean => {
    const now = Bun.nanoseconds();
    for (let slot = 0; slot < this.#deadlines.length; slot++) {
      const deadline = this.#deadlines[slot] as number;
      if (deadline === 0 || deadline > now) continue;
      this.#deadlines[slot] = 0;
      this.#expire(slot);
    }
    this.#isSweeping = this.#open > 0;
    return this.#isSweeping;
  };

  #expire(slot: number): void {
    // Before the broker has it, nothing is written, and the reader of the body still owns the slot.
    const refusal = this.#isTaken[slot]
      ? refuse("timeout", "Write was not confirmed in time: it may still be stored", {
          outcome: "unknown",
        })
      : refuse("timeout", `Request body did not arrive within ${limits.BODY_DEADLINE_MS} ms`, {
          outcome: "not_written",
        });
    this.#answer(slot, this.#errors.reply(refusal));
  }
}
