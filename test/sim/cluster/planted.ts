// Bugs that a test plants in every node of a cluster, to see that the world finds them. None is a flag in the node: each is a
// hand laid on a node's own parts from outside, or a change to what it hears.

import { viewOf } from "../../../src/lib/bytes.ts";
import { fileName, SEGMENT_DATA_START } from "../../../src/log/format.ts";
import {
  type DiskCompletion,
  ENTRY_HEADER_BYTES,
  type HardState,
  newEntryHeader,
  readEntryHeader,
} from "../../../src/log/mod.ts";
import { GrowingIndex } from "../../../src/log/offset-index.ts";
import { visitEntries } from "../../../src/log/segment-scan.ts";
import type { RaftMessage } from "../../../src/raft/mod.ts";
import { step } from "../../../src/raft/mod.ts";
import { Intake } from "../../../src/replica/intake.ts";
import type { Delivery, PeerHello, Replica, Transport } from "../../../src/replica/mod.ts";
import { decodePeer, encodeRaft } from "../../../src/replica/peer-codec.ts";
import { Pending } from "../../../src/replica/pending.ts";
import type { SimDisk, SimDiskOptions } from "../../support/sim-disk.ts";
import type { ClusterNode } from "./node.ts";
import type { ClusterPlan } from "./plan.ts";

/** What can be planted. */
export const CLUSTER_BUGS = [
  "vote_not_synced",
  "candidate_log_not_compared",
  "old_term_committed_by_counting",
  "commit_before_own_sync",
  "two_writes_in_flight",
  "truncation_in_place",
  "configuration_not_persisted",
  "wiped_voter_votes",
  "refusal_from_pending_state",
  "stale_term_append_accepted",
  "ack_with_corrupt_entry",
  "learner_counted_as_voter",
  "read_without_barrier",
  "pending_state_ignored",
] as const;

/** One planted bug. */
export type ClusterBug = (typeof CLUSTER_BUGS)[number];

/** Whether a world can show a bug at all: what it takes to happen is among its faults. */
export function canShow(bug: ClusterBug, { faults, keyShare }: ClusterPlan): boolean {
  const ends = faults.power || faults.kill || faults.primitive;
  switch (bug) {
    case "vote_not_synced":
    case "two_writes_in_flight":
      return faults.power;
    case "truncation_in_place":
      return faults.partition && ends;
    case "configuration_not_persisted":
      return (faults.members || faults.wipe) && ends;
    case "wiped_voter_votes":
      return faults.wipe;
    case "learner_counted_as_voter":
      return faults.members || faults.wipe;
    case "read_without_barrier":
      return keyShare > 0 && faults.partition;
    case "pending_state_ignored":
      return keyShare > 0;
    case "stale_term_append_accepted":
      return faults.partition && (faults.clogs || faults.pause);
    default:
      return true;
  }
}

/** What a disk must let pass for a bug to show what follows from it. */
export function plantedDisk(bug: ClusterBug | undefined): Partial<SimDiskOptions> {
  if (bug === "two_writes_in_flight") return { appendsMax: 2 };
  return bug === "truncation_in_place" ? { writesOnce: false } : {};
}

const isWhole = Intake.prototype.isWhole;
const getPending = Pending.prototype.get;

/** Plants what all nodes share, until it is taken back with `undefined`. */
export function plantEverywhere(bug: ClusterBug | undefined): void {
  Intake.prototype.isWhole = bug === "ack_with_corrupt_entry" ? () => true : isWhole;
  Pending.prototype.get = bug === "pending_state_ignored" ? () => undefined : getPending;
}

/** Lays hands on a replica that has just started. */
export function plantClusterBug(
  bug: ClusterBug | undefined,
  node: ClusterNode,
  replica: Replica,
): void {
  const { raft, transport } = replica;
  switch (bug) {
    case undefined:
      return;
    case "vote_not_synced":
      saveEarly(node, replica);
      return;
    case "candidate_log_not_compared":
      hear(transport, (message) =>
        message.kind === "vote" || message.kind === "preVote"
          ? { ...message, lastTerm: 2 ** 40, lastIndex: 2 ** 40 }
          : message,
      );
      return;
    case "old_term_committed_by_counting":
      Object.defineProperty(raft, "termStartIndex", { get: () => 0, set: () => undefined });
      return;
    case "commit_before_own_sync": {
      const { onSeal } = replica.batcher;
      replica.batcher.onSeal = (entry) => {
        onSeal(entry);
        if (raft.role === "leader")
          step(raft, { kind: "persisted", index: entry.index, term: raft.term });
      };
      return;
    }
    case "read_without_barrier":
      replica.reads.barrier = (_timeoutMs, answer) => answer({ ok: true, value: undefined });
      return;
    case "pending_state_ignored":
      // Planted in what all nodes share.
      return;
    case "two_writes_in_flight":
      writeTwo(node, replica);
      return;
    case "truncation_in_place":
      cutInPlace(node, replica);
      return;
    case "configuration_not_persisted":
      saveNoMembership(replica);
      return;
    case "wiped_voter_votes":
      Object.defineProperty(raft, "isFenced", { get: () => false, set: () => undefined });
      forgiveWiped(replica);
      return;
    case "refusal_from_pending_state":
      replica.confirm = (run) => queueMicrotask(run);
      return;
    case "stale_term_append_accepted":
      hear(transport, (message) =>
        (message.kind === "append" || message.kind === "heartbeat") && raft.role === "follower"
          ? { ...message, term: Math.max(message.term, raft.term) }
          : message,
      );
      return;
    case "ack_with_corrupt_entry":
      damageEntries(transport);
      return;
    case "learner_counted_as_voter":
      countLearners(replica);
      return;
  }
}

