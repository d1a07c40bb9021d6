// The route by which a group says how far it has come.

import { noSuchPartition } from "../../broker/mod.ts";
import { fail, succeed } from "../../lib/result.ts";
import { findTopic } from "../lookup.ts";
import { textReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Route, type RouteDoc, withJson } from "../route.ts";
import { OkReply } from "../schemas/replies.ts";
import { CommitBody } from "../schemas/requests.ts";

const DOC: RouteDoc = {
  method: "POST",
  path: "/broker/commit",
  id: "commit",
  summary: "Commit a group's offset",
  description:
    "`offset` is that of the last record processed: who read up to `next_offset` commits `next_offset - 1`. Going back is ignored.",
  tag: "groups",
  access: "write",
  body: CommitBody,
  reply: OkReply,
};

/** The commit route. */
export const commitRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, DOC, (call) =>
    withJson(rooms, call, CommitBody, async (body) => {
      const topic = findTopic(rooms, call.grant, body.topic);
      if (!topic.ok) return topic;
      if (body.partition >= topic.value.partitions)
        return fail(noSuchPartition(topic.value, body.partition));
      // Whether the offset is past the end is for the leader to say: this node may lag.
      const committed = await rooms.deadlines.bound(rooms.broker.commit(body));
      return committed.ok ? succeed(textReply('{"ok":true}')) : committed;
    }),
  ),
];
