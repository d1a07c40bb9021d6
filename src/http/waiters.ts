// Requests that wait for the broker, as numbered slots: one function and a few numbers each, in plain arrays.
// A slot that timed out stays taken until the broker's completion comes, so that a late one meets no stranger.
// A completion may come in two steps: stored now, and later as widely synced as was asked. One whose time was up between
// the two is answered with what is known, and its slot is given to another only when there is no other left, under a new
// number: nodes that are away for long do not use up the table.

import { limits } from "../config/mod.ts";
import { assert } from "../lib/assert.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { ProduceSink } from "../model/produce.ts";
import type { Admission } from "./admission.ts";
import type { Alarms } from "./alarms.ts";
import type { ErrorReplies } from "./errors.ts";
import { type ReplyMaker, singleReply } from "./replies.ts";
import type { RouteStats, TopicTraffic } from "./stats.ts";
import { notConfirmed } from "./write-deadlines.ts";

/** Committed, and not yet synced on as many nodes as was asked. */
const SYNCED_LATER = 2;

// A waiter's number has 31 bits: which slot, and which life of it.
const SLOT_BITS = 17;
const SLOT_MASK = (1 << SLOT_BITS) - 1;
const LIFE_MASK = (1 << (31 - SLOT_BITS)) - 1;

