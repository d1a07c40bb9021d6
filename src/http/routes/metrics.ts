// The route that Prometheus scrapes.

import { succeed } from "../../lib/result.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Route, type RouteDoc } from "../route.ts";

/** The metrics route. */
export const metricsRoutes = (rooms: HttpRooms): readonly Route[] => {
  const doc: RouteDoc = {
    method: "GET",
    path: "/metrics",
    id: "metrics",
    summary: "Show metrics in Prometheus text format",
    tag: "node",
    access: rooms.config.isMetricsOpen ? "open" : "read",
    reply: "text/plain",
  };
  const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
  return [
    guarded(rooms, doc, async () => succeed(new Response(await rooms.metricsText(), { headers }))),
  ];
};
