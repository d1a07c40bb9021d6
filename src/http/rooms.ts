// What every route of the room works with: handed in once, at start.

import type { Config } from "../config/mod.ts";
import type { Logger } from "../lib/logger.ts";
import type { Admission } from "./admission.ts";
import type { Alarms } from "./alarms.ts";
import type { Authority } from "./auth.ts";
import type { ErrorReplies } from "./errors.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { BrokerPort } from "./ports.ts";
import type { HttpStats } from "./stats.ts";
import type { Waiters } from "./waiters.ts";
import type { WriteDeadlines } from "./write-deadlines.ts";

/** The parts that routes share. */
export interface HttpRooms {
  readonly config: Config;
  readonly broker: BrokerPort;
  readonly logger: Logger;
  readonly version: string;
  /** The text of `/metrics`. */
  readonly metricsText: () => Promise<string>;
  /** The text of `/metrics_ha`. */
  readonly haMetricsText: () => Promise<string>;
  readonly alarms: Alarms;
  readonly admission: Admission;
  readonly authority: Authority;
  readonly errors: ErrorReplies;
  readonly stats: HttpStats;
  readonly waiters: Waiters;
  readonly deadlines: WriteDeadlines;
  readonly lifecycle: Lifecycle;
}
