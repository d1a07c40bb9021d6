// Our messages, entries and configurations in the words of the data files, so that the two can be compared letter by letter.

import type {
  Configuration,
  ConfigurationChange,
  RaftMessage,
  RaftState,
} from "../../src/raft/mod.ts";
import type { Progress } from "../../src/raft/progress.ts";

/** One entry of a story. */
export interface StoryEntry {
  readonly term: number;
  readonly index: number;
  readonly type: "EntryNormal" | "EntryConfChange" | "EntryConfChangeV2";
  /** Text of a normal entry; the changes, such as `v2 r1`, of another. */
  readonly text: string;
  readonly transition?: string;
}

/** A state that is offered in place of entries. */
export interface StorySnapshot {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/** Something on its way. A proposal that a follower passes on has no counterpart of ours. */
export interface StoryMessage {
  readonly from: string;
  readonly to: string;
  readonly message?: RaftMessage;
  readonly entries: readonly StoryEntry[];
  readonly snapshot?: StorySnapshot;
  /** What a node tells itself when its disk is done. Not printed. */
  readonly own?: () => void;
}

const CHANGE_KINDS = { v: "addVoter", l: "addLearner", r: "remove", u: "update" } as const;

/** `v1 l2 r3 u4`: voter, learner, remove, update. Node zero is nobody. */
export const parseChanges = (text: string): ConfigurationChange[] =>
  (text.match(/[vlru]\d+/g) ?? []).map((word) => ({
    kind: CHANGE_KINDS[word[0] as keyof typeof CHANGE_KINDS],
    nodeId: word.slice(1) === "0" ? "" : word.slice(1),
  }));

const numerically = (nodeIds: readonly string[]): string =>
  [...nodeIds].sort((left, right) => Number(left) - Number(right)).join(" ");

/** `voters=(1 2)&&(1) learners=(3) learners_next=(4) autoleave` */
export function describeConfiguration(configuration: Configuration): string {
  const { voters, outgoing, learners, learnersNext, autoLeave } = configuration;
  let text = `voters=(${numerically(voters)})`;
  if (outgoing.length > 0) text += `&&(${numerically(outgoing)})`;
  if (learners.length > 0) text += ` learners=(${numerically(learners)})`;
  if (learnersNext.length > 0) text += ` learners_next=(${numerically(learnersNext)})`;
  return autoLeave ? `${text} autoleave` : text;
}

/** `1/12 EntryNormal "text"` */
export function describeEntry({ term, index, type, text }: StoryEntry): string {
  const rest = type === "EntryNormal" ? ` ${JSON.stringify(text)}` : text === "" ? "" : ` ${text}`;
  return `${term}/${index} ${type}${rest}`;
}

const ROLES = {
  follower: "StateFollower",
  preCandidate: "StatePreCandidate",
  candidate: "StateCandidate",
  leader: "StateLeader",
} as const;

export const describeRole = (state: RaftState): string => ROLES[state.role];

/** `Index:4 Term:1 ConfState:…` */
export function describeSnapshot({ index, term, configuration }: StorySnapshot): string {
  const { voters, outgoing, learners, learnersNext, autoLeave } = configuration;
  return (
    `Index:${index} Term:${term} ConfState:Voters:[${numerically(voters)}] ` +
    `VotersOutgoing:[${numerically(outgoing)}] Learners:[${numerically(learners)}] ` +
    `LearnersNext:[${numerically(learnersNext)}] AutoLeave:${autoLeave}`
  );
}

const TYPES: Record<RaftMessage["kind"], string> = {
  append: "MsgApp",
  appendReply: "MsgAppResp",
  heartbeat: "MsgHeartbeat",
  heartbeatReply: "MsgHeartbeatResp",
  vote: "MsgVote",
  preVote: "MsgPreVote",
  voteReply: "MsgVoteResp",
  preVoteReply: "MsgPreVoteResp",
  snapshot: "MsgSnap",
  timeoutNow: "MsgTimeoutNow",
  readIndex: "MsgReadIndex",
  readIndexReply: "MsgReadIndexResp",
};

export const typeOf = (parcel: StoryMessage): string =>
  parcel.message === undefined ? "MsgProp" : TYPES[parcel.message.kind];

/** `1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[…]` */
export function describeMessage(parcel: StoryMessage): string {
  const { from, to, message, entries, snapshot } = parcel;
  const term = message?.term ?? 0;
  let text = `${from}->${to} ${typeOf(parcel)} Term:${term} Log:${describePosition(message)}`;
  if (message !== undefined && "isRejected" in message && message.isRejected)
    text += ` Rejected (Hint: ${message.kind === "appendReply" ? message.hintIndex : 0})`;
  const commitIndex =
    message?.kind === "append" || message?.kind === "heartbeat" ? message.commitIndex : 0;
  if (commitIndex > 0) text += ` Commit:${commitIndex}`;
  if (entries.length === 1) text += ` Entries:[${describeEntry(entries[0] as StoryEntry)}]`;
  if (entries.length > 1)
    text += ` Entries:[\n${entries.map((entry) => `  ${describeEntry(entry)}\n`).join("")}]`;
  if (snapshot !== undefined) text += `\n  Snapshot: ${describeSnapshot(snapshot)}`;
  return text;
}

function describePosition(message: RaftMessage | undefined): string {
  switch (message?.kind) {
    case "append":
      return `${message.prevTerm}/${message.prevIndex}`;
    case "appendReply":
      return `${message.isRejected ? message.hintTerm : 0}/${message.index}`;
    case "vote":
    case "preVote":
      return `${message.lastTerm}/${message.lastIndex}`;
    default:
      return "0/0";
  }
}

const STATES = {
  probe: "StateProbe",
  replicate: "StateReplicate",
  snapshot: "StateSnapshot",
} as const;

/** `StateProbe match=0 next=11 paused inactive` */
export function describeProgress(progress: Progress, isLearner: boolean): string {
  const { matchIndex, nextIndex, state, isPaused, pendingSnapshot, isActive } = progress;
  let text = `${STATES[state]} match=${matchIndex} next=${nextIndex}`;
  if (isLearner) text += " learner";
  if (isPaused) text += " paused";
  if (pendingSnapshot > 0) text += ` pendingSnap=${pendingSnapshot}`;
  if (!isActive) text += " inactive";
  if (progress.inflightMessages > 0) text += ` inflight=${progress.inflightMessages}`;
  if (progress.inflightMessages > 0 && progress.isFull) text += "[full]";
  return text;
}
