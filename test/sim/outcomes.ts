// Judges what a produce was answered: where the records went, that a key yields one record, that refusals speak of what is
// committed.

import type { Refusal } from "../../src/model/errors.ts";
import { claim, type Shadow, type Write } from "./shadow.ts";

/** What the sink was told. */
export interface Produced {
  readonly firstOffset: number;
  readonly count: number;
  readonly partition: number;
  readonly raftIndex: number;
  readonly synced: number;
  readonly duplicate: number;
}

/** Takes an acknowledgement into the shadow. */
export function acknowledged(
  shadow: Shadow,
  write: Write,
  outcome: Produced,
  at: { readonly life: number; readonly now: number },
): void {
  const { firstOffset, count, partition, raftIndex, synced, duplicate } = outcome;
  claim(write.fate === "pending", `Write ${write.id} was answered twice, or by a dead node`);
  claim(
    count === write.values.length,
    `Write ${write.id} has ${write.values.length}, not ${count}`,
  );
  if (duplicate === 1) {
    const present = shadow.owner(write);
    const isBefore =
      write.ownerBefore?.firstOffset === firstOffset && write.ownerBefore.partition === partition;
    const owner = isBefore && present?.firstOffset !== firstOffset ? write.ownerBefore : present;
    write.fate = "answered";
    claim(owner !== undefined, `Write ${write.id} is called a duplicate of nothing`);
    claim(
      owner.fingerprint === write.fingerprint,
      `Write ${write.id} is called a duplicate of ${owner.id}, which was another request`,
    );
    claim(
      owner.partition === partition && owner.firstOffset === firstOffset,
      `Write ${write.id} got ${partition}/${firstOffset}, its original ${owner.id} ${owner.partition}/${owner.firstOffset}`,
    );
    claim(raftIndex === 0 && synced === -1, `The duplicate ${write.id} claims an entry of its own`);
    return;
  }
  const owner = shadow.owner(write);
  claim(
    (write.idempotencyKey === undefined ? -1 : 0) === duplicate,
    `Write ${write.id} has duplicate ${duplicate}`,
  );
  claim(
    owner === undefined || shadow.mayHaveExpired(owner, at.life, at.now),
    `Key ${write.idempotencyKey} of write ${write.id} yields a second record at ${partition}/${firstOffset}: write ${owner?.id} had it`,
  );
  claim(write.asked < 0 || write.asked === partition, `Write ${write.id} went to ${partition}`);
  claim(
    write.expectedOffset < 0 || write.expectedOffset === firstOffset,
    `Write ${write.id} expected ${write.expectedOffset} and got ${firstOffset}`,
  );
  claim(synced === 1, `Write ${write.id} is acknowledged with synced ${synced}`);
  claim(
    raftIndex > 0 && raftIndex >= shadow.acknowledgedIndex,
    `Entry ${raftIndex} comes after ${shadow.acknowledgedIndex}`,
  );
  shadow.acknowledgedIndex = raftIndex;
  shadow.store(write, partition, firstOffset);
}

/** What else is so when a write is refused. */
export interface RefusalContext {
  readonly life: number;
  readonly now: number;
  readonly isReady: boolean;
  readonly mayBeFull: boolean;
  /** Committed end of the asked partition when the write was sent. */
  readonly nextOffsetBefore: number;
}

/** Judges a refusal. */
export function refused(
  shadow: Shadow,
  write: Write,
  refusal: Refusal,
  context: RefusalContext,
): void {
  claim(write.fate === "pending", `Write ${write.id} was answered twice, or by a dead node`);
  write.fate = "answered";
  const owner = shadow.owner(write);
  const topic = shadow.topics.get(write.topicId);
  const isDuplicate =
    // Only what was sent before it: an answer may come after a later request has taken the key.
    owner?.fingerprint === write.fingerprint &&
    owner.id < write.id &&
    !shadow.mayHaveExpired(owner, context.life, context.now);
  switch (refusal.code) {
    case "idempotency_key_reused":
      claim(
        [owner, write.ownerBefore].some(
          (other) => other !== undefined && other.fingerprint !== write.fingerprint,
        ),
        `Write ${write.id} is refused for key ${write.idempotencyKey}, which ${owner === undefined ? "nobody used" : "stands for the same request"}`,
      );
      return;
    case "offset_mismatch": {
      const { next_offset: nextOffset } = refusal.fields ?? {};
      const present = shadow.partition(write.topicId, write.asked).records.length;
      claim(!isDuplicate, `The duplicate ${write.id} is refused by its expected offset`);
      claim(
        typeof nextOffset === "number" &&
          nextOffset !== write.expectedOffset &&
          nextOffset <= present &&
          nextOffset >= context.nextOffsetBefore,
        `Write ${write.id} expected ${write.expectedOffset} and is told ${nextOffset}; the committed end is ${present}, was ${context.nextOffsetBefore}`,
      );
      return;
    }
    case "topic_not_found":
      claim(
        topic === undefined || !topic.isAlive || topic.isBeingDeleted,
        `Write ${write.id} does not find topic ${write.topicId}, which exists`,
      );
      return;
    case "disk_full":
      claim(context.mayBeFull, `Write ${write.id} is refused by a full disk that has room`);
      claim(!isDuplicate, `The duplicate ${write.id} is refused by a full disk`);
      return;
    case "not_ready":
      claim(!context.isReady, `Write ${write.id} is refused by a node that is ready`);
      return;
    default:
      claim(false, `Write ${write.id} is refused with ${refusal.code}: ${refusal.message}`);
  }
}
