// How a node that lacks much is filled: from the leader's memory, from its disk, or with files, which may be cut off anywhere
// and go on.

import { expect, test } from "bun:test";
import { decodePeer } from "../../../src/replica/peer-codec.ts";
import { SimCluster, type SimClusterOptions } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

const LITTLE_MEMORY = { tailBytes: 1 << 15, slabBytes: 1 << 15 };
const BY_FILES = { catchUpBytes: 1 << 16 };

/** Stores so many records of 8 KiB: seven of them fill a segment. */
function fill(cluster: SimCluster, topic: number, count: number): void {
  for (let i = 0; i < count; i += 1) cluster.produce(topic, `${i} ${"x".repeat(8000)}`);
}

/** A cluster in which one follower lacks some segments, and is down. */
function lacking(
  options: SimClusterOptions,
  count = 80,
): { readonly cluster: SimCluster; readonly topic: number; readonly late: SimMember } {
  const cluster = SimCluster.ready(options);
  const topic = cluster.topic("t");
  fill(cluster, topic, 3);
  cluster.settle();
  const [late] = cluster.followers();
  late.kill();
  fill(cluster, topic, count);
  cluster.settle();
  return { cluster, topic, late };
}

function expectWhole(cluster: SimCluster, topic: number, count = 83): void {
  cluster.settle();
  const leader = cluster.leader();
  const hash = leader.broker.stateHash();
  for (const node of cluster.nodes) {
    expect(node.texts(topic)).toHaveLength(count);
    expect(node.broker.stateHash()).toEqual(hash);
  }
}

const times = (node: SimMember, event: string): number =>
  node.said.filter((line) => line.event === event).length;

test("a follower that lacks what is in the leader's memory gets it from there, and the disk is not asked", () => {
  const { cluster, topic, late } = lacking({ limits: { tailBytes: 1 << 20 } }, 40);
  const leader = cluster.leader();
  const { reads } = leader.disk;
  late.start();
  cluster.settle();

  expect(leader.disk.reads).toBe(reads);
  expectWhole(cluster, topic, 43);
});

test("a follower that lacks more gets the entries from the leader's disk", () => {
  const { cluster, topic, late } = lacking({ limits: LITTLE_MEMORY });
  const leader = cluster.leader();
  const { reads } = leader.disk;
  late.start();
  cluster.settle();

  expect(leader.disk.reads).toBeGreaterThan(reads);
  expect(leader.hasSaid("offers_files")).toBe(false);
  expect(late.entries()).toEqual(leader.entries());
  expectWhole(cluster, topic);
});

test("a follower that lacks more than is worth sending is filled with files, and goes on with entries", () => {
  const { cluster, topic, late } = lacking(BY_FILES);
  const leader = cluster.leader();
  late.start();
  cluster.settle();

  expect(times(leader, "offers_files")).toBe(1);
  expect(times(late, "files_installed")).toBe(1);
  expectWhole(cluster, topic);

  fill(cluster, topic, 10);
  cluster.settle();
  expect(late.entries()).toEqual(cluster.leader().entries());
  for (const node of cluster.nodes) node.powerLoss();
  for (const node of cluster.nodes) node.start();
  expectWhole(cluster, topic, 93);
});

test("a follower that lacks much, and little of all there is, gets entries: files would bring everything again", () => {
  const cluster = SimCluster.ready(BY_FILES);
  const topic = cluster.topic("t");
  fill(cluster, topic, 100);
  cluster.settle();
  const [late] = cluster.followers();
  late.kill();
  fill(cluster, topic, 20);
  cluster.settle();
  late.start();
  cluster.settle();

  expect(times(cluster.leader(), "offers_files")).toBe(0);
  expectWhole(cluster, topic, 120);
});

test("files that bring a merged base bring keys, groups and floors with it", () => {
  const merging = { ...BY_FILES, limits: { mergeBytesMin: 500 } };
  const cluster = SimCluster.ready(merging);
  const topic = cluster.topic("t", 2);
  const [late] = cluster.followers();
  late.kill();
  for (let i = 0; i < 40; i += 1)
    cluster.produce(topic, `${i} ${"x".repeat(8000)}`, { idempotencyKey: `key ${i}` });
  const { broker } = cluster.leader();
  cluster.good(broker.commit({ topic: "t", group: "g", partition: 0, offset: 20 }));
  cluster.good(broker.deleteBefore({ topic: "t", partition: 0, beforeOffset: 10 }));
  fill(cluster, topic, 20);
  cluster.pass(1000);
  expect(cluster.leader().replica.log.counts.merges).toBeGreaterThan(0);
  late.wipe();
  late.start();
  cluster.until(() => late.hasSaid("files_installed"));
  expectWhole(cluster, topic, 50);

  expect(late.broker.committedOffset(topic, 0, "g")).toBe(20);
  expect(late.broker.partition(topic, 0)).toMatchObject({ startOffset: 10, nextOffset: 60 });
  cluster.good(cluster.leader().broker.transferLeadership(late.id));
  cluster.until(() => late.replica.isLeading);
  const again = late.send(topic, `0 ${"x".repeat(8000)}`, { idempotencyKey: "key 0" });
  expect(late.stored(again)).toMatchObject({ firstOffset: 0, duplicate: 1 });
  late.powerLoss();
  late.start();
  expectWhole(cluster, topic, 50);
});

test("a wiped voter is filled with files, and votes again", () => {
  const { cluster, topic, late } = lacking(BY_FILES);
  late.wipe();
  late.start();
  cluster.settle();

  expect(late.hasSaid("files_installed")).toBe(true);
  expect(late.replica.membership.voters).toEqual(["n1", "n2", "n3"]);
  expect(late.replica.raft.isFenced).toBe(false);
  expectWhole(cluster, topic);
});

