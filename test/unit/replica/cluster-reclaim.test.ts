// Giving space back in a cluster: each node for itself. Who lacks what is gone gets files; what rots where nobody has entries
// any more is got back as records.

import { expect, test } from "bun:test";
import { fileName } from "../../../src/log/format.ts";
import type { LiveSegment } from "../../../src/log/mod.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const LIMITS = {
  tailBytes: 1 << 15,
  slabBytes: 1 << 15,
  segmentsKept: 0,
  mergeBytesMin: 1,
  scrubPassMs: 1e12,
  // Nothing is moved before it is asked for.
  reclaimBytesPerSecond: 0,
};
/** Records of 8 KiB, most of which are deleted: seven of them fill a segment. */
const RECORDS = 60;
const FLOOR = 50;

/** Fills a topic that is mostly deleted, beside one that keeps everything. */
function fill(cluster: SimCluster): { readonly flow: number; readonly kept: number } {
  const flow = cluster.topic("flow");
  const kept = cluster.topic("kept");
  for (let i = 0; i < RECORDS; i += 1) {
    cluster.produce(flow, `${i} ${"x".repeat(8000)}`);
    cluster.produce(kept, `kept ${i}`);
  }
  const request = { topic: "flow", partition: 0, beforeOffset: FLOOR };
  let isDone = false;
  cluster
    .leader()
    .broker.deleteBefore(request)
    .then(() => {
      isDone = true;
    });
  cluster.until(() => isDone);
  cluster.settle();
  return { flow, kept };
}

function reclaim(cluster: SimCluster, nodes: readonly SimMember[] = cluster.live()): void {
  for (const node of nodes) node.broker.compact();
  cluster.until(() => nodes.every((node) => node.replica.log.counts.archives > 0));
  for (let i = 0; i < 10; i += 1) cluster.pass(100);
  cluster.settle();
}

function expectWhole(
  cluster: SimCluster,
  { flow, kept }: { readonly flow: number; readonly kept: number },
): void {
  const hash = cluster.leader().broker.stateHash();
  for (const node of cluster.live()) {
    expect(node.texts(flow).map((text) => text.split(" ")[0])).toEqual(
      Array.from({ length: RECORDS - FLOOR }, (_, i) => `${FLOOR + i}`),
    );
    expect(node.texts(kept)).toEqual(Array.from({ length: RECORDS }, (_, i) => `kept ${i}`));
    expect(node.broker.stateHash()).toEqual(hash);
  }
}

/** The archive of a node, and the middle of its records. */
function archiveOf(node: SimMember): { readonly name: string; readonly middle: number } {
  const archive = node.replica.log.segments.all().find(({ kind }) => kind === "archive");
  if (archive === undefined) throw new Error("There is an archive");
  const name = fileName(archive.sequence, "archive");
  return { name, middle: Math.floor((4096 + archive.position) / 2) };
}

test("every node gives back the same records' space, and goes on as before", () => {
  const cluster = SimCluster.ready({ limits: LIMITS });
  const topics = fill(cluster);
  const before = cluster.leader().replica.log.segmentBytes;
  reclaim(cluster);

  expect(cluster.leader().replica.log.segmentBytes).toBeLessThan(before / 2);
  expect(cluster.leader().replica.log.firstIndex).toBeGreaterThan(RECORDS);
  expectWhole(cluster, topics);
  for (const node of cluster.live()) {
    node.powerLoss();
    node.start();
  }
  cluster.settle();
  expectWhole(cluster, topics);
});

test("a node that lacks what is gone is filled with files, archives among them", () => {
  const cluster = SimCluster.ready({ limits: LIMITS });
  const [late] = cluster.followers();
  late.kill();
  const topics = fill(cluster);
  reclaim(cluster);
  late.start();
  cluster.settle();

  expect(late.hasSaid("files_installed")).toBe(true);
  expect(late.replica.log.counts.archives).toBeGreaterThan(0);
  expectWhole(cluster, topics);
  late.powerLoss();
  late.start();
  cluster.settle();
  expectWhole(cluster, topics);
});

test("a wiped node is filled with files while they are being reclaimed", () => {
  const cluster = SimCluster.ready({ limits: LIMITS });
  const topics = fill(cluster);
  const [late] = cluster.followers();
  late.wipe();
  late.start();
  for (const node of cluster.live()) node.broker.compact();
  cluster.settle();
  reclaim(cluster);

  expectWhole(cluster, topics);
});

