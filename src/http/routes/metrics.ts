// The routes that Prometheus scrapes.

import { succeed } from "../../lib/result.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Route, type RouteDoc } from "../route.ts";

const HEADERS = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };

/** The metrics routes. What they show is asked for at each scrape: a node that starts has nothing to show yet. */
export const metricsRoutes = (rooms: HttpRooms): readonly Route[] => {
  const serve = (
    doc: Pick<RouteDoc, "path" | "id" | "summary">,
    text: () => Promise<string>,
  ): Route =>
    guarded(
      rooms,
      {
        ...doc,
        method: "GET",
        tag: "node",
        access: rooms.config.isMetricsOpen ? "open" : "read",
        reply: "text/plain",
      },
      async () => succeed(new Response(await text(), { headers: HEADERS })),
    );
  return [
    serve(
      { path: "/metrics", id: "metrics", summary: "Show metrics in Prometheus text format" },
      () => rooms.metricsText(),
    ),
    serve(
      {
        path: "/metrics_ha",
        id: "haMetrics",
        summary: "Show metrics of the cluster in Prometheus text format",
      },
      () => rooms.haMetricsText(),
    ),
  ];
};
