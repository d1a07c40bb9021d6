// How a leader is found (Raft §5.2 and §5.4.1), with a question beforehand (pre-vote, dissertation §9.6), and how one that
// lost touch with its followers lets go (check-quorum, §6.2).

import type { VoteMessage, VoteReply } from "./messages.ts";
import { type VoteOutcome, voteOutcome } from "./quorum.ts";
import { ageForwardedReads, broadcastHeartbeat } from "./reads.ts";
import { type Owed, promise, send } from "./ready.ts";
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from "./roles.ts";
import { commitTo, drawTimeout, mayStand, type RaftState } from "./state.ts";

/** Time passes. */
export function tick(state: RaftState, owed: Owed, random: number): void {
  state.electionElapsedTicks += 1;
  if (state.role === "leader") {
    tickLeader(state, owed);
    return;
  }
  ageForwardedReads(state, owed);
  if (state.electionTimeoutTicks === 0)
    state.electionTimeoutTicks = drawTimeout(state.options.electionTicks, random);
  if (state.electionElapsedTicks < state.electionTimeoutTicks || !mayStand(state)) return;
  state.electionElapsedTicks = 0;
  state.electionTimeoutTicks = 0;
  stand(state, owed, false);
}

function tickLeader(state: RaftState, owed: Owed): void {
  state.heartbeatElapsedTicks += 1;
  if (state.electionElapsedTicks >= state.options.electionTicks) {
    state.electionElapsedTicks = 0;
    if (state.isLeaving || (state.options.isCheckQuorum && !hasActiveQuorum(state))) {
      becomeFollower(state, owed, state.term, undefined);
      return;
    }
    // Whom it was handing over to did not take it.
    state.transferee = undefined;
  }
  if (state.heartbeatElapsedTicks < state.options.heartbeatTicks) return;
  state.heartbeatElapsedTicks = 0;
  broadcastHeartbeat(state, owed);
}

/** Whether a majority was heard of since the last look; the next one starts from nothing. */
function hasActiveQuorum(state: RaftState): boolean {
  const outcome = voteOutcome(
    state.configuration,
    (nodeId) => state.progress.get(nodeId)?.isActive ?? false,
  );
  for (const [nodeId, progress] of state.progress) progress.isActive = nodeId === state.nodeId;
  return outcome === "won";
}

/** Stands for election, if this node may. At the leader's wish (`isTransfer`) without asking beforehand. */
export function stand(state: RaftState, owed: Owed, isTransfer: boolean): void {
  if (state.role === "leader" || !mayStand(state)) return;
  if (state.options.isPreVote && !isTransfer) {
    becomePreCandidate(state, owed);
    askForVotes(state, owed, "preVote", false);
    noteVote(state, owed, state.nodeId, true);
    return;
  }
  becomeCandidate(state, owed);
  askForVotes(state, owed, "vote", isTransfer);
}

function askForVotes(
  state: RaftState,
  owed: Owed,
  kind: VoteMessage["kind"],
  isTransfer: boolean,
): void {
  const { nodeId: from, lastIndex, lastTerm } = state;
  const term = kind === "preVote" ? state.term + 1 : state.term;
  const { voters, outgoing } = state.configuration;
  for (const to of [...new Set([...voters, ...outgoing])].sort()) {
    if (to !== from) send(state, owed, { kind, from, to, term, lastIndex, lastTerm, isTransfer });
  }
}

/** Whether a request to vote is to be met with silence: this node hears a leader, and so should whoever asks. */
export function isLeased(state: RaftState, message: VoteMessage): boolean {
  return (
    state.options.isCheckQuorum &&
    !message.isTransfer &&
    state.leaderId !== undefined &&
    state.electionElapsedTicks < state.options.electionTicks
  );
}

/** Answers a request to vote. A learner may be asked by one who knows already that it is a voter, and answers too. */
export function takeVoteRequest(state: RaftState, owed: Owed, message: VoteMessage): void {
  const { from: to, term } = message;
  const isGranted = mayVoteFor(state, message);
  const kind = message.kind === "vote" ? "voteReply" : "preVoteReply";
  if (isGranted && message.kind === "vote") {
    // Raft §5.2: the vote is durable before it is given, or it could be given twice.
    state.electionElapsedTicks = 0;
    promise(state, owed, state.term, to);
  }
  answerVote(state, owed, {
    kind,
    to,
    term: isGranted ? term : state.term,
    isRejected: !isGranted,
  });
}

/** Answers a request to vote, with what is known to be committed. */
export function answerVote(
  state: RaftState,
  owed: Owed,
  answer: Pick<VoteReply, "kind" | "to" | "term" | "isRejected">,
): void {
  const { nodeId: from, commitIndex } = state;
  const commitTerm = state.terms.at(commitIndex) ?? 0;
  send(state, owed, { ...answer, from, commitIndex, commitTerm });
}

function mayVoteFor(state: RaftState, message: VoteMessage): boolean {
  if (state.isFenced) return false;
  const isFree =
    state.vote === message.from ||
    (state.vote === "" && state.leaderId === undefined) ||
    (message.kind === "preVote" && message.term > state.term);
  // Raft §5.4.1: whoever lacks something that may be committed must not lead.
  const isUpToDate =
    message.lastTerm > state.lastTerm ||
    (message.lastTerm === state.lastTerm && message.lastIndex >= state.lastIndex);
  return isFree && isUpToDate;
}

/** Takes an answer to a request of this node. */
export function takeVoteReply(state: RaftState, owed: Owed, reply: VoteReply): void {
  const isAsked =
    reply.kind === "voteReply"
      ? state.role === "candidate"
      : // A grant names the term that was asked for; one that names another is of an earlier question.
        state.role === "preCandidate" && (reply.isRejected || reply.term === state.term + 1);
  if (!isAsked) return;
  // What is committed there is committed here too, if it is the same entry (log matching).
  if (reply.isRejected && state.terms.at(reply.commitIndex) === reply.commitTerm)
    commitTo(state, reply.commitIndex);
  noteVote(state, owed, reply.from, !reply.isRejected);
}

/** Notes what one voter said. The first word counts. */
export function noteVote(state: RaftState, owed: Owed, from: string, isGranted: boolean): void {
  if (!state.votes.has(from)) state.votes.set(from, isGranted);
  countVotes(state, owed);
}

/** Counts the votes, by the configuration as it is now. */
export function countVotes(state: RaftState, owed: Owed): void {
  if (state.role !== "candidate" && state.role !== "preCandidate") return;
  const outcome: VoteOutcome = voteOutcome(state.configuration, (voter) => state.votes.get(voter));
  // What was learned meanwhile may have changed who counts: once it is applied, they are counted again.
  if (outcome === "pending" || !mayStand(state)) return;
  if (outcome === "lost") becomeFollower(state, owed, state.term, undefined);
  else if (state.role === "candidate") becomeLeader(state, owed);
  else {
    becomeCandidate(state, owed);
    askForVotes(state, owed, "vote", false);
  }
}
