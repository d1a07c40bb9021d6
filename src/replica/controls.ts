// What changes topics, groups, floors and rules: evaluated one at a time against applied state, so that every refusal
// speaks of what is committed and every command states its outcome.

import {
  isName,
  modeNumber,
  noSuchPartition,
  noSuchTopic,
  PARTITIONS_MAX,
  shapeRefusal,
  type Topic,
  type TopicShape,
} from "../broker/mod.ts";
import { encodeText } from "../lib/bytes.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import {
  type ControlCommand,
  RETENTION_ALL_PARTITIONS,
  RETENTION_ALL_TOPICS,
} from "../model/command-codec.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { GroupCommits } from "./group-commits.ts";
import type { Replica } from "./replica.ts";

/** What evaluating a request against applied state gives: an answer, or commands and the answer once they are applied. */
type Evaluated<T> =
  | { readonly answer: Result<T, Refusal> }
  | { readonly commands: readonly ControlCommand[]; readonly outcome: () => Result<T, Refusal> };

/** Limits of the broker's state, checked by the leader before it proposes. */
export interface ControlLimits {
  readonly topicsMax: number;
  readonly partitionsMax: number;
  /** Groups, counted per partition. */
  readonly groupsMax: number;
  /** Requests of this room that may wait: topics, rules and floors for their turn, commits for their entry. */
  readonly waitingMax: number;
}

const TOO_MANY = refuse("overloaded", "Too many requests wait");

/** The way in for everything but records. */
export class Controls {
  readonly #replica: Replica;
  readonly #limits: ControlLimits;
  readonly #groupCommits: GroupCommits;
  /** Requests that wait for the one before them. */
  readonly #queue: (() => void)[] = [];
  #isBusy = false;
  #isDraining = false;

  constructor(replica: Replica, limits: ControlLimits, groupCommits: GroupCommits) {
    this.#replica = replica;
    this.#limits = limits;
    this.#groupCommits = groupCommits;
  }

  /** Evaluates a request when those before it are applied. */
  submit<T>(evaluate: () => Evaluated<T>): Promise<Result<T, Refusal>> {
    if (this.#queue.length >= this.#limits.waitingMax) return Promise.resolve(fail(TOO_MANY));
    return new Promise((resolve) => {
      this.#queue.push(() => {
        const replica = this.#replica;
        const gate = replica.writeGate();
        if (gate !== undefined) return this.#finish(() => resolve(fail(gate)));
        const lost = (refusal: Refusal): void => this.#finish(() => resolve(fail(refusal)));
        const evaluated = evaluate();
        if ("answer" in evaluated) {
          const { answer } = evaluated;
          replica.confirm(() => this.#finish(() => resolve(answer)), lost);
          return;
        }
        replica.callbacks.add(
          replica.propose(evaluated.commands),
          () => this.#finish(() => resolve(evaluated.outcome())),
          lost,
        );
      });
      this.#next();
    });
  }

