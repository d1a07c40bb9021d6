// Memory for keys and values: slots of a few sizes in pages, so that a million of them are a few hundred arrays and no object
// each. A slot that is let go is used again for the next of its size; a page without any goes back whole.
//
// Sizes grow by a quarter at most: 48, 64, 80, 96, 112, 128, 160, 192, … up to 64 KiB. What is larger has a page of its own.

import { assert } from "../lib/assert.ts";
import { viewOf } from "../lib/bytes.ts";

const PAGE_BYTES = 1 << 20;
const SLOT_BYTES_MIN = 48;
/** Larger slots have a page of their own. */
const SHARED_BYTES_MAX = 1 << 16;
const OWN_PAGE_GRAIN = 4096;
/** An address is a page's number times this, plus a place in the page. */
const ADDRESS_SPAN = 1 << 21;
const NO_SLOT = 0xff_ff_ff_ff;

interface Page {
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly slotBytes: number;
  /** Where slots begin that were never used. */
  fresh: number;
  /** First of the slots that were let go; each holds the place of the next. */
  free: number;
  /** Slots in use. */
  used: number;
}

/** The size of the slots that hold `bytes`. */
export function slotBytesFor(bytes: number): number {
  if (bytes > SHARED_BYTES_MAX) return Math.ceil(bytes / OWN_PAGE_GRAIN) * OWN_PAGE_GRAIN;
  if (bytes <= SLOT_BYTES_MIN) return SLOT_BYTES_MIN;
  // Four sizes for each doubling.
  const step = Math.max(16, 2 ** (29 - Math.clz32(bytes - 1)));
  return Math.ceil(bytes / step) * step;
}

/** Hands out slots. Addresses are numbers from 0; a slot's bytes stay where they are until it is let go. */
export class SlotArena {
  readonly #pages: (Page | undefined)[] = [];
  /** Numbers of pages that went back, by the size of their slots: an old address never meets slots of another size. */
  readonly #freeNumbers = new Map<number, number[]>();
  /** Pages with room, by the size of their slots. */
  readonly #open = new Map<number, Page[]>();
  #pageBytes = 0;
  /** The page of the last `seek`, and the place in it. */
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = viewOf(this.bytes);
  at = 0;

  /** Bytes that all pages take. */
  get pageBytes(): number {
    return this.#pageBytes;
  }

  /** Points `bytes`, `view` and `at` to a slot: cheaper than an object. */
  seek(address: number): void {
    const page = this.#pageOf(address);
    this.bytes = page.bytes;
    this.view = page.view;
    this.at = address % ADDRESS_SPAN;
  }

  /** Whether there is a slot at an address, in use or not. */
  hasSlot(address: number): boolean {
    return this.#pages[Math.floor(address / ADDRESS_SPAN)] !== undefined;
  }

  /** Bytes that a slot holds. */
  capacity(address: number): number {
    return this.#pageOf(address).slotBytes;
  }

  /** A slot of at least `bytes`. What lies in it is of no meaning. */
  take(bytes: number): number {
    const slotBytes = slotBytesFor(bytes);
    const open = this.#open.get(slotBytes) ?? [];
    const page = open.at(-1) ?? this.#newPage(slotBytes);
    if (open.length === 0) {
      open.push(page);
      this.#open.set(slotBytes, open);
    }
    let at = page.free;
    if (at === NO_SLOT) {
      at = page.fresh;
      page.fresh += slotBytes;
    } else page.free = page.view.getUint32(at, true);
    page.used += 1;
    if (page.free === NO_SLOT && page.fresh + slotBytes > page.bytes.length) open.pop();
    return page.number * ADDRESS_SPAN + at;
  }

  /** Lets a slot go. */
  release(address: number): void {
    const page = this.#pageOf(address);
    const at = address % ADDRESS_SPAN;
    const { slotBytes } = page;
    const open = this.#open.get(slotBytes) ?? [];
    const wasFull = page.free === NO_SLOT && page.fresh + slotBytes > page.bytes.length;
    page.view.setUint32(at, page.free, true);
    page.free = at;
    page.used -= 1;
    assert(page.used >= 0, "A slot is let go once");
    if (page.used === 0 && (open.length > 1 || slotBytes > SHARED_BYTES_MAX)) {
      const known = open.indexOf(page);
      if (known >= 0) open.splice(known, 1);
      this.#drop(page);
    } else if (wasFull) {
      open.push(page);
      this.#open.set(slotBytes, open);
    }
  }

  #pageOf(address: number): Page {
    const page = this.#pages[Math.floor(address / ADDRESS_SPAN)];
    assert(page !== undefined, `Address ${address} lies in a page`);
    return page;
  }

  #newPage(slotBytes: number): Page {
    const number = this.#freeNumbers.get(slotBytes)?.pop() ?? this.#pages.length;
    const bytes = new Uint8Array(slotBytes > SHARED_BYTES_MAX ? slotBytes : PAGE_BYTES);
    const view = viewOf(bytes);
    const page = { number, bytes, view, slotBytes, fresh: 0, free: NO_SLOT, used: 0 };
    this.#pages[number] = page;
    this.#pageBytes += bytes.length;
    return page;
  }

  #drop(page: Page): void {
    this.#pages[page.number] = undefined;
    const numbers = this.#freeNumbers.get(page.slotBytes) ?? [];
    numbers.push(page.number);
    this.#freeNumbers.set(page.slotBytes, numbers);
    this.#pageBytes -= page.bytes.length;
  }
}
