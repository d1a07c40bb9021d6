// Decides when an idle lane sends. Saturation: at once. Fixed rate: by a schedule that does not wait for replies, so
// that a stalled server cannot hide its stall by being asked less (coordinated omission).

// Empty places at the front of the queue before it is moved up.
const TAKEN_MAX = 1024;

// While no lane is idle there is nothing to wake up for.
const ALL_BUSY_WAIT_MS = 10;

/** A place for one request at a time: a connection, or a stream slot of one. */
export interface Lane {
  /** Sends one request. @param intended When it was due, in milliseconds of `performance.now()`; at most `now`. */
  send(intended: number, now: number): void;
}

/** Gets every lane that becomes idle. */
export interface Pacer {
  /** Starts to send. Nothing is due at `until` or later; what was due before is still sent then. */
  start(now: number, until: number): void;
  /** Takes a lane that has no request in flight: after connecting, and after each reply. */
  idle(lane: Lane, now: number): void;
}

/** Sends as soon as a lane is idle, until the connections are closed. */
export class SaturationPacer implements Pacer {
  readonly #waiting: Lane[] = [];
  #running = false;

  start(now: number): void {
    this.#running = true;
    for (const lane of this.#waiting.splice(0)) lane.send(now, now);
  }

  idle(lane: Lane, now: number): void {
    if (this.#running) lane.send(now, now);
    else this.#waiting.push(lane);
  }
}

/** Sends request number n at start + n / rate, or as soon after as a lane is idle, and dates it by the former. */
export class RatePacer implements Pacer {
  // First in, first out, so that all connections take part at low rates too.
  #waiting: Lane[] = [];
  #taken = 0;
  readonly #intervalMs: number;
  #startedAt = Number.POSITIVE_INFINITY;
  #until = Number.POSITIVE_INFINITY;
  #issued = 0;

  /** @param ratePerSecond Requests a second, all lanes together. */
  constructor(ratePerSecond: number) {
    this.#intervalMs = 1000 / ratePerSecond;
  }

  start(now: number, until: number): void {
    this.#startedAt = now;
    this.#until = until;
    this.tick(now);
  }

  idle(lane: Lane, now: number): void {
    this.#waiting.push(lane);
    this.tick(now); // A reply is as good a moment as a timer's, and more precise at high rates.
  }

  /** Sends what is due. @returns milliseconds until the next is, infinite when none will be. */
  tick(now: number): number {
    for (;;) {
      const due = this.#due();
      if (due >= this.#until) return Number.POSITIVE_INFINITY;
      if (due > now) return due - now;
      const lane = this.#waiting[this.#taken];
      if (lane === undefined) return ALL_BUSY_WAIT_MS; // The next that is idle takes it.
      this.#taken += 1;
      if (this.#taken === TAKEN_MAX) {
        this.#waiting = this.#waiting.slice(TAKEN_MAX);
        this.#taken = 0;
      }
      this.#issued += 1;
      lane.send(due, now);
    }
  }

  #due(): number {
    return this.#startedAt + this.#issued * this.#intervalMs;
  }
}
