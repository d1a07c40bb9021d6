// State in place of entries, for a follower that needs more than the leader's log still has. Files travel by the driver's
// hands; here it is only known that they do, and what the log is afterwards.

import { assert } from "../lib/assert.ts";
import type { Configuration } from "./configuration.ts";
import { answerMatch } from "./following.ts";
import type { SnapshotMessage } from "./messages.ts";
import { type Owed, send } from "./ready.ts";
import { becomeFollower } from "./roles.ts";
import { commitTo, type RaftState } from "./state.ts";

/** Leader: files of the state at `index` are ready for a follower, which is told so. */
export function offerSnapshot(state: RaftState, owed: Owed, to: string, index: number): void {
  const progress = state.progress.get(to);
  if (progress === undefined || to === state.nodeId) return;
  const indexTerm = state.terms.at(index);
  assert(indexTerm !== undefined, `Cannot offer a snapshot at ${index}: its term is compacted`);
  assert(index <= state.commitIndex, `Cannot offer a snapshot at ${index}: it is not committed`);
  progress.becomeSnapshot(index);
  const { nodeId: from, term } = state;
  send(state, owed, { kind: "snapshot", from, to, term, index, indexTerm });
}

/** Leader: the transfer ended. What follows waits for a sign of the follower: an answer, or a heartbeat's. */
export function endSnapshot(state: RaftState, to: string, isDone: boolean): void {
  const progress = state.progress.get(to);
  if (progress?.state !== "snapshot") return;
  if (!isDone) progress.pendingSnapshot = 0;
  progress.becomeProbe();
  progress.isFlowPaused = true;
}

/** Follower: the leader offers its state. It is not needed where the log has it, or more. */
export function takeSnapshot(state: RaftState, owed: Owed, message: SnapshotMessage): void {
  const { from, index, indexTerm } = message;
  if (index <= state.commitIndex) {
    answerMatch(state, owed, state.commitIndex);
    return;
  }
  if (state.terms.at(index) === indexTerm) {
    // What is in a snapshot is committed, and so is this log up to there (log matching).
    commitTo(state, index);
    answerMatch(state, owed, index);
    return;
  }
  owed.snapshotOffered = { from, index, term: indexTerm };
}

/** Follower: its files are now those of the snapshot, durably, and its log begins behind it. */
export function installSnapshot(
  state: RaftState,
  owed: Owed,
  installed: {
    readonly index: number;
    readonly term: number;
    readonly configuration: Configuration;
    readonly configurationIndex: number;
  },
): void {
  const { index, term } = installed;
  assert(state.role !== "leader", "A leader does not replace its own log");
  assert(
    index >= state.commitIndex,
    `Cannot go back to a snapshot at ${index}: committed up to ${state.commitIndex}`,
  );
  assert(term <= state.term, `A snapshot of term ${term} cannot be known in term ${state.term}`);
  if (state.role !== "follower") becomeFollower(state, owed, state.term, undefined);
  state.terms.replace(index, term);
  state.configuration = installed.configuration;
  state.configurationIndex = installed.configurationIndex;
  state.commitIndex = index;
  state.appliedIndex = index;
  state.durableIndex = index;
  state.compactedIndex = index;
  state.matchedIndex = 0;
  state.answeredIndex = 0;
  answerMatch(state, owed, index);
}
