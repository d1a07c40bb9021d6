// The text of /metrics: complete, documented, and in a form that Prometheus reads without a complaint.

import { expect, test } from "bun:test";
import { doublingBounds, Histogram } from "../../../src/lib/histogram.ts";
import { createMetrics, type MetricsSources } from "../../../src/metrics/mod.ts";
import { fakeSources } from "../../support/fake-server.ts";

const LIMITS = { topicsMax: 2, groupsMax: 2 };

function sources(changes: Partial<MetricsSources> = {}): MetricsSources {
  const latency = new Histogram(doublingBounds(0.001, 3));
  latency.record(0.001);
  latency.record(0.003);
  latency.record(9);
  const byStatus = new Float64Array(600);
  byStatus[200] = 2;
  byStatus[404] = 1;
  const http = {
    routes: [{ method: "GET", route: "/a", byStatus, latency }],
    tailReaders: 1,
    longPolls: 2,
    waitingWrites: 3,
    inflightBytes: 4,
  };
  return { ...fakeSources(http), ...changes };
}

test("every metric has a help, a type and a row in the reference", async () => {
  const text = await createMetrics(sources(), LIMITS).text();
  const reference = await Bun.file("docs/reference/metrics.md").text();

  const printed = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  const documented = [...reference.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );

  expect(printed.sort()).toEqual(documented.sort());
  for (const line of printed) expect(text).toContain(`# HELP ${line.split(" ")[0]} `);
});

test("a histogram is cumulative, ends in +Inf and has its sum and count", async () => {
  const text = await createMetrics(sources(), LIMITS).text();
  const lines = text
    .split("\n")
    .filter((line) => line.startsWith("ayder_http_request_duration_seconds_"));

  expect(lines).toEqual([
    'ayder_http_request_duration_seconds_bucket{method="GET",route="/a",le="0.001"} 1',
    'ayder_http_request_duration_seconds_bucket{method="GET",route="/a",le="0.002"} 1',
    'ayder_http_request_duration_seconds_bucket{method="GET",route="/a",le="0.004"} 2',
    'ayder_http_request_duration_seconds_bucket{method="GET",route="/a",le="+Inf"} 3',
    'ayder_http_request_duration_seconds_sum{method="GET",route="/a"} 9.004',
    'ayder_http_request_duration_seconds_count{method="GET",route="/a"} 3',
  ]);
  expect(text).toContain('ayder_http_requests_total{method="GET",route="/a",status="404"} 1');
});

test("microseconds are shown as seconds", async () => {
  const syncMicros = new Histogram([100, 200]);
  syncMicros.record(150);
  const log = { ...sources().log(), syncMicros };

  const text = await createMetrics(sources({ log: () => log }), LIMITS).text();

  expect(text).toContain('ayder_log_sync_duration_seconds_bucket{le="0.0001"} 0');
  expect(text).toContain('ayder_log_sync_duration_seconds_bucket{le="0.0002"} 1');
  expect(text).toContain("ayder_log_sync_duration_seconds_sum 0.00015");
});

test("topics and groups beyond the limit do not grow the scrape", async () => {
  const numbers = { recordsIn: 1, bytesIn: 10, recordsOut: 2, bytesOut: 20 };
  const topics = ["a", "b", "c", "d"].map((topic) => ({ topic, ...numbers }));
  const groups = ["x", "y", "z"].map((group) => ({ topic: "a", group, partition: 0, lag: 5 }));

  const text = await createMetrics(
    sources({ topics: () => topics, groups: () => groups }),
    LIMITS,
  ).text();

  expect(text).toContain('ayder_topic_records_in_total{topic="a"} 1');
  expect(text).toContain('ayder_topic_out_bytes_total{topic="*"} 40');
  expect(text).not.toContain('topic="c"');
  expect(text).not.toContain('group="z"');
});

test("labels are escaped", async () => {
  const topics = [{ topic: 'a"b\\c\nd', recordsIn: 1, bytesIn: 0, recordsOut: 0, bytesOut: 0 }];

  const text = await createMetrics(sources({ topics: () => topics }), LIMITS).text();

  expect(text).toContain('{topic="a\\"b\\\\c\\nd"} 1');
});

test("promtool has no complaint, where it is installed", async () => {
  const promtool = Bun.which("promtool");
  if (promtool === null) return;
  const text = await createMetrics(sources(), LIMITS).text();

  const check = Bun.spawnSync([promtool, "check", "metrics"], { stdin: Buffer.from(text) });

  expect(check.stdout.toString() + check.stderr.toString()).toBe("");
  expect(check.exitCode).toBe(0);
});