test.each(["follower", "leader"] as const)(
  "a sector that rots in an archive of the %s is served to nobody, and its records are got back from a peer",
  (who) => {
    const cluster = SimCluster.ready({ limits: LIMITS });
    const topics = fill(cluster);
    reclaim(cluster);
    const node = who === "leader" ? cluster.leader() : cluster.followers()[0];
    const { name, middle } = archiveOf(node);
    node.disk.corruptSyncedSector(name, middle);

    expect(() => node.texts(topics.kept)).toThrow("Cannot read");
    cluster.until(() => node.hasSaid("segment_repaired"));
    cluster.settle();

    expectWhole(cluster, topics);
    expect(node.disk.files.list()).not.toContain(name);
    node.powerLoss();
    node.start();
    cluster.settle();
    expectWhole(cluster, topics);
  },
);

test("a segment that rots is got back as records where the others have its entries no more", () => {
  const cluster = SimCluster.ready({ limits: LIMITS });
  const topics = fill(cluster);
  const [node, other] = cluster.followers();
  const [segment] = node.replica.log.segments.all();
  const name = fileName(segment?.sequence ?? 0, "log");
  reclaim(cluster, [cluster.leader(), other]);
  node.disk.corruptSyncedSector(name, 20_000);

  // No read meets it: what rotted is dead.
  for (let i = 0; i < 20 && !node.hasSaid("segment_damaged"); i += 1) {
    node.replica.log.scrub();
    cluster.pass(100);
  }
  cluster.until(() => node.hasSaid("segment_repaired"), 60_000);
  cluster.settle();
  expect(node.disk.files.list()).not.toContain(name);
  expectWhole(cluster, topics);
});

test("alone, a damaged archive stops the node, and the next start refuses", () => {
  const disk = simDisk(1, { reads: "step" });
  const node = SimNode.ready(disk, {
    limits: { ...LIMITS, segmentBytes: 1 << 16, slabBytes: 1 << 14 },
  });
  const flow = node.topic("flow");
  const kept = node.topic("kept");
  for (let i = 0; i < RECORDS; i += 1) {
    node.produce(flow, `${i} ${"x".repeat(8000)}`);
    node.produce(kept, `kept ${i}`);
  }
  const request = { topic: "flow", partition: 0, beforeOffset: FLOOR };
  node.good(node.broker.deleteBefore(request));
  node.broker.compact();
  for (let i = 0; i < 100 && node.replica.log.counts.archives === 0; i += 1) {
    node.clock.pass(100);
    node.replica.tick();
    node.rest();
  }
  const archive = node.replica.log.segments.all().find(({ kind }) => kind === "archive");
  const name = fileName(archive?.sequence ?? 0, "archive");
  disk.corruptSyncedSector(name, 4200);

  expect(() => {
    try {
      node.values(kept);
    } catch (error) {
      // The node stops once the damage is noted.
      node.rest();
      throw error;
    }
  }).toThrow();
  expect(() => node.restarted()).toThrow(name);
});

test("a segment without entries goes, and the log before it stays", () => {
  const limits = {
    tailBytes: 1 << 15,
    slabBytes: 1 << 15,
    startSegmentBytes: 4200,
    mergeBytesMin: 1,
  };
  const cluster = SimCluster.ready({ limits, catchUpBytes: 1 }, 1);
  const topic = cluster.topic("t");
  for (let i = 0; i < 40; i += 1) cluster.produce(topic, `${i} ${"x".repeat(8000)}`);
  cluster.settle();
  const [late] = cluster.followers();
  late.wipe();
  late.start();
  cluster.settle();
  for (let i = 0; i < 30; i += 1) cluster.produce(topic, `${i} ${"x".repeat(8000)}`);
  cluster.settle();
  cluster.pass(5000);

  const { segments } = late.replica.log;
  expect(late.hasSaid("files_installed")).toBe(true);
  expect(segments.compacted.index).toBe(0);
  const isEmpty = ({ firstIndex, chain }: LiveSegment): boolean =>
    chain.index > 0 && chain.index < firstIndex;
  expect(segments.all().filter(isEmpty)).toEqual([]);
});
