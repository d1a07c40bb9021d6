// Runs of terms against a plain list of them.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { TermRuns } from "../../../src/raft/terms.ts";

type Act =
  | { readonly kind: "append"; readonly count: number; readonly rise: number }
  | { readonly kind: "truncate"; readonly share: number }
  | { readonly kind: "compact"; readonly share: number }
  | { readonly kind: "replace"; readonly ahead: number };

const share = fc.double({ min: 0, max: 1, noNaN: true });
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      count: fc.integer({ min: 1, max: 5 }),
      rise: fc.nat({ max: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("truncate" as const), share }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("compact" as const), share }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("replace" as const),
      ahead: fc.integer({ min: 1, max: 9 }),
    }),
  },
);

/** Terms by index, one by one; nothing is known below `first`. */
class Plain {
  first = 0;
  terms: number[] = [0];

  get lastIndex(): number {
    return this.terms.length - 1;
  }

  at(index: number): number | undefined {
    return index === 0 ? 0 : index < this.first ? undefined : this.terms[index];
  }
}

test("say what a list of all terms would say", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 30 }), fc.nat(40), fc.nat(12), (acts, probe, term) => {
      const runs = new TermRuns([], 0);
      const plain = new Plain();
      for (const each of acts) play(runs, plain, each);

      expect([runs.lastIndex, runs.lastTerm]).toEqual([plain.lastIndex, plain.terms.at(-1) ?? 0]);
      for (let index = 0; index <= plain.lastIndex + 2; index += 1)
        expect(runs.at(index)).toBe(plain.at(index) as number);
      expect(runs.highestMatch(probe, term)).toEqual(highestMatch(plain, probe, term));
      const low = Math.max(plain.first, 1);
      for (let prev = low; prev <= plain.lastIndex; prev += 3) checkSlice(runs, plain, prev);
      if (plain.lastIndex > low)
        expect(runs.firstDifference(low, plain.lastIndex + 1, term)).toBe(
          firstDifference(plain, low, term) as number,
        );
    }),
    { numRuns: 1500 },
  );
});

function play(runs: TermRuns, plain: Plain, each: Act): void {
  const within = (part: number): number =>
    plain.first + Math.floor((plain.lastIndex - plain.first) * part);
  switch (each.kind) {
    case "append": {
      const term = (plain.terms.at(-1) ?? 0) + each.rise || 1;
      for (let i = 0; i < each.count; i += 1) plain.terms.push(term);
      if (plain.first === 0) plain.first = 1;
      runs.append(plain.lastIndex, term);
      break;
    }
    case "truncate": {
      // All of a log may go, as long as nothing of it was compacted.
      const to = plain.first === 1 && each.share < 0.2 ? 0 : within(each.share);
      if (to === 0) plain.first = 0;
      plain.terms.length = to + 1;
      runs.truncate(to);
      break;
    }
    case "compact": {
      const to = within(each.share);
      if (to > 0) plain.first = to;
      runs.compact(to);
      break;
    }
    case "replace": {
      const index = plain.lastIndex + each.ahead;
      const term = (plain.terms.at(-1) ?? 0) + 1;
      while (plain.terms.length <= index) plain.terms.push(term);
      plain.first = index;
      runs.replace(index, term);
      break;
    }
  }
}

function highestMatch(plain: Plain, index: number, term: number) {
  for (let at = index; at > 0; at -= 1) {
    const here = plain.at(at);
    if (here === undefined) return { index: at, term: 0 };
    if (here <= term) return { index: at, term: here };
  }
  return { index: 0, term: 0 };
}

function firstDifference(plain: Plain, from: number, term: number): number | undefined {
  for (let index = from; index <= plain.lastIndex + 1; index += 1)
    if (plain.at(index) !== term) return index;
  return undefined;
}

function checkSlice(runs: TermRuns, plain: Plain, prev: number): void {
  const slice = runs.slice(prev, plain.lastIndex);
  for (let index = prev + 1; index <= plain.lastIndex; index += 1)
    expect(slice.findLast((run) => run.index <= index)?.term).toBe(plain.at(index) as number);
  expect(slice[0]?.index ?? prev + 1).toBe(prev + 1);
  const limit = runs.limit(prev, plain.lastIndex, 2);
  expect(runs.slice(prev, limit).length).toBeLessThanOrEqual(2);
  if (prev < plain.lastIndex) expect(limit).toBeGreaterThan(prev);
}
