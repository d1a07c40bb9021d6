// Retention as the leader proposes it, once a second: looks for partitions whose oldest records have outlived their rule
// and raises their floors. Apply never compares time with records.

import type { Topic } from "../broker/mod.ts";
import { partitionKey } from "../log/mod.ts";
import type { Controls } from "./controls.ts";
import type { Replica } from "./replica.ts";
import type { RocketTopics } from "./rocket-topics.ts";

/** Limits of one pass over a partition; 0: none. */
export interface PassLimits {
  readonly ttlMs: number;
  readonly maxBytes: number;
}

/** Floors that one pass raises at most, so that its entry stays small. */
const FLOORS_PER_PASS_MAX = 1000;
/** A pass begins so often, and whenever the log begins another file: records cannot outgrow a limit of bytes by more. */
const PASS_MS = 1000;
/** Partitions remembered as settled: twice what a node may have. */
const SETTLED_MAX = 200_000;

/** Finds and raises floors; one pass at a time. */
export class RetentionPass {
  readonly #replica: Replica;
  readonly #controls: Controls;
  readonly #rocket: RocketTopics;
  /** Where partitions ended that had nothing left but their newest chunk: an idle one is not read again every second. */
  readonly #settled = new Map<number, number>();
  #isRunning = false;
  #nextMs = 0;
  #newestFile = 0;

  constructor(replica: Replica, controls: Controls, rocket: RocketTopics) {
    this.#replica = replica;
    this.#controls = controls;
    this.#rocket = rocket;
  }

  /** Time goes on: starts a pass when one is due. */
  tick(nowMs: number): void {
    const { segments } = this.#replica.log;
    const newestFile = segments.all().at(-1)?.sequence ?? 0;
    if (nowMs < this.#nextMs && newestFile === this.#newestFile) return;
    this.#nextMs = nowMs + PASS_MS;
    this.#newestFile = newestFile;
    this.start();
  }

  /** Starts a pass by the rules that are set, unless one is under way. */
  start(): void {
    if (this.#isRunning || !this.#replica.isLeading) return;
    const { state } = this.#replica;
    this.#isRunning = true;
    // A damaged read has already stopped the node by the time this ends.
    const done = (): void => {
      this.#isRunning = false;
    };
    this.run((topic, partition) => state.ruleOf(topic, partition)).then(done, done);
  }

  /** One pass over every partition with the limits that `limitsOf` gives. */
  run(limitsOf: (topic: Topic, partition: number) => PassLimits): Promise<void> {
    this.#rocket.trim(limitsOf);
    const work: {
      readonly topic: Topic;
      readonly partition: number;
      readonly limits: PassLimits;
    }[] = [];
    for (const topic of this.#replica.state.topics()) {
      for (let partition = 0; partition < topic.partitions; partition++) {
        // Most partitions are empty or settled, and asking for a rule costs more than seeing that.
        if (!this.#hasWork(topic, partition)) continue;
        const limits = limitsOf(topic, partition);
        if (limits.ttlMs > 0 || limits.maxBytes > 0) work.push({ topic, partition, limits });
      }
    }
    const found: Floor[] = [];
    const step = (at: number): Promise<void> => {
      const item = work[at];
      if (item === undefined || found.length >= FLOORS_PER_PASS_MAX) return this.#raise(found);
      return this.#floorOf(item.topic, item.partition, item.limits).then((floor) => {
        if (floor !== undefined) found.push(floor);
        return step(at + 1);
      });
    };
    return step(0);
  }

  /** Whether a partition has records, and more of them than the newest chunk that the last pass left. */
  #hasWork(topic: Topic, partition: number): boolean {
    const nextOffset = topic.nextOffset[partition] ?? 0;
    const isEmpty = (topic.startOffset[partition] ?? 0) >= nextOffset;
    return !isEmpty && this.#settled.get(partitionKey(topic.id, partition)) !== nextOffset;
  }

  #floorOf(topic: Topic, partition: number, limits: PassLimits): Promise<Floor | undefined> {
    const offset = topic.startOffset[partition] ?? 0;
    const bytesBelow = topic.bytesBelow[partition] ?? 0;
    const range = {
      topicId: topic.id,
      partition,
      offset,
      endOffset: topic.nextOffset[partition] ?? 0,
      maxRecords: Number.MAX_SAFE_INTEGER,
      maxBytes: Number.MAX_SAFE_INTEGER,
    };
    const found = this.#replica.log.reader.retentionFloor(range, {
      bytesBelow,
      olderThanMs: limits.ttlMs > 0 ? this.#replica.now() - limits.ttlMs : -1,
      dropToBytes: limits.maxBytes > 0 ? (topic.bytesTotal[partition] ?? 0) - limits.maxBytes : 0,
    });
    return found.then(({ startOffset, bytesBelow, isNewest }) => {
      if (startOffset > offset) return { topicId: topic.id, partition, startOffset, bytesBelow };
      if (isNewest) this.#settle(partitionKey(topic.id, partition), range.endOffset);
      return undefined;
    });
  }

  #settle(key: number, endOffset: number): void {
    // Partitions of deleted topics are never asked for again; they leave when there are too many.
    if (this.#settled.size >= SETTLED_MAX) this.#settled.clear();
    this.#settled.set(key, endOffset);
  }

  #raise(floors: readonly Floor[]): Promise<void> {
    if (floors.length === 0) return Promise.resolve();
    return this.#controls
      .submit(() => ({
        commands: floors.map((floor) => ({ kind: "floorRaised" as const, ...floor })),
        outcome: () => ({ ok: true as const, value: undefined }),
      }))
      .then(() => undefined);
  }
}

interface Floor {
  readonly topicId: number;
  readonly partition: number;
  readonly startOffset: number;
  readonly bytesBelow: number;
}
