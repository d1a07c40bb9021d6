// One input in, what is owed comes out. Dispatches only; each act has its own file.

import { assert, assertNever } from "../lib/assert.ts";
import type { Configuration } from "./configuration.ts";
import { countVotes, noteVote, stand, tick } from "./election.ts";
import { answerPersisted } from "./following.ts";
import { configure, leaveIfTold } from "./membership.ts";
import type { RaftMessage } from "./messages.ts";
import { askRead } from "./reads.ts";
import { noteStateSaved, type Owed, type RaftReady } from "./ready.ts";
import { receive } from "./receive.ts";
import {
  beginTransfer,
  forgetFollower,
  notePersisted,
  noteSent,
  noteUnreachable,
  propose,
} from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import { endSnapshot, installSnapshot, offerSnapshot } from "./snapshot.ts";
import type { RaftState } from "./state.ts";

/** All that can happen to a node. Time comes in as ticks and chance as a number in [0, 1), so any run replays exactly. */
export type RaftInput =
  | { readonly kind: "tick"; readonly random: number }
  /** Stand for election now. */
  | { readonly kind: "campaign" }
  | { readonly kind: "received"; readonly message: RaftMessage }
  /** The leader sealed so many entries: they get the next indexes, and this term. */
  | { readonly kind: "proposed"; readonly entries: number; readonly isConfiguration?: boolean }
  /**
   * The own log is durable up to this entry. What was written before a truncation at or below `index` is not to be told
   * any more: the log may have the same entry again, of another write.
   */
  | { readonly kind: "persisted"; readonly index: number; readonly term: number }
  | { readonly kind: "stateSaved"; readonly term: number; readonly vote: string }
  | { readonly kind: "applied"; readonly index: number }
  /** The entry at `index` made this configuration, was applied, and the configuration was saved. Before its `applied`. */
  | { readonly kind: "configured"; readonly configuration: Configuration; readonly index: number }
  /** A linearizable read wants to know what it must wait for. `context` is the caller's, and its own among those that wait. */
  | { readonly kind: "read"; readonly context: number }
  /** The leader is to hand over, once the other has the whole log; or at once, when it cannot bring the log there. */
  | { readonly kind: "transfer"; readonly to: string; readonly isAtOnce?: boolean }
  /** What `nextAppend` allowed was handed to the transport. */
  | {
      readonly kind: "sent";
      readonly to: string;
      readonly prevIndex: number;
      readonly lastIndex: number;
      readonly bytes: number;
    }
  /** A connection ended, or a message was dropped. */
  | { readonly kind: "unreachable"; readonly nodeId: string }
  /** Leader: the state at `index` is offered to a follower; the offer is among the messages. */
  | { readonly kind: "snapshotStarted"; readonly to: string; readonly index: number }
  | { readonly kind: "snapshotFailed"; readonly to: string }
  | { readonly kind: "snapshotFinished"; readonly to: string; readonly index: number }
  /** Follower: log and state are those of the snapshot now, durably. Only above its commit index, and not on a leader. */
  | {
      readonly kind: "snapshotInstalled";
      readonly index: number;
      readonly term: number;
      readonly configuration: Configuration;
      readonly configurationIndex: number;
    }
  /** Entries up to here are no longer served. */
  | { readonly kind: "compacted"; readonly index: number }
  | { readonly kind: "fence"; readonly isFenced: boolean }
  /** Leader: what was known of this follower's log no longer holds. */
  | { readonly kind: "forget"; readonly nodeId: string };

/** Advances `state` in place by one input. No clock, no randomness, no await. */
export function step(state: RaftState, input: RaftInput): RaftReady {
  const owed: Owed = { messages: [], commitIndex: 0 };
  const wasLeader = state.role === "leader";
  const commitIndex = state.commitIndex;
  take(state, owed, input);
  leaveIfTold(state, owed);
  const isLeader = state.role === "leader";
  if (isLeader && !wasLeader) owed.becameLeader = true;
  if (wasLeader && !isLeader) owed.lostLeadership = true;
  assert(state.commitIndex >= commitIndex, `The commit index fell from ${commitIndex}`);
  owed.commitIndex = state.commitIndex;
  return owed;
}

function take(state: RaftState, owed: Owed, input: RaftInput): void {
  switch (input.kind) {
    case "tick":
      tick(state, owed, input.random);
      break;
    case "campaign":
      stand(state, owed, false);
      break;
    case "received":
      receive(state, owed, input.message);
      break;
    case "proposed":
      propose(state, input.entries, input.isConfiguration === true);
      break;
    case "persisted":
      persisted(state, owed, input.index, input.term);
      break;
    case "stateSaved":
      stateSaved(state, owed, input);
      break;
    case "applied":
      applied(state, owed, input.index);
      break;
    case "configured":
      configure(state, owed, input.configuration, input.index);
      break;
    case "read":
      askRead(state, owed, input.context);
      break;
    case "transfer":
      beginTransfer(state, owed, input.to, input.isAtOnce === true);
      break;
    case "sent":
      noteSent(state, input);
      break;
    case "unreachable":
      noteUnreachable(state, input.nodeId);
      break;
    case "snapshotStarted":
      offerSnapshot(state, owed, input.to, input.index);
      break;
    case "snapshotFailed":
      endSnapshot(state, input.to, false);
      break;
    case "snapshotFinished":
      endSnapshot(state, input.to, true);
      break;
    case "snapshotInstalled":
      installSnapshot(state, owed, input);
      break;
    case "compacted":
      compacted(state, input.index);
      break;
    case "fence":
      fence(state, owed, input.isFenced);
      break;
    case "forget":
      forgetFollower(state, input.nodeId);
      break;
    default:
      assertNever(input);
      break;
  }
}

function persisted(state: RaftState, owed: Owed, index: number, term: number): void {
  // A completion that comes late, for a tail that was overwritten meanwhile, carries a term that is not there any more.
  if (state.terms.at(index) !== term || index <= state.durableIndex) return;
  state.durableIndex = index;
  if (state.role === "leader") notePersisted(state, owed);
  else answerPersisted(state, owed);
}

function stateSaved(
  state: RaftState,
  owed: Owed,
  saved: { readonly term: number; readonly vote: string },
): void {
  const isNews = noteStateSaved(state, owed, saved);
  // Raft §5.2: a candidate counts its own vote too, and only now that it cannot be given to another after a crash.
  if (isNews && state.role === "candidate") noteVote(state, owed, state.nodeId, true);
}

function applied(state: RaftState, owed: Owed, index: number): void {
  assert(
    index <= state.commitIndex,
    `Entry ${index} was applied, but committed is ${state.commitIndex}`,
  );
  state.appliedIndex = Math.max(state.appliedIndex, index);
  countVotes(state, owed);
}

function compacted(state: RaftState, index: number): void {
  assert(
    index <= state.commitIndex,
    `Entry ${index} was compacted, but committed is ${state.commitIndex}`,
  );
  if (index <= state.compactedIndex) return;
  state.compactedIndex = index;
  state.terms.compact(index);
}

/** A leader whose log or promises turn out to be damaged must not go on counting on them. */
function fence(state: RaftState, owed: Owed, isFenced: boolean): void {
  state.isFenced = isFenced;
  if (isFenced && state.role !== "follower") becomeFollower(state, owed, state.term, undefined);
}
