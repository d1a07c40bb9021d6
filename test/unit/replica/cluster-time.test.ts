// The time of the log when clocks are wrong: no node alone can drag it along, and it never goes back.

import { expect, test } from "bun:test";
import { newEntryHeader, readEntryHeader } from "../../../src/log/mod.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

const HOUR_MS = 3600 * 1000;
const YEAR_MS = 365 * 24 * HOUR_MS;

/** Times of all entries that a node has. */
function timesOf(node: SimMember): number[] {
  const bytes = node.entries();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = newEntryHeader();
  const times: number[] = [];
  for (let at = 0; at < bytes.length; at += header.bytes) {
    if (!readEntryHeader(view, at, header)) throw new Error(`No entry at ${at}`);
    times.push(header.timestampMs);
  }
  return times;
}

/** How far the newest entry is ahead of a right clock. */
const aheadMs = (cluster: SimCluster, node: SimMember): number =>
  (timesOf(node).at(-1) ?? 0) - (cluster.node(1).clock.wallMs() - cluster.node(1).wallSkewMs);

function handTo(cluster: SimCluster, to: SimMember): void {
  if (!to.replica.isLeading) cluster.good(cluster.leader().broker.transferLeadership(to.id));
  cluster.until(() => to.replica.isLeading);
}

/** Writes for so long. */
function writeFor(cluster: SimCluster, topic: number, elapsedMs: number): void {
  const untilMs = cluster.nowMs + elapsedMs;
  while (cluster.nowMs < untilMs) {
    cluster.produce(topic, "x");
    cluster.pass(100);
  }
}

const isAscending = (times: readonly number[]): boolean =>
  times.every((time, i) => i === 0 || time >= (times[i - 1] ?? 0));

test.each([YEAR_MS, -YEAR_MS])(
  "a new leader whose clock is wrong by %p ms does not drag the time of the log along",
  (skewMs) => {
    const cluster = SimCluster.ready();
    const topic = cluster.topic("t");
    cluster.produce(topic, "x");
    const [wrong] = cluster.followers();
    wrong.wallSkewMs = skewMs;
    cluster.pass(500);
    handTo(cluster, wrong);
    writeFor(cluster, topic, 2000);

    // It steers by a tenth of the time that passes, and no more.
    expect(Math.abs(aheadMs(cluster, wrong))).toBeLessThan(600);
    expect(isAscending(timesOf(wrong))).toBe(true);

    const [next] = cluster.followers();
    handTo(cluster, next);
    writeFor(cluster, topic, 500);
    expect(Math.abs(aheadMs(cluster, next))).toBeLessThan(600);
    expect(isAscending(timesOf(next))).toBe(true);
  },
);

test("a leader whose clock jumps a year while it leads goes on by the time that passes", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "x");
  const leader = cluster.leader();
  leader.wallSkewMs = YEAR_MS;
  writeFor(cluster, topic, 2000);

  expect(aheadMs(cluster, leader)).toBeLessThan(600);
});

test("a new leader steps forward to its clock when a majority of the clocks agree with it", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "x");
  const [first, second] = cluster.followers();
  // Two of three have been set right; the leader that goes on is an hour behind them.
  for (const node of [first, second]) node.wallSkewMs = HOUR_MS;
  cluster.pass(500);
  writeFor(cluster, topic, 500);
  expect(aheadMs(cluster, first)).toBeLessThan(600);
  handTo(cluster, first);
  // Whose clock it hears first is chance.
  cluster.pass(500);
  cluster.produce(topic, "x");

  expect(aheadMs(cluster, first)).toBeWithin(HOUR_MS - 1000, HOUR_MS + 1000);
});

test("the first leader of a cluster begins with the time of day, also when one clock of three is wrong", () => {
  for (let seed = 1; seed <= 8; seed += 1) {
    const cluster = new SimCluster({}, seed);
    const wrong = cluster.node(3);
    wrong.wallSkewMs = -HOUR_MS;
    for (const node of cluster.nodes) node.start();
    const leader = cluster.leader();
    const topic = cluster.topic("t");
    cluster.pass(500);
    cluster.produce(topic, "x");

    if (leader !== wrong) expect(Math.abs(aheadMs(cluster, leader))).toBeLessThan(1000);
    else expect(aheadMs(cluster, leader)).toBeLessThan(0);
  }
});

test("a node whose clock jumped since it last heard the others does not take that for agreement", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.produce(topic, "x");
  cluster.settle();
  const [first, second] = cluster.followers();
  cluster.leader().kill();
  first.wallSkewMs = YEAR_MS;
  cluster.until(() => first.replica.isLeading || second.replica.isLeading);
  handTo(cluster, first);
  cluster.pass(500);
  cluster.produce(topic, "x");

  expect(aheadMs(cluster, first)).toBeLessThan(1000);
});

test("the time of the log never goes back, whoever leads and whatever the clocks say", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  const skews = [HOUR_MS, -HOUR_MS, 5000, -5000, 0, YEAR_MS];
  for (const [i, skewMs] of skews.entries()) {
    const node = cluster.node((i % 3) + 1);
    node.wallSkewMs = skewMs;
    cluster.pass(300);
    handTo(cluster, node);
    for (let round = 0; round < 3; round += 1) cluster.produce(topic, "x");
  }
  cluster.settle();
  for (const node of cluster.nodes) expect(isAscending(timesOf(node))).toBe(true);
});
