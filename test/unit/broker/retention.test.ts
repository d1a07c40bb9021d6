// Which rule holds: the narrowest level that sets a field, and names and partitions as they are frozen.

import { expect, test } from "bun:test";
import { choosePartition, isName } from "../../../src/broker/names.ts";
import { effectiveRule } from "../../../src/broker/retention.ts";
import { encodeText } from "../../../src/lib/bytes.ts";

const rule = (ttlMs: number, maxBytes: number) => ({ ttlMs, maxBytes });

test.each([
  ["nothing is set", [undefined, undefined, undefined], rule(0, 0)],
  ["all topics have a rule", [undefined, undefined, rule(1, 2)], rule(1, 2)],
  ["the topic has one, too", [undefined, rule(3, 4), rule(1, 2)], rule(3, 4)],
  ["the partition has one, too", [rule(5, 6), rule(3, 4), rule(1, 2)], rule(5, 6)],
  ["fields come from different levels", [rule(0, 6), rule(3, 0), rule(1, 2)], rule(3, 6)],
  ["a removed field falls back", [rule(0, 0), rule(0, 4), rule(1, 2)], rule(1, 4)],
])("when %s", (_, levels, expected) => {
  expect(effectiveRule(levels)).toEqual(expected);
});

test.each(["a", "orders.v1", "A-Z_0.9", "x".repeat(120)])("%p is a name", (name) => {
  expect(isName(name)).toBe(true);
});

test.each(["", "a b", "ä", "a/b", "a\n", "x".repeat(121), "a\0"])("%p is no name", (name) => {
  expect(isName(name)).toBe(false);
});

test("the partition of a key is frozen", () => {
  expect(
    ["", "abc", "order-1", "order-2"].map((key) => choosePartition(encodeText(key), 8)),
  ).toEqual(["", "abc", "order-1", "order-2"].map((key) => Bun.hash.xxHash32(key, 0) % 8));
  expect(choosePartition(encodeText("abc"), 8)).toBe(0x32_d1_53_ff % 8);
});
