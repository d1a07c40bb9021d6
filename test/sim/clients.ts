// What clients do: produce alone and in batches, with keys and expectations, repeat what they are unsure of, commit, read,
// delete, set rules. Every act says what it wants of the shadow when its answer comes.

import { encodeText } from "../../src/lib/bytes.ts";
import type { Prng } from "../../src/lib/prng.ts";
import type { Result } from "../../src/lib/result.ts";
import type { Refusal } from "../../src/model/errors.ts";
import type { Node } from "./node.ts";
import { refused } from "./outcomes.ts";
import { isRecordOf, recordsOf } from "./settle.ts";
import {
  claim,
  contentOf,
  headersOf,
  type PendingControl,
  type Shadow,
  type ShadowRule,
  type ShadowTopic,
  type Write,
} from "./shadow.ts";
import type { World } from "./world.ts";

const TOPIC_NAMES = ["orders", "events", "logs"];
/** A topic that is being deleted may have been made again with fewer partitions. */
const NOT_FOUND: readonly string[] = ["topic_not_found", "partition_not_found"];
const GROUPS = ["g1", "g2", "billing"];

/** All clients of a world; their choices come from one stream of their own. */
export class Clients {
  readonly #world: World;
  readonly #prng: Prng;
  /** Committed end of the asked partition when a write was sent, by write. */
  readonly #endBefore = new Map<number, number>();

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
  }

  get #shadow(): Shadow {
    return this.#world.shadow;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#prng.below(choices.length)] as T;
  }

  /** One act of some client. */
  act(node: Node): void {
    const { plan } = this.#world;
    if (node.inFlight === 0) node.busySinceMs = this.#world.now;
    const alive = [...this.#shadow.topics.values()].filter((topic) => topic.isAlive);
    const topic = alive.length === 0 ? undefined : this.#pick(alive);
    const isControl = this.#prng.chance(plan.controlShare);
    const act = this.#prng.below(100);
    if (topic === undefined) this.#create(node);
    else if (!isControl) this.#produce(node, topic);
    else if (plan.isWasteful && act % 2 === 0) this.#deleteBefore(node, topic);
    else if (act < 40) this.#read(node, topic);
    else if (act < 65) this.#commit(node, topic);
    else if (act < 75) this.#deleteBefore(node, topic);
    else if (act < 83) this.#create(node);
    else if (act < 87 && !topic.isBeingDeleted) this.#delete(node, topic);
    else if (plan.hasRetention && !topic.isBeingDeleted) this.#retain(node, topic);
  }

  #produce(node: Node, topic: ShadowTopic): void {
    const { plan } = this.#world;
    const old = this.#prng.chance(0.3)
      ? this.#pick([...this.#shadow.writes, undefined])
      : undefined;
    const isRepeat = old?.idempotencyKey !== undefined && this.#isSendable(old);
    const isExact = this.#prng.chance(0.85);
    if (isRepeat && isExact) {
      this.#send(node, this.#copy(node, old, {}));
      return;
    }
    const fresh = this.#write(node, topic);
    const isReuse = isRepeat && old.topicId === fresh.topicId;
    const write = isReuse ? this.#copy(node, fresh, { idempotencyKey: old.idempotencyKey }) : fresh;
    this.#send(node, write);
    const isTwice = write.idempotencyKey !== undefined && this.#prng.chance(0.2);
    if (isTwice && node.inFlight < plan.inFlightMax + 1)
      this.#send(node, this.#copy(node, write, {}));
  }

  #isSendable(write: Write): boolean {
    return this.#shadow.topics.get(write.topicId)?.isAlive === true;
  }

  #write(node: Node, topic: ShadowTopic): Write {
    const { plan } = this.#world;
    const id = this.#shadow.writes.length + 1;
    const isBatch = this.#prng.chance(0.3);
    const count = isBatch ? 1 + this.#prng.below(this.#pick([3, 20, 200])) : 1;
    const bytesMax = Math.max(8, Math.floor(plan.valueBytesMax / count));
    const asked = this.#prng.chance(0.7) ? this.#prng.below(topic.partitions.length) : -1;
    const present = topic.partitions[asked]?.records.length ?? 0;
    const key = this.#prng.chance(0.3) ? encodeText(`k${this.#prng.below(20)}`) : undefined;
    const isKeyed = this.#prng.chance(plan.keyedShare);
    return {
      id,
      contentId: id,
      life: node.life,
      topicId: topic.id,
      asked,
      key,
      headers: this.#prng.chance(0.1) ? headersOf(id) : undefined,
      idempotencyKey: isKeyed ? `key-${id}` : undefined,
      expectedOffset:
        asked >= 0 && this.#prng.chance(0.15)
          ? Math.max(0, present + this.#pick([0, 0, 0, 1, -1, 5]))
          : -1,
      values: Array.from({ length: count }, (_, index) =>
        contentOf(id, index, 8 + this.#prng.below(bytesMax)),
      ),
      fingerprint: `${id}`,
      openedMs: node.busySinceMs,
      sentMs: this.#world.now,
      ownerBefore: undefined,
      fate: "pending",
      partition: -1,
      firstOffset: -1,
      keyedOrdinal: 0,
    };
  }

  /** The same request again, or another one under the same key; not counted before it is sent. */
  #copy(node: Node, write: Write, change: { readonly idempotencyKey?: string | undefined }): Write {
    const request = { ...write, ...change };
    return {
      ...request,
      ownerBefore: this.#shadow.owner(request),
      id: this.#shadow.writes.length + 1,
      life: node.life,
      openedMs: node.busySinceMs,
      sentMs: this.#world.now,
      fate: "pending",
      partition: -1,
      firstOffset: -1,
      keyedOrdinal: 0,
    };
  }

  #send(node: Node, write: Write): void {
    const { shadow, trace } = this.#world;
    claim(write.id === shadow.writes.length + 1, "Writes are numbered as they are sent");
    shadow.writes.push(write);
    const topic = shadow.topics.get(write.topicId);
    this.#endBefore.set(write.id, topic?.partitions[write.asked]?.records.length ?? 0);
    trace.event(
      "produce",
      `write ${write.id} content ${write.contentId} topic ${write.topicId}/${write.asked} count ${write.values.length} key ${write.idempotencyKey ?? "-"} expect ${write.expectedOffset}`,
    );
    const refusal = node.broker.produce(write.id, requestOf(write));
    if (refusal === undefined) node.inFlight += 1;
    else this.refused(node, write.id, refusal);
  }

  /** Judges a refusal, at once or later. */
  refused(node: Node, writeId: number, refusal: Refusal): void {
    const { shadow, trace } = this.#world;
    const write = shadow.writes[writeId - 1];
    claim(write !== undefined, `Waiter ${writeId} is nobody`);
    trace.event("refused", `write ${writeId} ${refusal.code}`);
    refused(shadow, write, refusal, {
      life: node.life,
      now: this.#world.now,
      isReady: node.replica.isReady,
      mayBeFull: this.#world.mayBeFull,
      nextOffsetBefore: this.#endBefore.get(writeId) ?? 0,
    });
  }

  /** Sends a request that is answered by a promise and hands its answer on, unless the node died meanwhile. */
  #ask<T>(
    node: Node,
    what: string,
    answer: Promise<Result<T, Refusal>>,
    judge: (result: Result<T, Refusal>) => void,
  ): void {
    const { trace } = this.#world;
    trace.event("ask", what);
    node.inFlight += 1;
    this.#world.later(node, answer, (result) => {
      node.inFlight -= 1;
      trace.event(
        "answer",
        `${what}: ${result.ok ? JSON.stringify(result.value) : result.error.code}`,
      );
      if (!result.ok && result.error.code === "not_ready")
        return claim(!node.replica.isReady, `${what} is refused by a node that is ready`);
      judge(result);
    });
  }

  #create(node: Node): void {
    const shadow = this.#shadow;
    const name = this.#pick(TOPIC_NAMES);
    const partitions = 1 + this.#prng.below(this.#world.plan.partitionsMax);
    const isLimited = this.#world.plan.hasRetention && this.#prng.chance(0.3);
    const rule: ShadowRule = { ttlMs: 0, maxBytes: isLimited ? 1000 : 0 };
    if (isLimited) shadow.mayRetain = true;
    const control: PendingControl = { kind: "create", name, partitions, rule };
    shadow.controls.add(control);
    const known = shadow.byName(name);
    // A create without a rule says nothing of one, and is for any topic of the same shape.
    const maxBytes = isLimited ? rule.maxBytes : undefined;
    const request = { name, partitions, mode: "sealed" as const, ttlMs: undefined, maxBytes };
    this.#ask(node, `create ${name} ${partitions}`, node.broker.createTopic(request), (result) => {
      shadow.controls.delete(control);
      if (!result.ok) {
        // While it was queued the topic may have gone, and come back in another shape. Rules may change at any time.
        const shapes = [known, shadow.byName(name)].map((topic) => topic?.partitions.length);
        const mayDiffer = isLimited || shapes.some((shape) => shape !== partitions);
        claim(
          result.error.code === "topic_exists" && mayDiffer,
          `Creating ${name} with ${partitions} partitions is refused with ${result.error.code}`,
        );
        return;
      }
      const { topicId, created } = result.value;
      if (created) {
        shadow.created(topicId, name, partitions);
        shadow.setRule(`${topicId}`, rule);
      } else claim(shadow.topics.get(topicId)?.name === name, `Topic ${topicId} is not ${name}`);
    });
  }

  #delete(node: Node, topic: ShadowTopic): void {
    topic.isBeingDeleted = true;
    const ask = node.broker.deleteTopic(topic.name);
    this.#ask(node, `delete ${topic.name} ${topic.id}`, ask, (result) => {
      if (!result.ok) return claim(!topic.isAlive, `Deleting ${topic.name}: ${result.error.code}`);
      // A queued deletion may have met the next topic of the same name.
      const gone = topic.isAlive ? topic : this.#shadow.byName(topic.name);
      claim(gone !== undefined, `Topic ${topic.name} was deleted twice`);
      gone.isAlive = false;
      const readable = gone.partitions.reduce(
        (sum, { records, floor }) => sum + records.length - floor,
        0,
      );
      claim(
        result.value.deletedRecords <= readable,
        `${result.value.deletedRecords} records went with ${topic.name}, which had ${readable}`,
      );
    });
  }

  #commit(node: Node, topic: ShadowTopic): void {
    const partition = this.#prng.below(topic.partitions.length);
    const group = this.#pick(GROUPS);
    const { length } = topic.partitions[partition]?.records ?? [];
    const offset = this.#prng.below(length + 3);
    const key = `${partition}/${group}`;
    const known = topic.groups.get(key) ?? {
      committed: -1,
      attempted: this.#shadow.attemptsOf(`${topic.name}/${key}`),
    };
    topic.groups.set(key, known);
    known.attempted.add(offset);
    const request = { topic: topic.name, group, partition, offset };
    const what = `commit ${topic.name}/${partition} ${group} ${offset}`;
    this.#ask(node, what, node.broker.commit(request), (result) => {
      if (result.ok) {
        known.committed = Math.max(known.committed, offset);
        return;
      }
      const isGone = !topic.isAlive || topic.isBeingDeleted;
      claim(
        result.error.code === "invalid_parameter"
          ? offset >= length || isGone
          : isGone && NOT_FOUND.includes(result.error.code),
        `${what} is refused with ${result.error.code}; the end was ${length}`,
      );
    });
  }

  #deleteBefore(node: Node, topic: ShadowTopic): void {
    const partition = this.#prng.below(topic.partitions.length);
    const known = this.#shadow.partition(topic.id, partition);
    const end = known.records.length;
    const beforeOffset = this.#prng.below(end + 20);
    const asked = { upTo: beforeOffset };
    known.floorsAsked.push(asked);
    const open = this.#shadow.floorsAskedOf(`${topic.name}/${partition}`).add(asked);
    const what = `delete-before ${topic.name}/${partition} ${beforeOffset}`;
    const request = { topic: topic.name, partition, beforeOffset };
    this.#ask(node, what, node.broker.deleteBefore(request), (result) => {
      open.delete(asked);
      if (!result.ok) {
        claim(NOT_FOUND.includes(result.error.code), `${what}: ${result.error.code}`);
        claim(!topic.isAlive || topic.isBeingDeleted, `${what} does not find its topic`);
        return;
      }
      // Deleted meanwhile: a topic of the same name was met, or none of this one's records were left.
      if (!topic.isAlive || topic.isBeingDeleted) return;
      // Records that were on their way when it was asked may be hidden too; later ones may not.
      asked.upTo = Math.min(beforeOffset, known.records.length);
      const floorMin = Math.min(beforeOffset, end);
      const { deletedCount, freedBytes } = result.value;
      const freedBy = (floor: number): number =>
        (known.bytesUpTo[floor] ?? 0) - (known.bytesUpTo[floor - deletedCount] ?? 0);
      const floors = Array.from({ length: asked.upTo - floorMin + 1 }, (_, i) => floorMin + i);
      claim(
        deletedCount === 0 ? freedBytes === 0 : floors.some((one) => freedBytes === freedBy(one)),
        `${what} freed ${freedBytes} bytes in ${deletedCount} records, not ${floors.map(freedBy)}`,
      );
      const live = node.replica.state.byId(topic.id)?.startOffset[partition] ?? floorMin;
      claim(live >= floorMin, `${what} left the floor at ${live}`);
    });
  }

  #retain(node: Node, topic: ShadowTopic): void {
    const shadow = this.#shadow;
    shadow.mayRetain = true;
    if (this.#prng.chance(0.2)) {
      const limits = { maxAgeMs: this.#pick([0, 500]), maxBytes: this.#pick([0, 2000]) };
      this.#ask(node, "collect", node.broker.collect(limits), () => undefined);
      return;
    }
    const isAll = this.#prng.chance(0.2);
    const partition =
      isAll || this.#prng.chance(0.6) ? undefined : this.#prng.below(topic.partitions.length);
    const change: { ttlMs?: number; maxBytes?: number } = {};
    if (this.#prng.chance(0.6)) change.ttlMs = this.#pick([0, 300, 5000, Number.MAX_SAFE_INTEGER]);
    if (this.#prng.chance(0.6)) change.maxBytes = this.#pick([0, 500, 20_000]);
    const level = isAll
      ? "*"
      : partition === undefined
        ? `${topic.id}`
        : `${topic.id}/${partition}`;
    const control: PendingControl = { kind: "rule", level, change };
    shadow.controls.add(control);
    const request = {
      topic: isAll ? "*" : topic.name,
      partition,
      ttlMs: change.ttlMs,
      maxBytes: change.maxBytes,
    };
    const what = `retention ${level} ${JSON.stringify(change)}`;
    this.#ask(node, what, node.broker.setRetention(request), (result) => {
      shadow.controls.delete(control);
      if (!result.ok) return claim(!topic.isAlive, `${what}: ${result.error.code}`);
      if (topic.isAlive || isAll) shadow.setRule(level, change);
    });
  }

  #read(node: Node, topic: ShadowTopic): void {
    const partition = this.#prng.below(topic.partitions.length);
    const { startOffset, nextOffset } = node.broker.partition(topic.id, partition);
    if (startOffset >= nextOffset) return;
    const offset = startOffset + this.#prng.below(nextOffset - startOffset);
    const maxRecords = 1 + this.#prng.below(this.#pick([5, 200, 1000]));
    const maxBytes = 1 + this.#prng.below(this.#pick([100, 20_000, 400_000]));
    const what = `read ${topic.id}/${partition} from ${offset}`;
    this.#world.trace.event("ask", what);
    const request = { topicId: topic.id, partition, offset, maxRecords, maxBytes };
    const judge = (found: {
      readonly slices: Parameters<typeof recordsOf>[0];
      readonly startOffset: number;
    }): void => {
      const records = recordsOf(found.slices, offset);
      this.#world.trace.event("answer", `${what}: ${records.length}`);
      const isGone = offset < found.startOffset || !topic.isAlive || topic.isBeingDeleted;
      claim(records.length > 0 || isGone, `${what} found nothing before ${nextOffset}`);
      for (const record of records) {
        const stored = this.#shadow.partition(topic.id, partition).records[record.offset];
        claim(
          stored !== undefined && isRecordOf(record, stored.write, stored.index),
          `${what} gave at ${record.offset} not what write ${stored?.write.id} put there`,
        );
      }
    };
    const found = node.broker.read(request);
    if (found instanceof Promise) this.#world.later(node, found, judge);
    else judge(found);
  }
}

/** A write as the broker takes it. */
function requestOf(write: Write): Parameters<Node["broker"]["produce"]>[1] {
  const { topicId, asked, key, headers, expectedOffset, values } = write;
  const [first = new Uint8Array(0)] = values;
  const request = {
    topicId,
    ack: "configured" as const,
    partition: asked,
    key,
    idempotencyKey:
      write.idempotencyKey === undefined ? undefined : encodeText(write.idempotencyKey),
    expectedOffset,
    headers,
    count: values.length,
  };
  if (values.length === 1) return { ...request, body: first, ranges: undefined };
  const ranges = new Int32Array(2 * values.length + 2);
  let at = 0;
  const body = new Uint8Array(values.reduce((sum, value) => sum + value.length + 1, 0)).fill(10);
  for (const [i, value] of values.entries()) {
    body.set(value, at);
    ranges[2 * i] = at;
    ranges[2 * i + 1] = at + value.length;
    at += value.length + 1;
  }
  return { ...request, body, ranges };
}
