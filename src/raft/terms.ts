// The terms of the log: which term stands at which index, as runs. A leader's whole reign is one run, so a log of millions
// of entries is a handful of them. Nothing else of the log is known to the consensus.

import { assert } from "../lib/assert.ts";
import type { TermRun } from "./messages.ts";

/** Terms from the compaction point up to the last entry. They never fall as the index rises. */
export class TermRuns {
  readonly #runs: TermRun[];
  #lastIndex: number;

  /** @param runs Ascending; the first says the term at the index before which nothing is known. Empty: an empty log. */
  constructor(runs: readonly TermRun[], lastIndex: number) {
    assert(runs.length > 0 || lastIndex === 0, `A log that ends at ${lastIndex} has terms`);
    for (const [i, run] of runs.entries()) {
      const before = runs[i - 1];
      assert(run.index > (before?.index ?? 0), `A run of terms cannot begin at ${run.index}`);
      assert(run.term >= (before?.term ?? 0), `Term ${run.term} comes after ${before?.term}`);
      assert(run.index <= lastIndex, `A run begins at ${run.index}, the log ends at ${lastIndex}`);
    }
    this.#runs = [...runs];
    this.#lastIndex = lastIndex;
  }

  /** Index of the last entry, durable or not; 0 for an empty log. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Term of the last entry; 0 for an empty log. */
  get lastTerm(): number {
    return this.#runs.at(-1)?.term ?? 0;
  }

  /** The first index whose term is known; 0 for an empty log. */
  get firstIndex(): number {
    return this.#runs[0]?.index ?? 0;
  }

  /** Term at `index`: 0 at index 0, undefined where it is compacted or the log has ended. */
  at(index: number): number | undefined {
    if (index === 0) return 0;
    if (index > this.#lastIndex) return undefined;
    return this.#runs[this.#find(index)]?.term;
  }

  /** Lengthens the log to `lastIndex`, with entries of `term`. */
  append(lastIndex: number, term: number): void {
    assert(lastIndex > this.#lastIndex, `The log has an entry ${lastIndex} already`);
    assert(term >= this.lastTerm, `Term ${term} cannot follow term ${this.lastTerm}`);
    if (this.#runs.length === 0 || term > this.lastTerm)
      this.#runs.push({ index: this.#lastIndex + 1, term });
    this.#lastIndex = lastIndex;
  }

  /** Shortens the log to `lastIndex`. */
  truncate(lastIndex: number): void {
    assert(
      lastIndex >= this.firstIndex || lastIndex === 0,
      `Cannot truncate to ${lastIndex}: it is compacted`,
    );
    while ((this.#runs.at(-1)?.index ?? 0) > lastIndex) this.#runs.pop();
    this.#lastIndex = Math.min(this.#lastIndex, lastIndex);
  }

  /** Forgets what is below `index`, whose own term stays known. */
  compact(index: number): void {
    const at = this.#find(index);
    const term = this.#runs[at]?.term;
    if (term !== undefined) this.#runs.splice(0, at + 1, { index, term });
  }

  /** Begins again behind `index`, of which only the term is known. */
  replace(index: number, term: number): void {
    this.#runs.splice(0, this.#runs.length, { index, term });
    this.#lastIndex = index;
  }

  /** The runs of the entries `(prevIndex, lastIndex]`. */
  slice(prevIndex: number, lastIndex: number): TermRun[] {
    assert(lastIndex <= this.#lastIndex, `There is no entry ${lastIndex} yet`);
    if (prevIndex === lastIndex) return [];
    const from = this.#find(prevIndex + 1);
    assert(from >= 0, `Entry ${prevIndex + 1} is compacted`);
    const slice: TermRun[] = [];
    for (let i = from; i < this.#runs.length; i += 1) {
      const run = this.#runs[i] as TermRun;
      if (run.index > lastIndex) break;
      slice.push(i === from ? { index: prevIndex + 1, term: run.term } : run);
    }
    return slice;
  }

  /** How far `(prevIndex, lastIndex]` can go without being more than `runsMax` runs. */
  limit(prevIndex: number, lastIndex: number, runsMax: number): number {
    if (this.#runs.length <= runsMax) return lastIndex;
    const behind = this.#runs[this.#find(prevIndex + 1) + runsMax];
    return behind === undefined ? lastIndex : Math.min(lastIndex, behind.index - 1);
  }

  /** The first index of `[from, to]` where this log has ended or has another term; undefined if there is none. */
  firstDifference(from: number, to: number, term: number): number | undefined {
    for (let index = from; index <= to; ) {
      if (this.at(index) !== term) return index;
      index = this.#runs[this.#find(index) + 1]?.index ?? this.#lastIndex + 1;
    }
    return undefined;
  }

  /**
   * The highest index up to `index` whose term is `term` at the most: where a log that has `term` at `index` can match this
   * one. Term 0 with an index above 0: not known here, so it may match.
   */
  highestMatch(index: number, term: number): TermRun {
    for (let at = index; at > 0; ) {
      const here = this.at(at);
      if (here === undefined) return { index: at, term: 0 };
      if (here <= term) return { index: at, term: here };
      at = (this.#runs[this.#find(at)] as TermRun).index - 1;
    }
    return { index: 0, term: 0 };
  }

  /** Position of the run that holds `index`, or -1. The last ones are asked for most. */
  #find(index: number): number {
    let low = -1;
    let high = this.#runs.length - 1;
    if (high >= 0 && (this.#runs[high] as TermRun).index <= index) return high;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#runs[middle] as TermRun).index <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
