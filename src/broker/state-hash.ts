// One number for the whole state, so that nodes can be compared: equal on every node that has applied the same entries, and
// different, but for a chance of 2^-64, on any other. The order in which tables hold things does not matter.

import { encodeText, putU64, viewOf } from "../lib/bytes.ts";
import type { PrintSum } from "../lib/checksum.ts";
import type { BrokerState, Topic } from "./state.ts";

/** Adds everything but keys and values. Walks all of the state: about 0.2 s for a million idempotency keys. */
export function hashState(state: BrokerState, sum: PrintSum): void {
  const numbers = new Uint8Array(48);
  const view = viewOf(numbers);
  const numbersOf = (...values: readonly number[]): Uint8Array => {
    for (const [i, value] of values.entries()) putU64(view, i * 8, value);
    return numbers.subarray(0, values.length * 8);
  };

  const settings = sum
    .print()
    .bytes(
      numbersOf(
        state.idempotencyTtlMs,
        state.idempotencyKeysMax,
        state.topicIdMax,
        state.topicCount,
      ),
    );
  const everywhere = state.ruleAt(undefined, undefined);
  sum.add(settings.bytes(numbersOf(everywhere.ttlMs, everywhere.maxBytes)));
  for (const topic of state.topics()) {
    const shape = sum.print().bytes(encodeText(topic.name));
    shape.bytes(
      numbersOf(topic.id, topic.partitions, topic.createdMs, topic.rule.ttlMs, topic.rule.maxBytes),
    );
    sum.add(shape.bytes(encodeText(topic.mode)));
    for (let partition = 0; partition < topic.partitions; partition++) {
      const print = sum.print().bytes(partitionNumbers(topic, partition, numbersOf));
      const rule = topic.partitionRules.get(partition);
      if (rule !== undefined) print.bytes(numbersOf(rule.ttlMs, rule.maxBytes));
      sum.add(print);
    }
    for (const { group, partition, committedOffset } of state.groups.of(topic.id)) {
      sum.add(
        sum
          .print()
          .bytes(encodeText(group))
          .bytes(numbersOf(topic.id, partition, committedOffset)),
      );
    }
  }
  let place = 0;
  for (const key of state.keys.slots()) {
    sum.add(sum.print().number(place).bytes(key));
    place += 1;
  }
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
