// What a follower makes of what it is sent: whole entries of the present term, each once, as few writes as can be.

import { expect, test } from "bun:test";
import type { Delivery } from "../../../src/replica/mod.ts";
import { decodePeer } from "../../../src/replica/peer-codec.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

/** Where the entries of an append begin in a message; undefined for anything else, also an append without any. */
function entriesOf(delivery: Delivery): number | undefined {
  if (delivery.kind !== "message") return undefined;
  const peer = decodePeer(delivery.bytes);
  const isAppend = peer?.kind === "raft" && peer.message.kind === "append";
  return isAppend && peer.entriesStart < delivery.bytes.length ? peer.entriesStart : undefined;
}

/** Changes one bit of each append with entries that comes to a node; `place` from 0 to 1, first to last byte of them. */
function damage(node: SimMember, place: number): { count: number } {
  const damaged = { count: 0 };
  node.transport.tap = (delivery) => {
    const start = entriesOf(delivery);
    if (start === undefined || delivery.kind !== "message") return delivery;
    damaged.count += 1;
    const bytes = delivery.bytes.slice();
    const at = start + Math.floor(place * (bytes.length - start - 1));
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    return { ...delivery, bytes };
  };
  return damaged;
}

const untap = (node: SimMember): void => {
  node.transport.tap = (delivery) => delivery;
};

test.each([0, 0.1, 0.3, 0.5, 0.8, 1])(
  "an append with a damaged entry is neither acknowledged nor stored, and comes again (at %p)",
  (place) => {
    const cluster = SimCluster.ready();
    const topic = cluster.topic("t");
    cluster.settle();
    const leader = cluster.leader();
    const [follower] = cluster.followers();
    const before = follower.replica.log.placedEnd;
    const damaged = damage(follower, place);
    for (let i = 0; i < 3; i += 1) cluster.produce(topic, `record ${i} ${"x".repeat(50)}`);
    cluster.pass(1000);

    expect(damaged.count).toBeGreaterThan(1);
    expect(follower.hasSaid("peer_entries_damaged")).toBe(true);
    expect(follower.replica.log.placedEnd).toEqual(before);
    expect(leader.replica.raft.progress.get(follower.id)?.matchIndex).toBe(before.index);

    untap(follower);
    cluster.settle();

    expect(follower.texts(topic)).toEqual(leader.texts(topic));
    expect(follower.entries()).toEqual(leader.entries());
  },
);

test("half of an append, or more than it speaks of, counts for nothing", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const [first, second] = cluster.followers();
  const before = first.replica.log.placedEnd;
  first.transport.tap = (delivery) => {
    if (entriesOf(delivery) === undefined || delivery.kind !== "message") return delivery;
    return { ...delivery, bytes: delivery.bytes.subarray(0, delivery.bytes.length - 8) };
  };
  second.transport.tap = (delivery) => {
    if (entriesOf(delivery) === undefined || delivery.kind !== "message") return delivery;
    return { ...delivery, bytes: new Uint8Array([...delivery.bytes, ...new Uint8Array(8)]) };
  };
  const leader = cluster.leader();
  leader.send(topic, "x");
  cluster.pass(300);

  expect(first.replica.log.placedEnd).toEqual(before);
  expect(second.replica.log.placedEnd).toEqual(before);
  untap(first);
  untap(second);
  cluster.settle();
  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["x"]);
});

test("an append of an earlier term is refused, whatever it holds", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const old = cluster.leader();
  const [follower, other] = cluster.followers();
  const held: Delivery[] = [];
  // What the old leader sent last is still on its way when another one leads.
  for (const node of [follower, other]) {
    node.transport.tap = (delivery) => {
      if (delivery.from.nodeId === old.id && entriesOf(delivery) !== undefined) {
        if (node === follower) held.push(delivery);
        return undefined;
      }
      return delivery;
    };
  }
  old.send(topic, "late");
  cluster.until(() => held.length > 0);
  cluster.isolate(old);
  cluster.until(() => !old.replica.isLeading);
  cluster.produce(topic, "new");
  cluster.until(() => follower.texts(topic).length === 1);
  const before = follower.replica.log.placedEnd;
  untap(follower);
  untap(other);
  for (const delivery of held) follower.transport.forge(delivery);
  cluster.pass(300);

  expect(follower.replica.log.placedEnd).toEqual(before);
  cluster.heal();
  cluster.settle();
  for (const node of cluster.nodes) expect(node.texts(topic)).toEqual(["new"]);
});

test("an append that comes twice is stored once", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const leader = cluster.leader();
  const [follower] = cluster.followers();
  const again: Delivery[] = [];
  follower.transport.tap = (delivery) => {
    if (entriesOf(delivery) !== undefined) again.push(delivery);
    return delivery;
  };
  for (let i = 0; i < 10; i += 1) cluster.produce(topic, `${i}`);
  cluster.settle();
  untap(follower);
  const { writtenBytes, entries } = follower.replica.log.probe;
  for (const delivery of [...again].reverse()) follower.transport.forge(delivery);
  cluster.settle();

  expect(again.length).toBeGreaterThanOrEqual(10);
  expect(follower.replica.log.probe.entries).toBe(entries);
  expect(follower.replica.log.probe.writtenBytes).toBe(writtenBytes);
  expect(follower.entries()).toEqual(leader.entries());
});

test("however many appends came while a write was under way, they share the next write and its one sync", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  cluster.settle();
  const [follower] = cluster.followers();
  follower.disk.isStalled = true;
  const before = follower.replica.raft.lastIndex;
  for (let i = 0; i < 50; i += 1) cluster.produce(topic, `${i}`);
  cluster.until(() => follower.replica.raft.lastIndex === cluster.leader().replica.raft.lastIndex);
  const { appends, syncs } = follower.disk;
  const { entries } = follower.replica.log.probe;

  expect(follower.replica.raft.lastIndex - before).toBeGreaterThanOrEqual(50);
  // One is under way already.
  follower.disk.isStalled = false;
  cluster.until(() => follower.replica.log.syncedIndex === follower.replica.raft.lastIndex);

  expect(follower.replica.log.probe.entries - entries).toBeGreaterThanOrEqual(49);
  expect(follower.disk.appends - appends).toBe(1);
  expect(follower.disk.syncs - syncs).toBe(2);
});

test("a follower that returns stores what it lacked, and nothing twice", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  for (let i = 0; i < 30; i += 1) cluster.produce(topic, `before ${i}`);
  const [follower] = cluster.followers();
  follower.kill();
  for (let i = 0; i < 30; i += 1) cluster.produce(topic, `meanwhile ${i}`);
  follower.start();
  const had = follower.replica.raft.lastIndex;
  cluster.settle();
  const leader = cluster.leader();

  expect(follower.replica.log.probe.entries).toBe(leader.replica.raft.lastIndex - had);
  expect(follower.entries()).toEqual(leader.entries());
  expect(follower.texts(topic)).toHaveLength(60);
});

test("a follower whose power failed again and again holds the same bytes as its leader", () => {
  const cluster = SimCluster.ready();
  const topic = cluster.topic("t");
  const [follower] = cluster.followers();
  let count = 0;
  for (let round = 0; round < 12; round += 1) {
    for (let i = 0; i < 5; i += 1, count += 1) cluster.produce(topic, `${count}`);
    cluster.pass(round);
    follower.powerLoss();
    cluster.produce(topic, `${count++}`);
    follower.start();
  }
  cluster.settle();
  const leader = cluster.leader();

  expect(follower.entries()).toEqual(leader.entries());
  expect(follower.texts(topic)).toEqual(Array.from({ length: count }, (_, i) => `${i}`));
});
