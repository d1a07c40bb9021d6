// Routes by which others see whether the node serves.

import { succeed } from "../../lib/result.ts";
import { JSON_HEADERS, textReply } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Route, type RouteDoc } from "../route.ts";
import { OkReply, ReadyReply } from "../schemas/replies.ts";

const HEALTH: RouteDoc = {
  method: "GET",
  path: "/health",
  id: "health",
  summary: "Say whether the process serves",
  tag: "node",
  access: "open",
  reply: OkReply,
};

const READY: RouteDoc = {
  method: "GET",
  path: "/ready",
  id: "ready",
  summary: "Say whether the node is ready for work",
  tag: "node",
  access: "open",
  reply: ReadyReply,
  otherReplies: { 503: ReadyReply },
};

/** The health routes. */
export const healthRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, HEALTH, () => succeed(textReply('{"ok":true}'))),
  guarded(rooms, READY, () => {
    const { ready, reason } = rooms.lifecycle.isStopping
      ? { ready: false, reason: "stopping" }
      : rooms.broker.status();
    if (ready) return succeed(textReply('{"ready":true}'));
    return succeed(
      new Response(JSON.stringify({ ready, reason }), { ...JSON_HEADERS, status: 503 }),
    );
  }),
];
