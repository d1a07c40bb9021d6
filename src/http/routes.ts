// Every route of the node, in the order of the documentation.

import type { HttpRooms } from "./rooms.ts";
import type { Route } from "./route.ts";
import { adminRoutes } from "./routes/admin.ts";
import { backupRoutes } from "./routes/backup.ts";
import { clusterRoutes } from "./routes/cluster.ts";
import { commitRoutes } from "./routes/commit.ts";
import { consumeRoutes } from "./routes/consume.ts";
import { docsRoutes } from "./routes/docs.ts";
import { healthRoutes } from "./routes/health.ts";
import { kvRoutes } from "./routes/kv.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { produceRoutes } from "./routes/produce.ts";
import { retentionRoutes } from "./routes/retention.ts";
import { streamRoutes } from "./routes/streams.ts";
import { tailRoutes } from "./routes/tail.ts";
import { topicRoutes } from "./routes/topics.ts";
import { transactionRoutes } from "./routes/txn.ts";

/** Makes them all. */
export function allRoutes(rooms: HttpRooms): readonly Route[] {
  const api = [
    ...topicRoutes(rooms),
    ...produceRoutes(rooms),
    ...consumeRoutes(rooms),
    ...tailRoutes(rooms),
    ...commitRoutes(rooms),
    ...retentionRoutes(rooms),
    ...streamRoutes(rooms),
    ...kvRoutes(rooms),
    ...transactionRoutes(rooms),
    ...healthRoutes(rooms),
    ...metricsRoutes(rooms),
    ...adminRoutes(rooms),
    ...backupRoutes(rooms),
    ...clusterRoutes(rooms),
  ];
  return [...api, ...docsRoutes(rooms, api)];
}