  /** A loop, not a recursion: thousands may be answered at once. */
  #next(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (let run = this.#queue[0]; run !== undefined && !this.#isBusy; run = this.#queue[0]) {
      this.#queue.shift();
      this.#isBusy = true;
      run();
    }
    this.#isDraining = false;
  }

  #finish(answer: () => void): void {
    this.#isBusy = false;
    answer();
    this.#next();
  }

  /** Creates a topic; the same settings again are the same topic. */
  createTopic(
    shape: TopicShape,
  ): Promise<Result<{ readonly topicId: number; readonly created: boolean }, Refusal>> {
    const { name, partitions, mode, ttlMs = 0, maxBytes = 0 } = shape;
    return this.submit<{ readonly topicId: number; readonly created: boolean }>(() => {
      const { state } = this.#replica;
      if (!isName(name))
        return refused("invalid_parameter", "A topic name is 1 to 120 of A-Z a-z 0-9 . _ -");
      if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
        return refused("invalid_parameter", `partitions is an integer from 1 to ${PARTITIONS_MAX}`);
      }
      const known = state.byName(name);
      if (known !== undefined) {
        const refusal = shapeRefusal(known, shape);
        return {
          answer:
            refusal === undefined ? succeed({ topicId: known.id, created: false }) : fail(refusal),
        };
      }
      if (
        state.topicCount >= this.#limits.topicsMax ||
        state.partitionCount + partitions > this.#limits.partitionsMax
      ) {
        return refused(
          "overloaded",
          `Cannot create another topic: the limits are ${this.#limits.topicsMax} topics and ${this.#limits.partitionsMax} partitions`,
        );
      }
      const topicId = state.topicIdMax + 1;
      const commands: ControlCommand[] = [
        {
          kind: "topicCreated",
          topicId,
          partitions,
          mode: modeNumber(mode),
          createdMs: this.#replica.now(),
          name,
        },
      ];
      if (ttlMs > 0 || maxBytes > 0) {
        commands.push({
          kind: "retentionSet",
          topicId,
          partition: RETENTION_ALL_PARTITIONS,
          ttlMs,
          maxBytes,
        });
      }
      return { commands, outcome: () => succeed({ topicId, created: true }) };
    });
  }

  /** Deletes a topic with everything in it. */
  deleteTopic(name: string): Promise<Result<{ readonly deletedRecords: number }, Refusal>> {
    return this.submit(() => {
      const topic = this.#replica.state.byName(name);
      if (topic === undefined) return { answer: fail(noSuchTopic(name)) };
      // Records that arrive from here on would stand behind the deletion in the log.
      topic.isBeingDeleted = true;
      return {
        commands: [{ kind: "topicDeleted", topicId: topic.id }],
        outcome: () =>
          succeed({
            deletedRecords: topic.nextOffset.reduce(
              (sum, next, i) => sum + next - (topic.startOffset[i] ?? 0),
              0,
            ),
          }),
      };
    });
  }

  /** Moves a group forward. Not queued: commits stand for themselves, and many of them share an entry. */
  commit(request: {
    readonly topic: string;
    readonly group: string;
    readonly partition: number;
    readonly offset: number;
  }): Promise<Result<undefined, Refusal>> {
    return this.#commit(request, false);
  }

  /** @param isSettled Everything that was committed before the request came is applied here. */
  #commit(
    request: Parameters<Controls["commit"]>[0],
    isSettled: boolean,
  ): Promise<Result<undefined, Refusal>> {
    const replica = this.#replica;
    const { partition, offset } = request;
    const refused = (reason: Refusal): Promise<Result<undefined, Refusal>> =>
      isSettled ? Promise.resolve(fail(reason)) : this.#settled(() => this.#commit(request, true));
    const gate = replica.writeGate();
    if (gate !== undefined) return Promise.resolve(fail(gate));
    const topic = replica.state.byName(request.topic);
    if (topic === undefined || topic.isBeingDeleted) return refused(noSuchTopic(request.topic));
    const nextOffset = topic.nextOffset[partition];
    if (nextOffset === undefined) return refused(noSuchPartition(topic, partition));
    if (!isName(request.group))
      return refused(refuse("invalid_parameter", "A group name is 1 to 120 of A-Z a-z 0-9 . _ -"));
    if (!Number.isSafeInteger(offset) || offset < 0)
      return refused(refuse("invalid_parameter", "offset is an integer from 0"));
    if (offset >= nextOffset) {
      return refused(
        refuse(
          "invalid_parameter",
          `Cannot commit offset ${offset}: the partition ends before ${nextOffset}`,
        ),
      );
    }
    const group = encodeText(request.group);
    // Backward commits are ignored: what is applied is already further.
    const committedOffset = replica.state.groups.get(topic.id, partition, group);
    if (committedOffset >= offset) return Promise.resolve(succeed(undefined));
    if (committedOffset < 0 && replica.state.groups.size >= this.#limits.groupsMax) {
      return refused(
        refuse("overloaded", `Cannot begin another group: the limit is ${this.#limits.groupsMax}`),
      );
    }
    if (replica.callbacks.size >= this.#limits.waitingMax) return Promise.resolve(fail(TOO_MANY));
    replica.batcher.open(GroupCommits.bytesOf(group), replica.now);
    this.#groupCommits.add(topic.id, partition, group, offset);
    replica.wantSubmit();
    return new Promise((resolve) =>
      replica.callbacks.add(
        replica.openIndex,
        () => resolve(succeed(undefined)),
        (refused) => resolve(fail(refused)),
      ),
    );
  }

  /**
   * Looks again once everything that this node has taken is applied and it is known to lead still: a follower whose disk is
   * faster may have shown somebody what is not applied here yet, and a refusal must not deny it.
   */
  #settled<T>(again: () => Promise<Result<T, Refusal>>): Promise<Result<T, Refusal>> {
    return new Promise((resolve) => {
      this.#replica.confirm(
        () => resolve(again()),
        (reason) => resolve(fail(reason)),
      );
    });
  }

  /** Raises the floor of one partition. */
  deleteBefore(request: {
    readonly topic: string;
    readonly partition: number;
    readonly beforeOffset: number;
  }): Promise<Result<{ readonly deletedCount: number; readonly freedBytes: number }, Refusal>> {
    return this.#deleteBefore(request, false);
  }

  /** @param isSettled Everything that was committed before the request came is applied here. */
  #deleteBefore(
    request: Parameters<Controls["deleteBefore"]>[0],
    isSettled: boolean,
  ): Promise<Result<{ readonly deletedCount: number; readonly freedBytes: number }, Refusal>> {
    const { state, log } = this.#replica;
    const { partition, beforeOffset } = request;
    const gate = this.#replica.writeGate();
    if (gate !== undefined) return Promise.resolve(fail(gate));
    const topic = state.byName(request.topic);
    const nextOffset = topic?.nextOffset[partition];
    if (!isSettled && (nextOffset === undefined || beforeOffset > nextOffset))
      return this.#settled(() => this.#deleteBefore(request, true));
    if (topic === undefined) return Promise.resolve(fail(noSuchTopic(request.topic)));
    if (nextOffset === undefined) return Promise.resolve(fail(noSuchPartition(topic, partition)));
    if (!Number.isSafeInteger(beforeOffset) || beforeOffset < 0) {
      return Promise.resolve(
        fail(refuse("invalid_parameter", "before_offset is an integer from 0")),
      );
    }
    // Never past the end: later records must not be hidden before they exist.
    const startOffset = Math.min(beforeOffset, nextOffset);
    const floor = topic.startOffset[partition] ?? 0;
    const below = topic.bytesBelow[partition] ?? 0;
    return log.reader.bytesBetween(topic.id, partition, floor, startOffset).then((bytes) =>
      bytes === undefined
        ? // The floor has risen meanwhile, and what lay below it is gone.
          this.#deleteBefore(request, isSettled)
        : this.#raise(topic, partition, startOffset, below + bytes),
    );
  }

  #raise(
    topic: Topic,
    partition: number,
    startOffset: number,
    bytesBelow: number,
  ): Promise<Result<{ readonly deletedCount: number; readonly freedBytes: number }, Refusal>> {
    return this.submit(() => {
      if (this.#replica.state.byId(topic.id) === undefined)
        return { answer: fail(noSuchTopic(topic.name)) };
      const oldStart = topic.startOffset[partition] ?? 0;
      const oldBytes = topic.bytesBelow[partition] ?? 0;
      if (startOffset <= oldStart) return { answer: succeed({ deletedCount: 0, freedBytes: 0 }) };
      return {
        commands: [{ kind: "floorRaised", topicId: topic.id, partition, startOffset, bytesBelow }],
        outcome: () =>
          succeed({ deletedCount: startOffset - oldStart, freedBytes: bytesBelow - oldBytes }),
      };
    });
  }

  /** Sets one or both limits at one level; what is left out keeps its value. */
  setRetention(request: {
    readonly topic: string;
    readonly partition: number | undefined;
    readonly ttlMs: number | undefined;
    readonly maxBytes: number | undefined;
  }): Promise<
    Result<
      {
        readonly ttlApplied: boolean;
        readonly sizeApplied: boolean;
        readonly sealedBytesAfter: number;
      },
      Refusal
    >
  > {
    const { state, log } = this.#replica;
    const { partition } = request;
    return this.submit(() => {
      const topic = request.topic === "*" ? undefined : state.byName(request.topic);
      if (topic === undefined && request.topic !== "*")
        return { answer: fail(noSuchTopic(request.topic)) };
      if (topic === undefined && partition !== undefined)
        return refused("invalid_parameter", "topic * takes no partition");
      if (topic !== undefined && partition !== undefined && partition >= topic.partitions)
        return { answer: fail(noSuchPartition(topic, partition)) };
      const present = state.ruleAt(topic, partition);
      const ttlMs = request.ttlMs ?? present.ttlMs;
      const maxBytes = request.maxBytes ?? present.maxBytes;
      const topicId = topic?.id ?? RETENTION_ALL_TOPICS;
      return {
        commands: [
          {
            kind: "retentionSet",
            topicId,
            partition: partition ?? RETENTION_ALL_PARTITIONS,
            ttlMs,
            maxBytes,
          },
        ],
        outcome: () =>
          succeed({
            ttlApplied: request.ttlMs !== undefined,
            sizeApplied: request.maxBytes !== undefined,
            sealedBytesAfter: log.segmentBytes,
          }),
      };
    });
  }
}

const refused = (
  code: Refusal["code"],
  message?: string,
): { readonly answer: { readonly ok: false; readonly error: Refusal } } => ({
  answer: fail(refuse(code, message)),
});
