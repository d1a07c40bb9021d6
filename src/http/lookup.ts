// Finds what a request names, or says why it cannot be found.

import { noSuchPartition, noSuchTopic } from "../broker/mod.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { Grant } from "./auth.ts";
import type { TopicView } from "./ports.ts";
import type { HttpRooms } from "./rooms.ts";
import { topicRefusal } from "./route.ts";
import { invalidParameter } from "./schemas/check.ts";
import { isName, NAME_RULE } from "./schemas/parameters.ts";

/** The refusal for a topic that is not there: it may not be named, its name may be none, or it may not exist. */
export function noTopic(name: string): Refusal {
  if (name === "") return refuse("missing_topic");
  return isName(name) ? noSuchTopic(name) : invalidParameter("topic", name, NAME_RULE);
}

/** Why this node answers no reads of records and topics now; undefined when it does, whoever leads. */
export function readGate(rooms: HttpRooms): Refusal | undefined {
  const { ready, reason } = rooms.broker.status();
  return ready ? undefined : refuse("not_ready", `Node is not ready: ${reason}`);
}

/** Why records of a topic cannot be read here: those of a rocket topic lie with the leader alone. */
export const recordsGate = (rooms: HttpRooms, topic: TopicView): Refusal | undefined =>
  topic.mode === "rocket" ? rooms.broker.leaderGate() : undefined;

/** The topic of a name that the token covers. */
export function findTopic(
  rooms: HttpRooms,
  grant: Grant | undefined,
  name: string,
): Result<TopicView, Refusal> {
  const refusal = topicRefusal(grant, name);
  if (refusal !== undefined) return fail(refusal);
  const topic = rooms.broker.topic(name);
  return topic === undefined ? fail(noTopic(name)) : succeed(topic);
}

/** The topic of a name that the token covers, when it has the partition and the node may answer reads. */
export function findPartition(
  rooms: HttpRooms,
  grant: Grant | undefined,
  name: string,
  partition: number,
): Result<TopicView, Refusal> {
  const refusal = readGate(rooms);
  if (refusal !== undefined) return fail(refusal);
  const topic = findTopic(rooms, grant, name);
  if (!topic.ok) return topic;
  const elsewhere = recordsGate(rooms, topic.value);
  if (elsewhere !== undefined) return fail(elsewhere);
  return partition < topic.value.partitions ? topic : fail(noSuchPartition(topic.value, partition));
}
