// Consensus as a state machine. Decides; never acts. No clock, no randomness, no I/O, no await: a tidy test checks.
// Keeps: at most one leader per term; the commit index never goes back; only entries of the leader's own term commit by
// counting. Driven by `replica/` and by `test/sim`. This version forms clusters of one voter: elections, the commit rule
// and reads are those of Raft, and what only several voters need (replication, pre-vote, membership) is not here yet.

export { createRaft, type RaftState } from "./state.ts";
export { type RaftReady, step } from "./step.ts";
