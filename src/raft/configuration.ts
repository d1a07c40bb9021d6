// Who is a member and how that changes: one voter at a time, or any number through a joint configuration, in which the old
// and the new voters must both agree (dissertation §4.1 and §4.3). Pure arithmetic over sets; what is refused says why.

import { fail, type Result, succeed } from "../lib/result.ts";

/** The members of a cluster. Every list is sorted and names nobody twice. */
export interface Configuration {
  readonly voters: readonly string[];
  /** The old voters of a joint configuration; empty when it is not joint. */
  readonly outgoing: readonly string[];
  /** Receive the log and count for nothing. */
  readonly learners: readonly string[];
  /** Old voters that become learners once the joint configuration is left. */
  readonly learnersNext: readonly string[];
  /** Whether the leader leaves the joint configuration by itself. */
  readonly autoLeave: boolean;
}

/** One wish. `update` changes nothing here: it carries what the caller keeps elsewhere, such as an address. */
export interface ConfigurationChange {
  readonly kind: "addVoter" | "addLearner" | "remove" | "update";
  readonly nodeId: string;
}

/** Whether decisions need the majorities of two sets of voters. */
export const isJoint = (configuration: Configuration): boolean => configuration.outgoing.length > 0;

/** Whether the node votes, in either half. */
export const isVoter = (configuration: Configuration, nodeId: string): boolean =>
  configuration.voters.includes(nodeId) || configuration.outgoing.includes(nodeId);

/** Everyone who receives the log, sorted. */
export const membersOf = (configuration: Configuration): string[] =>
  sorted(new Set([...configuration.voters, ...configuration.outgoing, ...configuration.learners]));

/** Applies changes of which at most one adds or removes a voter: any two majorities then still meet. */
export function changeSimply(
  current: Configuration,
  changes: readonly ConfigurationChange[],
): Result<Configuration, string> {
  if (isJoint(current)) return fail("A joint configuration cannot be changed, only left");
  const changed = applyChanges(current, changes);
  if (!changed.ok) return changed;
  const before = new Set(current.voters);
  const after = new Set(changed.value.voters);
  if (before.symmetricDifference(after).size > 1)
    return fail("More than one voter changes, which takes a joint configuration");
  return changed;
}

/** Applies any changes, and keeps the old voters as the other half until `leaveJoint`. */
export function enterJoint(
  current: Configuration,
  changes: readonly ConfigurationChange[],
  autoLeave: boolean,
): Result<Configuration, string> {
  if (isJoint(current)) return fail("The configuration is joint already");
  if (current.voters.length === 0) return fail("A configuration without voters cannot be joint");
  return applyChanges({ ...current, outgoing: current.voters, autoLeave }, changes);
}

/** Lets go of the old voters. */
export function leaveJoint(current: Configuration): Result<Configuration, string> {
  if (!isJoint(current)) return fail("The configuration is not joint");
  return succeed({
    voters: current.voters,
    outgoing: [],
    learners: sorted(new Set([...current.learners, ...current.learnersNext])),
    learnersNext: [],
    autoLeave: false,
  });
}

function applyChanges(
  current: Configuration,
  changes: readonly ConfigurationChange[],
): Result<Configuration, string> {
  const voters = new Set(current.voters);
  const learners = new Set(current.learners);
  const learnersNext = new Set(current.learnersNext);
  for (const { kind, nodeId } of changes) {
    // An empty id stands for a change that was withdrawn.
    if (nodeId === "" || kind === "update") continue;
    if (kind === "addLearner" && learners.has(nodeId)) continue;
    voters.delete(nodeId);
    learners.delete(nodeId);
    learnersNext.delete(nodeId);
    if (kind === "addVoter") voters.add(nodeId);
    // A node is never voter and learner at once, not even by halves: it waits until the old half is gone.
    if (kind === "addLearner")
      (current.outgoing.includes(nodeId) ? learnersNext : learners).add(nodeId);
  }
  if (voters.size === 0) return fail("No voter would be left");
  return succeed({
    ...current,
    voters: sorted(voters),
    learners: sorted(learners),
    learnersNext: sorted(learnersNext),
  });
}

const sorted = (nodeIds: ReadonlySet<string>): string[] => [...nodeIds].sort();
