// What a node must hold after a restart: everything that was acknowledged, and of what was under way a part that ends
// somewhere, each act whole. Compares first; takes over what it found only when all of it was right.

import { encodeText, sameBytes } from "../../src/lib/bytes.ts";
import { RecordCursor, type RecordSlice } from "../../src/model/record.ts";
import type { Node } from "./node.ts";
import { claim, type Shadow, type ShadowRule, type ShadowTopic, type Write } from "./shadow.ts";

/** One record as it was read. */
interface ReadRecord {
  readonly offset: number;
  readonly value: Uint8Array;
  readonly key: Uint8Array | undefined;
  readonly headers: Uint8Array | undefined;
}

/** Reads a range whole; the world turns until the answer is there. */
export type ReadRange = (
  topicId: number,
  partition: number,
  offset: number,
) => readonly ReadRecord[];

/** Takes records out of slices, from `offset` on, and checks that they hang together. */
export function recordsOf(slices: readonly RecordSlice[], offset: number): ReadRecord[] {
  const records: ReadRecord[] = [];
  const cursor = new RecordCursor();
  const part = (slice: RecordSlice, start: number, end: number): Uint8Array | undefined =>
    start < 0 ? undefined : slice.bytes.slice(start, end);
  let expected = offset;
  for (const slice of slices) {
    claim(
      slice.baseOffset <= expected && slice.baseOffset + slice.count > expected,
      `A slice from ${slice.baseOffset} of ${slice.count} does not go on at ${expected}`,
    );
    cursor.reset(slice.bytes, slice.start, slice.end);
    for (let at = slice.baseOffset; at < slice.baseOffset + slice.count; at++) {
      claim(cursor.next(), `The record at ${at} is broken`);
      if (at < expected) continue;
      records.push({
        offset: at,
        value: slice.bytes.slice(cursor.valueStart, cursor.valueEnd),
        key: part(slice, cursor.keyStart, cursor.keyEnd),
        headers: part(slice, cursor.headersStart, cursor.headersEnd),
      });
    }
    claim(!cursor.next() && !cursor.isBroken, `The slice from ${slice.baseOffset} has more in it`);
    expected = slice.baseOffset + slice.count;
  }
  return records;
}

const isSame = (left: Uint8Array | undefined, right: Uint8Array | undefined): boolean =>
  left === undefined || right === undefined
    ? left === right
    : sameBytes(left, 0, left.length, right);

/** Whether a record is the given one of a write, byte for byte. */
export function isRecordOf(record: ReadRecord, write: Write, index: number): boolean {
  return (
    isSame(record.value, write.values[index]) &&
    isSame(record.key, write.key) &&
    isSame(record.headers, write.headers)
  );
}

/** Compares a node that has just become ready with what was promised, and takes over what it kept. */
export function settle(node: Node, shadow: Shadow, read: ReadRange): void {
  const { state } = node.replica;
  claim(
    node.replica.appliedIndex > shadow.acknowledgedIndex,
    `The log ends at ${node.replica.appliedIndex}, but ${shadow.acknowledgedIndex} was acknowledged`,
  );
  settleTopics(node, shadow);
  const kept: { readonly write: Write; readonly partition: number; readonly offset: number }[] = [];
  for (const topic of shadow.topics.values()) {
    if (topic.isAlive)
      for (let i = 0; i < topic.partitions.length; i++)
        kept.push(...settlePartition(node, shadow, topic, i, read));
  }
  settlePrefix(
    shadow,
    kept.map(({ write }) => write),
  );
  // In log order, as far as it matters: keys are numbered in the order of their entries.
  kept.sort((left, right) => left.write.id - right.write.id);
  const before = new Set(kept.map(({ write }) => write.id));
  for (const { write, partition, offset } of kept) shadow.store(write, partition, offset);
  for (const write of shadow.writes) {
    if (write.fate !== "unknown" || before.has(write.id)) continue;
    write.fate = "absent";
    // Of a topic that went, nobody can tell whether its last keys are in the window.
    const isGone = !shadow.topics.get(write.topicId)?.isAlive;
    if (isGone && write.idempotencyKey !== undefined) shadow.keyedCount += 1;
  }
  settleRules(node, shadow);
  settleKeys(node, shadow);
  shadow.acknowledgedIndex = node.replica.appliedIndex;
  claim(state.hasSettings, "A node that is ready has settings");
}

