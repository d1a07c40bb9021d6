// Bounds the waits of writes that have no slot: topics, commits, rules, the cluster. Without a majority the log may take
// a request and never commit it; the client then learns in time that its fate is not known. One timer serves them all.

import type { Result } from "../lib/result.ts";
import { fail } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Alarms } from "./alarms.ts";

/** The refusal of a write that was handed over and not confirmed. */
export const notConfirmed = (): Refusal =>
  refuse("timeout", "Write was not confirmed in time: it may still be stored", {
    outcome: "unknown",
  });

/** Ends waits that last too long. */
export class WriteDeadlines {
  readonly #alarms: Alarms;
  readonly #timeoutMs: number;
  /** Ends one wait each. */
  readonly #waits = new Set<() => void>();

  /** @param timeoutMs Milliseconds that a write waits when it does not say. */
  constructor(alarms: Alarms, timeoutMs: number) {
    this.#alarms = alarms;
    this.#timeoutMs = timeoutMs;
  }

  /** Writes that wait. */
  get size(): number {
    return this.#waits.size;
  }

  /** The outcome of `write`, or `timeout` with an unknown outcome when it does not come in time. Rejects as `write` does. */
  bound<T>(
    write: Promise<Result<T, Refusal>>,
    timeoutMs = this.#timeoutMs,
  ): Promise<Result<T, Refusal>> {
    const { promise, resolve, reject } = Promise.withResolvers<Result<T, Refusal>>();
    const giveUp = (): void => {
      end();
      resolve(fail(notConfirmed()));
    };
    const cancel = this.#alarms.after(timeoutMs, giveUp);
    const end = (): void => {
      cancel();
      this.#waits.delete(giveUp);
    };
    this.#waits.add(giveUp);
    write.then(
      (outcome) => {
        end();
        resolve(outcome);
      },
      (error: unknown) => {
        end();
        reject(error);
      },
    );
    return promise;
  }

  /** Ends every wait now: the node stops. */
  endAll(): void {
    for (const giveUp of [...this.#waits]) giveUp();
  }
}
