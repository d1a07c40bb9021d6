// One number for the whole state, so that nodes can be compared: equal on every node that has applied the same entries, and
// different, but for a chance of 2^-64, on any other. The order in which tables hold things does not matter.

import { encodeText, putU64, viewOf } from "../lib/bytes.ts";
import { Fingerprint } from "../lib/checksum.ts";
import type { BrokerState, Topic } from "./state.ts";

/** Sixteen hexadecimal digits. Walks all of the state: about 0.2 s for a million keys. */
export function hashState(state: BrokerState): string {
  let low = 0;
  let high = 0;
  const print = new Fingerprint();
  /** Adds up, so that order does not matter. */
  const add = (): void => {
    low = (low + print.low) >>> 0;
    high = (high + Math.imul(print.high, 0x9e_37_79_b1)) >>> 0;
  };
  const numbers = new Uint8Array(48);
  const view = viewOf(numbers);
  const numbersOf = (...values: readonly number[]): Uint8Array => {
    for (const [i, value] of values.entries()) putU64(view, i * 8, value);
    return numbers.subarray(0, values.length * 8);
  };

  print
    .reset()
    .bytes(
      numbersOf(
        state.idempotencyTtlMs,
        state.idempotencyKeysMax,
        state.topicIdMax,
        state.topicCount,
      ),
    );
  const everywhere = state.ruleAt(undefined, undefined);
  print.bytes(numbersOf(everywhere.ttlMs, everywhere.maxBytes));
  add();
  for (const topic of state.topics()) {
    print.reset().bytes(encodeText(topic.name));
    print.bytes(
      numbersOf(topic.id, topic.partitions, topic.createdMs, topic.rule.ttlMs, topic.rule.maxBytes),
    );
    print.bytes(encodeText(topic.mode));
    add();
    for (let partition = 0; partition < topic.partitions; partition++) {
      print.reset().bytes(partitionNumbers(topic, partition, numbersOf));
      const rule = topic.partitionRules.get(partition);
      if (rule !== undefined) print.bytes(numbersOf(rule.ttlMs, rule.maxBytes));
      add();
    }
    for (const { group, partition, committedOffset } of state.groups.of(topic.id)) {
      print
        .reset()
        .bytes(encodeText(group))
        .bytes(numbersOf(topic.id, partition, committedOffset));
      add();
    }
  }
  let place = 0;
  for (const key of state.keys.slots()) {
    print.reset().number(place).bytes(key);
    add();
    place += 1;
  }
  return low.toString(16).padStart(8, "0") + high.toString(16).padStart(8, "0");
}

const partitionNumbers = (
  topic: Topic,
  partition: number,
  numbersOf: (...values: readonly number[]) => Uint8Array,
): Uint8Array =>
  numbersOf(
    topic.id,
    partition,
    topic.startOffset[partition] ?? 0,
    topic.nextOffset[partition] ?? 0,
    topic.bytesTotal[partition] ?? 0,
    topic.bytesBelow[partition] ?? 0,
  );
