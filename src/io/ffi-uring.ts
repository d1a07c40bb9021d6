// The smallest binding of liburing: set up a ring, fill entries, submit, take completions.
// Needs only what every liburing.so.2 exports: entries are filled through a DataView and completions are taken
// from the shared memory with Atomics, because 2.3 exports neither prep_* nor cq_advance.

import { dlopen, type Pointer, ptr, read, toArrayBuffer } from "bun:ffi";
import { assert } from "../lib/assert.ts";

const SYMBOLS = {
  io_uring_queue_init: { args: ["u32", "ptr", "u32"], returns: "i32" },
  io_uring_queue_exit: { args: ["ptr"], returns: "void" },
  io_uring_get_sqe: { args: ["ptr"], returns: "ptr" },
  io_uring_submit: { args: ["ptr"], returns: "i32" },
} as const;

/** The functions of a loaded liburing. */
export type UringLibrary = ReturnType<typeof openUringLibrary>;

/**
 * Loads liburing from a path or by a name that the loader knows.
 * @throws Error when there is none or it lacks a function.
 */
export function openUringLibrary(path: string) {
  return dlopen(path, SYMBOLS).symbols;
}

/** Operation codes of submission entries. */
export const OPERATION = { fsync: 3, read: 22, write: 23, send: 26 } as const;

/** The next entry starts when this one has ended, also when it ended badly. */
export const ENTRY_HARD_LINK = 8;
/** Sync what is needed to read the data back, not the times. */
export const FSYNC_DATA_ONLY = 1;

/** No interrupt for a completion: the thread sees it when it next enters the kernel, as its event loop does. */
export const SETUP_COOP_TASKRUN = 1 << 8;
/** One thread submits. Never together with DEFER_TASKRUN here: a linked SEND would wait for a call we never make. */
export const SETUP_SINGLE_ISSUER = 1 << 12;

/** `struct io_uring` is 216 bytes in liburing 2.x; room is left for it to grow. Small arrays may move. */
const RING_BYTES = 4096;
const ENTRY_BYTES = 64;
const COMPLETION_BYTES = 16;

// Where the pointers lie in `struct io_uring`; the same on x64 and arm64, and in 2.0 to 2.9.
const OFFSET_ENTRIES = 56;
const OFFSET_COMPLETION_HEAD = 104;
const OFFSET_COMPLETION_TAIL = 112;
const OFFSET_COMPLETION_MASK = 120;
const OFFSET_COMPLETIONS = 152;

const TWO_TO_32 = 2 ** 32;

/** Address of memory that does not move: what `allocate` of a disk gives out. */
export const addressOf = (memory: Uint8Array): number => ptr(memory);

/** Why a ring could not be set up. */
export class RingError extends Error {
  override readonly name = "RingError";
  /** The kernel's error number, positive. */
  readonly errno: number;

  /** @param errno The kernel's error number, positive. */
  constructor(errno: number) {
    super(`Cannot set up an io_uring: errno ${errno}`);
    this.errno = errno;
  }
}

/** One ring, owned by one thread. */
export class Ring {
  readonly #library: UringLibrary;
  /** Holds `struct io_uring` itself, which the kernel's side never moves. */
  readonly #memory = new Uint8Array(new ArrayBuffer(RING_BYTES));
  readonly #pointer: Pointer;
  readonly #entriesAddress: number;
  readonly #entries: DataView;
  readonly #completions: DataView;
  readonly #completionMask: number;
  readonly #head: Int32Array;
  readonly #tail: Int32Array;
  #isOpen = true;

  /**
   * Sets up a ring.
   * @param entries Entries that fit between two submits; a power of two.
   * @throws RingError
   */
  constructor(library: UringLibrary, entries: number, flags: number) {
    this.#library = library;
    this.#pointer = ptr(this.#memory);
    const result = library.io_uring_queue_init(entries, this.#pointer, flags);
    if (result < 0) throw new RingError(-result);
    const at = (offset: number): Pointer => read.ptr(this.#pointer, offset) as Pointer;
    this.#entriesAddress = at(OFFSET_ENTRIES);
    this.#entries = new DataView(toArrayBuffer(at(OFFSET_ENTRIES), 0, entries * ENTRY_BYTES));
    this.#completionMask = read.u32(at(OFFSET_COMPLETION_MASK), 0);
    const completionBytes = (this.#completionMask + 1) * COMPLETION_BYTES;
    this.#completions = new DataView(toArrayBuffer(at(OFFSET_COMPLETIONS), 0, completionBytes));
    this.#head = new Int32Array(toArrayBuffer(at(OFFSET_COMPLETION_HEAD), 0, 4));
    this.#tail = new Int32Array(toArrayBuffer(at(OFFSET_COMPLETION_TAIL), 0, 4));
  }

  /**
   * Fills the next entry. The caller bounds how many are under way, so that there always is one.
   * @param position Byte in the file; ignored by a socket.
   * @param operationFlags Meant for the operation, such as `FSYNC_DATA_ONLY`.
   * @param entryFlags Meant for the ring, such as `ENTRY_HARD_LINK`.
   * @param tag Comes back with the completion; below 2^32.
   */
  prepare(
    operation: number,
    descriptor: number,
    address: number,
    length: number,
    position: number,
    operationFlags: number,
    entryFlags: number,
    tag: number,
  ): void {
    const entry = this.#library.io_uring_get_sqe(this.#pointer) as number | null;
    assert(entry !== null && entry !== 0, "The submission queue is full: its bound is wrong");
    const at = entry - this.#entriesAddress;
    const view = this.#entries;
    // 64-bit fields are written as two halves: a BigInt would be an allocation each.
    view.setUint8(at, operation);
    view.setUint8(at + 1, entryFlags);
    view.setUint16(at + 2, 0, true);
    view.setInt32(at + 4, descriptor, true);
    view.setUint32(at + 8, position >>> 0, true);
    view.setUint32(at + 12, (position / TWO_TO_32) >>> 0, true);
    view.setUint32(at + 16, address >>> 0, true);
    view.setUint32(at + 20, (address / TWO_TO_32) >>> 0, true);
    view.setUint32(at + 24, length, true);
    view.setUint32(at + 28, operationFlags, true);
    view.setUint32(at + 32, tag, true);
    for (let rest = at + 36; rest < at + ENTRY_BYTES; rest += 4) view.setUint32(rest, 0, true);
  }

  /** Hands all prepared entries to the kernel. Returns how many it took, or the negated error number. */
  submit(): number {
    return this.#library.io_uring_submit(this.#pointer);
  }

  /**
   * Takes every completion that is there.
   * @param take Gets the tag and the result: a count, or the negated error number. May prepare and submit.
   */
  reap(take: (tag: number, result: number) => void): void {
    if (!this.#isOpen) return;
    // Atomics order the reads after the tail, and the new head after the reads; the kernel does the same.
    let head = Atomics.load(this.#head, 0);
    while (head !== Atomics.load(this.#tail, 0)) {
      const at = (head & this.#completionMask) * COMPLETION_BYTES;
      const tag = this.#completions.getUint32(at, true);
      const result = this.#completions.getInt32(at + 8, true);
      head = (head + 1) | 0;
      // Given back before `take`, which may come here again.
      Atomics.store(this.#head, 0, head);
      take(tag, result);
      head = Atomics.load(this.#head, 0);
    }
  }

  /** Gives the ring back. Nothing may be under way. */
  close(): void {
    if (!this.#isOpen) return;
    // From here on the mapped memory is gone: `reap` must not look at it.
    this.#isOpen = false;
    this.#library.io_uring_queue_exit(this.#pointer);
  }
}
