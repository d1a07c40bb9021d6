// Routes that remove records: a floor at once, or rules that go on working.

import { noSuchPartition } from "../../broker/mod.ts";
import { fail, succeed } from "../../lib/result.ts";
import { refuse } from "../../model/errors.ts";
import { findTopic } from "../lookup.ts";
import { jsonReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, notWholeNode, type Route, type RouteDoc, withJson } from "../route.ts";
import { DeleteBeforeReply, RetentionReply } from "../schemas/replies.ts";
import { DeleteBeforeBody, RetentionBody } from "../schemas/requests.ts";

const DELETE_BEFORE: RouteDoc = {
  method: "POST",
  path: "/broker/delete-before",
  id: "deleteBefore",
  summary: "Remove records below an offset",
  description:
    "At once for readers; the disk follows. Past the end it removes what is there and nothing that comes later.",
  tag: "retention",
  access: "full",
  body: DeleteBeforeBody,
  reply: DeleteBeforeReply,
};

const RETENTION: RouteDoc = {
  method: "POST",
  path: "/broker/retention",
  id: "setRetention",
  summary: "Set retention rules",
  description:
    "For a topic, one of its partitions, or `*`. A rule left out stays as it is; 0 removes it, and the wider rule holds again.",
  tag: "retention",
  access: "full",
  body: RetentionBody,
  reply: RetentionReply,
};

/** The retention routes. */
export const retentionRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, DELETE_BEFORE, (call) =>
    withJson(rooms, call, DeleteBeforeBody, async (body) => {
      const topic = findTopic(rooms, call.grant, body.topic);
      if (!topic.ok) return topic;
      if (body.partition >= topic.value.partitions)
        return fail(noSuchPartition(topic.value, body.partition));
      const removed = await rooms.deadlines.bound(
        rooms.broker.deleteBefore({
          topic: body.topic,
          partition: body.partition,
          beforeOffset: body.before_offset,
        }),
      );
      if (!removed.ok) return removed;
      const { deletedCount, freedBytes } = removed.value;
      return succeed(jsonReply({ ok: true, deleted_count: deletedCount, freed_bytes: freedBytes }));
    }),
  ),
  guarded(rooms, RETENTION, (call) =>
    withJson(rooms, call, RetentionBody, async (body) => {
      if (body.ttl_ms === undefined && body.max_bytes === undefined) {
        return fail(refuse("missing_fields", "Required fields are missing: ttl_ms or max_bytes"));
      }
      if (body.topic === "*") {
        if (call.grant?.isUnscoped !== true) return fail(notWholeNode());
      } else {
        const topic = findTopic(rooms, call.grant, body.topic);
        if (!topic.ok) return topic;
        if (body.partition !== undefined && body.partition >= topic.value.partitions) {
          return fail(noSuchPartition(topic.value, body.partition));
        }
      }
      const set = await rooms.deadlines.bound(
        rooms.broker.setRetention({
          topic: body.topic,
          partition: body.partition,
          ttlMs: body.ttl_ms,
          maxBytes: body.max_bytes,
        }),
      );
      if (!set.ok) return set;
      const { ttlApplied, sizeApplied, sealedBytesAfter } = set.value;
      return succeed(
        jsonReply({
          ok: true,
          ttl_applied: ttlApplied,
          size_applied: sizeApplied,
          sealed_bytes_after: sealedBytesAfter,
        }),
      );
    }),
  ),
];
