// The rules of comparison, as a table. The same table stands in docs/concepts/streams.md.

import { describe, expect, test } from "bun:test";
import {
  compare,
  equals,
  identityOf,
  numberInText,
  type Value,
} from "../../../src/streams/compare.ts";

/** Left, right, order, equality. */
const CASES: readonly (readonly [Value, Value, number | undefined, boolean])[] = [
  // Numbers as numbers.
  [1, 2, -1, false],
  [2, 1, 1, false],
  [1, 1.0, 0, true],
  [-0, 0, 0, true],
  [0.1, 0.2, -1, false],
  [9007199254740993n, 9_007_199_254_740_992, 1, false],
  [9007199254740993n, 9007199254740993n, 0, true],
  [10n ** 30n, 1e30, -1, false],
  [2n ** 70n, 2 ** 70, 0, true],
  // A text that spells a number, on one side.
  [7, "7", 0, true],
  ["7", 7, 0, true],
  [7, "7.0", 0, true],
  [100, "1e2", 0, true],
  [7, "07", undefined, false],
  [7, " 7", undefined, false],
  [7, "+7", undefined, false],
  [7, "0x7", undefined, false],
  [7, "", undefined, false],
  [7, "seven", undefined, false],
  [10, "9", 1, false],
  [9007199254740993n, "9007199254740993", 0, true],
  [9_007_199_254_740_992, "9007199254740993", -1, false],
  [1, "1e999", undefined, false],
  // Two texts, by code point.
  ["7", "7.0", -2, false],
  ["10", "9", -8, false],
  ["a", "b", -1, false],
  ["b", "B", 32, false],
  ["a", "ab", -1, false],
  ["", "", 0, true],
  ["\uffff", "\u{1f600}", -1, false],
  ["\u{1f600}", "\u{1f601}", -1, false],
  // Everything else has no order.
  [true, true, undefined, true],
  [true, false, undefined, false],
  [true, 1, undefined, false],
  [true, "true", undefined, false],
  [null, null, undefined, true],
  [null, 0, undefined, false],
  [null, "null", undefined, false],
  [null, false, undefined, false],
  [[1, 2], [1, 2], undefined, true],
  [[1, 2], [2, 1], undefined, false],
  [[1], ["1"], undefined, false],
  [[], {}, undefined, false],
  [{ a: 1, b: 2 }, { b: 2, a: 1 }, undefined, true],
  [{ a: 1 }, { a: 1, b: 2 }, undefined, false],
  [{ a: 1n }, { a: 1 }, undefined, true],
  [[7], 7, undefined, false],
];

describe("comparison", () => {
  for (const [left, right, order, isEqual] of CASES) {
    const shown = (value: Value): string =>
      typeof value === "bigint" ? `${value}n` : Bun.inspect(value);
    test(`${shown(left)} and ${shown(right)}`, () => {
      const sign = (value: number | undefined) =>
        value === undefined ? undefined : Math.sign(value);

      expect(sign(compare(left, right))).toBe(sign(order) as never);
      expect(equals(left, right)).toBe(isEqual);
      expect(equals(right, left)).toBe(isEqual);
      const back = sign(compare(right, left));
      expect(back === undefined ? undefined : back + 0).toBe(
        order === undefined ? (undefined as never) : -Math.sign(order) + 0,
      );
    });
  }

  test("an identity is shared by what is the same JSON, and by nothing else", () => {
    expect(identityOf(1)).toBe(identityOf(1n));
    expect(identityOf(2 ** 70)).toBe(identityOf(2n ** 70n));
    expect(identityOf({ a: 1, b: 2 })).toBe(identityOf({ b: 2, a: 1 }));
    expect(identityOf(1)).not.toBe(identityOf("1"));
    expect(identityOf(null)).not.toBe(identityOf("null"));
    expect(identityOf(["a", "b"])).not.toBe(identityOf(["ab", ""]));
    expect(identityOf(["a"])).not.toBe(identityOf("a"));
    expect(identityOf([[1], 2])).not.toBe(identityOf([[1, 2]]));
    expect(identityOf([1.5, 2])).not.toBe(identityOf([1.52]));
  });

  test("a text of a million digits is no number, and takes no time", () => {
    expect(numberInText("9".repeat(1_000_000))).toBeUndefined();
  });
});
