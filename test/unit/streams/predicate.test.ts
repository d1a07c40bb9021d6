// Every operator over every kind of value, missing and null included; what a request may not say.

import { describe, expect, test } from "bun:test";
import type { Fields, Value } from "../../../src/streams/compare.ts";
import { type Condition, compileFilter } from "../../../src/streams/predicate.ts";

const RECORD: Fields = {
  score: 90,
  text: "90",
  name: "Hank",
  none: null,
  yes: true,
  list: [1, "2", { a: 1 }],
  big: 9007199254740993n,
  a: { b: { c: 5 }, list: [1] },
  "a.x": "own",
  constructor: "mine",
};

function holds(...conditions: readonly Condition[]): boolean {
  const compiled = compileFilter(conditions);
  if (!compiled.ok) throw new Error(compiled.error.message ?? compiled.error.code);
  return compiled.value(RECORD);
}

const CASES: readonly (readonly [string, string, Value | undefined, boolean])[] = [
  ["score", "eq", 90, true],
  ["score", "eq", "90", true],
  ["text", "eq", 90, true],
  ["text", "eq", "90.0", false],
  ["score", "ne", 90, false],
  ["score", "ne", 91, true],
  ["score", "lt", 90, false],
  ["score", "le", 90, true],
  ["score", "gt", 89, true],
  ["score", "ge", "90", true],
  ["text", "gt", 9, true],
  ["text", "gt", "9", true],
  ["text", "gt", "91", false],
  ["name", "lt", "I", true],
  ["name", "gt", 5, false],
  ["yes", "eq", true, true],
  ["yes", "ge", 1, false],
  ["none", "eq", null, true],
  ["none", "ne", 1, true],
  ["none", "lt", 1, false],
  ["big", "eq", 9007199254740993n, true],
  ["big", "eq", 9_007_199_254_740_992, false],
  ["big", "gt", 9_007_199_254_740_992, true],
  // A missing field matches nothing, whatever is asked.
  ["absent", "eq", null, false],
  ["absent", "ne", 1, false],
  ["absent", "lt", 1, false],
  ["absent", "in", [null], false],
  ["absent", "contains", "", false],
  ["absent", "exists", undefined, false],
  ["absent", "exists", true, false],
  ["absent", "exists", false, true],
  ["none", "exists", undefined, true],
  ["none", "exists", false, false],
  ["score", "in", [1, "90"], true],
  ["text", "in", [90], true],
  ["text", "in", ["90"], true],
  ["text", "in", ["9", "0"], false],
  ["none", "in", [null], true],
  ["list", "in", [[1, "2", { a: 1 }]], true],
  ["score", "in", [], false],
  ["name", "contains", "an", true],
  ["name", "contains", "AN", false],
  ["name", "contains", "", true],
  ["text", "contains", 9, false],
  ["score", "contains", "9", false],
  ["list", "contains", 2, true],
  ["list", "contains", { a: 1 }, true],
  ["list", "contains", 3, false],
  ["none", "contains", null, false],
  ["a.b.c", "eq", 5, true],
  ["a.b", "eq", { c: 5 }, true],
  ["a.b.c.d", "exists", undefined, false],
  ["a.list.0", "exists", undefined, false],
  ["a.x", "eq", "own", true],
  ["constructor", "eq", "mine", true],
  ["toString", "exists", undefined, false],
  ["__proto__", "exists", undefined, false],
  ["a.constructor", "exists", undefined, false],
];

describe("filters", () => {
  for (const [field, op, value, isMatch] of CASES) {
    test(`${field} ${op} ${Bun.inspect(value)} is ${isMatch}`, () => {
      expect(holds({ field, op: op as "eq", value })).toBe(isMatch);
    });
  }

  test("all conditions must hold, of any one", () => {
    const right: Condition = { field: "score", op: "eq", value: 90 };
    const wrong: Condition = { field: "score", op: "eq", value: 1 };

    expect(holds()).toBe(true);
    expect(holds(right, wrong)).toBe(false);
    expect(holds(right, { any: [wrong, right] })).toBe(true);
    expect(holds({ any: [wrong] })).toBe(false);
    expect(holds({ any: [] })).toBe(false);
  });

  test.each([
    [{ field: "a", op: "in", value: 1 }],
    [{ field: "a", op: "lt", value: null }],
    [{ field: "a", op: "ge", value: [1] }],
    [{ field: "a", op: "gt", value: true }],
    [{ field: "a", op: "eq" }],
    [{ field: "a", op: "exists", value: 1 }],
    [{ field: "", op: "eq", value: 1 }],
    [{ field: ".".repeat(100), op: "eq", value: 1 }],
    [{ field: "x".repeat(2000), op: "eq", value: 1 }],
  ])("refuses %p", (condition) => {
    const compiled = compileFilter([condition as Condition]);

    expect(compiled.ok).toBe(false);
    if (!compiled.ok) expect(compiled.error.code).toBe("invalid_parameter");
  });
});
