// One node of a story: our core, a log in memory, and what it hands out turn by turn, in the order in which the stories
// have it: term and vote, entries, committed entries, messages; then all of it counts as done.

import {
  type Configuration,
  changeSimply,
  createRaft,
  enterJoint,
  leaveJoint,
  makeAppend,
  mayChangeConfiguration,
  nextAppend,
  type RaftInput,
  type RaftMessage,
  type RaftReady,
  type RaftState,
  step,
} from "../../src/raft/mod.ts";
import {
  describeEntry,
  describeMessage,
  describeRole,
  describeSnapshot,
  parseChanges,
  type StoryEntry,
  type StoryMessage,
  type StorySnapshot,
} from "./describe.ts";

/** What a story sets for its nodes. */
export interface StoryOptions {
  readonly configuration: Configuration;
  readonly index: number;
  readonly inflightMessagesMax: number;
  readonly isPreVote: boolean;
  readonly isCheckQuorum: boolean;
  readonly isStepDownOnRemoval: boolean;
  readonly isAsync: boolean;
  /** Committed entries are handed out one at a time. */
  readonly isOneByOne: boolean;
  readonly isUnchecked: boolean;
}

/** A write of a node whose disk works for itself. */
interface Work {
  readonly entries: readonly StoryEntry[];
  readonly replies: readonly StoryMessage[];
}

/** These go out behind what they depend on. */
const AFTER_WRITE: readonly RaftMessage["kind"][] = ["appendReply", "voteReply", "preVoteReply"];

/** One node. */
export class StoryNode {
  readonly id: string;
  readonly state: RaftState;
  readonly #options: StoryOptions;
  #log: StoryEntry[] = [];
  #baseIndex: number;
  /** What is on its disk. */
  #stored: StoryEntry[] = [];
  #storedBaseIndex: number;
  #handedIndex: number;
  #applyingIndex: number;
  #lastSnapshot: StorySnapshot;
  #pendingSnapshot: StorySnapshot | undefined;
  /** The last entry that changes the configuration, as the stories' own rule has it. */
  #pendingChangeIndex = 0;
  #outbox: StoryMessage[] = [];
  #lateOutbox: StoryMessage[] = [];
  #role: string;
  #promises: string;
  readonly appendWork: Work[] = [];
  readonly applyWork: StoryEntry[][] = [];

  constructor(id: string, options: StoryOptions) {
    const { configuration, index } = options;
    this.id = id;
    this.#options = options;
    this.state = createRaft({
      nodeId: id,
      configuration,
      configurationIndex: index,
      term: 0,
      vote: "",
      commitIndex: index,
      appliedIndex: index,
      lastIndex: index,
      runs: index > 0 ? [{ index, term: 1 }] : [],
      electionTicks: 3,
      heartbeatTicks: 1,
      random: 0,
      isFenced: false,
      inflightBytesMax: Number.MAX_SAFE_INTEGER,
      inflightMessagesMax: options.inflightMessagesMax,
      isPreVote: options.isPreVote,
      isCheckQuorum: options.isCheckQuorum,
      isStepDownOnRemoval: options.isStepDownOnRemoval,
    });
    // The stories begin before term 1 with a log of term 1, which no run of ours could leave behind.
    this.state.term = 0;
    this.#baseIndex = index;
    this.#storedBaseIndex = index;
    this.#handedIndex = index;
    this.#applyingIndex = index;
    this.#lastSnapshot = { index, term: index > 0 ? 1 : 0, configuration };
    this.#role = this.#describeRole();
    this.#promises = this.#describePromises();
  }

  get lastSnapshot(): StorySnapshot {
    return this.#lastSnapshot;
  }

  get hasReady(): boolean {
    return (
      this.#role !== this.#describeRole() ||
      this.#promises !== this.#describePromises() ||
      this.#newEntries().length > 0 ||
      this.#committed().length > 0 ||
      this.#pendingSnapshot !== undefined ||
      this.#outbox.length > 0 ||
      this.#lateOutbox.length > 0
    );
  }

