// Memory that writes are built in, and that goes on serving readers of the tail after the disk has them.
// What lies in a slab is byte for byte what lies in the segment, so one walk reads both.
// A slab is used again only when nothing of it is under way: reusing one early would write other bytes than were acknowledged.

import { assert } from "../lib/assert.ts";
import { viewOf } from "../lib/bytes.ts";
import type { Disk } from "./disk.ts";

/** A stretch of a slab that stands in a segment. */
interface Extent {
  readonly sequence: number;
  readonly position: number;
  readonly start: number;
  end: number;
}

/** One piece of pinned memory. */
export interface Slab {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where the next write may begin. */
  used: number;
  /** Writes in it that are being built, are in flight, or are not applied yet. */
  pins: number;
  readonly extents: Extent[];
}

/** A ring of slabs, oldest first. */
export class TailBuffer {
  readonly #disk: Disk;
  readonly #slabBytes: number;
  readonly #bytesMax: number;
  #slabs: Slab[] = [];
  #bytes = 0;
  /** Answers of `find`: kept here so that it makes no object. */
  foundSlab: Slab | undefined;
  foundAt = 0;
  foundEnd = 0;

  /** @param bytesMax How much memory is kept for readers. Writes that are under way may take more. */
  constructor(disk: Disk, slabBytes: number, bytesMax: number) {
    this.#disk = disk;
    this.#slabBytes = slabBytes;
    this.#bytesMax = bytesMax;
  }

  /** Memory held, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The slab that is being filled, if it has room for `bytes` more; else a fresh one. */
  slabFor(bytes: number): Slab {
    const newest = this.#slabs.at(-1);
    if (newest !== undefined && newest.bytes.length - newest.used >= bytes) return newest;
    const free = this.#evict(Math.max(bytes, this.#slabBytes));
    if (free !== undefined) return free;
    const memory = this.#disk.allocate(Math.max(bytes, this.#slabBytes));
    const slab: Slab = { bytes: memory, view: viewOf(memory), used: 0, pins: 0, extents: [] };
    this.#slabs.push(slab);
    this.#bytes += memory.length;
    return slab;
  }

  /** Lets go of the oldest slabs while there are too many bytes; gives one back, emptied, if it fits. */
  #evict(wanted: number): Slab | undefined {
    while (this.#bytes + wanted > this.#bytesMax) {
      const oldest = this.#slabs.findIndex((slab) => slab.pins === 0);
      if (oldest < 0) return undefined;
      const [slab] = this.#slabs.splice(oldest, 1);
      if (slab === undefined) return undefined;
      if (slab.bytes.length >= wanted && slab.bytes.length === this.#slabBytes) {
        slab.used = 0;
        slab.extents.length = 0;
        this.#slabs.push(slab);
        return slab;
      }
      this.#bytes -= slab.bytes.length;
    }
    return undefined;
  }

  /** Says that `slab[start, end)` stands at `position` of a segment. */
  place(slab: Slab, start: number, end: number, sequence: number, position: number): void {
    assert(start < end && end <= slab.bytes.length, "A write lies within its slab");
    const last = slab.extents.at(-1);
    if (
      last !== undefined &&
      last.sequence === sequence &&
      last.end === start &&
      last.position + last.end - last.start === position
    ) {
      last.end = end;
    } else {
      slab.extents.push({ sequence, position, start, end });
    }
  }

  /** Finds the byte at `position` of a segment in memory: `foundSlab`, from `foundAt` to `foundEnd`. */
  find(sequence: number, position: number): boolean {
    for (let i = this.#slabs.length - 1; i >= 0; i--) {
      const slab = this.#slabs[i] as Slab;
      for (let j = slab.extents.length - 1; j >= 0; j--) {
        const extent = slab.extents[j] as Extent;
        const at = extent.start + position - extent.position;
        if (extent.sequence === sequence && at >= extent.start && at < extent.end) {
          this.foundSlab = slab;
          this.foundAt = at;
          this.foundEnd = extent.end;
          return true;
        }
      }
    }
    return false;
  }
}
