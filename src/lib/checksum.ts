// Checksums and hashes. CRC-32 (IEEE) finds every burst of up to 32 bits and is chained by its seed;
// the hashes place keys in tables and are never trusted to tell two keys apart.

/** CRC-32 of `bytes`, going on from `seed`: `crc32(b, crc32(a))` is the checksum of `a` followed by `b`. */
export const crc32 = (bytes: Uint8Array, seed = 0): number => Bun.hash.crc32(bytes, seed) >>> 0;

/** A 32-bit hash (xxHash32). Frozen in the format where `docs/format.md` says so. */
export const hash32 = (bytes: Uint8Array, seed = 0): number => Bun.hash.xxHash32(bytes, seed) >>> 0;

/** Two words of a 64-bit hash over several pieces, for telling whether two requests were the same. */
export class Fingerprint {
  low = 0;
  high = 0;

  /** Starts over. */
  reset(): this {
    this.low = 0x9e_37_79_b9;
    this.high = 0x85_eb_ca_6b;
    return this;
  }

  /** Adds a number, such as a length or a partition. */
  number(value: number): this {
    this.low = Math.imul(this.low ^ (value | 0), 0xc2_b2_ae_35) >>> 0;
    this.high = Math.imul(this.high + (value | 0), 0x27_d4_eb_2f) >>> 0;
    return this;
  }

  /** Adds bytes with their length, so that `ab|c` and `a|bc` differ. Undefined differs from empty. */
  bytes(piece: Uint8Array | undefined): this {
    if (piece === undefined) return this.number(-1);
    this.number(piece.length);
    const hash = Bun.hash.xxHash3(piece);
    return this.number(Number(hash & 0xffffffffn)).number(Number(hash >> 32n));
  }
}

/** Adds fingerprints up, so that the order of what they are of does not matter. */
export class PrintSum {
  #low = 0;
  #high = 0;
  readonly #print = new Fingerprint();

  /** A fingerprint to begin with; there is one at a time. */
  print(): Fingerprint {
    return this.#print.reset();
  }

  add(print: Fingerprint): void {
    this.#low = (this.#low + print.low) >>> 0;
    this.#high = (this.#high + Math.imul(print.high, 0x9e_37_79_b1)) >>> 0;
  }

  /** Sixteen hexadecimal digits. */
  text(): string {
    return this.#low.toString(16).padStart(8, "0") + this.#high.toString(16).padStart(8, "0");
  }
}
