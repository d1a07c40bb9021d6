// Lives through worlds of several nodes: some seconds of seeds, the ones that once failed, and worlds with a planted bug,
// which must be found.

import { describe, expect, test } from "bun:test";
import { CLUSTER_BUGS, type ClusterBug } from "./cluster/planted.ts";
import { findClusterBug, runClusterSeed } from "./cluster/run-seed.ts";

const QUICK_SEEDS = 200;
const SEEDS_PER_TEST = 40;
/** Worlds within which a planted bug must be found, where it can happen at all. */
const BUG_WORLDS_MAX: Record<ClusterBug, number> = {
  vote_not_synced: 160,
  candidate_log_not_compared: 60,
  old_term_committed_by_counting: 60,
  commit_before_own_sync: 30,
  two_writes_in_flight: 120,
  truncation_in_place: 150,
  configuration_not_persisted: 400,
  wiped_voter_votes: 400,
  refusal_from_pending_state: 30,
  stale_term_append_accepted: 300,
  ack_with_corrupt_entry: 30,
  learner_counted_as_voter: 60,
  read_without_barrier: 60,
  pending_state_ignored: 30,
};

const permanent = (await Bun.file(new URL("./cluster-seeds.txt", import.meta.url)).text())
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line): [number, string] => [Number.parseInt(line, 10), line.replace(/^\d+ /, "")]);

/** Runs a seed; a failure tells how to see it again. */
function live(seed: number): void {
  const { failure } = runClusterSeed(seed);
  if (failure !== undefined)
    throw new Error(`bun run sim --cluster --seed ${seed}`, { cause: failure });
}

describe("worlds of several nodes", () => {
  const blocks = Array.from({ length: QUICK_SEEDS / SEEDS_PER_TEST }, (_, i) => i * SEEDS_PER_TEST);
  test.each(blocks)("keep every promise in the seeds after %d", (first) => {
    for (let seed = first + 1; seed <= first + SEEDS_PER_TEST; seed++) live(seed);
  });

  test.each(permanent)("keep every promise in seed %d: %s", (seed) => live(seed));

  test("are the same when a seed is lived through twice", () => {
    for (let seed = 1; seed <= 8; seed++) {
      const first = runClusterSeed(seed, { keepTrace: true });
      const again = runClusterSeed(seed, { keepTrace: true });
      expect(again.lines).toEqual([...first.lines]);
      expect(again.hash).toBe(first.hash);
    }
    expect(new Set([1, 2, 3, 4, 5].map((seed) => runClusterSeed(seed).hash)).size).toBe(5);
  });
});

describe("planted bugs", () => {
  test.each([...CLUSTER_BUGS])("%s is found", (bug) => {
    const found = findClusterBug(bug, 1, BUG_WORLDS_MAX[bug]);

    expect(found?.failure).toBeDefined();
    console.log(`${bug}: found by seed ${found?.seed}: ${String(found?.failure).slice(0, 200)}`);
  });
});
