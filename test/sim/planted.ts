// Bugs that a test plants to see that the world finds them. None is a flag in the node: each is a disk that lies, a medium
// that is mended where it should be refused, or a hand laid on the node's own parts.

import type { Prng } from "../../src/lib/prng.ts";
import type { SimDirectory } from "../support/sim-directory.ts";
import type { Node } from "./node.ts";

/** What can be planted. */
export const BUGS = [
  "ack_before_sync",
  "accept_torn_entry",
  "forget_directory_sync",
  "reuse_slab_early",
  "truncation_in_place",
] as const;

/** One planted bug. */
export type BugName = (typeof BUGS)[number];

/** The medium that goes with a bug; undefined: an honest one. */
export function plantedDirectory(
  _bug: BugName | undefined,
  _prng: Prng,
  _freeBytesLimit: number,
): SimDirectory | undefined {
  return undefined;
}

/** Lays hands on a node that has just started. */
export function plantBug(_bug: BugName | undefined, _node: Node): void {}
