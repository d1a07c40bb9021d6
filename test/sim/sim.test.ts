// Lives through worlds: a few hundred seeds, the ones that once failed, and worlds with a planted bug, which must be found.

import { describe, expect, test } from "bun:test";
import { BUGS } from "./planted.ts";
import { runSeed } from "./run-seed.ts";

const QUICK_SEEDS = 240;
const SEEDS_PER_TEST = 40;
/** Seeds within which a planted bug must be found. */
const BUG_SEEDS_MAX = 150;

const permanent = (await Bun.file(new URL("./seeds.txt", import.meta.url)).text())
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line): [number, string] => [Number.parseInt(line, 10), line.replace(/^\d+ /, "")]);

/** Runs a seed; a failure tells how to see it again. */
function live(seed: number): void {
  const { failure } = runSeed(seed);
  if (failure !== undefined) throw new Error(`bun run sim --seed ${seed}`, { cause: failure });
}

describe("worlds", () => {
  const blocks = Array.from({ length: QUICK_SEEDS / SEEDS_PER_TEST }, (_, i) => i * SEEDS_PER_TEST);
  test.each(blocks)("keep every promise in the seeds after %d", (first) => {
    for (let seed = first + 1; seed <= first + SEEDS_PER_TEST; seed++) live(seed);
  });

  test.each(permanent)("keep every promise in seed %d: %s", (seed) => live(seed));

  test("are the same when a seed is lived through twice", () => {
    for (let seed = 1; seed <= 12; seed++) {
      const first = runSeed(seed, { keepTrace: true });
      const again = runSeed(seed, { keepTrace: true });
      expect(again.lines).toEqual([...first.lines]);
      expect(again.hash).toBe(first.hash);
    }
    expect(new Set([1, 2, 3, 4, 5].map((seed) => runSeed(seed).hash)).size).toBe(5);
  });
});

describe("planted bugs", () => {
  test.each([...BUGS])("%s is found", (bug) => {
    let found: ReturnType<typeof runSeed> | undefined;
    for (let seed = 1; seed <= BUG_SEEDS_MAX && found?.failure === undefined; seed++)
      found = runSeed(seed, { bug });

    expect(found?.failure).toBeDefined();
    console.log(`${bug}: found by seed ${found?.seed}: ${found?.failure}`);
  });
});
