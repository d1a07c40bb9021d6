// A small driver of the consensus, in memory: a log, a disk that syncs when told to, and a crash that loses what was not
// synced. Tests use it where the real driver would only stand in the way.

import {
  type AppendMessage,
  type Configuration,
  type ConfigurationChange,
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
  type TermRun,
} from "../../src/raft/mod.ts";

/** One entry of the log, with its term. */
export interface Entry {
  readonly term: number;
  readonly value: string;
  /** Changes of configuration; none leaves a joint one. */
  readonly changes?: readonly ConfigurationChange[];
  readonly isJoint?: boolean;
}

/** A message and, behind an append, its entries. A snapshot carries its state, which really travels as files. */
export interface Parcel {
  readonly message: RaftMessage;
  readonly entries: readonly Entry[];
  readonly snapshot?: Snapshot;
}

/** The state machine at an index: here the list of all values that were applied. */
export interface Snapshot {
  readonly index: number;
  readonly term: number;
  readonly values: readonly string[];
  readonly configuration: Configuration;
  readonly configurationIndex: number;
}

interface Log {
  readonly baseIndex: number;
  readonly baseTerm: number;
  readonly entries: readonly Entry[];
}

/** What a crash leaves. */
export interface Disk {
  term: number;
  vote: string;
  commitIndex: number;
  /** The configuration that counts, and the entry that made it. */
  configuration: Configuration;
  configurationIndex: number;
  snapshot: Snapshot;
  log: Log;
}

