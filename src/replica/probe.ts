// What the replica can be asked for metrics: plain numbers, read on scrape, so that recording costs the hot path nothing.

import type { Histogram } from "../lib/histogram.ts";
import type { Replica } from "./replica.ts";

/** How far one group is behind in one partition. */
interface GroupLag {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly lag: number;
}

/** Reads one replica. */
export class ReplicaProbe {
  readonly #replica: Replica;
  readonly #diskKind: string;
  readonly #syncMicros: Histogram;

  /** @param syncMicros Filled by the disk: from handing a write over until it is synced. */
  constructor(replica: Replica, diskKind: string, syncMicros: Histogram) {
    this.#replica = replica;
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
        const lag = Math.max(0, (topic.nextOffset[partition] ?? 0) - committedOffset - 1);
        yield { topic: topic.name, group, partition, lag };
      }
    }
  }

  log(): {
    readonly disk: string;
    readonly segments: number;
    readonly segmentBytes: number;
    readonly freeBytes: number;
    readonly syncMicros: Histogram;
    readonly writeBytes: Histogram;
    readonly entryRecords: Histogram;
    readonly queuedEntries: number;
    readonly queuedBytes: number;
  } {
    const { log, batcher } = this.#replica;
    const { segments, freeBytes } = log.counts;
    return {
      disk: this.#diskKind,
      segments,
      segmentBytes: log.segmentBytes,
      freeBytes: Number.isFinite(freeBytes) ? freeBytes : 0,
      syncMicros: this.#syncMicros,
      writeBytes: log.probe.bytesPerWrite,
      entryRecords: log.probe.recordsPerEntry,
      queuedEntries: batcher.queue.reduce((sum, write) => sum + write.entryCount, 0),
      queuedBytes: batcher.queue.reduce((sum, write) => sum + write.end - write.start, 0),
    };
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
}
