// Routes that make, list and delete topics.

import { limits } from "../../config/mod.ts";
import { fail, succeed } from "../../lib/result.ts";
import { findTopic, readGate } from "../lookup.ts";
import type { BrokerPort, TopicView } from "../ports.ts";
import { jsonReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Route, type RouteDoc, topicRefusal, withJson } from "../route.ts";
import { checkQuery } from "../schemas/check.ts";
import {
  CreateTopicReply,
  DeleteTopicReply,
  TopicListReply,
  TopicReply,
} from "../schemas/replies.ts";
import { CreateTopicBody, TopicListQuery, TopicPath } from "../schemas/requests.ts";

const CREATE: RouteDoc = {
  method: "POST",
  path: "/broker/topics",
  id: "createTopic",
  summary: "Create a topic",
  description:
    "Creating it again with the same settings answers the same; with others it is refused. Rules of retention that are left out may be as they are.",
  tag: "topics",
  access: "full",
  body: CreateTopicBody,
  reply: CreateTopicReply,
};

const LIST: RouteDoc = {
  method: "GET",
  path: "/broker/topics",
  id: "listTopics",
  summary: "List topics",
  description: "Sorted by name, with the range of each partition and the place of each group.",
  tag: "topics",
  access: "read",
  query: TopicListQuery,
  reply: TopicListReply,
};

const GET: RouteDoc = {
  method: "GET",
  path: "/broker/topics/:topic",
  id: "getTopic",
  summary: "Show a topic",
  tag: "topics",
  access: "read",
  params: TopicPath,
  reply: TopicReply,
};

const DELETE: RouteDoc = {
  method: "DELETE",
  path: "/broker/topics/:topic",
  id: "deleteTopic",
  summary: "Delete a topic and its records",
  description: "Ends its tails and long polls. A topic made later with the same name starts empty.",
  tag: "topics",
  access: "full",
  params: TopicPath,
  reply: DeleteTopicReply,
};

/** The topic routes. */
export const topicRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, CREATE, (call) =>
    withJson(rooms, call, CreateTopicBody, async (body) => {
      const refusal = topicRefusal(call.grant, body.name);
      if (refusal !== undefined) return fail(refusal);
      const created = await rooms.deadlines.bound(
        rooms.broker.createTopic({
          name: body.name,
          partitions: body.partitions ?? limits.TOPIC_PARTITIONS_DEFAULT,
          mode: body.mode ?? rooms.config.rocket.defaultMode,
          ttlMs: body.retention?.ttl_ms,
          maxBytes: body.retention?.max_bytes,
        }),
      );
      if (!created.ok) return created;
      const partitions = body.partitions ?? limits.TOPIC_PARTITIONS_DEFAULT;
      return succeed(jsonReply({ ok: true, topic: body.name, partitions }));
    }),
  ),
  guarded(rooms, LIST, (call) => {
    const query = checkQuery(TopicListQuery, call.request.url);
    if (!query.ok) return query;
    const refusal = readGate(rooms);
    if (refusal !== undefined) return fail(refusal);
    const { after, limit = limits.TOPIC_LIST_MAX } = query.value;
    const topics = [...rooms.broker.topics()]
      .filter(
        ({ name }) => (after === undefined || name > after) && call.grant?.covers(name) === true,
      )
      .sort((one, other) => (one.name < other.name ? -1 : 1));
    const shown = topics.slice(0, limit).map((topic) => describe(rooms.broker, topic));
    return succeed(jsonReply({ ok: true, topics: shown, truncated: topics.length > limit }));
  }),
  guarded(rooms, GET, (call) => {
    const refusal = readGate(rooms);
    if (refusal !== undefined) return fail(refusal);
    const { topic: name = "" } = call.params;
    const topic = findTopic(rooms, call.grant, name);
    if (!topic.ok) return topic;
    return succeed(jsonReply({ ok: true, ...describe(rooms.broker, topic.value) }));
  }),
  guarded(rooms, DELETE, async (call) => {
    const { topic: name = "" } = call.params;
    const topic = findTopic(rooms, call.grant, name);
    if (!topic.ok) return topic;
    const deleted = await rooms.deadlines.bound(rooms.broker.deleteTopic(name));
    if (!deleted.ok) return deleted;
    rooms.stats.forget(topic.value.id);
    return succeed(
      jsonReply({ ok: true, deleted: true, deleted_count: deleted.value.deletedRecords }),
    );
  }),
];

function describe(broker: BrokerPort, topic: TopicView): Record<string, unknown> {
  const ranges = Array.from({ length: topic.partitions }, (_, partition) =>
    broker.partition(topic.id, partition),
  );
  const { ttlMs, maxBytes } = broker.retention(topic.id);
  return {
    topic: topic.name,
    topic_id: topic.id,
    mode: topic.mode,
    partitions: topic.partitions,
    retention: { ttl_ms: ttlMs, max_bytes: maxBytes },
    partition_details: ranges.map(({ startOffset, nextOffset, bytes }, partition) => ({
      partition,
      start_offset: startOffset,
      next_offset: nextOffset,
      bytes,
    })),
    groups: Array.from(broker.groups(topic.id), ({ group, partition, committedOffset }) => {
      const { startOffset = 0, nextOffset = 0 } = ranges[partition] ?? {};
      return {
        group,
        partition,
        committed_offset: committedOffset,
        lag: Math.max(0, nextOffset - Math.max(committedOffset + 1, startOffset)),
      };
    }),
  };
}
