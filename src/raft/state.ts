// What a node knows of the consensus: the variables of Raft figure 2, and nothing of bytes.

import { assert } from "../lib/assert.ts";

/** Part that a node plays in its term. */
export type RaftRole = "follower" | "candidate" | "leader";

/** The whole state of one node. `step` changes it in place. */
export interface RaftState {
  readonly nodeId: string;
  role: RaftRole;
  term: number;
  /** Whom this node voted for in `term`; empty for nobody. */
  vote: string;
  /** Whether `term` and `vote` are durable: a vote counts only then. */
  isVoteSaved: boolean;
  leaderId: string | undefined;
  readonly voters: readonly string[];
  lastIndex: number;
  lastTerm: number;
  commitIndex: number;
  /** Index of this leader's first entry: what it counts towards commitment begins here (Raft §5.4.2). */
  termStartIndex: number;
  /** Durable index per voter. Its own counts only after its own sync. */
  readonly matchIndex: Map<string, number>;
}

/** State of a node whose log ends at `lastIndex`, all of it durable. */
export function createRaft(options: {
  readonly nodeId: string;
  readonly voters: readonly string[];
  readonly term: number;
  readonly vote: string;
  readonly commitIndex: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
}): RaftState {
  assert(
    options.voters.length === 1 && options.voters[0] === options.nodeId,
    "This version forms clusters of one voter, itself",
  );
  assert(
    options.lastTerm <= options.term || options.term === 0,
    `The log ends in term ${options.lastTerm}, the vote in ${options.term}`,
  );
  return {
    nodeId: options.nodeId,
    role: "follower",
    term: Math.max(options.term, options.lastTerm),
    vote: options.vote,
    isVoteSaved: true,
    leaderId: undefined,
    voters: options.voters,
    lastIndex: options.lastIndex,
    lastTerm: options.lastTerm,
    commitIndex: Math.min(options.commitIndex, options.lastIndex),
    termStartIndex: 0,
    matchIndex: new Map([[options.nodeId, options.lastIndex]]),
  };
}
