// An open-addressing table from 32-bit hashes to addresses, in typed arrays: no object per key, so that a million keys
// cost a full collection nothing. It grows a few slots per insertion, so that no single one pays for all.
// Keys live with the owner, who compares them: `first` and `next` walk the addresses whose hash is equal.

import { assert } from "./assert.ts";

// Addresses are kept plus one, so that fresh memory, which the kernel zeroes page by page, is an empty table.
const EMPTY = 0;
const REMOVED = -1;
const SLOTS_MIN = 64;
/** Old slots moved per insertion. With a growth factor of two, all are moved long before the new half is full. */
const MOVED_PER_INSERT = 16;

interface Slots {
  readonly hashes: Uint32Array;
  readonly addresses: Float64Array;
  readonly mask: number;
}

const newSlots = (count: number): Slots => ({
  hashes: new Uint32Array(count),
  addresses: new Float64Array(count),
  mask: count - 1,
});

/** Maps hashes to addresses: numbers from 0 that the owner understands. One address is inserted once. */
export class AddressTable {
  #slots = newSlots(SLOTS_MIN);
  /** Being moved into `#slots`, from `#moved` on. */
  #old: Slots | undefined;
  #moved = 0;
  /** Slots that are not empty, removed ones included. */
  #used = 0;
  #size = 0;
  #probeSlots = this.#slots;
  #probeAt = 0;
  #probeHash = 0;

  /** Addresses in the table. */
  get size(): number {
    return this.#size;
  }

  /** The first address whose hash is `hash`, or -1. */
  first(hash: number): number {
    this.#probeHash = hash;
    this.#probeSlots = this.#slots;
    this.#probeAt = hash & this.#slots.mask;
    return this.#probe();
  }

  /** The next address with the hash of the last `first`, or -1. The table must not have changed since. */
  next(): number {
    this.#probeAt = (this.#probeAt + 1) & this.#probeSlots.mask;
    return this.#probe();
  }

  #probe(): number {
    for (;;) {
      const { hashes, addresses, mask } = this.#probeSlots;
      for (let at = this.#probeAt; ; at = (at + 1) & mask) {
        const address = addresses[at] as number;
        if (address === EMPTY) break;
        if (address !== REMOVED && hashes[at] === this.#probeHash) {
          this.#probeAt = at;
          return address - 1;
        }
      }
      if (this.#old === undefined || this.#probeSlots === this.#old) return -1;
      this.#probeSlots = this.#old;
      this.#probeAt = this.#probeHash & this.#old.mask;
    }
  }

  /** Adds an address. */
  insert(hash: number, address: number): void {
    assert(address >= 0, "An address is not negative");
    if (this.#old !== undefined) this.#move(MOVED_PER_INSERT);
    else if (this.#used * 4 >= this.#slots.addresses.length * 3) this.#grow();
    this.#place(this.#slots, hash, address);
    this.#size += 1;
  }

  /** Takes an address out. */
  remove(hash: number, address: number): void {
    const isHere = take(this.#slots, hash, address);
    const isThere = this.#old !== undefined && take(this.#old, hash, address);
    assert(isHere || isThere, "Only what was inserted is removed");
    this.#size -= 1;
  }

  #place(slots: Slots, hash: number, address: number): void {
    let at = hash & slots.mask;
    while ((slots.addresses[at] as number) > EMPTY) at = (at + 1) & slots.mask;
    if (slots.addresses[at] === EMPTY) this.#used += 1;
    slots.hashes[at] = hash;
    slots.addresses[at] = address + 1;
  }

  #grow(): void {
    this.#old = this.#slots;
    this.#moved = 0;
    // Mostly removed slots: the same size again is enough, and cleans up.
    const isCrowded = this.#size * 2 > this.#slots.addresses.length;
    this.#slots = newSlots(this.#slots.addresses.length * (isCrowded ? 2 : 1));
    this.#used = 0;
    this.#move(MOVED_PER_INSERT);
  }

  #move(count: number): void {
    const old = this.#old;
    if (old === undefined) return;
    const end = Math.min(old.addresses.length, this.#moved + count);
    for (; this.#moved < end; this.#moved++) {
      const address = old.addresses[this.#moved] as number;
      if (address <= EMPTY) continue;
      // Marked removed, not empty: chains that ran over this slot must still be walked.
      old.addresses[this.#moved] = REMOVED;
      this.#place(this.#slots, old.hashes[this.#moved] as number, address - 1);
    }
    if (this.#moved === old.addresses.length) this.#old = undefined;
  }
}

function take(slots: Slots, hash: number, address: number): boolean {
  for (let at = hash & slots.mask; ; at = (at + 1) & slots.mask) {
    const found = slots.addresses[at] as number;
    if (found === EMPTY) return false;
    if (found === address + 1) {
      slots.addresses[at] = REMOVED;
      return true;
    }
  }
}
