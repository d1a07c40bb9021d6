// Linearizable reads: asks consensus what a read must wait for, and waits until that is applied. Asks again when an answer
// is lost or there is no leader yet, until the time is up.

import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";

interface PendingRead {
  readonly deadlineMs: number;
  askedMs: number;
  /** What must be applied first; undefined until it is known. */
  index: number | undefined;
  readonly answer: (outcome: Result<undefined, Refusal>) => void;
}

/** An answer that takes longer than this is taken to be lost. */
const ASK_AGAIN_MS = 500;
/** Reads that may wait. */
const READS_MAX = 100_000;

const NO_QUORUM = refuse("no_quorum", "No leader has confirmed the read in time");

/** Reads that wait for a confirmation. */
export class Reads {
  readonly #pending = new Map<number, PendingRead>();
  readonly #nowMs: () => number;
  /** Asks consensus; its answer comes by `confirmed` or `failed`. */
  readonly #ask: (context: number) => void;
  #nextContext: number;

  /** @param firstContext Above all that an earlier life of this node has used: an answer to one of those may still be on its way. */
  constructor(nowMs: () => number, ask: (context: number) => void, firstContext: number) {
    this.#nowMs = nowMs;
    this.#ask = ask;
    this.#nextContext = firstContext;
  }

  /** Reads that wait. */
  get size(): number {
    return this.#pending.size;
  }

  /** Answers once a read here is linearizable with respect to this call, or with why it cannot be. */
  barrier(timeoutMs: number, answer: (outcome: Result<undefined, Refusal>) => void): void {
    if (this.#pending.size >= READS_MAX) {
      answer(fail(refuse("overloaded", "Too many reads wait")));
      return;
    }
    const now = this.#nowMs();
    const context = this.#nextContext++;
    const deadlineMs = now + timeoutMs;
    this.#pending.set(context, { deadlineMs, askedMs: now, index: undefined, answer });
    this.#ask(context);
  }

  /** A read must wait until `index` is applied. */
  confirmed(context: number, index: number): void {
    const read = this.#pending.get(context);
    if (read !== undefined) read.index = Math.min(index, read.index ?? index);
  }

  /** A read was not confirmed; it is asked for again by the next tick. */
  failed(context: number): void {
    const read = this.#pending.get(context);
    if (read !== undefined && read.index === undefined) read.askedMs = Number.NEGATIVE_INFINITY;
  }

  /** Answers what waited for entries up to `appliedIndex`. */
  wake(appliedIndex: number): void {
    if (this.#pending.size === 0) return;
    for (const [context, read] of this.#pending) {
      if (read.index === undefined || read.index > appliedIndex) continue;
      this.#pending.delete(context);
      read.answer(succeed(undefined));
    }
  }

  /** Time goes on. */
  tick(): void {
    if (this.#pending.size === 0) return;
    const now = this.#nowMs();
    for (const [context, read] of this.#pending) {
      if (now >= read.deadlineMs) {
        this.#pending.delete(context);
        read.answer(fail(NO_QUORUM));
      } else if (read.index === undefined && now - read.askedMs >= ASK_AGAIN_MS) {
        read.askedMs = now;
        this.#ask(context);
      }
    }
  }

  /** Ends all of them: this replica goes on no more. */
  close(why: Refusal): void {
    const reads = [...this.#pending.values()];
    this.#pending.clear();
    for (const read of reads) read.answer(fail(why));
  }
}
