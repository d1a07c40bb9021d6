// Routes for those who run the node.

import { fail, succeed } from "../../lib/result.ts";
import { refuse } from "../../model/errors.ts";
import { jsonReply, textReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Route, type RouteDoc, withJson } from "../route.ts";
import {
  CollectReply,
  CompactReply,
  SealedStatusReply,
  StateHashReply,
} from "../schemas/replies.ts";
import { CollectBody } from "../schemas/requests.ts";

const STATUS: RouteDoc = {
  method: "GET",
  path: "/admin/sealed/status",
  id: "sealedStatus",
  summary: "Show how far the log is synced",
  description: "Every write whose `batch_id` is at most `last_synced_batch_id` is safe.",
  tag: "node",
  access: "read",
  reply: SealedStatusReply,
};

const COMPACT: RouteDoc = {
  method: "POST",
  path: "/admin/compact",
  id: "compact",
  summary: "Start reclaiming disk space",
  description: "On the node that is asked; it goes on in the background.",
  tag: "node",
  access: "full",
  isForWholeNode: true,
  isLocal: true,
  reply: CompactReply,
};

const COLLECT: RouteDoc = {
  method: "POST",
  path: "/admin/sealed/gc",
  id: "collect",
  summary: "Run one retention pass over all topics",
  tag: "node",
  access: "full",
  isForWholeNode: true,
  body: CollectBody,
  reply: CollectReply,
};

const STATE_HASH: RouteDoc = {
  method: "GET",
  path: "/admin/state-hash",
  id: "stateHash",
  summary: "Show a hash of the replicated state",
  description:
    "Two nodes that show the same `applied_index` show the same `hash`, or one of them is wrong.",
  tag: "node",
  access: "read",
  reply: StateHashReply,
};

/** The admin routes. */
export const adminRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, STATUS, () =>
    succeed(
      textReply(`{"ok":true,"last_synced_batch_id":${rooms.broker.status().lastSyncedBatchId}}`),
    ),
  ),
  guarded(rooms, STATE_HASH, () => {
    const { appliedIndex, hash } = rooms.broker.stateHash();
    return succeed(jsonReply({ ok: true, applied_index: appliedIndex, hash }));
  }),
  guarded(rooms, COMPACT, () => {
    rooms.broker.compact();
    return succeed(textReply('{"result":"compaction_started","async":true}'));
  }),
  guarded(rooms, COLLECT, (call) =>
    withJson(rooms, call, CollectBody, async (body) => {
      if (body.max_age_ms === undefined && body.max_bytes === undefined) {
        return fail(
          refuse("missing_fields", "Required fields are missing: max_age_ms or max_bytes"),
        );
      }
      const collected = await rooms.deadlines.bound(
        rooms.broker.collect({
          maxAgeMs: body.max_age_ms ?? 0,
          maxBytes: body.max_bytes ?? 0,
        }),
      );
      if (!collected.ok) return collected;
      return succeed(jsonReply({ ok: true, sealed_bytes_after: collected.value.sealedBytesAfter }));
    }),
  ),
];
