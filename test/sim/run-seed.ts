// Runs one seed to its end and says how it went.

import type { BugName } from "./planted.ts";
import { World } from "./world.ts";

/** How a seed ended. */
export interface SeedResult {
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
export function runSeed(
  seed: number,
  options: { readonly bug?: BugName | undefined; readonly keepTrace?: boolean } = {},
): SeedResult {
  const world = new World(seed, options);
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
    writes: world.shadow.writes.length,
    lives: world.trace.life,
    lines: world.trace.lines,
  };
}
