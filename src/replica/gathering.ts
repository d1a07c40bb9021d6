// When a write that could be submitted waits a moment for the requests that are still arriving: one write of many costs little
// more than one of one, and a write costs the processor as much as ten requests do. No timer runs.

import type { Clock } from "./log-time.ts";

/** A write waits at most this long. */
const GATHER_MS_MAX = 1;
/** Passes of the event loop in a row that brought nothing: nobody is in the middle of sending. */
const EMPTY_PASSES = 2;

/** Decides, pass by pass of the event loop. Requests are counted from the start on: `added` is how many there have been. */
export class Gathering {
  #seen = 0;
  #emptyPasses = 0;
  /** Requests in all writes so far, and in the write in flight. */
  #submitted = 0;
  #inFlight = 0;
  /** Requests that were under way when the last write ended. */
  #expected = 0;
  #untilMs = 0;

  /** Whether to wait for another pass: until as many are here as are expected, two passes bring nothing, or time is over. */
  isOn(added: number, clock: Clock): boolean {
    if (added - this.#submitted >= this.#expected) return false;
    this.#emptyPasses = added === this.#seen ? this.#emptyPasses + 1 : 0;
    if (this.#emptyPasses >= EMPTY_PASSES) return false;
    this.#seen = added;
    const now = clock.monotonicMs();
    if (this.#untilMs === 0) this.#untilMs = now + GATHER_MS_MAX;
    return now < this.#untilMs;
  }

  /** Waiting is over; the next one begins anew. */
  end(): void {
    this.#untilMs = 0;
  }

  /** A write with everything that was added is on its way. */
  submitted(added: number): void {
    this.#inFlight = added - this.#submitted;
    this.#submitted = added;
  }

  /** It is durable. Whoever is answered now and whoever came meanwhile: about as many as may send again. */
  synced(added: number): void {
    this.#expected = this.#inFlight + added - this.#submitted;
  }
}
