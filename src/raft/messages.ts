// What nodes tell each other for consensus: positions in the log, never its bytes. The entries themselves travel beside an
// `append`, as the bytes that are on disk; the driver puts the two together.

/** Runs of terms in one append at the most: a log with more changes of leader is sent in more messages. */
export const RUNS_MAX = 10_000;

/** From `index` on, entries are of `term`, until the next run. */
export interface TermRun {
  readonly index: number;
  readonly term: number;
}

/** What every message carries. `term` is the sender's, but for pre-votes, where it is the one that would be asked for. */
interface Envelope {
  readonly from: string;
  readonly to: string;
  readonly term: number;
}

/** Entries `(prevIndex, lastIndex]`, none when the two are equal; `runs` are their terms. Raft figure 2, AppendEntries. */
export interface AppendMessage extends Envelope {
  readonly kind: "append";
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly commitIndex: number;
  readonly lastIndex: number;
  readonly runs: readonly TermRun[];
}

/**
 * The answer to an append or a snapshot. Accepted: `index` is durable here and matches. Rejected: `index` is the `prevIndex`
 * that did not fit, and the follower's log can match at `hintIndex`, of `hintTerm`, at the most.
 */
export interface AppendReply extends Envelope {
  readonly kind: "appendReply";
  readonly index: number;
  readonly isRejected: boolean;
  readonly hintIndex: number;
  readonly hintTerm: number;
}

/** A sign of life. Whoever answers with `round` or more confirms that this leader still led when the round began. */
export interface HeartbeatMessage extends Envelope {
  readonly kind: "heartbeat";
  /** Never beyond what the follower is known to have. */
  readonly commitIndex: number;
  readonly round: number;
}

/** Answers a heartbeat. */
export interface HeartbeatReply extends Envelope {
  readonly kind: "heartbeatReply";
  readonly round: number;
}

/** Asks for a vote, or whether one would be given. Raft §5.4.1; dissertation §9.6 for pre-votes. */
export interface VoteMessage extends Envelope {
  readonly kind: "vote" | "preVote";
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader asked for this election: whoever hears it does not hold on to that leader. */
  readonly isTransfer: boolean;
}

/**
 * Gives or refuses a vote. Who refuses says up to where it knows the log to be committed: whoever stands may not know yet
 * that a smaller majority would do, and whoever knows may be no voter any more.
 */
export interface VoteReply extends Envelope {
  readonly kind: "voteReply" | "preVoteReply";
  readonly isRejected: boolean;
  readonly commitIndex: number;
  readonly commitTerm: number;
}

/** The leader no longer has the entries that the follower lacks: it is offered the state at `index`, of `indexTerm`. */
export interface SnapshotMessage extends Envelope {
  readonly kind: "snapshot";
  readonly index: number;
  readonly indexTerm: number;
}

/** Tells the target of a transfer to stand at once. */
export interface TimeoutNowMessage extends Envelope {
  readonly kind: "timeoutNow";
}

/** A follower asks what a linearizable read must wait for. */
export interface ReadIndexMessage extends Envelope {
  readonly kind: "readIndex";
  readonly context: number;
}

/** The answer: once `index` is applied, the read may be answered. */
export interface ReadIndexReply extends Envelope {
  readonly kind: "readIndexReply";
  readonly context: number;
  readonly index: number;
}

/** One message between two nodes. */
export type RaftMessage =
  | AppendMessage
  | AppendReply
  | HeartbeatMessage
  | HeartbeatReply
  | VoteMessage
  | VoteReply
  | SnapshotMessage
  | TimeoutNowMessage
  | ReadIndexMessage
  | ReadIndexReply;
