// Addresses in the order of what lies there: blocks of numbers, no object per key. Finding one is a search by halves over the
// blocks and then in one of them; a block that is full is split in two.

import { assert } from "../lib/assert.ts";

const BLOCK_ADDRESSES = 256;

interface Block {
  readonly addresses: Float64Array;
  count: number;
}

/** Compares what lies at an address with what is looked for: negative when it comes before. */
export type Compare = (address: number) => number;

/** A sorted list of addresses. The owner compares; nothing equal is in it twice. */
export class OrderedAddresses {
  #blocks: Block[] = [];
  #size = 0;
  /** Where the last search ended: the block, and the place in it. */
  #block = 0;
  #place = 0;

  /** Addresses in the list. */
  get size(): number {
    return this.#size;
  }

  /** The address for which `compare` says 0; -1 when there is none. */
  find(compare: Compare): number {
    this.#seek(compare);
    const address = this.#here();
    return address >= 0 && compare(address) === 0 ? address : -1;
  }

  /** The addresses from the first that does not come before what is looked for, in order. The list must not change meanwhile. */
  *from(compare: Compare): Iterable<number> {
    this.#seek(compare);
    let place = this.#place;
    for (let i = this.#block; i < this.#blocks.length; i++) {
      const block = this.#blocks[i] as Block;
      for (; place < block.count; place++) yield block.addresses[place] as number;
      place = 0;
    }
  }

  /** Every address, in order. */
  all(): Iterable<number> {
    return this.from(() => 1);
  }

  /** Adds an address where `compare`, which never says 0, has its place. */
  insert(address: number, compare: Compare): void {
    this.#seek(compare);
    this.#size += 1;
    let block = this.#blocks[this.#block];
    if (block === undefined) {
      block = this.#append(this.#blocks.length);
    } else if (block.count === BLOCK_ADDRESSES) {
      const isAtEnd = this.#place === block.count;
      if (isAtEnd) {
        // Keys that come in order fill whole blocks.
        block = this.#append(this.#block + 1);
        this.#place = 0;
      } else block = this.#split(block);
    }
    block.addresses.copyWithin(this.#place + 1, this.#place, block.count);
    block.addresses[this.#place] = address;
    block.count += 1;
  }

  /** Puts another address in the place of the one that was found last by `find`. */
  replace(address: number, by: number): void {
    assert(this.#here() === address, "Only what was just found is replaced");
    const block = this.#blocks[this.#block] as Block;
    block.addresses[this.#place] = by;
  }

  /** Takes the address out that was found last by `find`. */
  remove(address: number): void {
    assert(this.#here() === address, "Only what was just found is taken out");
    const block = this.#blocks[this.#block] as Block;
    block.addresses.copyWithin(this.#place, this.#place + 1, block.count);
    block.count -= 1;
    this.#size -= 1;
    if (block.count === 0) this.#blocks.splice(this.#block, 1);
  }

  #here(): number {
    const block = this.#blocks[this.#block];
    return block === undefined || this.#place >= block.count
      ? -1
      : (block.addresses[this.#place] as number);
  }

  /** Stands on the first address that does not come before what is looked for, or behind the last of its block. */
  #seek(compare: Compare): void {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare((this.#blocks[middle] as Block).addresses[0] as number) <= 0) low = middle + 1;
      else high = middle;
    }
    this.#block = Math.max(0, low - 1);
    const block = this.#blocks[this.#block];
    this.#place = block === undefined ? 0 : placeIn(block, compare);
  }

  #append(at: number): Block {
    const block = { addresses: new Float64Array(BLOCK_ADDRESSES), count: 0 };
    this.#blocks.splice(at, 0, block);
    this.#block = at;
    return block;
  }

  /** Halves a full block; returns the half in which the place now lies. */
  #split(block: Block): Block {
    const half = BLOCK_ADDRESSES >>> 1;
    const at = this.#block;
    const upper = this.#append(at + 1);
    upper.addresses.set(block.addresses.subarray(half));
    upper.count = BLOCK_ADDRESSES - half;
    block.count = half;
    if (this.#place > half) {
      this.#place -= half;
      return upper;
    }
    this.#block = at;
    return block;
  }
}

function placeIn(block: Block, compare: Compare): number {
  let low = 0;
  let high = block.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(block.addresses[middle] as number) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
