// Idempotency keys in the order in which the log has them: a queue in pages with a table over it, no object per key.
// The oldest leave first, by age or by count, so the same log leaves the same keys on every node.
//
// slot: hash u32 | key length u16, partition u16 | topic u32 | count u32 | first offset f64 | tag f64 | fingerprint u32 u32
//       | detail length u32 | key | detail

import { AddressTable } from "../lib/address-table.ts";
import { assert } from "../lib/assert.ts";
import { align8, sameBytes, viewOf } from "../lib/bytes.ts";
import { hash32 } from "../lib/checksum.ts";
import type { Remembered } from "../model/command-codec.ts";

const FIXED_BYTES = 44;
const PAGE_BYTES = 1 << 18;

interface Page {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Bytes in use from the start. */
  end: number;
}

/**
 * A window of keys, each with the outcome it stands for. `timestampMs` of an outcome is the window's tag: the append time
 * in the applied window, the Raft index in the leader's window of keys that are under way.
 */
export class KeyWindow {
  #pages: Page[] = [];
  /** Address of the first byte of `#pages[0]`. */
  #base = 0;
  #head = 0;
  #tail = 0;
  readonly #table = new AddressTable();

  /** Keys in the window. */
  get size(): number {
    return this.#table.size;
  }

  /** Tag of the oldest key; only when there is one. */
  get oldestTag(): number {
    const page = this.#page(this.#head);
    return page.view.getFloat64(this.#at(this.#head) + 24, true);
  }

  #page(address: number): Page {
    const page = this.#pages[Math.floor((address - this.#base) / PAGE_BYTES)];
    assert(page !== undefined, `Address ${address} lies in a page`);
    return page;
  }

  #at(address: number): number {
    return (address - this.#base) % PAGE_BYTES;
  }

  /** Looks a key up; true fills `into`. */
  find(topicId: number, key: Uint8Array, into: Remembered): boolean {
    const hash = hash32(key, topicId);
    for (let address = this.#table.first(hash); address >= 0; address = this.#table.next()) {
      const { bytes, view } = this.#page(address);
      const at = this.#at(address);
      const keyStart = at + FIXED_BYTES;
      if (view.getUint32(at + 8, true) !== topicId) continue;
      if (!sameBytes(bytes, keyStart, keyStart + view.getUint16(at + 4, true), key)) continue;
      into.topicId = topicId;
      into.partition = view.getUint16(at + 6, true);
      into.count = view.getUint32(at + 12, true);
      into.firstOffset = view.getFloat64(at + 16, true);
      into.timestampMs = view.getFloat64(at + 24, true);
      into.fingerprintLow = view.getUint32(at + 32, true);
      into.fingerprintHigh = view.getUint32(at + 36, true);
      const detailStart = keyStart + key.length;
      into.detail = bytes.subarray(detailStart, detailStart + view.getUint32(at + 40, true));
      return true;
    }
    return false;
  }

  /** Adds a key that is not in the window, as the newest. */
  add(key: Uint8Array, outcome: Remembered): void {
    const { detail } = outcome;
    const address = this.#reserve(align8(FIXED_BYTES + key.length + detail.length));
    const { bytes, view } = this.#page(address);
    const at = this.#at(address);
    const hash = hash32(key, outcome.topicId);
    view.setUint32(at, hash, true);
    view.setUint16(at + 4, key.length, true);
    view.setUint16(at + 6, outcome.partition, true);
    view.setUint32(at + 8, outcome.topicId, true);
    view.setUint32(at + 12, outcome.count, true);
    view.setFloat64(at + 16, outcome.firstOffset, true);
    view.setFloat64(at + 24, outcome.timestampMs, true);
    view.setUint32(at + 32, outcome.fingerprintLow, true);
    view.setUint32(at + 36, outcome.fingerprintHigh, true);
    view.setUint32(at + 40, detail.length, true);
    bytes.set(key, at + FIXED_BYTES);
    bytes.set(detail, at + FIXED_BYTES + key.length);
    this.#table.insert(hash, address);
  }

  /** Bytes of a slot. */
  #size(view: DataView, at: number): number {
    return FIXED_BYTES + view.getUint16(at + 4, true) + view.getUint32(at + 40, true);
  }

  #reserve(size: number): number {
    assert(size <= PAGE_BYTES, "A key fits a page with what it stands for");
    let page = this.#pages.at(-1);
    if (page === undefined || page.end + size > PAGE_BYTES) {
      if (this.size === 0) {
        this.#base += this.#pages.length * PAGE_BYTES;
        this.#pages = [];
        this.#head = this.#base;
      }
      const bytes = new Uint8Array(PAGE_BYTES);
      page = { bytes, view: viewOf(bytes), end: 0 };
      this.#pages.push(page);
      this.#tail = this.#base + (this.#pages.length - 1) * PAGE_BYTES;
    }
    const address = this.#tail;
    page.end += size;
    this.#tail += size;
    return address;
  }

  /** Every key with its outcome, oldest first, as bytes that are equal when they are. */
  *slots(): Iterable<Uint8Array> {
    let address = this.#head;
    for (let left = this.size; left > 0; left--) {
      let page = this.#page(address);
      if (this.#at(address) >= page.end) {
        address = this.#base + Math.ceil((address - this.#base + 1) / PAGE_BYTES) * PAGE_BYTES;
        page = this.#page(address);
      }
      const at = this.#at(address);
      const bytes = this.#size(page.view, at);
      yield page.bytes.subarray(at, at + bytes);
      address += align8(bytes);
    }
  }

  /** Drops the oldest key. */
  dropOldest(): void {
    assert(this.size > 0, "There is a key to drop");
    const page = this.#page(this.#head);
    const at = this.#at(this.#head);
    this.#table.remove(page.view.getUint32(at, true), this.#head);
    this.#head += align8(this.#size(page.view, at));
    if (this.#at(this.#head) >= page.end || this.#at(this.#head) === 0) {
      // The newest page stays even when it is used up: the next key begins a page of its own.
      if (this.#pages.length > 1) {
        this.#pages.shift();
        this.#base += PAGE_BYTES;
        this.#head = this.#base;
      }
    }
  }

  /** Drops keys, oldest first, while there are more than `keysMax` or their tag is at most `tag`. Returns how many. */
  trim(keysMax: number, tag: number): number {
    let dropped = 0;
    while (this.size > keysMax || (this.size > 0 && this.oldestTag <= tag)) {
      this.dropOldest();
      dropped += 1;
    }
    return dropped;
  }
}