function settleTopics(node: Node, shadow: Shadow): void {
  const found = [...node.replica.state.topics()];
  for (const topic of shadow.topics.values()) {
    if (!topic.isAlive) {
      claim(!found.some(({ id }) => id === topic.id), `The deleted topic ${topic.name} is back`);
      continue;
    }
    const isThere = found.some(({ id }) => id === topic.id);
    claim(isThere || topic.isBeingDeleted, `Topic ${topic.name} (${topic.id}) is gone`);
    if (!isThere) topic.isAlive = false;
    topic.isBeingDeleted = false;
  }
  for (const { id, name, partitions } of found) {
    const known = shadow.topics.get(id);
    if (known === undefined) {
      const asked = [...shadow.controls].find(
        (control) =>
          control.kind === "create" && control.name === name && control.partitions === partitions,
      );
      claim(
        asked?.kind === "create",
        `Nobody asked for topic ${name} with ${partitions} partitions`,
      );
      shadow.created(id, name, partitions);
      shadow.setRule(`${id}`, asked.rule);
    } else {
      claim(
        known.name === name && known.partitions.length === partitions,
        `Topic ${id} is now ${name} with ${partitions} partitions`,
      );
    }
  }
}

function settlePartition(
  node: Node,
  shadow: Shadow,
  topic: ShadowTopic,
  partition: number,
  read: ReadRange,
): { write: Write; partition: number; offset: number }[] {
  const where = `${topic.name} (${topic.id}) partition ${partition}`;
  const live = node.replica.state.byId(topic.id);
  const known = shadow.partition(topic.id, partition);
  const floor = live?.startOffset[partition] ?? -1;
  const next = live?.nextOffset[partition] ?? -1;
  claim(
    floor >= known.floor && floor <= next,
    `The floor of ${where} is ${floor} of ${known.floor}`,
  );
  claim(next >= known.records.length, `${where} ends at ${next} of ${known.records.length}`);
  claim(
    floor <= known.records.length,
    `The floor of ${where} is ${floor}, past what was acknowledged: ${known.records.length}`,
  );
  const records = floor < next ? read(topic.id, partition, floor) : [];
  claim(records.length === next - floor, `${where} gave ${records.length} of ${next - floor}`);
  const kept: { write: Write; partition: number; offset: number }[] = [];
  for (let i = 0; i < records.length; ) {
    const record = records[i] as ReadRecord;
    const stored = known.records[record.offset];
    if (stored !== undefined) {
      claim(
        isRecordOf(record, stored.write, stored.index),
        `${where} has other bytes at ${record.offset} than write ${stored.write.id} put there`,
      );
      i += 1;
      continue;
    }
    const id = record.value.length < 8 ? 0 : new DataView(record.value.buffer).getUint32(0, true);
    const write = shadow.writes.find(
      (candidate) =>
        candidate.contentId === id &&
        candidate.fate === "unknown" &&
        // Offsets are given in the order of the requests: a repeated key may have been asked before, and answered then.
        candidate.id > (kept.at(-1)?.write.id ?? 0) &&
        candidate.topicId === topic.id &&
        (candidate.asked < 0 || candidate.asked === partition) &&
        (candidate.expectedOffset < 0 || candidate.expectedOffset === record.offset) &&
        !kept.some((other) => other.write === candidate),
    );
    claim(
      write !== undefined,
      `${where} has at ${record.offset} what nobody waits for: content ${id}, which is ${shadow.writes[id - 1]?.fate}`,
    );
    const owner =
      kept.find(
        (other) =>
          write.idempotencyKey !== undefined && other.write.idempotencyKey === write.idempotencyKey,
      )?.write ?? shadow.owner(write);
    claim(
      owner === undefined || shadow.mayHaveExpired(owner, -1, write.sentMs),
      `${where} has a second record at ${record.offset} for key ${write.idempotencyKey} of write ${owner?.id}`,
    );
    for (let index = 0; index < write.values.length; index++) {
      const part = records[i + index];
      claim(
        part !== undefined && isRecordOf(part, write, index),
        `${where} has write ${id} in part, from ${record.offset}: record ${index} of ${write.values.length} differs`,
      );
    }
    kept.push({ write, partition, offset: record.offset });
    i += write.values.length;
  }
  settleGroups(node, topic, partition);
  return kept;
}

