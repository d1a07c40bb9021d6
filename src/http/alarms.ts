// One coarse timer for every deadline of the room: long polls, slow bodies, signs of life, writes.
// It runs only while something waits, so that an idle node sleeps.

import { limits } from "../config/mod.ts";

/** Calls functions after a delay, a tick late at most. */
export class Alarms {
  readonly #due = new Map<number, Set<() => void>>();
  readonly #sweepers = new Set<() => boolean>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastTick = Math.floor(performance.now() / limits.ALARM_TICK_MS);

  /**
   * Calls `ring` once, `delayMs` from now.
   * @returns takes the wish back.
   */
  after(delayMs: number, ring: () => void): () => void {
    this.#start();
    const tick = Math.ceil((performance.now() + delayMs) / limits.ALARM_TICK_MS);
    // A fresh function per wish: the same one may be asked for twice in one tick.
    const wish = () => ring();
    const bucket = this.#due.get(tick) ?? new Set();
    bucket.add(wish);
    this.#due.set(tick, bucket);
    return () => {
      bucket.delete(wish);
    };
  }

  /** Calls `sweep` every tick until it answers false. */
  everyTick(sweep: () => boolean): void {
    this.#sweepers.add(sweep);
    this.#start();
  }

  /** Stops for good: nothing rings any more. */
  stop(): void {
    this.#due.clear();
    this.#sweepers.clear();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #start(): void {
    if (this.#timer !== undefined) return;
    this.#lastTick = Math.floor(performance.now() / limits.ALARM_TICK_MS);
    this.#timer = setInterval(() => this.#ring(), limits.ALARM_TICK_MS);
    this.#timer.unref();
  }

  #ring(): void {
    const now = Math.floor(performance.now() / limits.ALARM_TICK_MS);
    // Ticks that the event loop slept through ring now, in order.
    for (let tick = this.#lastTick + 1; tick <= now; tick++) {
      const bucket = this.#due.get(tick);
      if (bucket === undefined) continue;
      this.#due.delete(tick);
      for (const wish of bucket) wish();
    }
    this.#lastTick = now;
    for (const sweep of this.#sweepers) if (!sweep()) this.#sweepers.delete(sweep);
    if (this.#due.size > 0 || this.#sweepers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
