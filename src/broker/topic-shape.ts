// What a topic is asked to be when it is made, and whether one that is there already is that.

import { type Refusal, refuse } from "../model/errors.ts";
import type { Topic, WriteMode } from "./state.ts";

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
