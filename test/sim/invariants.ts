// What must hold at every moment of a life. Looked at after each step, read only, and without drawing a random number, so
// that looking changes nothing.

import { encodeText } from "../../src/lib/bytes.ts";
import type { Node } from "./node.ts";
import { hasRules } from "./settle.ts";
import { claim, type Shadow } from "./shadow.ts";

/** Highest indexes seen in a life: they never go back. */
export interface Watermarks {
  commitIndex: number;
  appliedIndex: number;
  syncedIndex: number;
}

/** Nothing seen yet. */
export const newWatermarks = (): Watermarks => ({
  commitIndex: 0,
  appliedIndex: 0,
  syncedIndex: 0,
});

/** Checks the order of written, synced, committed and applied. */
export function checkIndexes(node: Node, marks: Watermarks): void {
  const { replica } = node;
  const { appliedIndex } = replica;
  const { commitIndex, lastIndex } = replica.raft;
  const { syncedIndex } = replica.log;
  const all = `applied ${appliedIndex}, committed ${commitIndex}, synced ${syncedIndex}, last ${lastIndex}`;
  claim(
    appliedIndex <= syncedIndex && commitIndex <= lastIndex && syncedIndex <= lastIndex,
    `Out of order: ${all}`,
  );
  claim(!node.isSettled || appliedIndex <= commitIndex, `Applied before it was committed: ${all}`);
  claim(
    commitIndex >= marks.commitIndex &&
      appliedIndex >= marks.appliedIndex &&
      syncedIndex >= marks.syncedIndex,
    `Went back: ${all}`,
  );
  marks.commitIndex = commitIndex;
  marks.appliedIndex = appliedIndex;
  marks.syncedIndex = syncedIndex;
}

/** Compares a settled node's state with the shadow: both know the same acts once a step is over. */
export function checkState(node: Node, shadow: Shadow): void {
  const { state } = node.replica;
  for (const topic of state.topics()) {
    const known = shadow.topics.get(topic.id);
    claim(known?.isAlive === true, `Topic ${topic.name} (${topic.id}) is there and should not be`);
    for (const [partition, wanted] of known.partitions.entries()) {
      const where = `${topic.name} (${topic.id}) partition ${partition}`;
      const start = topic.startOffset[partition] ?? -1;
      const next = topic.nextOffset[partition] ?? -1;
      const reserved = topic.reservedOffset[partition] ?? -1;
      claim(
        start >= 0 && start <= next && next <= reserved,
        `${where}: ${start} ${next} ${reserved}`,
      );
      claim(
        next === wanted.records.length,
        `${where} ends at ${next}, not ${wanted.records.length}`,
      );
      claim(start >= wanted.floor, `The floor of ${where} went back to ${start}`);
      const isAsked = ({ upTo }: { readonly upTo: number }): boolean => start <= upTo;
      claim(
        start === wanted.floor || shadow.mayRetain || wanted.floorsAsked.some(isAsked),
        `The floor of ${where} rose to ${start}, which nobody asked for`,
      );
      wanted.floor = start;
      const total = topic.bytesTotal[partition];
      const below = topic.bytesBelow[partition];
      claim(
        total === wanted.bytesUpTo[next] && below === wanted.bytesUpTo[start],
        `${where} counts ${total} and ${below} bytes, not ${wanted.bytesUpTo[next]} and ${wanted.bytesUpTo[start]}`,
      );
    }
  }
  for (const topic of shadow.topics.values()) {
    if (!topic.isAlive) continue;
    claim(state.byId(topic.id) !== undefined, `Topic ${topic.name} (${topic.id}) is gone`);
    claim(state.byName(topic.name)?.id === topic.id, `Topic ${topic.name} is another`);
    for (const [key, { committed }] of topic.groups) {
      const [partition = "", group = ""] = key.split("/");
      const found = state.groups.get(topic.id, Number(partition), encodeText(group));
      claim(
        found === committed,
        `Group ${group} of ${topic.name}/${partition} stands at ${found}, not ${committed}`,
      );
    }
  }
}

/** The dearer part of `checkState`. */
export function checkRules(node: Node, shadow: Shadow): void {
  claim(hasRules(node, shadow), "The retention rules are not the ones that were set");
}
