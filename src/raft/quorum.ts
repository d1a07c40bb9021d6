// How far a majority has got: the arithmetic of commitment, apart from everything else.

/**
 * The highest index that more than half of the voters have, each by its own account.
 * Raft §5.3: an entry is committed once it is stored on a majority. No voters: 0, nothing can commit.
 */
export function majorityIndex(matchIndexes: readonly number[]): number {
  const descending = [...matchIndexes].sort((left, right) => right - left);
  return descending[Math.floor(descending.length / 2)] ?? 0;
}
