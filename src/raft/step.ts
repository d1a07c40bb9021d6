// One input in, what is owed comes out. Dispatches only; each act has its own function or file.

import { assert, assertNever } from "../lib/assert.ts";
import { majorityIndex } from "./quorum.ts";
import type { RaftState } from "./state.ts";

/** All that can happen to a node. Time comes in as ticks and chance as a number, so any run replays exactly. */
export type RaftInput =
  | { readonly kind: "tick" }
  /** The leader sealed so many entries, in order. */
  | { readonly kind: "proposed"; readonly entries: number }
  /** The log is durable up to this entry. */
  | { readonly kind: "persisted"; readonly index: number; readonly term: number }
  /** Term and vote are durable. */
  | { readonly kind: "voteSaved"; readonly term: number }
  /** A linearizable read wants to know what it must wait for. */
  | { readonly kind: "read"; readonly context: number };

/** What the caller now owes. `vote` goes to disk before anything that depends on it; `voteSaved` tells when it is there. */
export interface RaftReady {
  readonly vote?: { readonly term: number; readonly vote: string };
  /** Entries that have their place in the log now: `firstIndex` and on, all of `term`. */
  readonly appended?: {
    readonly term: number;
    readonly firstIndex: number;
    readonly entries: number;
  };
  /** This node just became leader: the entry that opens its term is the next one to append. */
  readonly becameLeader?: boolean;
  /** Reads that may be answered once the state machine has applied `readIndex`. */
  readonly reads?: readonly number[];
  readonly readIndex?: number;
  readonly commitIndex: number;
}

/** Advances `state` in place by one input. No clock, no randomness, no await. */
export function step(state: RaftState, input: RaftInput): RaftReady {
  switch (input.kind) {
    case "tick":
      return tick(state);
    case "proposed":
      return propose(state, input.entries);
    case "persisted":
      return persisted(state, input.index, input.term);
    case "voteSaved":
      return voteSaved(state, input.term);
    case "read":
      return read(state, input.context);
    default:
      return assertNever(input);
  }
}

/** A voter that is alone has nobody to wait for: it stands at once. */
function tick(state: RaftState): RaftReady {
  if (state.role !== "follower") return { commitIndex: state.commitIndex };
  state.role = "candidate";
  state.term += 1;
  state.vote = state.nodeId;
  state.isVoteSaved = false;
  return { vote: { term: state.term, vote: state.vote }, commitIndex: state.commitIndex };
}

/** Raft §5.2: a candidate that has the votes of a majority leads; its own counts once it is durable. */
function voteSaved(state: RaftState, term: number): RaftReady {
  if (state.role !== "candidate" || term !== state.term) return { commitIndex: state.commitIndex };
  assert(!state.isVoteSaved, "A vote is saved once");
  state.isVoteSaved = true;
  state.role = "leader";
  state.leaderId = state.nodeId;
  // Raft §8: a leader opens its term with an entry of its own, so that it learns what is committed.
  state.termStartIndex = state.lastIndex + 1;
  return { becameLeader: true, commitIndex: state.commitIndex };
}

function propose(state: RaftState, entries: number): RaftReady {
  assert(state.role === "leader", "Only a leader appends what was proposed to it");
  assert(entries > 0, "A proposal has entries");
  const firstIndex = state.lastIndex + 1;
  state.lastIndex += entries;
  state.lastTerm = state.term;
  return { appended: { term: state.term, firstIndex, entries }, commitIndex: state.commitIndex };
}

function persisted(state: RaftState, index: number, term: number): RaftReady {
  assert(
    index <= state.lastIndex,
    `Index ${index} is durable, but the log ends at ${state.lastIndex}`,
  );
  // A completion that comes late, for a tail that was overwritten meanwhile, carries the old term.
  if (term > state.lastTerm) return { commitIndex: state.commitIndex };
  state.matchIndex.set(state.nodeId, Math.max(index, state.matchIndex.get(state.nodeId) ?? 0));
  if (state.role === "leader") {
    const majority = majorityIndex(state.voters.map((voter) => state.matchIndex.get(voter) ?? 0));
    // Raft §5.4.2: only entries of the current term commit by counting.
    if (majority >= state.termStartIndex && majority > state.commitIndex)
      state.commitIndex = majority;
  }
  return { commitIndex: state.commitIndex };
}

/** Raft §6.4 of the dissertation: a leader answers once it has committed in its own term and a quorum has confirmed it. */
function read(state: RaftState, context: number): RaftReady {
  const isCertain = state.role === "leader" && state.commitIndex >= state.termStartIndex;
  return isCertain
    ? { reads: [context], readIndex: state.commitIndex, commitIndex: state.commitIndex }
    : { commitIndex: state.commitIndex };
}
