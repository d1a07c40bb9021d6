// How far a majority has got, against counting it one index at a time.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { majorityIndex } from "../../../src/raft/quorum.ts";

/** The highest index that more than half have, found by trying them all. */
function slowly(matchIndexes: readonly number[]): number {
  let best = 0;
  for (const index of matchIndexes) {
    const count = matchIndexes.filter((match) => match >= index).length;
    if (count * 2 > matchIndexes.length) best = Math.max(best, index);
  }
  return best;
}

test("is the highest index that more than half of the voters have", () => {
  const indexes = fc.array(fc.nat({ max: 12 }), { maxLength: 9 });
  fc.assert(
    fc.property(indexes, (list) => expect(majorityIndex(list)).toBe(slowly(list))),
    { numRuns: 5000 },
  );
});

test("of nobody is 0, and the arguments stay as they were", () => {
  const list = [3, 1, 2];

  expect(majorityIndex([])).toBe(0);
  expect(majorityIndex(list)).toBe(2);
  expect(list).toEqual([3, 1, 2]);
});
