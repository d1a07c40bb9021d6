// The gate for messages: terms are compared here and nowhere else (Raft §5.1). A later term is adopted, an earlier one is
// not listened to; what passes is of the present term, but for pre-votes, which name a term that may never be.

import { assert, assertNever } from "../lib/assert.ts";
import { answerVote, isLeased, stand, takeVoteReply, takeVoteRequest } from "./election.ts";
import { takeAppend, takeHeartbeat } from "./following.ts";
import type { AppendMessage, HeartbeatMessage, RaftMessage, SnapshotMessage } from "./messages.ts";
import { askLeader, noteReadIndex } from "./reads.ts";
import { type Owed, send } from "./ready.ts";
import { takeAppendReply, takeHeartbeatReply } from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import { takeSnapshot } from "./snapshot.ts";
import type { RaftState } from "./state.ts";

type LeaderMessage = AppendMessage | HeartbeatMessage | SnapshotMessage;

/** Takes a message from a peer. */
export function receive(state: RaftState, owed: Owed, message: RaftMessage): void {
  if (message.to !== state.nodeId || message.from === state.nodeId) return;
  if (message.term > state.term && !adopt(state, owed, message)) return;
  if (message.term < state.term) {
    answerEarlier(state, owed, message);
    return;
  }
  dispatch(state, owed, message);
}

/** Goes on to the term of a message, if it is one that counts. False: the message is not to be listened to. */
function adopt(state: RaftState, owed: Owed, message: RaftMessage): boolean {
  switch (message.kind) {
    case "preVote":
      return !isLeased(state, message);
    case "vote":
      if (isLeased(state, message)) return false;
      break;
    case "preVoteReply":
      // A grant names the term that was asked for; a refusal names the one that whoever refused is in.
      if (!message.isRejected) return true;
      break;
    case "append":
    case "heartbeat":
    case "snapshot":
      becomeFollower(state, owed, message.term, message.from);
      return true;
    default:
      break;
  }
  becomeFollower(state, owed, message.term, undefined);
  return true;
}

/**
 * Answers from a later term. A leader that was cut off learns that its time is over; without an answer it could lead on
 * and keep whoever has the later term, and does not listen to it, from ever being heard (pre-vote and check-quorum).
 */
function answerEarlier(state: RaftState, owed: Owed, message: RaftMessage): void {
  const { nodeId, term } = state;
  const { isCheckQuorum, isPreVote } = state.options;
  const envelope = { from: nodeId, to: message.from, term };
  if (message.kind === "preVote") {
    answerVote(state, owed, { kind: "preVoteReply", to: message.from, term, isRejected: true });
    return;
  }
  if (message.kind !== "append" && message.kind !== "heartbeat") return;
  if (!isCheckQuorum && !isPreVote) return;
  const nothing = { index: 0, isRejected: false, hintIndex: 0, hintTerm: 0 };
  send(state, owed, { kind: "appendReply", ...envelope, ...nothing });
}

function dispatch(state: RaftState, owed: Owed, message: RaftMessage): void {
  const isLeader = state.role === "leader";
  switch (message.kind) {
    case "append":
    case "heartbeat":
    case "snapshot":
      hearLeader(state, owed, message);
      break;
    case "appendReply":
      if (isLeader) takeAppendReply(state, owed, message);
      break;
    case "heartbeatReply":
      if (isLeader) takeHeartbeatReply(state, owed, message);
      break;
    case "vote":
    case "preVote":
      takeVoteRequest(state, owed, message);
      break;
    case "voteReply":
    case "preVoteReply":
      takeVoteReply(state, owed, message);
      break;
    case "timeoutNow":
      if (state.role === "follower") stand(state, owed, true);
      break;
    case "readIndex":
      if (isLeader) askLeader(state, owed, message);
      break;
    case "readIndexReply":
      noteReadIndex(state, owed, message.context, message.index);
      break;
    default:
      assertNever(message);
      break;
  }
}

function hearLeader(state: RaftState, owed: Owed, message: LeaderMessage): void {
  assert(
    state.role !== "leader",
    `Both ${state.nodeId} and ${message.from} lead term ${state.term}`,
  );
  if (state.role !== "follower") becomeFollower(state, owed, state.term, message.from);
  state.leaderId = message.from;
  state.electionElapsedTicks = 0;
  if (message.kind === "append") takeAppend(state, owed, message);
  else if (message.kind === "heartbeat") takeHeartbeat(state, owed, message);
  else takeSnapshot(state, owed, message);
}
