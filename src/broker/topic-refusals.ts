// Why a topic is not what a request takes it for: it is not there, has fewer partitions, is kept in memory, or has other
// settings.

import { type Refusal, refuse } from "../model/errors.ts";
import type { Topic, WriteMode } from "./state.ts";

/** The refusal for a topic that does not exist. */
export const noSuchTopic = (name: string): Refusal =>
  refuse("topic_not_found", `Topic ${name} does not exist`, { topic: name });

/** The refusal for a partition that a topic does not have. */
export const noSuchPartition = (
  { name, partitions }: Pick<Topic, "name" | "partitions">,
  partition: number,
): Refusal =>
  refuse(
    "partition_not_found",
    `Topic ${name} has no partition ${partition}: it has ${partitions}, from 0`,
    { partitions },
  );

/** The refusal of a produce with a key to a rocket topic. */
export const NO_ROCKET_KEY = refuse(
  "invalid_parameter",
  "A rocket topic takes no idempotency_key: what it remembers is not durable",
);

/** What a request to make a topic says. */
export interface TopicShape {
  readonly name: string;
  readonly partitions: number;
  readonly mode: WriteMode;
  /** 0: no such rule; undefined: nothing is said of it. */
  readonly ttlMs: number | undefined;
  readonly maxBytes: number | undefined;
}

/** Why a topic is not what is asked for; undefined when it is. What the request says nothing of may be as it likes. */
export function shapeRefusal(
  topic: Pick<Topic, "name" | "partitions" | "mode" | "rule">,
  asked: TopicShape,
): Refusal | undefined {
  const settings = [
    ["partitions", topic.partitions, asked.partitions],
    ["mode", topic.mode, asked.mode],
    ["retention.ttl_ms", topic.rule.ttlMs, asked.ttlMs],
    ["retention.max_bytes", topic.rule.maxBytes, asked.maxBytes],
  ] as const;
  const different = settings.filter(
    ([, present, wanted]) => wanted !== undefined && wanted !== present,
  );
  if (different.length === 0) return undefined;
  const differences = different.map(
    ([name, present, wanted]) => `${name} ${present}, not ${wanted}`,
  );
  return refuse("topic_exists", `Topic ${topic.name} exists with ${differences.join("; ")}`, {
    differs: different.map(([name]) => name).join(","),
  });
}
