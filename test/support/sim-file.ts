// One simulated file: what a reader sees, what surely lies on the medium, and what may or may not lie there.
// The medium keeps each sector of an unsynced write or loses it, one by one, as it likes.

import type { Prng } from "../../src/lib/prng.ts";

/** How kind a crash is: `all` keeps everything unsynced, `none` loses it all, `some` throws a coin for each piece. */
export type Survival = "all" | "none" | "some";

/** A file on a simulated medium. */
export class SimFile {
  readonly #sectorBytes: number;
  /** What a reader sees; zeros from `#size` on. */
  #content = new Uint8Array(0);
  #size = 0;
  #durableSize = 0;
  /** Sectors changed since the last sync: what they held before each change, oldest first. */
  readonly #earlier = new Map<number, Uint8Array[]>();
  /** Sectors that a failed sync left behind: readers see the new bytes, the medium has these, no sync will help. */
  readonly #lost = new Map<number, Uint8Array>();

  constructor(sectorBytes: number) {
    this.#sectorBytes = sectorBytes;
  }

  get size(): number {
    return this.#size;
  }

  read(position: number, into: Uint8Array, length: number): number {
    const end = Math.min(this.#size, position + length);
    if (end <= position) return 0;
    into.set(this.#content.subarray(position, end));
    return end - position;
  }

  write(position: number, bytes: Uint8Array): void {
    const end = position + bytes.length;
    this.#reserve(end);
    this.#remember(position, end);
    this.#content.set(bytes, position);
    this.#size = Math.max(this.#size, end);
  }

  truncate(bytes: number): void {
    if (bytes < this.#size) {
      this.#remember(bytes, this.#size);
      this.#content.fill(0, bytes);
    }
    this.#reserve(bytes);
    this.#size = bytes;
  }

  sync(): void {
    this.#earlier.clear();
    this.#durableSize = this.#size;
  }

  /** A sync that failed: some sectors got through; the others look clean from now on and never will. */
  failSync(prng: Prng): void {
    for (const [sector, versions] of this.#earlier) {
      const [medium] = versions;
      if (medium !== undefined && prng.chance(0.5)) this.#lost.set(sector, medium);
    }
    this.#earlier.clear();
  }

  /** The power fails: turns what may lie on the medium into what lies there. */
  crash(prng: Prng, survival: Survival): void {
    const keeps = (): boolean => survival === "all" || (survival === "some" && prng.chance(0.5));
    for (const [sector, versions] of this.#earlier) {
      if (keeps()) continue;
      // A sector written several times since the sync may have been written out in between.
      const version = versions[survival === "none" ? 0 : prng.below(versions.length)];
      if (version !== undefined) this.#content.set(version, sector * this.#sectorBytes);
    }
    for (const [sector, medium] of this.#lost) {
      this.#content.set(medium, sector * this.#sectorBytes);
    }
    this.#earlier.clear();
    this.#lost.clear();
    if (!keeps()) this.#size = this.#durableSize;
    this.#reserve(this.#size);
    this.#content.fill(0, this.#size);
    this.#durableSize = this.#size;
  }

  /** Changes a bit, for readers and on the medium alike. */
  flipBit(position: number): void {
    this.#content[position] = (this.#content[position] ?? 0) ^ 1;
  }

  /** Whether a synced copy of this byte lies on the medium, and nothing newer is under way. */
  isSynced(position: number): boolean {
    const sector = Math.floor(position / this.#sectorBytes);
    const isClean = !this.#earlier.has(sector) && !this.#lost.has(sector);
    return isClean && position < Math.min(this.#size, this.#durableSize);
  }

  #remember(start: number, end: number): void {
    const last = Math.ceil(end / this.#sectorBytes);
    for (let sector = Math.floor(start / this.#sectorBytes); sector < last; sector += 1) {
      const at = sector * this.#sectorBytes;
      const seen = this.#content.slice(at, at + this.#sectorBytes);
      const lost = this.#lost.get(sector);
      this.#lost.delete(sector);
      const versions = this.#earlier.get(sector);
      if (versions === undefined) this.#earlier.set(sector, [lost ?? seen]);
      else versions.push(seen);
    }
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#content.length) return;
    const doubled = Math.max(bytes, this.#content.length * 2);
    const sectors = Math.ceil(doubled / this.#sectorBytes);
    const grown = new Uint8Array(sectors * this.#sectorBytes);
    grown.set(this.#content);
    this.#content = grown;
  }
}
