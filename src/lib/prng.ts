// Numbers that look random and follow from a seed, so that a simulated world can be lived through again.
// The generator is xoshiro128** (Blackman and Vigna, 2018), seeded by splitmix32. Not for secrets.

import { assert } from "./assert.ts";

const TWO_TO_32 = 2 ** 32;

/** One stream of numbers. */
export class Prng {
  readonly #seed: number;
  readonly #state = new Uint32Array(4);

  /** @param seed Any integer; its low 32 bits count. */
  constructor(seed: number) {
    this.#seed = seed >>> 0;
    let mixed = this.#seed;
    for (let i = 0; i < 4; i += 1) {
      mixed = (mixed + 0x9e_37_79_b9) >>> 0;
      this.#state[i] = scramble(mixed);
    }
  }

  /** The next number in [0, 2^32). */
  u32(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#state;
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const third = c ^ a;
    const fourth = d ^ b;
    this.#state[1] = b ^ third;
    this.#state[0] = a ^ fourth;
    this.#state[2] = third ^ (b << 9);
    this.#state[3] = rotate(fourth, 11);
    return result;
  }

  /** An integer in [0, limit). The bias is below limit / 2^32. */
  below(limit: number): number {
    assert(limit > 0 && limit <= TWO_TO_32, `Cannot draw a number below ${limit}`);
    return Math.floor((this.u32() / TWO_TO_32) * limit);
  }

  /** True with the given probability. Always draws one number, also for 0 and 1. */
  chance(probability: number): boolean {
    return this.u32() / TWO_TO_32 < probability;
  }

  /**
   * Another stream, which follows from this one's seed and the salt alone: how many numbers have been drawn here
   * does not matter, so a draw added to one part of a world shifts no other part.
   */
  fork(salt: string): Prng {
    let mixed = this.#seed;
    for (let i = 0; i < salt.length; i += 1) mixed = scramble((mixed + salt.charCodeAt(i)) >>> 0);
    return new Prng(scramble(mixed ^ 0x5b_d1_e9_95));
  }
}

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));

/** The mixing step of splitmix32. */
function scramble(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21_f0_aa_ad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x73_5a_2d_97);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
