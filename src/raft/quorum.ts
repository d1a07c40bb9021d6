// What a majority has and says: the arithmetic of commitment and of elections, apart from everything else. In a joint
// configuration both halves must agree (dissertation §4.3).

import type { Configuration } from "./configuration.ts";

/** How an election stands. */
export type VoteOutcome = "pending" | "won" | "lost";

/**
 * The highest index that more than half of the voters have, each by its own account.
 * Raft §5.3: an entry is committed once it is stored on a majority. A half without voters holds nothing up: infinity.
 */
export function majorityIndex(matchIndexes: readonly number[]): number {
  const descending = [...matchIndexes].sort((left, right) => right - left);
  return descending[Math.floor(descending.length / 2)] ?? Number.POSITIVE_INFINITY;
}

/** The highest index that a majority of each half has. */
export function quorumIndex(
  configuration: Configuration,
  matchOf: (nodeId: string) => number,
): number {
  const incoming = majorityIndex(configuration.voters.map(matchOf));
  if (configuration.outgoing.length === 0) return incoming;
  return Math.min(incoming, majorityIndex(configuration.outgoing.map(matchOf)));
}

/** How a vote stands, given what each voter said; undefined for nothing yet. */
export function voteOutcome(
  configuration: Configuration,
  voteOf: (nodeId: string) => boolean | undefined,
): VoteOutcome {
  const incoming = outcomeOf(configuration.voters, voteOf);
  const outgoing = outcomeOf(configuration.outgoing, voteOf);
  if (incoming === outgoing) return incoming;
  return incoming === "lost" || outgoing === "lost" ? "lost" : "pending";
}

/** Nobody to ask: won. */
function outcomeOf(
  voters: readonly string[],
  voteOf: (nodeId: string) => boolean | undefined,
): VoteOutcome {
  const needed = Math.floor(voters.length / 2) + 1;
  let granted = 0;
  let open = 0;
  for (const voter of voters) {
    const vote = voteOf(voter);
    if (vote === undefined) open += 1;
    else if (vote) granted += 1;
  }
  if (voters.length === 0 || granted >= needed) return "won";
  return granted + open >= needed ? "pending" : "lost";
}
