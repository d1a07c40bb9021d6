// The time that entries are stamped with: it never goes back, and no clock that jumps can drag it along.

/** Time as the replica gets it. */
export interface Clock {
  /** Milliseconds since the epoch, as the machine believes; may jump. */
  wallMs(): number;
  /** Milliseconds since some moment; never jumps. */
  monotonicMs(): number;
}

/** At most this share of the elapsed time is added or left out to get nearer to the wall clock. */
const STEERING = 0.1;

/** A leader's clock: monotonic time since the last entry, steered to the wall clock. */
export class LogTime {
  readonly #clock: Clock;
  #lastMs: number;
  #lastMonotonicMs: number;

  /** Goes on from the last entry's time. */
  constructor(clock: Clock, lastEntryMs: number) {
    this.#clock = clock;
    this.#lastMs = lastEntryMs;
    this.#lastMonotonicMs = clock.monotonicMs();
  }

  /** The time for an entry that is opened now, in whole milliseconds. */
  now(): number {
    const monotonicMs = this.#clock.monotonicMs();
    const elapsedMs = Math.max(0, monotonicMs - this.#lastMonotonicMs);
    const driftMs = this.#clock.wallMs() - (this.#lastMs + elapsedMs);
    const steeredMs = Math.min(Math.max(driftMs, -STEERING * elapsedMs), STEERING * elapsedMs);
    this.#lastMs += elapsedMs + steeredMs;
    this.#lastMonotonicMs = monotonicMs;
    return Math.floor(this.#lastMs);
  }

  /** Goes on from an entry that another node stamped. */
  follow(entryMs: number): void {
    if (entryMs <= this.#lastMs) return;
    this.#lastMs = entryMs;
    this.#lastMonotonicMs = this.#clock.monotonicMs();
  }

  /** Steps forward to the wall clock, if that is ahead: at the start of a node that is alone, or when a majority agrees. */
  stepForward(): void {
    const wallMs = this.#clock.wallMs();
    if (wallMs <= this.#lastMs) return;
    this.#lastMs = wallMs;
    this.#lastMonotonicMs = this.#clock.monotonicMs();
  }
}