const isChanged = new WeakSet<Transport>();

/** Changes what comes in, once for each transport. */
function changeDeliveries(transport: Transport, change: (delivery: Delivery) => Delivery): void {
  if (isChanged.has(transport)) return;
  isChanged.add(transport);
  const poll = transport.poll.bind(transport);
  transport.poll = () => poll().map(change);
}

/** Changes consensus messages as they come in. */
function hear(transport: Transport, change: (message: RaftMessage) => RaftMessage): void {
  changeDeliveries(transport, (delivery) => {
    if (delivery.kind !== "message") return delivery;
    const peer = decodePeer(delivery.bytes);
    if (peer?.kind !== "raft") return delivery;
    const changed = change(peer.message);
    if (changed === peer.message) return delivery;
    const head = encodeRaft(changed, peer.wallMs);
    return { ...delivery, bytes: Buffer.concat([head, peer.bytes.subarray(peer.entriesStart)]) };
  });
}

/** Every few appends one byte of a record arrives as another. */
function damageEntries(transport: Transport): void {
  const header = newEntryHeader();
  let appends = 0;
  changeDeliveries(transport, (delivery) => {
    if (delivery.kind !== "message") return delivery;
    const peer = decodePeer(delivery.bytes);
    if (peer?.kind !== "raft" || peer.message.kind !== "append") return delivery;
    const { bytes, entriesStart } = peer;
    if (!readEntryHeader(viewOf(bytes), entriesStart, header) || header.dataBytes === 0)
      return delivery;
    appends += 1;
    const at = entriesStart + ENTRY_HEADER_BYTES + header.dataBytes - 1;
    if (appends % 5 === 0) bytes[at] = (bytes[at] ?? 0) ^ 1;
    return delivery;
  });
}

/** The methods of a disk as they were: it may serve several replicas, one after the other. */
const honestDisks = new WeakMap<SimDisk, Pick<SimDisk, "append" | "poll">>();

function honest(disk: SimDisk): Pick<SimDisk, "append" | "poll"> {
  const known = honestDisks.get(disk) ?? {
    append: disk.append.bind(disk),
    poll: disk.poll.bind(disk),
  };
  honestDisks.set(disk, known);
  return known;
}

/** Completions that the disk never gave; the log is told what they mean. */
class FalseCompletions {
  readonly #due: DiskCompletion[] = [];

