// The leader's side of the log: who gets what, what their answers say, and how far it is committed. Entries are pulled:
// the driver asks `nextAppend` for each follower, sends as much of it as it likes, and says so with `sent`.

import { assert } from "../lib/assert.ts";
import type { AppendMessage, AppendReply, HeartbeatReply } from "./messages.ts";
import { RUNS_MAX } from "./messages.ts";
import type { Progress } from "./progress.ts";
import { quorumIndex } from "./quorum.ts";
import { beginRound, confirmRound } from "./reads.ts";
import { type Owed, send } from "./ready.ts";
import { commitTo, mayChangeConfiguration, type RaftState } from "./state.ts";

/** What may be sent to a follower now. */
export type NextAppend =
  | {
      readonly kind: "append";
      readonly prevIndex: number;
      readonly prevTerm: number;
      readonly commitIndex: number;
      /** Up to where entries may be sent; `prevIndex` when it is to go without any. */
      readonly lastIndex: number;
    }
  | { readonly kind: "snapshot" };

/**
 * What may be sent to a follower now. `snapshot`: entries that it needs are compacted. Undefined: nothing to send, or it
 * must answer first. The driver may send fewer entries, and says with `sent` what it sent.
 */
export function nextAppend(state: RaftState, to: string): NextAppend | undefined {
  if (state.role !== "leader" || to === state.nodeId) return undefined;
  const progress = state.progress.get(to);
  if (progress === undefined || progress.isPaused) return undefined;
  const prevIndex = progress.nextIndex - 1;
  const prevTerm = state.terms.at(prevIndex);
  if (prevTerm === undefined || prevIndex < state.compactedIndex)
    // Files are not offered to a node that says nothing.
    return progress.isActive ? { kind: "snapshot" } : undefined;
  const isThrottled = progress.state === "replicate" && progress.isFull;
  const lastIndex = isThrottled
    ? prevIndex
    : state.terms.limit(prevIndex, state.lastIndex, RUNS_MAX);
  if (lastIndex === prevIndex && !progress.isAppendDue) return undefined;
  return { kind: "append", prevIndex, prevTerm, commitIndex: state.commitIndex, lastIndex };
}

/** The message for the entries `(prevIndex, lastIndex]`, which are to travel behind it. */
export function makeAppend(
  state: RaftState,
  to: string,
  prevIndex: number,
  lastIndex: number,
): AppendMessage {
  const prevTerm = state.terms.at(prevIndex);
  assert(state.role === "leader", "Only a leader appends");
  assert(prevTerm !== undefined, `The term at ${prevIndex} is compacted`);
  return {
    kind: "append",
    from: state.nodeId,
    to,
    term: state.term,
    prevIndex,
    prevTerm,
    commitIndex: state.commitIndex,
    lastIndex,
    runs: state.terms.slice(prevIndex, lastIndex),
  };
}

/** Gives new entries their place: the next indexes, and this term. */
export function propose(state: RaftState, entries: number, isConfiguration: boolean): void {
  assert(state.role === "leader", "Only a leader appends what was proposed to it");
  assert(entries > 0, "A proposal has entries");
  if (isConfiguration) {
    assert(entries === 1, "A change of configuration is one entry");
    assert(mayChangeConfiguration(state), "Another change of configuration may be on its way");
    state.pendingConfigurationIndex = state.lastIndex + 1;
  }
  state.terms.append(state.lastIndex + entries, state.term);
}

/** Notes that an append was handed to the transport. */
export function noteSent(
  state: RaftState,
  sent: { to: string; prevIndex: number; lastIndex: number; bytes: number },
): void {
  const progress = state.progress.get(sent.to);
  // Something moved between asking and sending: the message may arrive or not, and nothing is counted on it.
  if (progress === undefined || progress.isPaused || sent.prevIndex !== progress.nextIndex - 1)
    return;
  assert(sent.lastIndex <= state.lastIndex, `There is no entry ${sent.lastIndex} to send yet`);
  progress.sent(sent.lastIndex, sent.bytes, state.commitIndex);
}

/** Notes what is durable in the leader's own log. Only now does it count itself (Raft §5.3). */
export function notePersisted(state: RaftState, owed: Owed): void {
  const own = state.progress.get(state.nodeId);
  if (own?.advance(state.durableIndex)) advanceCommit(state, owed);
}

