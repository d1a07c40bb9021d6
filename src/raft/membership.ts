// A configuration takes effect when its entry is applied and saved, on each node in its own time.

import { assert } from "../lib/assert.ts";
import { type Configuration, isVoter } from "./configuration.ts";
import { quorumIndex } from "./quorum.ts";
import { endRound } from "./reads.ts";
import type { Owed } from "./ready.ts";
import { advanceCommit } from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import { type RaftState, trackMembers } from "./state.ts";

/** Takes on a configuration whose entry at `index` was applied and saved. */
export function configure(
  state: RaftState,
  owed: Owed,
  configuration: Configuration,
  index: number,
): void {
  assert(
    index >= state.configurationIndex && index <= state.commitIndex,
    `Cannot configure from entry ${index}: committed up to ${state.commitIndex}`,
  );
  state.configuration = configuration;
  state.configurationIndex = index;
  if (state.role !== "leader") return;
  // New members begin where the log ends, and count as heard of: they had no chance to speak yet.
  trackMembers(state, Math.max(state.lastIndex, 1), true);
  if (!isVoter(configuration, state.nodeId)) return;
  advanceCommit(state, owed);
  endRound(state, owed);
  if (state.transferee !== undefined && !isVoter(configuration, state.transferee))
    state.transferee = undefined;
}

/**
 * Ends the leadership of a node that is no longer a voter, once a majority of the others was sent word that they are the
 * voters now: those who do not know it would ask this node for its vote, and it may have entries that they lack.
 */
export function leaveIfTold(state: RaftState, owed: Owed): void {
  if (!state.isLeaving) return;
  const told = quorumIndex(state.configuration, (nodeId) => {
    const progress = state.progress.get(nodeId);
    return Math.min(progress?.sentCommitIndex ?? 0, (progress?.nextIndex ?? 1) - 1);
  });
  if (told >= state.configurationIndex) becomeFollower(state, owed, state.term, undefined);
}
