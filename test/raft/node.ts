// One node of several, built by hand, and messages to it: for tests of a single rule.

import {
  type AppendMessage,
  createRaft,
  type RaftMessage,
  type RaftReady,
  type RaftState,
  step,
} from "../../src/raft/mod.ts";
import { membersAre } from "./driver.ts";

type Options = Partial<Parameters<typeof createRaft>[0]>;

/** What a voter says of commitment when it says nothing. */
export const NOTHING = { commitIndex: 0, commitTerm: 0 } as const;

/** Node `a` of `a`, `b`, `c`, in term 4, with a log of ten entries: eight of term 1, two of term 4. */
export const nodeOf = (over: Options = {}): RaftState =>
  createRaft({
    nodeId: "a",
    configuration: membersAre(["a", "b", "c"]),
    configurationIndex: 0,
    term: 4,
    vote: "",
    commitIndex: 7,
    appliedIndex: 7,
    lastIndex: 10,
    runs: [
      { index: 1, term: 1 },
      { index: 9, term: 4 },
    ],
    electionTicks: 10,
    heartbeatTicks: 2,
    random: 0,
    isFenced: false,
    inflightBytesMax: 1000,
    inflightMessagesMax: 4,
    ...over,
  });

/** The same node as leader of term 5, its first entry at 11 sealed and not durable yet. */
export function leaderOf(over: Options = {}): RaftState {
  const state = nodeOf({ isPreVote: false, ...over });
  step(state, { kind: "campaign" });
  step(state, { kind: "stateSaved", term: 5, vote: "a" });
  for (const from of ["b", "c", "d", "e"]) {
    if (state.role === "leader") break;
    receive(state, { kind: "voteReply", from, to: "a", term: 5, isRejected: false, ...NOTHING });
  }
  step(state, { kind: "proposed", entries: 1 });
  return state;
}

/** Steps a message. */
export const receive = (state: RaftState, message: RaftMessage): RaftReady =>
  step(state, { kind: "received", message });

/** Says that a follower has everything up to `index`. */
export const acknowledge = (state: RaftState, from: string, index: number): RaftReady =>
  receive(state, {
    kind: "appendReply",
    from,
    to: "a",
    term: state.term,
    index,
    isRejected: false,
    hintIndex: 0,
    hintTerm: 0,
  });

/** An append of `b`, leader of term 5, to `a`: entries of `term` behind the last one. */
export const appendOf = (over: Partial<AppendMessage> = {}): AppendMessage => ({
  kind: "append",
  from: "b",
  to: "a",
  term: 5,
  prevIndex: 10,
  prevTerm: 4,
  commitIndex: 7,
  lastIndex: 11,
  runs: [{ index: 11, term: 5 }],
  ...over,
});
