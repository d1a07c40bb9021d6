// Cuts long work into slices, so that a query shares the thread with everything else, and ends it when it may not go on.

import { limits } from "../config/mod.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { limitExceeded } from "../streams/mod.ts";
import type { HttpRooms } from "./rooms.ts";

/** Looks at the clock only once in so many steps. */
const STEPS_PER_LOOK = 8;

/**
 * Lets one query or join at a time have a slice, however many there are, and writes go first: while some are under way the
 * next slice waits, so that their parts (request, disk, reply) do not each wait for a slice. It does not wait for ever. As long as writes come now and
 * then, every slice is followed by a rest, which keeps the processor free for the next one.
 */
export class TurnQueue {
  readonly #areWritesWaiting: () => boolean;
  readonly #waiting: (() => void)[] = [];
  #lastMs = 0;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  /** Whether the slice that comes next has been waited for. */
  #hasRested = false;

  constructor(areWritesWaiting: () => boolean) {
    this.#areWritesWaiting = areWritesWaiting;
  }

  /** Resolves when it is one's turn. */
  next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    if (this.#waiting.length === 1) {
      this.#lastMs = performance.now();
      setImmediate(this.#serve);
    }
    return promise;
  }

  readonly #serve = (): void => {
    const now = performance.now();
    const isBusy = this.#areWritesWaiting();
    if (isBusy) this.#lastWriteMs = now;
    const mustWait = isBusy && now - this.#lastMs < limits.STREAM_PAUSE_MS;
    const mustRest = !this.#hasRested && now - this.#lastWriteMs < limits.STREAM_CALM_MS;
    if (mustWait || mustRest) {
      this.#hasRested = true;
      // A timer, so that the loop sleeps: spinning would use up what the scheduler gives this process.
      setTimeout(this.#serve, 1);
      return;
    }
    this.#hasRested = false;
    this.#lastMs = now + limits.STREAM_SLICE_MS;
    this.#waiting[0]?.();
    this.#waiting.shift();
    if (this.#waiting.length > 0) setImmediate(this.#serve);
  };
}

/** The turns of one query or join. */
export class Turns {
  readonly #rooms: HttpRooms;
  readonly #queue: TurnQueue;
  readonly #signal: AbortSignal;
  readonly #timeMsMax: number;
  readonly #startedMs = performance.now();
  #sliceStartMs = performance.now();
  #steps = 0;
  /** Set when nobody reads the reply any more. */
  isGone = false;
  /** Set when the work goes on behind the answer; then whoever does it calls `end`. */
  isHandedOn = false;
  readonly end: () => void;

  /** @param end Called once, when the work is over. */
  constructor(
    rooms: HttpRooms,
    queue: TurnQueue,
    signal: AbortSignal,
    timeMsMax: number,
    end: () => void,
  ) {
    this.#rooms = rooms;
    this.#queue = queue;
    this.end = end;
    this.#signal = signal;
    this.#timeMsMax = timeMsMax;
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** Whether this slice is over. Asked after every record. */
  get isOver(): boolean {
    this.#steps += 1;
    if (this.#steps % STEPS_PER_LOOK !== 0) return false;
    return performance.now() - this.#sliceStartMs >= limits.STREAM_SLICE_MS;
  }

  /** Lets others have a turn. @returns why the work must end; undefined when it may go on. */
  async giveWay(): Promise<Refusal | undefined> {
    await this.#queue.next();
    this.#sliceStartMs = performance.now();
    if (this.isGone || this.#signal.aborted) return refuse("timeout", "Client has gone");
    if (this.#rooms.lifecycle.isStopping) return refuse("not_ready", "Node is stopping");
    return this.elapsedMs > this.#timeMsMax ? limitExceeded("time_ms", this.#timeMsMax) : undefined;
  }
}
