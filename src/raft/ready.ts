// What one step owes: the answer of the consensus to its driver, field by field.

import type { RaftMessage } from "./messages.ts";
import type { RaftState } from "./state.ts";

/** A read that may be answered once `index` is applied. */
export interface ConfirmedRead {
  readonly context: number;
  readonly index: number;
}

/** What the caller now owes. Absent fields ask for nothing. */
export interface RaftReady {
  /** To send now, in any order; each may be lost. Appends are not here: they are pulled with `nextAppend`. */
  readonly messages: readonly RaftMessage[];
  /** To be made durable; then `stateSaved`. What depends on it is held back until then. */
  readonly hardState?: { readonly term: number; readonly vote: string };
  /** The caller appends the entry that opens the term, by `proposed`. */
  readonly becameLeader?: true;
  readonly lostLeadership?: true;
  /** Entries from here on are no longer in the log. */
  readonly truncateFrom?: number;
  /** Entries of the received append to be written, in order, after any truncation; then `persisted`. */
  readonly accepted?: { readonly firstIndex: number; readonly lastIndex: number };
  readonly reads?: readonly ConfirmedRead[];
  /** Reads that cannot be confirmed now: to be refused or asked again. */
  readonly failedReads?: readonly number[];
  /** State that the leader offers in place of entries: to be fetched as files, then `snapshotInstalled`. */
  readonly snapshotOffered?: {
    readonly from: string;
    readonly index: number;
    readonly term: number;
  };
  readonly commitIndex: number;
}

/** A `RaftReady` while it is being put together. */
export interface Owed {
  messages: RaftMessage[];
  hardState?: { readonly term: number; readonly vote: string };
  becameLeader?: true;
  lostLeadership?: true;
  truncateFrom?: number;
  accepted?: { readonly firstIndex: number; readonly lastIndex: number };
  reads?: ConfirmedRead[];
  failedReads?: number[];
  snapshotOffered?: { readonly from: string; readonly index: number; readonly term: number };
  commitIndex: number;
}

/** A disk that takes long must not gather messages without end; they may be lost anyway. */
const HELD_MESSAGES_MAX = 1024;

/** Sends a message, or keeps it until the term and vote that it depends on are durable (Raft §5.2, persistent state). */
export function send(state: RaftState, owed: Owed, message: RaftMessage): void {
  if (state.isStateSaved) owed.messages.push(message);
  else if (state.held.length < HELD_MESSAGES_MAX) state.held.push(message);
}

/** Takes on a term and a vote, which are to be made durable. */
export function promise(state: RaftState, owed: Owed, term: number, vote: string): void {
  if (state.term === term && state.vote === vote) return;
  state.term = term;
  state.vote = vote;
  state.isStateSaved = false;
  owed.hardState = { term, vote };
}

/** Notes that a term and a vote are durable, and lets go of what waited. False when they are not the present ones. */
export function noteStateSaved(
  state: RaftState,
  owed: Owed,
  saved: { readonly term: number; readonly vote: string },
): boolean {
  if (state.isStateSaved || saved.term !== state.term || saved.vote !== state.vote) return false;
  state.isStateSaved = true;
  owed.messages.push(...state.held);
  state.held = [];
  return true;
}
