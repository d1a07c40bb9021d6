// The follower's side of the log: what the leader says is so, once it fits; and the leader hears what is durable.

import { assert } from "../lib/assert.ts";
import type { AppendMessage, HeartbeatMessage } from "./messages.ts";
import { type Owed, send } from "./ready.ts";
import { commitTo, type RaftState } from "./state.ts";

/** Takes an append (Raft figure 2, AppendEntries): accepts what fits behind its log, or says where the two can match. */
export function takeAppend(state: RaftState, owed: Owed, message: AppendMessage): void {
  const { prevIndex, prevTerm, lastIndex } = message;
  // What is committed is the leader's too, whatever this message says: an old one, or a leader that probes too low.
  if (prevIndex < state.commitIndex) {
    answerMatch(state, owed, state.commitIndex);
    return;
  }
  if (state.terms.at(prevIndex) !== prevTerm) {
    reject(state, owed, message);
    return;
  }
  acceptEntries(state, owed, message);
  commitTo(state, Math.min(message.commitIndex, lastIndex));
  answerMatch(state, owed, lastIndex);
}

/** Raft §5.3: a conflicting entry and all behind it go; what is there already stays. */
function acceptEntries(state: RaftState, owed: Owed, message: AppendMessage): void {
  const { runs, lastIndex } = message;
  const endOf = (i: number): number => (runs[i + 1]?.index ?? lastIndex + 1) - 1;
  let firstIndex: number | undefined;
  for (const [i, run] of runs.entries()) {
    firstIndex ??= state.terms.firstDifference(run.index, endOf(i), run.term);
    if (firstIndex === undefined) continue;
    if (firstIndex <= state.lastIndex && owed.accepted === undefined)
      truncate(state, owed, firstIndex);
    owed.accepted = { firstIndex, lastIndex };
    state.terms.append(endOf(i), run.term);
  }
}

function truncate(state: RaftState, owed: Owed, from: number): void {
  assert(
    from > state.commitIndex,
    `Cannot drop entry ${from}: it is committed up to ${state.commitIndex}`,
  );
  state.terms.truncate(from - 1);
  state.durableIndex = Math.min(state.durableIndex, from - 1);
  owed.truncateFrom = from;
}

function reject(state: RaftState, owed: Owed, message: AppendMessage): void {
  const { nodeId, term, terms } = state;
  const { from: to, prevIndex, prevTerm } = message;
  const hint = terms.highestMatch(Math.min(prevIndex, state.lastIndex), prevTerm);
  const reply = { kind: "appendReply", from: nodeId, to, term, index: prevIndex } as const;
  send(state, owed, { ...reply, isRejected: true, hintIndex: hint.index, hintTerm: hint.term });
}

/** Entries up to `index` are the leader's. It hears so when they are durable, at once if they are (Raft §5.3). */
export function answerMatch(state: RaftState, owed: Owed, index: number): void {
  state.matchedIndex = Math.max(state.matchedIndex, index);
  if (state.durableIndex >= index) answer(state, owed, index);
}

/** More of the log is durable: the leader hears of all that is its own. */
export function answerPersisted(state: RaftState, owed: Owed): void {
  const index = Math.min(state.durableIndex, state.matchedIndex);
  if (state.role === "follower" && index > state.answeredIndex) answer(state, owed, index);
}

function answer(state: RaftState, owed: Owed, index: number): void {
  const { nodeId: from, leaderId: to, term } = state;
  if (to === undefined) return;
  state.answeredIndex = Math.max(state.answeredIndex, index);
  const rest = { isRejected: false, hintIndex: 0, hintTerm: 0 };
  send(state, owed, { kind: "appendReply", from, to, term, index, ...rest });
}

/** Takes a sign of life. Its commit index holds for what is known to be the leader's. */
export function takeHeartbeat(state: RaftState, owed: Owed, message: HeartbeatMessage): void {
  const { nodeId, term } = state;
  commitTo(state, Math.min(message.commitIndex, state.matchedIndex));
  const { from: to, round } = message;
  send(state, owed, { kind: "heartbeatReply", from: nodeId, to, term, round });
}
