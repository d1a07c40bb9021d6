// The reads of a ring that are under way or wait for their turn. Knows nothing of the ring itself: starting a read is
// left to the disk, which also passes on what became of it.

import { assert } from "../lib/assert.ts";
import type { FileError } from "../log/mod.ts";
import { errnoName, fileError } from "./file-errors.ts";

/** What a caller of `read` asked for. */
export interface ReadRequest {
  readonly name: string;
  readonly descriptor: number;
  readonly position: number;
  /** Held so that the memory lives for as long as the kernel may write to it. */
  readonly into: Uint8Array;
  readonly address: number;
  readonly length: number;
  readonly resolve: (bytes: number) => void;
  readonly reject: (error: FileError) => void;
}

/** A request that has a slot, whose number is in the tags of its entries. */
export interface ReadUnderWay extends ReadRequest {
  readonly slot: number;
  /** Bytes that have come so far. */
  done: number;
  isSettled: boolean;
  /** Wakes that were handed over with its entries and whose completions have not come. */
  wakesOwed: number;
}

/** Reads by slot, and those that wait for one. */
export class UringReads {
  readonly #slots: (ReadUnderWay | undefined)[];
  readonly #freeSlots: number[];
  /** Oldest first. */
  #waiting: ReadRequest[] = [];
  readonly #start: (read: ReadUnderWay) => void;

  /**
   * @param slots Reads under way at most.
   * @param start Hands one read to the kernel, from `done` on, with a wake.
   */
  constructor(slots: number, start: (read: ReadUnderWay) => void) {
    this.#slots = new Array(slots).fill(undefined);
    this.#freeSlots = Array.from({ length: slots }, (_, slot) => slot);
    this.#start = start;
  }

  /** Reads that wait for a slot. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes a request; `startWhile` starts it. */
  add(request: ReadRequest): void {
    this.#waiting.push(request);
  }

  /** Starts waiting reads, oldest first, as long as there are slots and the disk has room. */
  startWhile(hasRoom: () => boolean): void {
    while (this.#waiting.length > 0 && this.#freeSlots.length > 0 && hasRoom()) {
      const request = this.#waiting.shift() as ReadRequest;
      const slot = this.#freeSlots.pop() as number;
      const read = { ...request, slot, done: 0, isSettled: false, wakesOwed: 0 };
      this.#slots[slot] = read;
      this.#start(read);
    }
  }

  /** The kernel has read: `result` is a count of bytes, or the negated error number. */
  taken(slot: number, result: number): void {
    const read = this.#at(slot);
    read.done += Math.max(0, result);
    // Less than asked for is the end of the file, or only what was at hand: the next read tells.
    if (result > 0 && read.done < read.length) {
      this.#start(read);
      return;
    }
    read.isSettled = true;
    if (result >= 0) read.resolve(read.done);
    else {
      const act = `read ${read.length} bytes at ${read.position} of ${read.name}`;
      read.reject(fileError(errnoName(-result), act));
    }
  }

  /** A wake of this read has been sent; after the last one its slot is free. */
  wakeTaken(slot: number): void {
    const read = this.#at(slot);
    read.wakesOwed -= 1;
    if (!read.isSettled || read.wakesOwed > 0) return;
    this.#slots[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  /** Rejects all. The slots stay taken: the kernel may still write to their memory. */
  failAll(error: FileError): void {
    const started = this.#slots.filter((read) => read !== undefined && !read.isSettled);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const read of [...started, ...waiting]) read?.reject(error);
  }

  #at(slot: number): ReadUnderWay {
    const read = this.#slots[slot];
    assert(read !== undefined, `A completion came for the read slot ${slot}, which is free`);
    return read;
  }
}
