// The address table against a Map of sets: the same addresses per hash, whatever is inserted and removed, while it grows.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { AddressTable } from "../../../src/lib/address-table.ts";

type Act = { readonly kind: "insert" | "remove"; readonly hash: number };

/** Runs acts on both; addresses are numbers in order of insertion. */
function runBoth(acts: readonly Act[]): void {
  const table = new AddressTable();
  const twin = new Map<number, Set<number>>();
  let next = 0;
  const addressesOf = (hash: number): number[] => {
    const found: number[] = [];
    for (let address = table.first(hash); address >= 0; address = table.next()) found.push(address);
    return found;
  };
  for (const { kind, hash } of acts) {
    const known = twin.get(hash) ?? new Set();
    twin.set(hash, known);
    if (kind === "insert") {
      table.insert(hash, next);
      known.add(next);
      next += 1;
    } else {
      const [first] = known;
      if (first === undefined) continue;
      table.remove(hash, first);
      known.delete(first);
    }
    expect(addressesOf(hash).sort()).toEqual([...known].sort());
  }
  let size = 0;
  for (const [hash, known] of twin) {
    expect(addressesOf(hash).sort()).toEqual([...known].sort());
    size += known.size;
  }
  expect(table.size).toBe(size);
}

// Few hashes, and many that share their low bits: long chains, and walks over what was removed.
const hash = fc.oneof(
  fc.nat({ max: 8 }),
  fc.nat({ max: 30 }).map((high) => high * 64),
  fc.nat({ max: 0xff_ff_ff_ff }),
);
const act: fc.Arbitrary<Act> = fc.record({
  kind: fc.constantFrom("insert", "insert", "insert", "remove"),
  hash,
});

test("holds what a map of sets holds", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 400, size: "max" }), (acts) => runBoth(acts)),
    { numRuns: 60 },
  );
});

test("finds every address at every moment of its growth, and after most are gone", () => {
  const table = new AddressTable();
  const hashOf = (i: number): number => Math.imul(i, 0x9e_37_79_b1) >>> 0;
  const isThere = (i: number): boolean => {
    for (let address = table.first(hashOf(i)); address >= 0; address = table.next())
      if (address === i) return true;
    return false;
  };
  for (let i = 0; i < 20_000; i++) {
    table.insert(hashOf(i), i);
    for (const old of [0, i >> 1, i - 1, i]) if (old >= 0) expect(isThere(old)).toBe(true);
  }
  for (let i = 0; i < 19_000; i++) table.remove(hashOf(i), i);
  // Inserting and removing on and on must neither lose anything nor fill up with what is gone.
  for (let i = 20_000; i < 120_000; i++) {
    table.insert(hashOf(i), i);
    table.remove(hashOf(i - 1000), i - 1000);
  }
  expect(table.size).toBe(1000);
  expect(isThere(119_500)).toBe(true);
  expect(isThere(118_500)).toBe(false);
});

test("removing what is not there is a broken invariant", () => {
  const table = new AddressTable();
  table.insert(5, 1);

  expect(() => table.remove(5, 2)).toThrow("Only what was inserted is removed");
});