/** Counts pieces of files that come to a node. */
function countPieces(node: SimMember): { count: number } {
  const pieces = { count: 0 };
  node.transport.tap = (delivery) => {
    if (delivery.kind === "message" && decodePeer(delivery.bytes)?.kind === "piece")
      pieces.count += 1;
    return delivery;
  };
  return pieces;
}

test.each([1, 5, 9])(
  "a transfer that is cut off by the end of the receiver begins again and ends (after piece %p)",
  (after) => {
    const { cluster, topic, late } = lacking({ ...BY_FILES, latencyMsMax: 5 });
    late.start();
    const pieces = countPieces(late);
    cluster.until(() => pieces.count >= after);
    expect(late.hasSaid("files_installed")).toBe(false);
    late.powerLoss();
    late.start();
    cluster.settle();

    expect(late.hasSaid("files_installed")).toBe(true);
    expectWhole(cluster, topic);
    // What was cut off is not kept for ever.
    expect(late.disk.files.list().length).toBeLessThan(60);
  },
);

test("a transfer that is cut off by the end of the leader is begun again by the next one", () => {
  const { cluster, topic, late } = lacking({ ...BY_FILES, latencyMsMax: 5 });
  late.start();
  const pieces = countPieces(late);
  cluster.until(() => pieces.count >= 3);
  expect(late.hasSaid("files_installed")).toBe(false);
  const old = cluster.leader();
  old.kill();
  cluster.until(() => late.hasSaid("files_installed"), 120_000);
  old.start();
  expectWhole(cluster, topic);
});

test("a transfer goes on where it stood when the way was blocked for a while", () => {
  const { cluster, topic, late } = lacking({ ...BY_FILES, latencyMsMax: 5 });
  late.start();
  const pieces = countPieces(late);
  cluster.until(() => pieces.count >= 3);
  cluster.isolate(late);
  cluster.pass(5000);
  expect(late.hasSaid("files_installed")).toBe(false);
  cluster.heal();
  cluster.until(() => late.hasSaid("files_installed"), 120_000);

  expect(times(late, "receives_files")).toBe(1);
  expectWhole(cluster, topic);
});

test("a damaged piece is asked for again", () => {
  const { cluster, topic, late } = lacking(BY_FILES);
  late.start();
  const damaged = new Set<number>();
  late.transport.tap = (delivery) => {
    if (delivery.kind !== "message") return delivery;
    const peer = decodePeer(delivery.bytes);
    if (peer?.kind !== "piece" || damaged.has(peer.file)) return delivery;
    damaged.add(peer.file);
    const bytes = delivery.bytes.slice();
    const at = bytes.length - 1000;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return { ...delivery, bytes };
  };
  cluster.settle();

  expect(damaged.size).toBeGreaterThan(5);
  expect(times(late, "files_installed")).toBe(1);
  expect(late.hasSaid("files_failed")).toBe(false);
  expectWhole(cluster, topic);
});

test("pieces that find no room on their way are sent when there is some, and not asked for again", () => {
  const { cluster, topic, late } = lacking(BY_FILES);
  const { transport } = cluster.leader();
  const send = transport.send.bind(transport);
  let refused = 0;
  transport.send = (to, priority, parts) => {
    const isPiece = decodePeer(new Uint8Array(Buffer.concat(parts)))?.kind === "piece";
    if (!isPiece || refused % 2 === 1) {
      refused += isPiece ? 1 : 0;
      return send(to, priority, parts);
    }
    refused += 1;
    return false;
  };
  late.start();
  cluster.until(() => late.hasSaid("receives_files"));

  // One that is lost is asked for again after two seconds.
  cluster.until(() => late.hasSaid("files_installed"), 1900);

  expect(refused).toBeGreaterThan(9);
  expectWhole(cluster, topic);
});

test("an offer that a connection took with it is made again on the next one, at once", () => {
  const { cluster, topic, late } = lacking(BY_FILES);
  late.start();
  let lost = 0;
  late.transport.tap = (delivery) => {
    const peer = delivery.kind === "message" ? decodePeer(delivery.bytes) : undefined;
    if (peer?.kind !== "raft" || peer.message.kind !== "snapshot" || lost > 0) return delivery;
    lost += 1;
    return undefined;
  };
  cluster.until(() => lost > 0);
  late.kill();
  late.start();

  cluster.until(() => late.hasSaid("files_installed"), 2000);

  expectWhole(cluster, topic);
});

test("an offer that is lost is made again", () => {
  const { cluster, topic, late } = lacking(BY_FILES);
  late.start();
  let lost = 0;
  late.transport.tap = (delivery) => {
    const peer = delivery.kind === "message" ? decodePeer(delivery.bytes) : undefined;
    if (peer?.kind !== "raft" || peer.message.kind !== "snapshot" || lost >= 2) return delivery;
    lost += 1;
    return undefined;
  };
  cluster.until(() => late.hasSaid("files_installed"), 15_000);

  expect(lost).toBe(2);
  expectWhole(cluster, topic);
});

test("power failures in the middle of taking the files in leave the old log or the new one", () => {
  for (let primitives = 1; primitives <= 120; primitives += 13) {
    const { cluster, topic, late } = lacking(BY_FILES, 24);
    late.start();
    cluster.until(() => late.hasSaid("receives_files"));
    late.disk.crashAfterPrimitives(primitives);
    cluster.until(() => cluster.crashed.length > 0 || late.hasSaid("files_installed"));
    cluster.pass(50);
    if (!late.isUp) late.start();
    expectWhole(cluster, topic, 27);
  }
});