  constructor({ disk }: ClusterNode) {
    const { poll } = honest(disk);
    disk.poll = () => [...this.#due.splice(0), ...poll()];
  }

  add(token: number): void {
    this.#due.push({ token, error: undefined });
  }
}

/** Terms and votes are told to be durable as soon as they are handed over. */
function saveEarly(node: ClusterNode, replica: Replica): void {
  const { log, raft } = replica;
  const early = new FalseCompletions(node);
  const states = new Map<number, HardState>();
  let token = -1;
  const saveState = log.saveState.bind(log);
  const completed = log.completed.bind(log);
  log.saveState = (state) => {
    saveState(state);
    if (state.configurationIndex !== raft.configurationIndex) return;
    states.set(token, state);
    early.add(token--);
    replica.wantTurn();
  };
  log.completed = (completion) => {
    const state = states.get(completion.token);
    return state === undefined ? completed(completion) : { kind: "state_saved", state };
  };
}

/** The membership is told to be saved; what is saved is the one of the start, and that nothing is known to be committed. */
function saveNoMembership({ log, membership, raft }: Replica): void {
  const { configurationIndex } = raft;
  const states: HardState[] = [];
  const saveState = log.saveState.bind(log);
  const completed = log.completed.bind(log);
  log.saveState = (state) => {
    states.push(state);
    saveState({ ...state, membership, configurationIndex, commitIndex: 0 });
  };
  log.completed = (completion) => {
    const event = completed(completion);
    const state = event?.kind === "state_saved" ? states.shift() : undefined;
    return state === undefined ? event : { kind: "state_saved", state };
  };
}

/**
 * The next write is handed to the disk while one is under way; each is told to be durable when it is, and frames take the
 * one before them to be.
 */
function writeTwo(node: ClusterNode, replica: Replica): void {
  const { log } = replica;
  const { disk } = node;
  const early = new FalseCompletions(node);
  const { append } = honest(disk);
  const completed = log.completed.bind(log);
  let token = -1;
  /** The write that the log no longer waits for, and what it is to hear when that is durable. */
  let ahead: number | undefined;
  let event: ReturnType<typeof completed>;
  let isClaimed = false;
  disk.append = (file, slab, start, end, position) => {
    append(file, slab, start, end, position, token);
    if (ahead === undefined) {
      ahead = token;
      isClaimed = true;
      early.add(0);
      replica.wantTurn();
    }
    token -= 1;
  };
  log.completed = (completion) => {
    if (completion.token === 0 && isClaimed) {
      isClaimed = false;
      event = completed({ token: 0, error: undefined });
      return undefined;
    }
    if (completion.token >= 0) return completed(completion);
    if (completion.token !== ahead || isClaimed) return completed({ ...completion, token: 0 });
    ahead = undefined;
    return event;
  };
}

/** What is cut off the log is written over in the same file. */
function cutInPlace({ disk }: ClusterNode, { log }: Replica): void {
  const cut = log.cut.bind(log);
  const completed = log.completed.bind(log);
  let { syncedIndex } = log;
  Object.defineProperty(log, "syncedIndex", { get: () => syncedIndex });
  log.completed = (completion) => {
    const event = completed(completion);
    if (event?.kind === "synced") syncedIndex = event.index;
    return event;
  };
  log.cut = (end) => {
    syncedIndex = Math.min(syncedIndex, end.index);
    const { active } = log.segments;
    const { index } = active;
    const isHere = end.index >= active.firstIndex && end.index < active.chain.index;
    if (!isHere || !log.isIdle || log.isCutting || !(index instanceof GrowingIndex)) {
      cut(end);
      return;
    }
    log.reader.forget();
    log.entries.forget();
    let { position } = active;
    const name = fileName(active.sequence, "log");
    visitEntries(
      disk.files,
      name,
      SEGMENT_DATA_START,
      position,
      (bytes, view, at, header, place) => {
        if (header.index <= end.index) return;
        position = Math.min(position, place);
        index.removeEntry(bytes, view, at, header);
      },
    );
    while ((active.terms.at(-1)?.[0] ?? 0) > end.index) active.terms.pop();
    while ((active.entryPoints.at(-1)?.index ?? 0) > end.index) active.entryPoints.pop();
    active.position = position;
    active.chain = end;
  };
}

/** Whoever says that it is a member is taken for the life that the membership means. */
function forgiveWiped(replica: Replica): void {
  const forgiven = (hello: PeerHello): PeerHello => {
    const known = replica.membership.members.find(({ nodeId }) => nodeId === hello.nodeId);
    const isMember = known !== undefined && hello.clusterId !== "";
    return isMember ? { ...hello, incarnation: known.incarnation } : hello;
  };
  const { transport } = replica;
  const link = transport.link.bind(transport);
  changeDeliveries(transport, (delivery) => ({ ...delivery, from: forgiven(delivery.from) }));
  transport.link = (nodeId) => {
    const found = link(nodeId);
    return found.hello === undefined ? found : { ...found, hello: forgiven(found.hello) };
  };
}

/** What a learner acknowledges counts for a voter that lags behind. */
function countLearners(replica: Replica): void {
  const { raft, transport } = replica;
  changeDeliveries(transport, (delivery) => {
    if (delivery.kind !== "message" || raft.role !== "leader") return delivery;
    const { voters, learners } = raft.configuration;
    const peer = learners.includes(delivery.from.nodeId) ? decodePeer(delivery.bytes) : undefined;
    if (peer?.kind !== "raft" || peer.message.kind !== "appendReply" || peer.message.isRejected)
      return delivery;
    const { members } = replica.membership;
    const lagging = members.find(({ nodeId }) => nodeId !== raft.nodeId && voters.includes(nodeId));
    if (lagging === undefined) return delivery;
    const { nodeId, incarnation, httpUrl } = lagging;
    const from = { nodeId, incarnation, httpUrl, clusterId: delivery.from.clusterId };
    const bytes = encodeRaft({ ...peer.message, from: nodeId }, peer.wallMs);
    return { kind: "message", from, bytes };
  });
}
