// The numbers of a simulated world: the same for a seed, spread evenly, and forks that do not disturb each other.

import { expect, test } from "bun:test";
import { Prng } from "../../../src/lib/prng.ts";

const draw = (prng: Prng, count: number): number[] =>
  Array.from({ length: count }, () => prng.u32());

test("a seed gives the same numbers every time, and another seed gives others", () => {
  expect(draw(new Prng(7), 20)).toEqual(draw(new Prng(7), 20));
  expect(draw(new Prng(7), 20)).not.toEqual(draw(new Prng(8), 20));
  expect(new Set(draw(new Prng(0), 1000)).size).toBeGreaterThan(990);
});

test("numbers are integers from 0 up to 2^32, and every bit is set half of the time", () => {
  const numbers = draw(new Prng(1), 20_000);

  expect(numbers.every((n) => Number.isInteger(n) && n >= 0 && n < 2 ** 32)).toBe(true);
  for (let bit = 0; bit < 32; bit += 1) {
    const share = numbers.filter((n) => (n >>> bit) & 1).length / numbers.length;
    expect(share).toBeGreaterThan(0.48);
    expect(share).toBeLessThan(0.52);
  }
});

test("below() reaches every number under its limit, and nothing else", () => {
  const prng = new Prng(3);
  const seen = new Set(Array.from({ length: 500 }, () => prng.below(10)));

  expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(() => prng.below(0)).toThrow("below 0");
});

test("chance() keeps its probability and draws one number also for 0 and 1", () => {
  const prng = new Prng(4);
  const hits = Array.from({ length: 10_000 }, () => prng.chance(0.2)).filter(Boolean).length;
  expect(hits / 10_000).toBeCloseTo(0.2, 1);

  const drawn = new Prng(5);
  drawn.chance(0);
  drawn.chance(1);
  const skipped = new Prng(5);
  skipped.u32();
  skipped.u32();
  expect(drawn.u32()).toBe(skipped.u32());
});

test("a fork follows from the seed and the salt, not from what was drawn before", () => {
  const untouched = new Prng(9);
  const used = new Prng(9);
  draw(used, 100);

  expect(draw(used.fork("disk"), 10)).toEqual(draw(untouched.fork("disk"), 10));
  expect(draw(used.fork("disk"), 10)).not.toEqual(draw(untouched.fork("network"), 10));
  expect(draw(new Prng(9).fork("disk"), 10)).not.toEqual(draw(new Prng(10).fork("disk"), 10));
});
