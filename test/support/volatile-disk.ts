// A disk as the maker's data sheet describes it: what was written and not flushed is in its cache, and when the power fails
// any part of it may be on the medium, in any order, sector by sector. What was flushed is there.

import type { Prng } from "../../src/lib/prng.ts";

/** What a disk writes whole or not at all. */
export const SECTOR_BYTES = 512;

/** What is left of the cache when the power fails. */
export const CUTS = ["nothing", "some sectors", "a torn beginning", "everything"] as const;
export type Cut = (typeof CUTS)[number];

/** A disk with a cache that forgets. */
export class VolatileDisk {
  readonly bytes: number;
  /** Writes that were not flushed when the power failed, and bytes of them that are gone; since the start. */
  readonly lost = { writes: 0, bytes: 0 };
  flushes = 0;
  /** What a reader sees. */
  readonly #present: Uint8Array;
  /** What is on the medium. */
  readonly #medium: Uint8Array;
  /** Writes since the last flush, in order. */
  #cached: { readonly position: number; readonly bytes: Uint8Array }[] = [];

  constructor(bytes: number) {
    this.bytes = bytes;
    this.#present = new Uint8Array(bytes);
    this.#medium = new Uint8Array(bytes);
  }

  /** Writes that a power cut may lose. */
  get cachedWrites(): number {
    return this.#cached.length;
  }

  /** Some of what was written last. It changes with the next write. */
  read(position: number, count: number): Uint8Array {
    return this.#present.subarray(position, position + count);
  }

  write(position: number, bytes: Uint8Array): void {
    this.#present.set(bytes, position);
    this.#cached.push({ position, bytes: bytes.slice() });
  }

  /** Brings everything to the medium. */
  flush(): void {
    for (const { position, bytes } of this.#cached) this.#medium.set(bytes, position);
    this.#cached = [];
    this.flushes += 1;
  }

  /** The power fails. What a reader sees from then on is what the medium has. */
  cut(kind: Cut, random: Prng): void {
    const cached = this.#cached;
    this.#cached = [];
    const whole = kind === "a torn beginning" ? random.below(cached.length + 1) : 0;
    for (const [i, { position, bytes }] of cached.entries())
      for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
        const sector = bytes.subarray(at, at + SECTOR_BYTES);
        if (this.#isKept(kind, i - whole, random)) this.#medium.set(sector, position + at);
        else this.lost.bytes += sector.length;
      }
    this.lost.writes += cached.length;
    for (const { position, bytes } of cached) {
      const there = this.#medium.subarray(position, position + bytes.length);
      this.#present.set(there, position);
    }
  }

  /** @param behind How far behind the last whole write this one came: 0 is the one that is torn. */
  #isKept(kind: Cut, behind: number, random: Prng): boolean {
    if (kind === "some sectors") return random.chance(0.5);
    if (kind === "a torn beginning") return behind < 0 || (behind === 0 && random.chance(0.5));
    return kind === "everything";
  }
}
