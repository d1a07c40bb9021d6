// Entries that have their place in the log and are not applied yet. Their memory is held until they are, or are cut off.

import { assert } from "../lib/assert.ts";
import { type ChainEnd, chainOf, newEntryHeader, readEntryHeader } from "../log/mod.ts";
import type { Applier } from "./apply.ts";
import type { SealedEntry } from "./batcher.ts";

/** Such entries, in the order of the log. */
export class UnappliedEntries {
  readonly #entries: SealedEntry[] = [];
  readonly #header = newEntryHeader();
  #bytes = 0;

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Takes in the next one. */
  add(entry: SealedEntry): void {
    this.#entries.push(entry);
    this.#bytes += sizeOf(entry);
  }

  /** Applies those up to `until` and lets go of them. Returns the last one's place; undefined when there was none. */
  apply(until: number, applier: Applier): ChainEnd | undefined {
    let count = 0;
    for (const entry of this.#entries) {
      if (entry.index > until) break;
      const isEntry = readEntryHeader(entry.view, entry.at, this.#header);
      assert(isEntry, "What was sealed is an entry");
      applier.apply(entry.bytes, entry.view, entry.at, this.#header);
      this.#letGo(entry);
      count += 1;
    }
    this.#entries.splice(0, count);
    return count === 0 ? undefined : chainOf(this.#header);
  }

  /** The entry `index`, and the place of the one before: `applied` when that is none of these. */
  cutAt(index: number, applied: ChainEnd): { readonly first: SealedEntry; readonly end: ChainEnd } {
    const at = this.#at(index);
    const first = this.#entries[at];
    assert(first !== undefined && first.index === index, `Entry ${index} is not applied`);
    const before = this.#entries[at - 1];
    if (before === undefined) return { first, end: applied };
    readEntryHeader(before.view, before.at, this.#header);
    return { first, end: chainOf(this.#header) };
  }

  /** Lets go of those from `index` on: they are no longer of the log. */
  cut(index: number): void {
    for (const entry of this.#entries.splice(this.#at(index))) this.#letGo(entry);
  }

  #at(index: number): number {
    return this.#entries.findIndex((entry) => entry.index >= index);
  }

  #letGo(entry: SealedEntry): void {
    this.#bytes -= sizeOf(entry);
    if (entry.slab !== undefined) entry.slab.pins -= 1;
  }
}

/** An entry begins with its length. */
const sizeOf = (entry: SealedEntry): number => entry.view.getUint32(entry.at, true);
