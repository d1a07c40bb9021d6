// Whole clusters from seeds: nothing that Raft promises breaks, whatever is lost, and a healed cluster gets somewhere.
// `RAFT_SEEDS=1000-2000` plays others.

import { expect, test } from "bun:test";
import { type Tally, World } from "../../raft/world.ts";

const { RAFT_SEEDS = "1-300" } = process.env;
const [FIRST = 1, LAST = 300] = RAFT_SEEDS.split("-").map(Number);
const ACTS = 1500;

test("one leader a term, one log, nothing committed is lost, reads are not stale", () => {
  const sums: Record<keyof Tally, number> = {
    elections: 0,
    commits: 0,
    crashes: 0,
    changes: 0,
    snapshots: 0,
    reads: 0,
  };
  for (let seed = FIRST; seed <= LAST; seed += 1) {
    const world = new World(seed);
    try {
      world.run(ACTS);
      world.settle();
    } catch (cause) {
      throw new Error(`Seed ${seed} breaks a promise`, { cause });
    }
    for (const key of Object.keys(sums) as (keyof Tally)[]) sums[key] += world.tally[key];
  }

  // A world in which nothing happens proves nothing.
  for (const sum of Object.values(sums)) expect(sum).toBeGreaterThan((LAST - FIRST) / 10);
}, 600_000);
