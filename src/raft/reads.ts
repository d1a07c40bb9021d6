// Linearizable reads without a clock (dissertation §6.4): a read is answered when a majority has confirmed, after it was
// asked for, that this leader still leads. Confirmation comes in rounds of heartbeats; all reads that wait when a round
// begins share it, and one round is under way at a time.

import { voteOutcome } from "./quorum.ts";
import { type Owed, send } from "./ready.ts";
import type { AskedRead, RaftState } from "./state.ts";

/** Takes a read of this node: confirms it, asks the leader, or gives it up for want of one. */
export function askRead(state: RaftState, owed: Owed, context: number): void {
  if (state.role === "leader") {
    askLeader(state, owed, { from: state.nodeId, context });
    return;
  }
  const { nodeId, term, leaderId } = state;
  if (leaderId === undefined) {
    failReads(owed, [context]);
    return;
  }
  state.forwardedReads.push(context);
  send(state, owed, { kind: "readIndex", from: nodeId, to: leaderId, term, context });
}

/** Takes a read on the leader, its own or a follower's. */
export function askLeader(state: RaftState, owed: Owed, read: AskedRead): void {
  state.waitingReads.push(read);
  beginRound(state, owed);
}

/**
 * Begins a round if something waits for one and none is under way. A leader that has not committed in its own term does
 * not know yet what is committed (Raft §8), so its reads wait for that first.
 */
export function beginRound(state: RaftState, owed: Owed): void {
  if (state.roundReads.length > 0 || state.waitingReads.length === 0) return;
  if (state.commitIndex < state.termStartIndex) return;
  state.round += 1;
  state.roundReads = state.waitingReads;
  state.roundIndex = state.commitIndex;
  state.waitingReads = [];
  // A leader that is a majority by itself has nobody to ask.
  if (!endRound(state, owed)) broadcastHeartbeat(state, owed);
}

/** Notes that a follower answered a heartbeat of `round`. */
export function confirmRound(state: RaftState, owed: Owed, from: string, round: number): void {
  const progress = state.progress.get(from);
  if (progress === undefined || round <= progress.confirmedRound) return;
  progress.confirmedRound = round;
  if (endRound(state, owed)) beginRound(state, owed);
}

/** Answers the reads of the round if a majority has confirmed it. */
export function endRound(state: RaftState, owed: Owed): boolean {
  if (state.roundReads.length === 0) return false;
  const outcome = voteOutcome(state.configuration, (nodeId) =>
    nodeId === state.nodeId || (state.progress.get(nodeId)?.confirmedRound ?? 0) >= state.round
      ? true
      : undefined,
  );
  if (outcome !== "won") return false;
  const reads = state.roundReads;
  state.roundReads = [];
  for (const { from, context } of reads) {
    if (from === state.nodeId) confirmRead(owed, context, state.roundIndex);
    else {
      const { nodeId, term, roundIndex } = state;
      const reply = { kind: "readIndexReply", from: nodeId, to: from, term, context } as const;
      send(state, owed, { ...reply, index: roundIndex });
    }
  }
  return true;
}

/** Takes the leader's answer to a read that was passed on. One that was given up meanwhile is not answered twice. */
export function noteReadIndex(state: RaftState, owed: Owed, context: number, index: number): void {
  for (const list of [state.forwardedReadsBefore, state.forwardedReads]) {
    const at = list.indexOf(context);
    if (at < 0) continue;
    list.splice(at, 1);
    confirmRead(owed, context, index);
    return;
  }
}

/** Gives up what the leader did not answer within two election timeouts: the question or the answer was lost. */
export function ageForwardedReads(state: RaftState, owed: Owed): void {
  state.forwardedTicks += 1;
  if (state.forwardedTicks < state.options.electionTicks) return;
  state.forwardedTicks = 0;
  failReads(owed, state.forwardedReadsBefore);
  state.forwardedReadsBefore = state.forwardedReads;
  state.forwardedReads = [];
}

/** Gives up every read that waits: this node no longer leads, or no longer follows whom it asked. */
export function dropReads(state: RaftState, owed: Owed): void {
  for (const read of [...state.roundReads, ...state.waitingReads]) {
    if (read.from === state.nodeId) failReads(owed, [read.context]);
  }
  failReads(owed, state.forwardedReadsBefore);
  failReads(owed, state.forwardedReads);
  state.roundReads = [];
  state.waitingReads = [];
  state.forwardedReads = [];
  state.forwardedReadsBefore = [];
}

/** Sends a sign of life to everyone, with the round that its answer confirms. */
export function broadcastHeartbeat(state: RaftState, owed: Owed): void {
  const { nodeId, term, round } = state;
  for (const [to, progress] of state.progress) {
    if (to === nodeId) continue;
    // What the follower is not known to have, it must not take as committed.
    const commitIndex = Math.min(progress.matchIndex, state.commitIndex);
    send(state, owed, { kind: "heartbeat", from: nodeId, to, term, commitIndex, round });
    progress.sentCommitIndex = commitIndex;
  }
}

function confirmRead(owed: Owed, context: number, index: number): void {
  owed.reads ??= [];
  owed.reads.push({ context, index });
}

function failReads(owed: Owed, contexts: readonly number[]): void {
  if (contexts.length === 0) return;
  owed.failedReads ??= [];
  owed.failedReads.push(...contexts);
}
