// What the replica can be asked for metrics: plain numbers, read on scrape, so that recording costs the hot path nothing.

import type { Histogram } from "../lib/histogram.ts";
import type { Backups } from "./backups.ts";
import type { Replica } from "./replica.ts";
import type { RocketTopics } from "./rocket-topics.ts";

/** How far one group is behind in one partition. */
interface GroupLag {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly lag: number;
}

/** A node's part in its cluster, as `/metrics_ha` shows it. */
export interface ClusterProbe {
  readonly role: "leader" | "follower" | "candidate" | "learner";
  readonly term: number;
  readonly epoch: number;
  readonly isJoint: boolean;
  readonly hasFreshQuorum: boolean;
  readonly nodeId: string;
  readonly leaderId: string;
  readonly leaderUrl: string;
  readonly isReady: boolean;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly damagedEntriesRepaired: number;
  readonly damagedSegments: number;
  readonly isListOther: boolean;
  readonly elections: number;
  readonly peers: readonly {
    readonly nodeId: string;
    readonly isVoter: boolean;
    readonly isConnected: boolean;
    readonly state: "probe" | "replicate" | "snapshot" | "unknown";
    readonly matchIndex: number;
    readonly lagEntries: number;
    readonly lagBytes: number;
    readonly lastContactMs: number;
    readonly bytesSent: number;
    readonly bytesReceived: number;
  }[];
}

/** Reads one replica. */
export class ReplicaProbe {
  readonly #replica: Replica;
  readonly #rocket: RocketTopics;
  readonly #backups: Backups;
  readonly #diskKind: string;
  readonly #syncMicros: Histogram;

  /** @param syncMicros Filled by the disk: from handing a write over until it is synced. */
  constructor(
    broker: {
      readonly replica: Replica;
      readonly rocket: RocketTopics;
      readonly backups: Backups;
    },
    diskKind: string,
    syncMicros: Histogram,
  ) {
    this.#replica = broker.replica;
    this.#rocket = broker.rocket;
    this.#backups = broker.backups;
    this.#diskKind = diskKind;
    this.#syncMicros = syncMicros;
  }

  /** Topics by identity; what went in and out of them is counted where the bytes pass. */
  *topics(): Iterable<{ readonly id: number; readonly name: string }> {
    yield* this.#replica.state.topics();
  }

  *groups(): Iterable<GroupLag> {
    const { state } = this.#replica;
    for (const topic of state.topics()) {
      for (const { group, partition, committedOffset } of state.groups.of(topic.id)) {
        const nextOffset =
          topic.mode === "rocket"
            ? this.#rocket.range(topic, partition).nextOffset
            : (topic.nextOffset[partition] ?? 0);
        const lag = Math.max(0, nextOffset - committedOffset - 1);
        yield { topic: topic.name, group, partition, lag };
      }
    }
  }

  keys(): {
    readonly keys: number;
    readonly bytes: number;
    readonly memoryBytes: number;
    readonly tombstones: number;
    readonly namespaces: number;
    readonly expired: number;
  } {
    const { kv } = this.#replica;
    return {
      keys: kv.liveCount,
      bytes: kv.liveBytes,
      memoryBytes: kv.memoryBytes,
      tombstones: kv.tombstoneCount,
      namespaces: kv.namespaceCount,
      expired: kv.expiredCount,
    };
  }

  log(): {
    readonly disk: string;
    readonly segments: number;
    readonly scrubbedSegments: number;
    readonly archives: number;
    readonly liveBytes: number;
    readonly deadBytes: number;
    readonly reclaimRuns: number;
    readonly reclaimedFiles: number;
    readonly reclaimedBytes: number;
    readonly compactedIndex: number;
    readonly segmentBytes: number;
    readonly freeBytes: number;
    readonly syncMicros: Histogram;
    readonly writeBytes: Histogram;
    readonly entryRecords: Histogram;
    readonly queuedEntries: number;
    readonly queuedBytes: number;
  } {
    const { log, batcher } = this.#replica;
    const { freeBytes, scrubbed: scrubbedSegments, ...counts } = log.counts;
    return {
      ...counts,
      disk: this.#diskKind,
      scrubbedSegments,
      segmentBytes: log.segmentBytes,
      freeBytes: Number.isFinite(freeBytes) ? freeBytes : 0,
      syncMicros: this.#syncMicros,
      writeBytes: log.probe.bytesPerWrite,
      entryRecords: log.probe.recordsPerEntry,
      queuedEntries: batcher.queue.reduce((sum, write) => sum + write.entryCount, 0),
      queuedBytes: batcher.queue.reduce((sum, write) => sum + write.end - write.start, 0),
    };
  }

  /** Backups that were taken. */
  backups(): Backups {
    return this.#backups;
  }

  /** Memory of rocket topics. */
  rocket(): { readonly bytes: number; readonly evicted: number } {
    return this.#rocket.counts;
  }

  raft(): {
    readonly term: number;
    readonly lastIndex: number;
    readonly commitIndex: number;
    readonly appliedIndex: number;
    readonly isLeader: boolean;
    readonly idempotencyKeys: number;
    readonly idempotencyEvictions: number;
  } {
    const { raft, state, appliedIndex } = this.#replica;
    return {
      term: raft.term,
      lastIndex: raft.lastIndex,
      commitIndex: raft.commitIndex,
      appliedIndex,
      isLeader: raft.role === "leader",
      idempotencyKeys: state.keys.size,
      idempotencyEvictions: state.keysDroppedEarly,
    };
  }

  /** The node's part in its cluster. */
  cluster(): ClusterProbe {
    const replica = this.#replica;
    const { raft, membership, transport } = replica;
    // Whoever leads says nothing to a node that was removed, and may be another one by now.
    const leaderId = replica.isRemoved ? "" : (raft.leaderId ?? "");
    const isLearner = membership.learners.includes(raft.nodeId);
    return {
      role: raft.role === "preCandidate" ? "candidate" : isLearner ? "learner" : raft.role,
      term: raft.term,
      epoch: membership.epoch,
      isJoint: membership.outgoing.length > 0,
      hasFreshQuorum: replica.isLeading || (raft.leaderId !== undefined && replica.isReady),
      nodeId: raft.nodeId,
      leaderId,
      leaderUrl: leaderId === "" ? "" : replica.urlOf(leaderId),
      isReady: replica.isReady,
      commitIndex: raft.commitIndex,
      appliedIndex: replica.appliedIndex,
      lastIndex: raft.lastIndex,
      damagedEntriesRepaired: replica.repairedEntries,
      damagedSegments: replica.repairs.size,
      isListOther: replica.isListOther,
      elections: replica.elections,
      peers: membership.members
        .filter(({ nodeId }) => nodeId !== raft.nodeId)
        .map(({ nodeId }) => {
          const progress = raft.progress.get(nodeId);
          const link = transport.link(nodeId);
          return {
            nodeId,
            isVoter: membership.voters.includes(nodeId),
            isConnected: link.isConnected,
            state: progress?.state ?? "unknown",
            matchIndex: progress?.matchIndex ?? 0,
            lagEntries: progress === undefined ? 0 : raft.lastIndex - progress.matchIndex,
            lagBytes: progress === undefined ? 0 : replica.log.bytesBehind(progress.matchIndex),
            lastContactMs: replica.lastContactMs(nodeId),
            bytesSent: link.bytesSent ?? 0,
            bytesReceived: link.bytesReceived ?? 0,
          };
        }),
    };
  }
}
