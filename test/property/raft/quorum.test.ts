// How far a majority has got, and how a vote stands, against counting one index and one way to go on at a time.

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Configuration } from "../../../src/raft/mod.ts";
import { majorityIndex, quorumIndex, voteOutcome } from "../../../src/raft/quorum.ts";
import { NOBODY } from "../../raft/driver.ts";

/** The highest index that more than half have, found by trying them all. */
function slowly(matchIndexes: readonly number[]): number {
  let best = 0;
  for (const index of matchIndexes) {
    const count = matchIndexes.filter((match) => match >= index).length;
    if (count * 2 > matchIndexes.length) best = Math.max(best, index);
  }
  return best;
}

const voters = fc.uniqueArray(fc.constantFrom(..."abcdefg"), { minLength: 1, maxLength: 5 });

test("is the highest index that more than half of the voters have", () => {
  const indexes = fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(indexes, (list) => expect(majorityIndex(list)).toBe(slowly(list))),
    { numRuns: 5000 },
  );
});

test("of nobody holds nothing up, and the arguments stay as they were", () => {
  const list = [3, 1, 2];

  expect(majorityIndex([])).toBe(Number.POSITIVE_INFINITY);
  expect(majorityIndex(list)).toBe(2);
  expect(list).toEqual([3, 1, 2]);
});

test("of two halves is what both have, and any two quorums of them meet", () => {
  const matches = fc.dictionary(fc.constantFrom(..."abcdefg"), fc.nat({ max: 9 }));
  fc.assert(
    fc.property(voters, voters, matches, (incoming, outgoing, match) => {
      const configuration: Configuration = { ...NOBODY, voters: incoming, outgoing };
      const matchOf = (nodeId: string): number => match[nodeId] ?? 0;

      expect(quorumIndex(configuration, matchOf)).toBe(
        Math.min(slowly(incoming.map(matchOf)), slowly(outgoing.map(matchOf))),
      );
    }),
    { numRuns: 2000 },
  );
});

test("a vote is won or lost exactly when nothing that is still open can change it", () => {
  const votes = fc.dictionary(fc.constantFrom(..."abcdefg"), fc.boolean());
  fc.assert(
    fc.property(voters, fc.oneof(voters, fc.constant([])), votes, (incoming, outgoing, cast) => {
      const configuration: Configuration = { ...NOBODY, voters: incoming, outgoing };
      const outcomeIf = (rest: boolean): string =>
        voteOutcome(configuration, (nodeId) => cast[nodeId] ?? rest);
      const [best, worst] = [outcomeIf(true), outcomeIf(false)];

      expect(voteOutcome(configuration, (nodeId) => cast[nodeId])).toBe(
        (best === worst ? best : "pending") as never,
      );
    }),
    { numRuns: 2000 },
  );
});