function settleGroups(node: Node, topic: ShadowTopic, partition: number): void {
  for (const [key, group] of topic.groups) {
    const [at = "", name = ""] = key.split("/");
    if (Number(at) !== partition) continue;
    const committed = node.replica.state.groups.get(topic.id, partition, encodeText(name));
    claim(
      committed === group.committed ||
        (committed > group.committed && group.attempted.has(committed)),
      `Group ${name} of ${topic.name}/${partition} stands at ${committed}, acknowledged was ${group.committed}`,
    );
    group.committed = committed;
  }
}

/** What was under way is kept up to some point of the log and not beyond it. */
function settlePrefix(shadow: Shadow, kept: readonly Write[]): void {
  const last = Math.max(0, ...kept.map(({ id }) => id));
  for (const write of shadow.writes) {
    const isPlain = write.idempotencyKey === undefined && write.expectedOffset < 0;
    if (write.fate !== "unknown" || write.id >= last || !isPlain) continue;
    const isGone = !shadow.topics.get(write.topicId)?.isAlive;
    claim(
      isGone || kept.includes(write),
      `Write ${last} is in the log and write ${write.id} before it is not`,
    );
  }
}

function settleRules(node: Node, shadow: Shadow): void {
  const candidates = [new Map(shadow.rules)];
  for (const control of shadow.controls) {
    if (control.kind !== "rule") continue;
    const next = new Map(candidates.at(-1));
    const before = next.get(control.level) ?? { ttlMs: 0, maxBytes: 0 };
    candidates.push(next.set(control.level, { ...before, ...control.change }));
  }
  shadow.controls.clear();
  const fits = candidates.find((rules) => {
    const present = new Map(shadow.rules);
    replace(shadow.rules, rules);
    const isRight = hasRules(node, shadow);
    if (!isRight) replace(shadow.rules, present);
    return isRight;
  });
  claim(fits !== undefined, "The retention rules are none that were ever set");
}

function replace<K, V>(into: Map<K, V>, from: ReadonlyMap<K, V>): void {
  into.clear();
  for (const [key, value] of from) into.set(key, value);
}

/** Whether each level has the rule that was set there, and each partition the one that follows. */
export function hasRules(node: Node, shadow: Shadow): boolean {
  const { state } = node.replica;
  const isRule = (rule: ShadowRule, wanted: ShadowRule | undefined): boolean =>
    rule.ttlMs === (wanted?.ttlMs ?? 0) && rule.maxBytes === (wanted?.maxBytes ?? 0);
  if (!isRule(state.ruleAt(undefined, undefined), shadow.rules.get("*"))) return false;
  for (const topic of state.topics()) {
    if (!isRule(state.ruleAt(topic, undefined), shadow.rules.get(`${topic.id}`))) return false;
    for (let partition = 0; partition < topic.partitions; partition++) {
      const set = shadow.rules.get(`${topic.id}/${partition}`);
      if (!isRule(state.ruleAt(topic, partition), set)) return false;
      if (!isRule(state.ruleOf(topic, partition), shadow.ruleOf(topic.id, partition))) return false;
    }
  }
  return true;
}

/** Keys that may not have left the window stand for their write, and keys of writes that are gone stand for nothing. */
function settleKeys(node: Node, shadow: Shadow): void {
  const found = {
    topicId: 0,
    partition: 0,
    count: 0,
    firstOffset: 0,
    timestampMs: 0,
    fingerprintLow: 0,
    fingerprintHigh: 0,
    detail: new Uint8Array(0),
  };
  for (const write of shadow.writes) {
    // A topic that went took the records with it, not the keys.
    if (write.idempotencyKey === undefined || !shadow.topics.get(write.topicId)?.isAlive) continue;
    const isFound = node.replica.state.keys.find(
      write.topicId,
      encodeText(write.idempotencyKey),
      found,
    );
    const owner = shadow.owner(write);
    if (owner === undefined) {
      claim(!isFound, `Key ${write.idempotencyKey} stands for a write that is not there`);
      continue;
    }
    if (!isFound) {
      const isOver =
        shadow.mayHaveExpired(owner, node.life, Number.MAX_SAFE_INTEGER) ||
        shadow.keyedCount - owner.keyedOrdinal >= node.settings.idempotencyKeysMax;
      claim(isOver, `Key ${write.idempotencyKey} of write ${owner.id} is forgotten`);
      continue;
    }
    claim(
      found.partition === owner.partition && found.firstOffset === owner.firstOffset,
      `Key ${write.idempotencyKey} stands for ${found.partition}/${found.firstOffset}, not for ${owner.partition}/${owner.firstOffset}`,
    );
  }
}
