// The text of /metrics and /metrics_ha: complete, documented, and in a form that Prometheus reads without a complaint.

import { expect, test } from "bun:test";
import { doublingBounds, Histogram } from "../../../src/lib/histogram.ts";
import {
  type ClusterNumbers,
  createHaMetrics,
  createMetrics,
  type MetricsSources,
} from "../../../src/metrics/mod.ts";
import { FAKE_CLUSTER, fakeSources } from "../../support/fake-server.ts";

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
    connections: 5,
    tailReaders: 1,
    longPolls: 2,
    streams: 1,
    waitingWrites: 3,
    inflightBytes: 4,
  };
  return { ...fakeSources(http), ...changes };
}

/** The text of `/metrics_ha` of a node with two peers. */
function clusterText(changes: Partial<ClusterNumbers> = {}): Promise<string> {
  const peer = {
    nodeId: "node2",
    isVoter: true,
    isConnected: true,
    state: "replicate",
    matchIndex: 90,
    lagEntries: 10,
    lagBytes: 4096,
    lastContactMs: 25,
    bytesSent: 7,
    bytesReceived: 8,
  } as const;
  const never = { ...peer, nodeId: "node3", isVoter: false, isConnected: false } as const;
  const peers = [
    peer,
    { ...never, state: "probe", lastContactMs: Number.POSITIVE_INFINITY } as const,
  ];
  const numbers = { ...FAKE_CLUSTER, term: 3, commitIndex: 100, peers, ...changes };
  return createHaMetrics({ cluster: () => numbers }).text();
}

test("every metric has a help, a type and a row in the reference", async () => {
  const text = `${await createMetrics(sources(), LIMITS).text()}\n${await clusterText()}`;
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

test("a leader shows how far the others are", async () => {
  const lines = (await clusterText()).split("\n");

  for (const line of [
    "ramforge_ha_role 0",
    "ramforge_ha_state 0",
    "ramforge_ha_term 3",
    "ramforge_ha_epoch 1",
    "ramforge_ha_joint_active 0",
    "ramforge_ha_fresh_quorum 1",
    'ayder_ha_info{node_id="node1",role="leader",leader_id="node1",leader_url="http://127.0.0.1:1109"} 1',
    "ayder_ha_commit_index 100",
    'ayder_ha_peer_match_index{peer="node2"} 90',
    'ayder_ha_peer_lag_entries{peer="node2"} 10',
    'ayder_ha_peer_lag_bytes{peer="node2"} 4096',
    'ayder_ha_peer_last_contact_seconds{peer="node2"} 0.025',
    'ayder_ha_peer_state{peer="node2",state="replicate"} 1',
    'ayder_ha_peer_state{peer="node2",state="snapshot"} 0',
    'ayder_ha_peer_connected{peer="node3"} 0',
    'ayder_ha_peer_voter{peer="node3"} 0',
    'ayder_ha_peer_sent_bytes_total{peer="node2"} 7',
  ]) {
    expect(lines).toContain(line);
  }
});

test("what nobody knows is not shown as a number", async () => {
  const text = await clusterText({
    role: "follower",
    leaderId: "",
    leaderUrl: "",
    peers: [
      {
        nodeId: "node2",
        isVoter: true,
        isConnected: false,
        state: "unknown",
        matchIndex: 0,
        lagEntries: 0,
        lagBytes: 0,
        lastContactMs: -1,
        bytesSent: 0,
        bytesReceived: 0,
      },
    ],
  });

  expect(text).not.toMatch(/^ayder_ha_peer_(match|lag|last)\w*\{/m);
  expect(text).toContain('ayder_ha_peer_state{peer="node2",state="unknown"} 1');
  expect(text).toContain("ayder_ha_has_leader 0");
});

test.each([
  ["leader", 0],
  ["follower", 1],
  ["candidate", 2],
  ["learner", 3],
] as const)("the published number of a %s is %p", async (role, number) => {
  expect(await clusterText({ role })).toContain(`\nramforge_ha_role ${number}\n`);
});

test("each scrape looks at the cluster once, and anew", async () => {
  let looks = 0;
  const metrics = createHaMetrics({
    cluster: () => {
      looks += 1;
      return { ...FAKE_CLUSTER, term: looks };
    },
  });

  expect(await metrics.text()).toContain("ramforge_ha_term 1\n");
  expect(await metrics.text()).toContain("ramforge_ha_term 2\n");
});

test("promtool has no complaint, where it is installed", async () => {
  const promtool = Bun.which("promtool");
  if (promtool === null) return;
  for (const text of [await createMetrics(sources(), LIMITS).text(), await clusterText()]) {
    const check = Bun.spawnSync([promtool, "check", "metrics"], { stdin: Buffer.from(text) });

    expect(check.stdout.toString() + check.stderr.toString()).toBe("");
    expect(check.exitCode).toBe(0);
  }
});

test("the heap's figures come with every scrape, with what is held outside of it", async () => {
  const outside = new Uint8Array(32 << 20).fill(1);
  Bun.gc(true);
  const text = await createMetrics(sources(), LIMITS).text();
  const [used, capacity, external] = ["used", "capacity", "external"].map((name) =>
    Number(new RegExp(`^ayder_heap_${name}_bytes (\\d+)$`, "m").exec(text)?.[1]),
  ) as [number, number, number];

  expect(capacity).toBeGreaterThan(0);
  expect(external).toBeGreaterThanOrEqual(outside.length);
  expect(used).toBeGreaterThanOrEqual(outside.length);
});
