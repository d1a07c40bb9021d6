// Every series of the node, by name. The reference in `docs/reference/metrics.md` lists the same, and a test compares.

import { Registry } from "prom-client";
import type { MetricsSources, TopicNumbers } from "./ports.ts";
import { processMetrics } from "./process.ts";
import { counter, counters, gauge, gauges, histograms, type Sample } from "./series.ts";

/** Makes the text of a scrape. */
export interface Metrics {
  /** Reads all sources and prints them in Prometheus text format. */
  text(): Promise<string>;
}

/** How many series there may be. */
export interface SeriesLimits {
  /** Topics that are named one by one; the rest is counted together. */
  readonly topicsMax: number;
  /** Groups and partitions that are named one by one; the rest is left out. */
  readonly groupsMax: number;
}

/** Makes the metrics of a node. */
export function createMetrics(sources: MetricsSources, limits: SeriesLimits): Metrics {
  const registry = new Registry();
  const metrics = [
    gauges("ayder_build_info", "Version of the node; always 1.", () => [
      { value: 1, labels: { version: sources.version, runtime: `bun ${Bun.version}` } },
    ]),
    ...httpMetrics(sources),
    ...topicMetrics(sources, limits),
    ...keyMetrics(sources),
    ...logMetrics(sources),
    ...raftMetrics(sources),
    ...rocketMetrics(sources),
    ...backupMetrics(sources),
    ...processMetrics(),
  ];
  for (const metric of metrics) registry.registerMetric(metric);
  return { text: () => registry.metrics() };
}

const httpMetrics = ({ http }: MetricsSources) => [
  counters("ayder_http_requests_total", "Requests answered.", function* samples() {
    for (const { method, route, byStatus } of http.routes) {
      for (let status = 100; status < byStatus.length; status++) {
        const value = byStatus[status] ?? 0;
        if (value > 0) yield { value, labels: { method, route, status } };
      }
    }
  }),
  histograms(
    "ayder_http_request_duration_seconds",
    "Time from the headers of a request to its reply.",
    1,
    function* read() {
      for (const { method, route, latency } of http.routes) {
        if (latency.count > 0) yield { histogram: latency, labels: { method, route } };
      }
    },
  ),
  gauge("ayder_http_connections", "Connections that are open, roughly.", () => http.connections),
  gauge("ayder_http_tail_readers", "Streams that are open.", () => http.tailReaders),
  gauge("ayder_http_long_polls", "Reads that wait for a record.", () => http.longPolls),
  gauge("ayder_http_queries", "Queries and joins that run.", () => http.streams),
  gauge(
    "ayder_http_waiting_writes",
    "Writes that wait for their confirmation.",
    () => http.waitingWrites,
  ),
  gauge("ayder_http_inflight_bytes", "Bytes of request bodies held.", () => http.inflightBytes),
];

/** The first topics by name one by one, the rest together: a scrape stays bounded. */
function* perTopic(
  sources: MetricsSources,
  topicsMax: number,
  read: (topic: TopicNumbers) => number,
): Iterable<Sample> {
  let shown = 0;
  let others = 0;
  for (const topic of sources.topics()) {
    if (shown < topicsMax) {
      shown += 1;
      yield { value: read(topic), labels: { topic: topic.topic } };
    } else {
      others += read(topic);
    }
  }
  // A name that no topic can have.
  if (others > 0) yield { value: others, labels: { topic: "*" } };
}

const topicMetrics = (sources: MetricsSources, { topicsMax, groupsMax }: SeriesLimits) => [
  counters("ayder_topic_records_in_total", "Records appended.", () =>
    perTopic(sources, topicsMax, (topic) => topic.recordsIn),
  ),
  counters("ayder_topic_in_bytes_total", "Bytes appended.", () =>
    perTopic(sources, topicsMax, (topic) => topic.bytesIn),
  ),
  counters("ayder_topic_records_out_total", "Records sent to readers.", () =>
    perTopic(sources, topicsMax, (topic) => topic.recordsOut),
  ),
  counters("ayder_topic_out_bytes_total", "Bytes of values sent to readers.", () =>
    perTopic(sources, topicsMax, (topic) => topic.bytesOut),
  ),
  gauges(
    "ayder_group_lag_records",
    "Records that a group has not committed yet.",
    function* samples() {
      let shown = 0;
      for (const { topic, group, partition, lag } of sources.groups()) {
        shown += 1;
        if (shown > groupsMax) return;
        yield { value: lag, labels: { topic, group, partition } };
      }
    },
  ),
];

