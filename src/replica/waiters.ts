// Who waits for which entry: produces in plain numbers, everything else as a callback. Woken when the entry is applied.

import { assert } from "../lib/assert.ts";
import type { Refusal } from "../model/errors.ts";
import type { ProduceSink } from "../model/produce.ts";

const CAPACITY_MIN = 1024;

/** Produces that wait for their entry, in log order. A ring of numbers: no object per request. */
export class ProduceWaiters {
  #entryIndex = new Float64Array(CAPACITY_MIN);
  #firstOffset = new Float64Array(CAPACITY_MIN);
  #waiter = new Int32Array(CAPACITY_MIN);
  #count = new Int32Array(CAPACITY_MIN);
  #partition = new Int32Array(CAPACITY_MIN);
  #duplicate = new Int8Array(CAPACITY_MIN);
  #head = 0;
  #size = 0;

  /** Produces that wait. */
  get size(): number {
    return this.#size;
  }

  /** Adds one; entry indexes never go back. */
  add(
    entryIndex: number,
    waiter: number,
    firstOffset: number,
    count: number,
    partition: number,
    duplicate: number,
  ): void {
    if (this.#size === this.#waiter.length) this.#grow();
    const at = (this.#head + this.#size) & (this.#waiter.length - 1);
    this.#entryIndex[at] = entryIndex;
    this.#firstOffset[at] = firstOffset;
    this.#waiter[at] = waiter;
    this.#count[at] = count;
    this.#partition[at] = partition;
    this.#duplicate[at] = duplicate;
    this.#size += 1;
  }

  /** Index of the entry that the oldest one waits for; `Infinity` when nobody waits. */
  get nextIndex(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#entryIndex[this.#head] as number);
  }

  /**
   * Tells everyone who waits for an entry up to `index` that it is stored, and how widely it is synced.
   * @param into Where they go on waiting: for more nodes than that.
   */
  wake(index: number, synced: number, sink: ProduceSink, into?: ProduceWaiters): void {
    const mask = this.#waiter.length - 1;
    while (this.#size > 0 && (this.#entryIndex[this.#head] as number) <= index) {
      const at = this.#head;
      this.#head = (at + 1) & mask;
      this.#size -= 1;
      const entryIndex = this.#entryIndex[at] as number;
      const waiter = this.#waiter[at] as number;
      const firstOffset = this.#firstOffset[at] as number;
      const count = this.#count[at] as number;
      const partition = this.#partition[at] as number;
      const duplicate = this.#duplicate[at] as number;
      into?.add(entryIndex, waiter, firstOffset, count, partition, duplicate);
      sink.produced(waiter, firstOffset, count, partition, entryIndex, synced, duplicate);
    }
  }

  /** Refuses everyone: by what `refusalOf` says of the entry that they waited for. */
  refuse(refusalOf: (entryIndex: number) => Refusal, sink: ProduceSink): void {
    const mask = this.#waiter.length - 1;
    while (this.#size > 0) {
      const at = this.#head;
      this.#head = (at + 1) & mask;
      this.#size -= 1;
      sink.refused(this.#waiter[at] as number, refusalOf(this.#entryIndex[at] as number));
    }
  }

  #grow(): void {
    const order = Array.from(
      { length: this.#size },
      (_, i) => (this.#head + i) & (this.#waiter.length - 1),
    );
    const grown = <T extends Float64Array | Int32Array | Int8Array>(from: T, into: T): T => {
      for (const [i, at] of order.entries()) into[i] = from[at] as number;
      return into;
    };
    const capacity = this.#waiter.length * 2;
    this.#entryIndex = grown(this.#entryIndex, new Float64Array(capacity));
    this.#firstOffset = grown(this.#firstOffset, new Float64Array(capacity));
    this.#waiter = grown(this.#waiter, new Int32Array(capacity));
    this.#count = grown(this.#count, new Int32Array(capacity));
    this.#partition = grown(this.#partition, new Int32Array(capacity));
    this.#duplicate = grown(this.#duplicate, new Int8Array(capacity));
    this.#head = 0;
  }
}

/** One who waits for an entry, and what becomes of it. */
interface EntryCallback {
  readonly index: number;
  readonly run: () => void;
  readonly lost: (refusal: Refusal) => void;
}

/** Callbacks that wait for an entry, for what is asked less often. */
export class EntryCallbacks {
  readonly #waiting: EntryCallback[] = [];

  /** Callbacks that wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** Calls `run` once the entry at `index` is applied, or `lost` when this node no longer decides what that will be. */
  add(index: number, run: () => void, lost: (refusal: Refusal) => void): void {
    let at = this.#waiting.length;
    while (at > 0 && (this.#waiting[at - 1]?.index ?? 0) > index) at -= 1;
    this.#waiting.splice(at, 0, { index, run, lost });
  }

  /** Runs what waited for entries up to `appliedIndex`. */
  wake(appliedIndex: number): void {
    let count = 0;
    while (count < this.#waiting.length && (this.#waiting[count]?.index ?? 0) <= appliedIndex)
      count += 1;
    if (count === 0) return;
    for (const { run } of this.#waiting.splice(0, count)) run();
  }

  /** Refuses everyone. */
  refuse(refusalOf: (entryIndex: number) => Refusal): void {
    for (const { index, lost } of this.#waiting.splice(0)) lost(refusalOf(index));
  }
}

/** Readers that wait for a record of a partition to appear. */
export class RecordWishes {
  readonly #byPartition = new Map<number, Set<Wish>>();
  #granted: Wish[] = [];

  /** Readers that wait. */
  size = 0;

  /** Remembers a wish; returns how to take it back. */
  add(key: number, offset: number, wake: () => void): () => void {
    const wish: Wish = { offset, wake, isOver: false };
    const wishes = this.#byPartition.get(key) ?? new Set();
    this.#byPartition.set(key, wishes.add(wish));
    this.size += 1;
    return () => {
      wish.isOver = true;
      if (!wishes.delete(wish)) return;
      this.size -= 1;
      if (wishes.size === 0 && this.#byPartition.get(key) === wishes) this.#byPartition.delete(key);
    };
  }

  /** Grants the wishes of a partition that goes on to `nextOffset` now. */
  grant(key: number, nextOffset: number): void {
    const wishes = this.#byPartition.get(key);
    if (wishes === undefined) return;
    for (const wish of wishes) {
      if (wish.offset >= nextOffset) continue;
      wishes.delete(wish);
      this.size -= 1;
      this.#granted.push(wish);
    }
    if (wishes.size === 0) this.#byPartition.delete(key);
  }

  /** Wakes every reader: nothing is granted here any more. */
  wakeAll(): void {
    for (const key of [...this.#byPartition.keys()]) this.grant(key, Number.POSITIVE_INFINITY);
    while (this.wakeSome(1000));
  }

  /** Wakes up to `max` readers, so that ten thousand of them do not hold one turn. True: there are more. */
  wakeSome(max: number): boolean {
    assert(max > 0, "Somebody is woken");
    if (this.#granted.length === 0) return false;
    const now = this.#granted.slice(0, max);
    this.#granted = this.#granted.slice(max);
    for (const wish of now) if (!wish.isOver) wish.wake();
    return this.#granted.length > 0;
  }
}

interface Wish {
  readonly offset: number;
  readonly wake: () => void;
  isOver: boolean;
}
