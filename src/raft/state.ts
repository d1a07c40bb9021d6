// What a node knows of the consensus: the variables of Raft figure 2 and those that time, flow control and reads add.
// Nothing of bytes. `step` changes it in place; everyone else only reads it.

import { assert } from "../lib/assert.ts";
import { type Configuration, isJoint, isVoter, membersOf } from "./configuration.ts";
import type { RaftMessage, TermRun } from "./messages.ts";
import { Progress } from "./progress.ts";
import { TermRuns } from "./terms.ts";

/** Part that a node plays in its term. A pre-candidate asks whether it would be elected, and changes nothing yet. */
export type RaftRole = "follower" | "preCandidate" | "candidate" | "leader";

/** A read that somebody asked for; `from` is this node itself or a follower. */
export interface AskedRead {
  readonly from: string;
  readonly context: number;
}

/** What a node starts from. All of it was read from its disk. */
export interface RaftOptions {
  readonly nodeId: string;
  readonly configuration: Configuration;
  /** Index of the entry that made the configuration. */
  readonly configurationIndex: number;
  readonly term: number;
  /** Whom this node voted for in `term`; empty for nobody. */
  readonly vote: string;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  /**
   * Terms of the log, ascending; empty for an empty log. Where the first begins above index 1, it is the compaction point:
   * its term is known and the entry itself is not served.
   */
  readonly runs: readonly TermRun[];
  /** An election timeout is this many ticks at the least, and less than twice as many. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** In [0, 1): the first election timeout. */
  readonly random: number;
  /** Its log or its promises were lost or damaged: it must not vote or stand. */
  readonly isFenced: boolean;
  readonly inflightBytesMax: number;
  readonly inflightMessagesMax: number;
  /** Off only in scenarios. */
  readonly isPreVote?: boolean;
  /** Off only in scenarios. */
  readonly isCheckQuorum?: boolean;
  /** Whether a leader that is no longer a voter steps down. Off only in scenarios. */
  readonly isStepDownOnRemoval?: boolean;
}

/** The whole state of one node. */
export class RaftState {
  readonly options: Required<RaftOptions>;
  readonly nodeId: string;
  role: RaftRole = "follower";
  term: number;
  vote: string;
  /** Whether `term` and `vote` are durable. Until then nothing is said that depends on them. */
  isStateSaved = true;
  leaderId: string | undefined = undefined;
  isFenced: boolean;

  configuration: Configuration;
  configurationIndex: number;
  /** The last entry that may change the configuration; another has to wait until it is applied. */
  pendingConfigurationIndex = 0;

  readonly terms: TermRuns;
  /** Entries up to here are durable here. */
  durableIndex: number;
  commitIndex: number;
  appliedIndex: number;
  /** Entries up to here are no longer served. */
  compactedIndex: number;

  /** Follower: entries up to here are known to be those of this term's leader. */
  matchedIndex = 0;
  /** Follower: the last index that this term's leader was told is durable here. */
  answeredIndex = 0;

  /** Leader: index of the first entry of its term. What it counts towards commitment begins here (Raft §5.4.2). */
  termStartIndex = 0;
  /** Leader: every member in order, itself included. Empty otherwise. */
  progress = new Map<string, Progress>();
  /** Leader: whom it is handing over to. */
  transferee: string | undefined = undefined;
  /** Candidate: what the others said; its own is there once it is durable. */
  readonly votes = new Map<string, boolean>();

  electionElapsedTicks = 0;
  heartbeatElapsedTicks = 0;
  /** 0: to be drawn with the next tick. */
  electionTimeoutTicks: number;

  /** Leader: the last heartbeat round that began. */
  round = 0;
  /** Leader: reads that wait for a round to begin. */
  waitingReads: AskedRead[] = [];
  /** Leader: reads of the round that is under way, and what they wait for. */
  roundReads: AskedRead[] = [];
  roundIndex = 0;
  /** Follower: reads that the leader was asked about, since one and two turns of the clock. */
  forwardedReads: number[] = [];
  forwardedReadsBefore: number[] = [];
  forwardedTicks = 0;

  /** Messages that depend on a term or vote which is not durable yet. */
  held: RaftMessage[] = [];