export const NOBODY: Configuration = {
  voters: [],
  outgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

/** A configuration of voters and learners. */
export const membersAre = (
  voters: readonly string[],
  learners: readonly string[] = [],
): Configuration => ({ ...NOBODY, voters, learners });

/** A disk on which every member found the same first configuration. */
export const emptyDisk = (configuration: Configuration): Disk => ({
  term: 0,
  vote: "",
  commitIndex: 0,
  configuration,
  configurationIndex: 0,
  snapshot: { index: 0, term: 0, values: [], configuration, configurationIndex: 0 },
  log: { baseIndex: 0, baseTerm: 0, entries: [] },
});

type Options = Partial<Parameters<typeof createRaft>[0]>;

/** One node with its disk. */
export class Driver {
  readonly nodeId: string;
  readonly disk: Disk;
  state: RaftState;
  #log: Log;
  /** The state machine: every value that was applied, and what the entries made of the membership. */
  #values: string[];
  #lastSnapshot: Snapshot;
  #syncing: { log: Log; term: number; vote: string; commitIndex: number } | undefined;
  readonly outbox: Parcel[] = [];
  readonly readsConfirmed: { readonly context: number; readonly index: number }[] = [];
  readonly readsFailed: number[] = [];
  /** Sees the state after each step, before anything is done about it. */
  onStep: (driver: Driver) => void = () => undefined;
  readonly #options: Options;

  constructor(nodeId: string, disk: Disk, options: Options = {}) {
    this.nodeId = nodeId;
    this.disk = disk;
    this.#options = options;
    const { snapshot, log } = disk;
    this.#log = log;
    this.#values = [...snapshot.values];
    this.#lastSnapshot = snapshot;
    this.state = createRaft({
      nodeId,
      configuration: disk.configuration,
      configurationIndex: disk.configurationIndex,
      term: disk.term,
      vote: disk.vote,
      commitIndex: Math.max(snapshot.index, disk.commitIndex, knownCommitted(log)),
      appliedIndex: snapshot.index,
      lastIndex: log.baseIndex + log.entries.length,
      runs: runsOf(log),
      electionTicks: 10,
      heartbeatTicks: 2,
      random: 0,
      isFenced: false,
      inflightBytesMax: 1 << 20,
      inflightMessagesMax: 8,
      ...options,
    });
    if (log.baseIndex > 0) this.step({ kind: "compacted", index: log.baseIndex });
    this.#apply();
  }

  get lastIndex(): number {
    return this.#log.baseIndex + this.#log.entries.length;
  }

  get values(): readonly string[] {
    return this.#values;
  }

  get hasUnsynced(): boolean {
    return this.disk.log !== this.#log || !this.state.isStateSaved;
  }

  /** The entry at `index`, if the log still has it. */
  entryAt(index: number): Entry | undefined {
    return this.#log.entries[index - this.#log.baseIndex - 1];
  }

  /** Steps, and does everything that is owed but for what the disk has to do. */
  step(input: RaftInput, parcel?: Parcel): RaftReady {
    const ready = step(this.state, input);
    this.onStep(this);
    if (ready.truncateFrom !== undefined) {
      this.#cut(ready.truncateFrom - 1);
      // A write that is under way may still bring the dropped entries to the disk, but must not be told of.
      if (this.#syncing !== undefined) this.#syncing.log = { ...this.#syncing.log, entries: [] };
    }
    if (ready.accepted !== undefined) this.#take(parcel as Parcel, ready.accepted.firstIndex);
    for (const message of ready.messages) this.#send(message);
    this.readsConfirmed.push(...(ready.reads ?? []));
    this.readsFailed.push(...(ready.failedReads ?? []));
    if (ready.snapshotOffered !== undefined) this.#install(parcel?.snapshot as Snapshot);
    if (ready.becameLeader) this.propose("");
    return ready;
  }

  /** Takes what a peer sent. */
  receive(parcel: Parcel): RaftReady {
    const ready = this.step({ kind: "received", message: parcel.message }, parcel);
    this.#apply();
    return ready;
  }

  /** Appends a value, if this node leads. */
  propose(value: string, change?: Pick<Entry, "changes" | "isJoint">): boolean {
    if (this.state.role !== "leader" || this.state.transferee !== undefined) return false;
    if (change !== undefined && !mayChangeConfiguration(this.state)) return false;
    const entry: Entry = { term: this.state.term, value, ...change };
    this.#log = { ...this.#log, entries: [...this.#log.entries, entry] };
    this.step({ kind: "proposed", entries: 1, isConfiguration: change !== undefined });
    return true;
  }

  /** Pulls what may go to each follower now, in appends of at most `entriesMax`. */
  pull(entriesMax = 100): void {
    for (const to of this.state.progress.keys()) {
      for (let i = 0; i < 20; i += 1) {
        const next = nextAppend(this.state, to);
        if (next === undefined) break;
        if (next.kind === "snapshot") {
          this.step({ kind: "snapshotStarted", to, index: this.#lastSnapshot.index });
          break;
        }
        const lastIndex = Math.min(next.lastIndex, next.prevIndex + entriesMax);
        const message: AppendMessage = makeAppend(this.state, to, next.prevIndex, lastIndex);
        const entries = this.#slice(next.prevIndex, lastIndex);
        this.outbox.push({ message, entries });
        const bytes = entries.length * 100;
        this.step({ kind: "sent", to, prevIndex: next.prevIndex, lastIndex, bytes });
      }
    }
  }

  /** Begins to write what there is; `endSync` makes it durable. One write is under way at a time. */
  beginSync(): void {
    const { term, vote } = this.state;
    this.#syncing ??= { log: this.#log, term, vote, commitIndex: this.#storableCommit };
  }

  /** Makes durable what `beginSync` began to write. */
  endSync(): void {
    const done = this.#syncing;
    if (done === undefined) return;
    this.#syncing = undefined;
    if (done.log.entries.length > 0 || done.log === this.#log) this.disk.log = done.log;
    const { term, vote, commitIndex } = done;
    // The commit index goes with a promise, and not for itself.
    if (term !== this.disk.term || vote !== this.disk.vote)
      Object.assign(this.disk, { term, vote, commitIndex });
    this.step({ kind: "stateSaved", term, vote });
    const entry = done.log.entries.at(-1);
    const index = done.log.baseIndex + done.log.entries.length;
    if (entry !== undefined) this.step({ kind: "persisted", index, term: entry.term });
    this.#apply();
  }

  /** Writes and syncs everything. */
  sync(): void {
    do {
      this.beginSync();
      this.endSync();
    } while (this.hasUnsynced);
  }

  /** Starts again from the disk. Of a write that was under way, `kept` entries made it, and the promises if `isStateKept`. */
  crash(kept = 0, isStateKept = false): Driver {
    const torn = this.#syncing;
    if (torn !== undefined && isStateKept) {
      const { term, vote, commitIndex } = torn;
      Object.assign(this.disk, { term, vote, commitIndex });
    }
    if (torn !== undefined && kept > 0) {
      const onDisk = lastIndexOf(this.disk.log);
      const entries = torn.log.entries.slice(0, onDisk - torn.log.baseIndex + kept);
      if (entries.length > 0) this.disk.log = { ...torn.log, entries };
    }
    return new Driver(this.nodeId, this.disk, this.#options);
  }

  /** Begins every snapshot again that was offered and not answered yet: the offer may be lost. */
  giveUpSnapshots(): void {
    for (const [to, { state }] of this.state.progress)
      if (state === "snapshot") this.step({ kind: "snapshotFailed", to });
  }

  /** Keeps the state at the applied index in place of the entries below it. */
  compact(): void {
    const index = Math.min(this.state.appliedIndex, lastIndexOf(this.disk.log));
    if (index < this.state.appliedIndex || index === this.#log.baseIndex) return;
    const { configuration, configurationIndex } = this.state;
    if (configurationIndex > index) return;
    const term = this.state.terms.at(index) as number;
    const values = [...this.#values];
    this.#lastSnapshot = { index, term, values, configuration, configurationIndex };
    this.disk.snapshot = this.#lastSnapshot;
    const drop = (log: Log): Log => ({
      baseIndex: index,
      baseTerm: term,
      entries: log.entries.slice(index - log.baseIndex),
    });
    if (this.#syncing !== undefined) this.#syncing.log = drop(this.#syncing.log);
    const isSame = this.disk.log === this.#log;
    this.#log = drop(this.#log);
    this.disk.log = isSame ? this.#log : drop(this.disk.log);
    this.step({ kind: "compacted", index });
  }

  /** Beyond what is durable, the disk may still have entries that were dropped: a crash would take them as committed. */
  get #storableCommit(): number {
    return Math.min(this.state.commitIndex, this.state.durableIndex);
  }

  #send(message: RaftMessage): void {
    const isSnapshot = message.kind === "snapshot";
    this.outbox.push({
      message,
      entries: [],
      ...(isSnapshot ? { snapshot: this.#lastSnapshot } : {}),
    });
  }

  #slice(prevIndex: number, lastIndex: number): readonly Entry[] {
    const { baseIndex, entries } = this.#log;
    return entries.slice(prevIndex - baseIndex, lastIndex - baseIndex);
  }

  #cut(lastIndex: number): void {
    const entries = this.#log.entries.slice(0, lastIndex - this.#log.baseIndex);
    this.#log = { ...this.#log, entries };
  }

  #take(parcel: Parcel, firstIndex: number): void {
    const { prevIndex } = parcel.message as AppendMessage;
    const entries = parcel.entries.slice(firstIndex - prevIndex - 1);
    this.#log = { ...this.#log, entries: [...this.#log.entries, ...entries] };
  }

  /** Files come at once here, and are durable before anyone is told. */
  #install(snapshot: Snapshot): void {
    const { index, term, configuration, configurationIndex } = snapshot;
    this.#values = [...snapshot.values];
    this.#lastSnapshot = snapshot;
    this.#log = { baseIndex: index, baseTerm: term, entries: [] };
    this.#syncing = undefined;
    this.disk.snapshot = snapshot;
    this.disk.log = this.#log;
    Object.assign(this.disk, { commitIndex: index, configuration, configurationIndex });
    this.step({ kind: "snapshotInstalled", index, term, configuration, configurationIndex });
  }

  /** Applies what is committed and durable here; a configuration counts from then on. */
  #apply(): void {
    for (;;) {
      const index = this.state.appliedIndex + 1;
      if (index > this.#storableCommit) break;
      const entry = this.entryAt(index) as Entry;
      this.#values.push(`${entry.term}/${index} ${entry.value}`);
      if (entry.changes !== undefined) this.#configure(entry, entry.changes, index);
      this.step({ kind: "applied", index });
    }
    if (this.state.mustLeaveJoint) this.propose("leave", { changes: [] });
  }

  #configure(entry: Entry, changes: readonly ConfigurationChange[], index: number): void {
    // After a restart: what was saved is ahead of what is applied.
    if (index <= this.state.configurationIndex) return;
    const current = this.state.configuration;
    const changed =
      changes.length === 0
        ? leaveJoint(current)
        : entry.isJoint
          ? enterJoint(current, changes, true)
          : changeSimply(current, changes);
    const configuration = changed.ok ? changed.value : current;
    // It counts only once it is saved, and with it that it is committed.
    const commitIndex = this.#storableCommit;
    Object.assign(this.disk, { configuration, configurationIndex: index, commitIndex });
    this.step({ kind: "configured", configuration, index });
  }
}

/**
 * A change of configuration is appended only when the one before it is committed: so of those in a log, all but the last
 * are. A node that did not know so could stand by a configuration that is two changes old.
 */
function knownCommitted(log: Log): number {
  const changes = [...log.entries.entries()].filter(([, entry]) => entry.changes !== undefined);
  const lastButOne = changes.at(-2);
  return lastButOne === undefined ? 0 : log.baseIndex + lastButOne[0] + 1;
}

const lastIndexOf = (log: Log): number => log.baseIndex + log.entries.length;

function runsOf(log: Log): TermRun[] {
  const runs: TermRun[] = log.baseIndex === 0 ? [] : [{ index: log.baseIndex, term: log.baseTerm }];
  for (const [i, { term }] of log.entries.entries()) {
    if (runs.at(-1)?.term !== term) runs.push({ index: log.baseIndex + i + 1, term });
  }
  return runs;
}
