// The four parts of a node and the ways between them (Raft figure 4). Each way resets what belongs to the part that ends.

import { assert } from "../lib/assert.ts";
import { dropReads } from "./reads.ts";
import { type Owed, promise } from "./ready.ts";
import { type RaftState, trackMembers } from "./state.ts";

/** Follows `leaderId`, or nobody yet, in `term`, which is the present one or a later one. */
export function becomeFollower(
  state: RaftState,
  owed: Owed,
  term: number,
  leaderId: string | undefined,
): void {
  leave(state, owed, term);
  state.role = "follower";
  state.leaderId = leaderId;
}

/** Asks whether it would be elected. Term and vote stay, so that a node that is cut off disturbs nobody when it returns. */
export function becomePreCandidate(state: RaftState, owed: Owed): void {
  assert(state.role !== "leader", "A leader does not stand");
  dropReads(state, owed);
  state.role = "preCandidate";
  state.leaderId = undefined;
  state.votes.clear();
}

/** Stands in the next term. Its own vote counts once it is durable. */
export function becomeCandidate(state: RaftState, owed: Owed): void {
  assert(state.role !== "leader", "A leader does not stand");
  leave(state, owed, state.term + 1);
  promise(state, owed, state.term, state.nodeId);
  state.role = "candidate";
}

/** Leads the term that it was elected in. */
export function becomeLeader(state: RaftState, owed: Owed): void {
  assert(state.role === "candidate", "Only a candidate is elected");
  assert(
    state.isStateSaved && state.vote === state.nodeId,
    "Nobody leads before its vote is durable",
  );
  assert(!state.isFenced, "A fenced node does not lead");
  leave(state, owed, state.term);
  state.role = "leader";
  state.leaderId = state.nodeId;
  state.termStartIndex = state.lastIndex + 1;
  // The log may hold a change of configuration that is not known to be committed.
  state.pendingConfigurationIndex = state.lastIndex;
  trackMembers(state, state.lastIndex + 1, false);
  const own = state.progress.get(state.nodeId);
  assert(own !== undefined, "Only a member leads");
  own.matchIndex = state.durableIndex;
  own.becomeReplicate();
  own.isActive = true;
}

function leave(state: RaftState, owed: Owed, term: number): void {
  assert(term >= state.term, `Cannot go back to term ${term} from ${state.term}`);
  if (term !== state.term) {
    promise(state, owed, term, "");
    state.matchedIndex = 0;
    state.answeredIndex = 0;
  }
  dropReads(state, owed);
  state.leaderId = undefined;
  state.transferee = undefined;
  state.votes.clear();
  state.progress = new Map();
  state.termStartIndex = 0;
  state.pendingConfigurationIndex = 0;
  state.round = 0;
  state.electionElapsedTicks = 0;
  state.heartbeatElapsedTicks = 0;
  state.electionTimeoutTicks = 0;
}