  constructor(options: Required<RaftOptions>) {
    const terms = new TermRuns(options.runs, options.lastIndex);
    this.options = options;
    this.nodeId = options.nodeId;
    // Entries of a later term may have become durable before that term itself. The vote was for the earlier one.
    this.term = Math.max(options.term, terms.lastTerm);
    this.vote = options.term === this.term ? options.vote : "";
    this.isFenced = options.isFenced;
    this.configuration = options.configuration;
    this.configurationIndex = options.configurationIndex;
    this.terms = terms;
    this.durableIndex = options.lastIndex;
    this.commitIndex = Math.min(options.commitIndex, options.lastIndex);
    this.appliedIndex = options.appliedIndex;
    this.compactedIndex = terms.firstIndex > 1 ? terms.firstIndex : 0;
    this.electionTimeoutTicks = drawTimeout(options.electionTicks, options.random);
  }

  get lastIndex(): number {
    return this.terms.lastIndex;
  }

  get lastTerm(): number {
    return this.terms.lastTerm;
  }

  /** Leader: it is no longer a voter, and leads only until the others know that they are. */
  get isLeaving(): boolean {
    return (
      this.role === "leader" &&
      this.options.isStepDownOnRemoval &&
      !isVoter(this.configuration, this.nodeId)
    );
  }

  /** The leader should append the entry that leaves the joint configuration. */
  get mustLeaveJoint(): boolean {
    return (
      isJoint(this.configuration) && this.configuration.autoLeave && mayChangeConfiguration(this)
    );
  }
}

/** State of a node whose log ends at `lastIndex`, all of it durable. */
export function createRaft(options: RaftOptions): RaftState {
  assert(options.nodeId !== "", "A node has an id");
  assert(options.heartbeatTicks > 0, "Heartbeats are at least a tick apart");
  assert(
    options.electionTicks > options.heartbeatTicks,
    `An election timeout of ${options.electionTicks} ticks is not above a heartbeat`,
  );
  assert(
    options.inflightBytesMax > 0 && options.inflightMessagesMax > 0,
    "The window of a follower has room",
  );
  assert(
    options.appliedIndex <= options.lastIndex,
    `Applied up to ${options.appliedIndex}, but the log ends at ${options.lastIndex}`,
  );
  return new RaftState({
    isPreVote: true,
    isCheckQuorum: true,
    isStepDownOnRemoval: true,
    ...options,
  });
}

/** Term of the entry at `index`: 0 at index 0, undefined where it is compacted or beyond the end. */
export const termAt = (state: RaftState, index: number): number | undefined =>
  state.terms.at(index);

/** Ticks of an election timeout, spread so that nodes seldom stand together (Raft §5.2). */
export const drawTimeout = (electionTicks: number, random: number): number =>
  electionTicks + Math.floor(random * electionTicks);

/**
 * Whether an entry that changes the configuration may be appended now: no other is on its way, and this leader has
 * committed an entry of its own term, or two leaders could change the same configuration in two ways.
 */
export const mayChangeConfiguration = (state: RaftState): boolean =>
  state.role === "leader" &&
  !state.isLeaving &&
  state.pendingConfigurationIndex <= state.appliedIndex &&
  state.commitIndex >= state.termStartIndex;

/**
 * Whether this node may stand. One that has not applied what it knows to be committed may be missing a configuration, and
 * would count the wrong majority.
 */
export const mayStand = (state: RaftState): boolean =>
  isVoter(state.configuration, state.nodeId) &&
  !state.isFenced &&
  state.appliedIndex >= state.commitIndex;

/** Brings `progress` in line with the members: those who stay keep theirs, new ones begin at `nextIndex`. */
export function trackMembers(state: RaftState, nextIndex: number, isActive: boolean): void {
  const { inflightBytesMax, inflightMessagesMax } = state.options;
  const before = state.progress;
  state.progress = new Map();
  for (const nodeId of membersOf(state.configuration)) {
    const progress =
      before.get(nodeId) ??
      new Progress({ nextIndex, isActive, inflightBytesMax, inflightMessagesMax });
    state.progress.set(nodeId, progress);
  }
}

/** Moves the commit index forward. It never goes back, and never beyond the log. */
export function commitTo(state: RaftState, index: number): void {
  assert(index <= state.lastIndex, `Cannot commit ${index}: the log ends at ${state.lastIndex}`);
  state.commitIndex = Math.max(state.commitIndex, index);
}