  /** Steps, and notes what is owed for the next turn. */
  step(input: RaftInput, parcel?: StoryMessage): RaftReady {
    const ready = step(this.state, input);
    for (const message of ready.messages) this.#queue(message);
    if (ready.truncateFrom !== undefined) {
      this.#log = this.#log.filter(({ index }) => index < (ready.truncateFrom as number));
      this.#handedIndex = Math.min(this.#handedIndex, ready.truncateFrom - 1);
    }
    const accepted = ready.accepted;
    if (accepted !== undefined) {
      const entries = parcel?.entries ?? [];
      this.#log.push(...entries.filter(({ index }) => index >= accepted.firstIndex));
      // Unless the disk works for itself, a turn ends with everything durable and nobody sees its middle.
      if (!this.#options.isAsync) this.#persist();
    }
    if (ready.snapshotOffered !== undefined) this.#restore(parcel?.snapshot as StorySnapshot);
    if (ready.becameLeader && !this.#isElecting) this.#open();
    this.#pull();
    return ready;
  }

  #isElecting = false;

  /** Appends, if this node leads and may. False when the proposal is dropped. */
  propose(entry: Pick<StoryEntry, "type" | "text" | "transition">): boolean {
    const { state } = this;
    if (state.role !== "leader" || !state.progress.has(this.id)) return false;
    if (state.transferee !== undefined) return false;
    if (entry.type === "EntryNormal") this.#append(entry, false);
    else if (this.#mayChange(entry.text))
      this.#append(entry, mayChangeConfiguration(state) && !this.#options.isUnchecked);
    // A change that may not be is replaced by nothing.
    else this.#append({ type: "EntryNormal", text: "" }, false);
    return true;
  }

  /** The stories let a change in before the leader's term has committed; ours asks for more, and is not asked then. */
  #mayChange(text: string): boolean {
    if (this.#options.isUnchecked) return true;
    if (this.#pendingChangeIndex > this.state.appliedIndex) return false;
    const isJoint = this.state.configuration.outgoing.length > 0;
    return isJoint === (text === "");
  }

  #append(entry: Pick<StoryEntry, "type" | "text" | "transition">, isConfiguration: boolean): void {
    const index = this.state.lastIndex + 1;
    this.#log.push({ ...entry, term: this.state.term, index });
    if (entry.type !== "EntryNormal") this.#pendingChangeIndex = index;
    this.step({ kind: "proposed", entries: 1, isConfiguration });
  }

  #open(): void {
    this.#pendingChangeIndex = this.state.lastIndex;
    this.#append({ type: "EntryNormal", text: "" }, false);
  }

  /** Sends a proposal to whoever leads. */
  passOn(parcel: StoryMessage): void {
    this.#outbox.push(parcel);
  }

  /** One turn: describes what is to be done, and does it. Messages go to `send`. */
  processReady(send: (parcel: StoryMessage) => void): string {
    const role = this.#describeRole();
    const promises = this.#describePromises();
    const { term, vote } = this.state;
    const isPromised = !this.state.isStateSaved;
    // Its own vote counts at the end of the turn; what waited for term and vote goes out in this one.
    this.#isElecting = true;
    const isElected =
      isPromised && this.step({ kind: "stateSaved", term, vote }).becameLeader === true;
    this.#isElecting = false;
    const entries = this.#newEntries();
    const committed = this.#committed();
    const snapshot = this.#pendingSnapshot;
    const late = this.#lateOutbox;
    const messages = this.#options.isAsync ? this.#outbox : [...this.#outbox, ...late];
    this.#outbox = [];
    this.#lateOutbox = [];
    this.#pendingSnapshot = undefined;

    let text = "";
    if (role !== this.#role) text += `${role}\n`;
    if (promises !== this.#promises) text += `HardState ${promises}\n`;
    if (entries.length > 0) text += `Entries:\n${lines(entries.map(describeEntry))}`;
    if (snapshot !== undefined) text += `Snapshot ${describeSnapshot(snapshot)}\n`;
    if (committed.length > 0) text += `CommittedEntries:\n${lines(committed.map(describeEntry))}`;
    if (messages.length > 0) text += `Messages:\n${lines(messages.map(describeMessage))}`;
    const isSynced = entries.length > 0 || isPromised;
    const isStateNew = promises !== this.#promises;
    this.#role = role;
    this.#promises = promises;

    this.#handedIndex = Math.max(this.#handedIndex, entries.at(-1)?.index ?? 0);
    this.#applyingIndex = Math.max(this.#applyingIndex, committed.at(-1)?.index ?? 0);
    if (this.#options.isAsync) {
      if (isStateNew || entries.length > 0 || late.length > 0)
        this.appendWork.push({ entries, replies: late });
      if (committed.length > 0) this.applyWork.push(committed);
      for (const parcel of messages) send(parcel);
    } else {
      if (snapshot !== undefined) this.#storeSnapshot(snapshot);
      this.#store(entries);
      this.#apply(committed);
      for (const parcel of messages) send(parcel);
      if (this.state.role === "leader") this.#persist();
      this.#noteApplied(committed);
    }
    if (isElected) this.#open();
    this.#pull();
    return text === "" ? "<empty Ready>\n" : `Ready MustSync=${isSynced}:\n${text}`;
  }

  /** Finishes one write of a disk that works for itself. */
  processAppendWork(send: (parcel: StoryMessage) => void): void {
    const work = this.appendWork.shift();
    if (work === undefined) return;
    this.#store(work.entries);
    for (const parcel of work.replies) send(parcel);
    const last = work.entries.at(-1);
    if (last === undefined) return;
    const persist = (): void => {
      this.step({ kind: "persisted", index: last.index, term: last.term });
    };
    // A leader hears of its own disk by a message; a follower's answer is what its disk was waited for.
    if (this.state.role === "leader")
      send({ from: this.id, to: this.id, entries: [], own: persist });
    else {
      persist();
      for (const parcel of this.#lateOutbox.splice(0)) send(parcel);
    }
  }

  /** Applies one batch of a state machine that works for itself. */
  processApplyWork(send: (parcel: StoryMessage) => void): void {
    const committed = this.applyWork.shift();
    if (committed === undefined) return;
    this.#apply(committed);
    const own = (): void => this.#noteApplied(committed);
    send({ from: this.id, to: this.id, entries: [], own });
  }

  /** What is on the disk, entry by entry. */
  describeLog(): string {
    if (this.#stored.length > 0) return lines(this.#stored.map(describeEntry));
    const index = this.#storedBaseIndex;
    return `log is empty: first index=${index + 1}, last index=${index}\n`;
  }

  /** Drops the log up to `index`. */
  compact(index: number): void {
    this.#log = this.#log.filter((entry) => entry.index > index);
    this.#stored = this.#stored.filter((entry) => entry.index > index);
    this.#baseIndex = index;
    this.#storedBaseIndex = index;
    this.step({ kind: "compacted", index });
  }

  #queue(message: RaftMessage): void {
    const { from, to, kind } = message;
    const snapshot = kind === "snapshot" ? { snapshot: this.#lastSnapshot } : {};
    const parcel: StoryMessage = { from, to, message, entries: [], ...snapshot };
    (AFTER_WRITE.includes(kind) ? this.#lateOutbox : this.#outbox).push(parcel);
  }

  /** The stories push where we pull: so everything is pulled at once after each step. */
  #pull(): void {
    for (const to of this.state.progress.keys()) {
      for (;;) {
        const next = nextAppend(this.state, to);
        if (next === undefined) break;
        if (next.kind === "snapshot") {
          const ready = step(this.state, {
            kind: "snapshotStarted",
            to,
            index: this.#lastSnapshot.index,
          });
          for (const message of ready.messages) this.#queue(message);
          break;
        }
        const { prevIndex, lastIndex } = next;
        const message = makeAppend(this.state, to, prevIndex, lastIndex);
        const entries = this.#log.slice(prevIndex - this.#baseIndex, lastIndex - this.#baseIndex);
        this.#outbox.push({ from: this.id, to, message, entries });
        step(this.state, { kind: "sent", to, prevIndex, lastIndex, bytes: entries.length });
      }
    }
  }

  #persist(): void {
    const last = this.#log.at(-1);
    if (last !== undefined) this.step({ kind: "persisted", index: last.index, term: last.term });
  }

  #restore(snapshot: StorySnapshot): void {
    const { index, term, configuration } = snapshot;
    this.#log = [];
    this.#baseIndex = index;
    this.#handedIndex = index;
    this.#applyingIndex = index;
    this.#pendingSnapshot = snapshot;
    this.#lastSnapshot = snapshot;
    this.step({
      kind: "snapshotInstalled",
      index,
      term,
      configuration,
      configurationIndex: index,
    });
  }

  #storeSnapshot({ index }: StorySnapshot): void {
    this.#stored = [];
    this.#storedBaseIndex = index;
  }

  #store(entries: readonly StoryEntry[]): void {
    const first = entries[0]?.index;
    if (first === undefined) return;
    this.#stored = [...this.#stored.filter(({ index }) => index < first), ...entries];
  }

  #apply(committed: readonly StoryEntry[]): void {
    for (const entry of committed) {
      if (entry.type !== "EntryNormal") this.#configure(entry);
      const { configuration } = this.state;
      this.#lastSnapshot = { index: entry.index, term: entry.term, configuration };
    }
  }

  #configure({ index, text, transition }: StoryEntry): void {
    const current = this.state.configuration;
    const changes = parseChanges(text);
    const isJoint = changes.length > 1 || (transition ?? "auto") !== "auto";
    const changed =
      changes.length === 0
        ? leaveJoint(current)
        : isJoint
          ? enterJoint(current, changes, transition !== "explicit")
          : changeSimply(current, changes);
    if (!changed.ok) throw new Error(changed.error);
    this.step({ kind: "configured", configuration: changed.value, index });
  }

  #noteApplied(committed: readonly StoryEntry[]): void {
    const index = committed.at(-1)?.index;
    if (index === undefined) return;
    this.step({ kind: "applied", index });
    if (this.state.mustLeaveJoint) this.propose({ type: "EntryConfChangeV2", text: "" });
  }

  #newEntries(): StoryEntry[] {
    return this.#log.filter(({ index }) => index > this.#handedIndex);
  }

  #committed(): StoryEntry[] {
    const { commitIndex, durableIndex } = this.state;
    const to = this.#options.isAsync ? Math.min(commitIndex, durableIndex) : commitIndex;
    const committed = this.#log.filter(({ index }) => index > this.#applyingIndex && index <= to);
    return this.#options.isOneByOne ? committed.slice(0, 1) : committed;
  }

  #describeRole(): string {
    return `Lead:${this.state.leaderId ?? 0} State:${describeRole(this.state)}`;
  }

  #describePromises(): string {
    const { term, vote, commitIndex } = this.state;
    return `Term:${term}${vote === "" ? "" : ` Vote:${vote}`} Commit:${commitIndex}`;
  }
}

const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join("");
