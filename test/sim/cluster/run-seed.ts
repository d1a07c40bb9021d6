// Runs one seed of a cluster to its end and says how it went; looks for the seed that finds a planted bug.

import { Prng } from "../../../src/lib/prng.ts";
import { drawClusterPlan } from "./plan.ts";
import { type ClusterBug, canShow } from "./planted.ts";
import { ClusterWorld, type ClusterWorldOptions } from "./world.ts";

/** How a seed ended. */
export interface ClusterSeedResult {
  readonly seed: number;
  /** Undefined: well. */
  readonly failure: unknown;
  /** Hash of everything that happened. */
  readonly hash: number;
  readonly steps: number;
  readonly writes: number;
  readonly lives: number;
  readonly lines: readonly string[];
}

/** Lives through one world. Never throws. */
export function runClusterSeed(seed: number, options: ClusterWorldOptions = {}): ClusterSeedResult {
  const world = new ClusterWorld(seed, options);
  let failure: unknown;
  try {
    world.run();
  } catch (error) {
    failure = error;
    world.trace.event("failed", String(error));
  }
  return {
    seed,
    failure,
    hash: world.trace.hash,
    steps: world.trace.step,
    writes: world.clients.acknowledged,
    lives: world.nodes.reduce((sum, { life }) => sum + life, 0),
    lines: world.trace.lines,
  };
}

/** The first of so many worlds that finds a bug; those in which it could not happen are passed over and not counted. */
export function findClusterBug(
  bug: ClusterBug,
  from: number,
  worlds: number,
): ClusterSeedResult | undefined {
  let left = worlds;
  for (let seed = from; left > 0; seed++) {
    if (!canShow(bug, drawClusterPlan(new Prng(seed).fork("plan")))) continue;
    left -= 1;
    const result = runClusterSeed(seed, { bug });
    if (result.failure !== undefined) return result;
  }
  return undefined;
}
