// The HTTP room on the fake broker, listening on a free port.

import { limits, loadConfig } from "../../src/config/mod.ts";
import { HttpServer } from "../../src/http/mod.ts";
import { doublingBounds, Histogram } from "../../src/lib/histogram.ts";
import { type Logger, silentLogger } from "../../src/lib/logger.ts";
import {
  type ClusterNumbers,
  createHaMetrics,
  createMetrics,
  type MetricsSources,
} from "../../src/metrics/mod.ts";
import { FakeBroker } from "./fake-broker.ts";

/** A server without a log, and the levers of its broker. */
export interface FakeServer extends AsyncDisposable {
  readonly url: string;
  readonly broker: FakeBroker;
  readonly http: HttpServer;
  stop(): Promise<void>;
}

/** Numbers of a node that has done nothing, with what its HTTP room counts. */
export function fakeSources(http: MetricsSources["http"]): MetricsSources {
  return {
    version: "0.0.0",
    http,
    topics: () => [],
    groups: () => [],
    keys: () => ({
      keys: 0,
      bytes: 0,
      memoryBytes: 0,
      tombstones: 0,
      namespaces: 0,
      expired: 0,
    }),
    log: () => ({
      disk: "none",
      segments: 0,
      scrubbedSegments: 0,
      archives: 0,
      liveBytes: 0,
      deadBytes: 0,
      reclaimRuns: 0,
      reclaimedFiles: 0,
      reclaimedBytes: 0,
      compactedIndex: 0,
      segmentBytes: 0,
      freeBytes: 0,
      syncMicros: new Histogram(doublingBounds(16, 20)),
      writeBytes: new Histogram(doublingBounds(256, 20)),
      entryRecords: new Histogram(doublingBounds(1, 18)),
      queuedEntries: 0,
      queuedBytes: 0,
    }),
    backups: () => ({ running: 0, finished: 0, failed: 0, bytes: 0 }),
    rocket: () => ({ bytes: 0, evicted: 0 }),
    raft: () => ({
      term: 1,
      lastIndex: 0,
      commitIndex: 0,
      appliedIndex: 0,
      isLeader: true,
      idempotencyKeys: 0,
      idempotencyEvictions: 0,
    }),
  };
}

/** Numbers of a node that is alone. */
export const FAKE_CLUSTER: ClusterNumbers = {
  role: "leader",
  term: 1,
  epoch: 1,
  isJoint: false,
  hasFreshQuorum: true,
  nodeId: "node1",
  leaderId: "node1",
  leaderUrl: "http://127.0.0.1:1109",
  isReady: true,
  commitIndex: 0,
  appliedIndex: 0,
  lastIndex: 0,
  damagedEntriesRepaired: 0,
  damagedSegments: 0,
  isListOther: false,
  elections: 1,
  peers: [],
};

/** Starts one with these settings of the environment. */
export async function startFake(
  settings: Readonly<Record<string, string>> = {},
  logger: Logger = silentLogger,
): Promise<FakeServer> {
  const env = { RF_HTTP_ADDR: "127.0.0.1:0", ...settings };
  const loaded = loadConfig({ argv: [], env, readFile: () => undefined });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.error));
  const http = new HttpServer({ config: loaded.value.config, logger, version: "0.0.0" });
  const broker = new FakeBroker(http.produceSink);
  const metrics = createMetrics(fakeSources(http.probe), {
    topicsMax: limits.METRIC_TOPICS_MAX,
    groupsMax: limits.METRIC_GROUPS_MAX,
  });
  const haMetrics = createHaMetrics({ cluster: () => FAKE_CLUSTER });
  const { url } = await http.start({
    broker,
    metricsText: () => metrics.text(),
    haMetricsText: () => haMetrics.text(),
  });
  const stop = () => http.stop();
  return { url, broker, http, stop, [Symbol.asyncDispose]: stop };
}