assert(limits.WAITERS_MAX <= SLOT_MASK, "Every slot has a number");

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
  readonly #requests: (Request | undefined)[] = [];
  readonly #stats: (RouteStats | undefined)[] = [];
  readonly #free: number[] = [];
  /** When the slot's wait ends, as `Bun.nanoseconds()`; 0 when it does not. */
  readonly #deadlines: number[] = [];
  readonly #reserved: number[] = [];
  readonly #makers: ReplyMaker[] = [];
  /** Whether the reply shows where the time went. */
  readonly #hasTiming: boolean[] = [];
  readonly #startedNs: number[] = [];
  readonly #parsedNs: number[] = [];
  readonly #takenNs: number[] = [];
  readonly #traffic: (TopicTraffic | undefined)[] = [];
  /** Whether the broker owes a completion. */
  readonly #isTaken: boolean[] = [];
  /** Whether the outcome is known, and waits for more nodes to sync it. */
  readonly #isStored: boolean[] = [];
  readonly #firstOffsets: number[] = [];
  readonly #counts: number[] = [];
  readonly #partitions: number[] = [];
  readonly #raftIndexes: number[] = [];
  readonly #duplicates: number[] = [];
  readonly #lives: number[] = [];
  /** Answered with what was known; the broker still owes a completion. Oldest first. */
  readonly #abandoned = new Set<number>();
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

  /** Requests that wait for the broker, or for which it owes an outcome. */
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
  open(
    request: Request,
    stats: RouteStats,
    startedNs: number,
    reserved: number,
    timeoutMs: number,
  ): number {
    assert(this.hasRoom, "A slot is opened only when there is room");
    const slot = this.#free.pop() ?? this.#another();
    this.#open += 1;
    this.#resolves[slot] = undefined;
    this.#requests[slot] = request;
    this.#stats[slot] = stats;
    this.#reserved[slot] = reserved;
    this.#makers[slot] = singleReply;
    this.#hasTiming[slot] = false;
    this.#startedNs[slot] = startedNs;
    this.#parsedNs[slot] = 0;
    this.#takenNs[slot] = 0;
    this.#isTaken[slot] = false;
    this.#isStored[slot] = false;
    this.#deadlines[slot] = startedNs + timeoutMs * 1e6;
    if (!this.#isSweeping) {
      this.#isSweeping = true;
      this.#alarms.everyTick(this.#sweep);
    }
    return slot;
  }

  /** A slot that never was, or the one that was abandoned first: what the broker still says of that one meets a new number. */
  #another(): number {
    const slot = this.#resolves.length;
    if (slot < limits.WAITERS_MAX) {
      this.#lives[slot] = 0;
      return slot;
    }
    const [oldest] = this.#abandoned;
    assert(oldest !== undefined, "Slots are waiting, free or abandoned");
    this.#abandoned.delete(oldest);
    this.#lives[oldest] = ((this.#lives[oldest] as number) + 1) & LIFE_MASK;
    return oldest;
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

  /** Lets the slot wait for something that ends by itself. */
  suspend(slot: number): void {
    this.#deadlines[slot] = 0;
  }

  /** Adds bytes that the slot holds from now on. */
  hold(slot: number, reserved: number): void {
    this.#reserved[slot] = (this.#reserved[slot] as number) + reserved;
  }

  /** Says what the reply will look like; with timing, that the request is read. */
  mark(slot: number, maker: ReplyMaker, hasTiming: boolean): void {
    this.#makers[slot] = maker;
    this.#hasTiming[slot] = hasTiming;
    if (hasTiming) this.#parsedNs[slot] = Bun.nanoseconds();
  }

  /**
   * The broker is about to take the request: its completion or `close` follows.
   * @param traffic Of the topic that it is about, if it is about one.
   * @returns the number under which the broker knows it.
   */
  taken(slot: number, traffic: TopicTraffic | undefined): number {
    this.#isTaken[slot] = true;
    this.#traffic[slot] = traffic;
    return slot | ((this.#lives[slot] as number) << SLOT_BITS);
  }

  /** The broker has copied the request. Its completion may have come already. */
  copied(slot: number): void {
    if (this.#hasTiming[slot] === true) this.#takenNs[slot] = Bun.nanoseconds();
  }

  /** Ends a slot that the broker owes nothing for. */
  close(slot: number, reply: Response): void {
    this.#answer(slot, reply);
    this.#release(slot);
  }

  /** Ends a slot with a refusal. */
  refuse(slot: number, refusal: Refusal): void {
    this.close(slot, this.#errors.reply(refusal, this.#requests[slot]));
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
    const slot = waiter & SLOT_MASK;
    if (!this.#isOwed(slot, waiter)) return;
    const traffic = this.#traffic[slot];
    if (traffic !== undefined && duplicate !== 1 && this.#isStored[slot] !== true) {
      traffic.recordsIn += count;
      traffic.bytesIn += this.#reserved[slot] as number;
    }
    if (synced === SYNCED_LATER) {
      this.#isStored[slot] = true;
      this.#firstOffsets[slot] = firstOffset;
      this.#counts[slot] = count;
      this.#partitions[slot] = partition;
      this.#raftIndexes[slot] = raftIndex;
      this.#duplicates[slot] = duplicate;
      if (this.#resolves[slot] === undefined) this.#abandon(slot);
      return;
    }
    if (this.#resolves[slot] !== undefined) {
      const maker = this.#makers[slot] as ReplyMaker;
      const timing = this.#timing(slot);
      this.#answer(
        slot,
        maker(firstOffset, count, partition, raftIndex, synced, duplicate, timing),
      );
    }
    this.#release(slot);
  }

  refused(waiter: number, refusal: Refusal): void {
    const slot = waiter & SLOT_MASK;
    if (!this.#isOwed(slot, waiter)) return;
    // What is known to be stored is not refused any more, whatever became of the other nodes.
    if (this.#isStored[slot] === true) this.#answerStored(slot);
    else if (this.#resolves[slot] !== undefined)
      this.#answer(slot, this.#errors.reply(refusal, this.#requests[slot]));
    this.#release(slot);
  }

  /** Answers everyone whose request the broker has with what is known now: the node stops. */
  endAll(): void {
    for (let slot = 0; slot < this.#isTaken.length; slot++) {
      if (this.#isTaken[slot] !== true || this.#resolves[slot] === undefined) continue;
      this.#deadlines[slot] = 0;
      this.#expire(slot);
    }
  }

  /** Whether the slot still lives the life that the broker speaks of. */
  #isOwed(slot: number, waiter: number): boolean {
    if (waiter >>> SLOT_BITS !== this.#lives[slot]) return false;
    assert(this.#isTaken[slot] === true, `Slot ${slot} is completed once`);
    return true;
  }

  /** Answers with what is known: it is committed, and not synced as widely as was asked. */
  #answerStored(slot: number): void {
    if (this.#resolves[slot] === undefined) return;
    const maker = this.#makers[slot] as ReplyMaker;
    const reply = maker(
      this.#firstOffsets[slot] as number,
      this.#counts[slot] as number,
      this.#partitions[slot] as number,
      this.#raftIndexes[slot] as number,
      0,
      this.#duplicates[slot] as number,
      this.#timing(slot),
    );
    this.#answer(slot, reply);
  }

  /** Where the time of a request went, in microseconds, as the last fields of its reply; nothing when it was not asked. */
  #timing(slot: number): string {
    if (this.#hasTiming[slot] !== true) return "";
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
    this.#requests[slot] = undefined;
    this.#stats[slot]?.count(reply.status, this.#startedNs[slot] as number);
    resolve(reply);
  }

  #release(slot: number): void {
    this.#isTaken[slot] = false;
    if (!this.#abandoned.delete(slot)) this.#letGo(slot);
    this.#free.push(slot);
  }

  /** Nobody waits here any more, and what is to come changes nothing that was said. */
  #abandon(slot: number): void {
    if (this.#abandoned.has(slot)) return;
    this.#letGo(slot);
    this.#abandoned.add(slot);
  }

  #letGo(slot: number): void {
    this.#admission.release(this.#reserved[slot] as number);
    this.#reserved[slot] = 0;
    this.#deadlines[slot] = 0;
    this.#stats[slot] = undefined;
    this.#traffic[slot] = undefined;
    this.#requests[slot] = undefined;
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
    if (this.#isStored[slot] === true) {
      this.#answerStored(slot);
      this.#abandon(slot);
      return;
    }
    // Before the broker has it, nothing is written, and the reader of the body still owns the slot.
    const refusal = this.#isTaken[slot]
      ? notConfirmed()
      : refuse("timeout", `Request body did not arrive within ${limits.BODY_DEADLINE_MS} ms`, {
          outcome: "not_written",
        });
    this.#answer(slot, this.#errors.reply(refusal));
  }
}