const keyMetrics = ({ keys }: MetricsSources) => [
  gauge("ayder_keys", "Keys that have a value.", () => keys().keys),
  gauge("ayder_key_bytes", "Bytes of keys and values.", () => keys().bytes),
  gauge(
    "ayder_key_memory_bytes",
    "Memory that keys take, room for more in their pages included.",
    () => keys().memoryBytes,
  ),
  gauge("ayder_key_tombstones", "Deleted keys whose cas is remembered.", () => keys().tombstones),
  gauge("ayder_key_namespaces", "Namespaces of keys.", () => keys().namespaces),
  counter(
    "ayder_keys_expired_total",
    "Keys that their time to live ended, since the start.",
    () => keys().expired,
  ),
];

const logMetrics = (sources: MetricsSources) => [
  gauges("ayder_disk_info", "How writes reach the disk; always 1.", () => [
    { value: 1, labels: { disk: sources.log().disk } },
  ]),
  counters(
    "ayder_scrubbed_segments_total",
    "Sealed segments verified by the scrub since the start.",
    () => [{ value: sources.log().scrubbedSegments, labels: {} }],
  ),
  gauge("ayder_segments", "Files of the log.", () => sources.log().segments),
  gauge("ayder_segment_bytes", "Bytes of the log's files.", () => sources.log().segmentBytes),
  gauge("ayder_archives", "Files of moved records.", () => sources.log().archives),
  gauge(
    "ayder_log_live_bytes",
    "Bytes that full log files and archives have to keep.",
    () => sources.log().liveBytes,
  ),
  gauge(
    "ayder_log_dead_bytes",
    "Bytes of full log files and archives that could be given back.",
    () => sources.log().deadBytes,
  ),
  counter(
    "ayder_reclaim_runs_total",
    "Times that space was given back since the start.",
    () => sources.log().reclaimRuns,
  ),
  counter(
    "ayder_reclaimed_files_total",
    "Files that reclaiming removed since the start.",
    () => sources.log().reclaimedFiles,
  ),
  counter(
    "ayder_reclaimed_bytes_total",
    "Bytes that reclaiming gave back since the start.",
    () => sources.log().reclaimedBytes,
  ),
  gauge(
    "ayder_log_compacted_index",
    "Index behind which the log begins; 0 while all of it is there.",
    () => sources.log().compactedIndex,
  ),
  gauge("ayder_disk_free_bytes", "Bytes free where the log lies.", () => sources.log().freeBytes),
  histograms(
    "ayder_log_sync_duration_seconds",
    "Time from a write's start until it is synced.",
    1e-6,
    () => [{ histogram: sources.log().syncMicros, labels: {} }],
  ),
  histograms("ayder_log_write_bytes", "Bytes of each write to the log.", 1, () => [
    { histogram: sources.log().writeBytes, labels: {} },
  ]),
  histograms("ayder_log_entry_records", "Records of each entry of the log.", 1, () => [
    { histogram: sources.log().entryRecords, labels: {} },
  ]),
  gauge(
    "ayder_log_queued_entries",
    "Entries that wait for the write in flight.",
    () => sources.log().queuedEntries,
  ),
  gauge(
    "ayder_log_queued_bytes",
    "Bytes that wait for the write in flight.",
    () => sources.log().queuedBytes,
  ),
];

const backupMetrics = (sources: MetricsSources) => [
  gauge("ayder_backups_running", "Backups under way.", () => sources.backups().running),
  counter(
    "ayder_backups_finished_total",
    "Backups that were read to their end.",
    () => sources.backups().finished,
  ),
  counter(
    "ayder_backups_failed_total",
    "Backups that ended before.",
    () => sources.backups().failed,
  ),
  counter("ayder_backup_bytes_total", "Bytes of backups.", () => sources.backups().bytes),
];

const rocketMetrics = (sources: MetricsSources) => [
  gauge(
    "ayder_rocket_bytes",
    "Bytes of memory that rocket topics use.",
    () => sources.rocket().bytes,
  ),
  counter(
    "ayder_rocket_evicted_records_total",
    "Records of rocket topics that left because there was no room.",
    () => sources.rocket().evicted,
  ),
];

const raftMetrics = (sources: MetricsSources) => [
  gauge("ayder_raft_term", "Current term.", () => sources.raft().term),
  gauge("ayder_raft_last_index", "Index of the newest entry.", () => sources.raft().lastIndex),
  gauge(
    "ayder_raft_commit_index",
    "Index of the newest committed entry.",
    () => sources.raft().commitIndex,
  ),
  gauge(
    "ayder_raft_applied_index",
    "Index of the newest applied entry.",
    () => sources.raft().appliedIndex,
  ),
  gauge("ayder_raft_is_leader", "1 on the leader.", () => (sources.raft().isLeader ? 1 : 0)),
  gauge(
    "ayder_idempotency_keys",
    "Idempotency keys remembered.",
    () => sources.raft().idempotencyKeys,
  ),
  counter(
    "ayder_idempotency_evictions_total",
    "Idempotency keys forgotten before their time because there were too many.",
    () => sources.raft().idempotencyEvictions,
  ),
];