/** Takes a follower's answer. */
export function takeAppendReply(state: RaftState, owed: Owed, reply: AppendReply): void {
  const progress = state.progress.get(reply.from);
  if (progress === undefined) return;
  progress.isActive = true;
  if (reply.isRejected) {
    takeRejection(state, progress, reply);
    return;
  }
  if (reply.index > state.lastIndex) return;
  // An answer without news still ends a probe: the follower is where it was known to be.
  const isFound = reply.index === progress.matchIndex && progress.state === "probe";
  if (!progress.advance(reply.index) && !isFound) return;
  if (progress.state === "replicate") progress.freeInflights();
  else if (progress.state === "probe") progress.becomeReplicate();
  // Whatever snapshot it got: what it has now is enough, if the log still goes on from there.
  else if (progress.matchIndex >= state.compactedIndex) progress.becomeReplicate();
  // It took the snapshot, and the log was compacted beyond that meanwhile: it needs another.
  else if (progress.matchIndex >= progress.pendingSnapshot) progress.becomeProbe();
  if (!advanceCommit(state, owed) && progress.lacksCommit(state.commitIndex)) progress.wantAppend();
  if (reply.from === state.transferee) finishTransfer(state, owed);
}

function takeRejection(state: RaftState, progress: Progress, reply: AppendReply): void {
  // The follower says where its log can match this one at the most, by its own terms; this log may know better.
  const hint =
    reply.hintTerm > 0
      ? state.terms.highestMatch(reply.hintIndex, reply.hintTerm).index
      : reply.hintIndex;
  if (!progress.retreat(reply.index, hint)) return;
  if (progress.state === "replicate") progress.becomeProbe();
  progress.wantAppend();
}

/** Takes a sign of life, which lets one message go even through a full window: everything in it may have been lost. */
export function takeHeartbeatReply(state: RaftState, owed: Owed, reply: HeartbeatReply): void {
  const progress = state.progress.get(reply.from);
  if (progress === undefined) return;
  progress.isActive = true;
  progress.isFlowPaused = false;
  if (progress.matchIndex < state.lastIndex || progress.state === "probe") progress.wantAppend();
  confirmRound(state, owed, reply.from, reply.round);
}

/** Moves the commit index to what a majority has, and tells everyone. False when it stays. */
export function advanceCommit(state: RaftState, owed: Owed): boolean {
  const index = quorumIndex(
    state.configuration,
    (nodeId) => state.progress.get(nodeId)?.matchIndex ?? 0,
  );
  // Raft §5.4.2: only entries of the current term commit by counting.
  if (index <= state.commitIndex || index < state.termStartIndex) return false;
  commitTo(state, index);
  for (const progress of state.progress.values()) progress.wantAppend();
  beginRound(state, owed);
  return true;
}

/** A connection broke: what was sent ahead may be lost. */
export function noteUnreachable(state: RaftState, nodeId: string): void {
  const progress = state.progress.get(nodeId);
  if (progress?.state === "replicate") progress.becomeProbe();
}

/** What was known of a follower's log no longer holds: it is another incarnation. */
export function forgetFollower(state: RaftState, nodeId: string): void {
  const progress = state.progress.get(nodeId);
  if (progress === undefined || nodeId === state.nodeId) return;
  progress.matchIndex = 0;
  progress.pendingSnapshot = 0;
  progress.becomeProbe();
  progress.sentCommitIndex = 0;
  progress.nextIndex = state.lastIndex + 1;
  progress.wantAppend();
}

/**
 * Begins to hand leadership over. It ends with a later term, or with the election timeout (dissertation §3.10). At once: the
 * target stands with the log that it has, and is elected if a majority has no more than that.
 */
export function beginTransfer(state: RaftState, owed: Owed, to: string, isAtOnce: boolean): void {
  if (state.role !== "leader" || to === state.nodeId || to === state.transferee) return;
  const { voters, outgoing } = state.configuration;
  if (!voters.includes(to) && !outgoing.includes(to)) return;
  state.transferee = to;
  state.electionElapsedTicks = 0;
  if (isAtOnce) tellToStand(state, owed, to);
  else if (!finishTransfer(state, owed)) state.progress.get(to)?.wantAppend();
}

/** The target stands at once when it has the whole log, so that it can win. */
function finishTransfer(state: RaftState, owed: Owed): boolean {
  const { transferee } = state;
  if (transferee === undefined) return false;
  if (state.progress.get(transferee)?.matchIndex !== state.lastIndex) return false;
  tellToStand(state, owed, transferee);
  return true;
}

function tellToStand(state: RaftState, owed: Owed, to: string): void {
  send(state, owed, { kind: "timeoutNow", from: state.nodeId, to, term: state.term });
}
