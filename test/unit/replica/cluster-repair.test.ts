// What a member does when what it had is damaged: it gets it back from the others, who verify nothing less than a chain of
// checksums, and nobody is served or counts on what is not whole.

import { expect, test } from "bun:test";
import { fileName } from "../../../src/log/format.ts";
import { MANIFEST_FILE, META_FILE, STATE_FILE } from "../../../src/log/metadata.ts";
import { encodeEntriesHead } from "../../../src/replica/peer-codec.ts";
import { SimCluster } from "../../support/sim-cluster.ts";
import type { SimMember } from "../../support/sim-member.ts";

const RECORDS = 40;

/** Damage is looked for by reads alone, and reads find nothing in memory. */
const LITTLE_MEMORY = { tailBytes: 1 << 15, slabBytes: 1 << 15 };

/** A cluster with some derived segments. */
function filled(
  scrubPassMs = 1e12,
  seed = 1,
): { readonly cluster: SimCluster; readonly topic: number } {
  const cluster = SimCluster.ready({ limits: { ...LITTLE_MEMORY, scrubPassMs } }, seed);
  const topic = cluster.topic("t");
  for (let i = 0; i < RECORDS; i += 1) cluster.produce(topic, `${i} ${"x".repeat(8000)}`);
  cluster.settle();
  return { cluster, topic };
}

/** A derived segment of a node, from the first. */
function segmentOf(node: SimMember, i = 0): string {
  const segment = node.replica.log.segments.all()[i];
  if (segment?.isDerived !== true) throw new Error(`Segment ${i} is not derived`);
  return fileName(segment.sequence, "log");
}

const isRepaired = (node: SimMember): boolean => node.hasSaid("segment_repaired");

/** Whether a read of everything is served, and that it is nothing else than what was written. */
function isServed(node: SimMember, topic: number): boolean {
  try {
    const texts = node.texts(topic);
    expect(texts.map((text) => text.split(" ")[0])).toEqual(
      Array.from({ length: RECORDS }, (_, i) => `${i}`),
    );
    return true;
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("Cannot read")) throw error;
    return false;
  }
}

test.each(["follower", "leader"] as const)(
  "a sector that rots in a sealed segment of the %s is served to nobody, and is got back from a peer",
  (who) => {
    const { cluster, topic } = filled();
    const node = who === "leader" ? cluster.leader() : cluster.followers()[0];
    const name = segmentOf(node, 1);
    node.disk.corruptSyncedSector(name, 20_000);

    expect(isServed(node, topic)).toBe(false);
    expect(node.probe.cluster().damagedSegments).toBe(1);
    // What does not lie in it is served all the while, and writes are taken.
    cluster.produce(cluster.topic("other"), "y");
    cluster.until(() => isRepaired(node));

    expect(isServed(node, topic)).toBe(true);
    expect(node.probe.cluster().damagedSegments).toBe(0);
    expect(node.probe.cluster().damagedEntriesRepaired).toBeGreaterThan(3);
    cluster.settle();
    expect(node.disk.files.list()).not.toContain(name);
    expect(node.entries()).toEqual(cluster.leader().entries());

    node.powerLoss();
    node.start();
    cluster.settle();
    expect(isServed(node, topic)).toBe(true);
    expect(node.hasSaid("log_damaged")).toBe(false);
  },
);

test("the scrub finds what no read meets", () => {
  const { cluster, topic } = filled(5000);
  const [node] = cluster.followers();
  node.disk.corruptSyncedSector(segmentOf(node), 20_000);
  cluster.until(() => isRepaired(node), 30_000);

  expect(isServed(node, topic)).toBe(true);
});

test("damage where no entry stands holds up no other repair", () => {
  const limits = {
    ...LITTLE_MEMORY,
    startSegmentBytes: 4200,
    scrubPassMs: 3000,
  };
  const cluster = SimCluster.ready({ limits, catchUpBytes: 1 }, 1);
  const topic = cluster.topic("t");
  const fill = (to: number, count: number): void => {
    for (let i = 0; i < count; i += 1) cluster.produce(to, `${i} ${"x".repeat(8000)}`);
    cluster.settle();
  };
  fill(topic, RECORDS);
  const [node] = cluster.followers();
  node.wipe();
  node.start();
  cluster.until(() => node.hasSaid("files_installed"));
  cluster.until(() => node.hasReplica);
  // It writes a frame that says what is certain. What comes next does not fit behind it.
  cluster.isolate(node);
  cluster.pass(300);
  const { active } = node.replica.log.segments;
  expect(active.position).toBeGreaterThan(4096);
  node.disk.corruptSyncedSector(fileName(active.sequence, "log"), 4096);
  cluster.heal();
  fill(cluster.topic("other"), 20);
  expect(active.chain.index).toBeLessThan(active.firstIndex);
  cluster.until(() => node.hasSaid("segment_damaged"), 30_000);
  node.disk.corruptSyncedSector(segmentOf(node, 1), 20_000);
  cluster.until(
    () => node.said.filter(({ event }) => event === "segment_repaired").length === 2,
    60_000,
  );

  expect(node.probe.cluster().damagedSegments).toBe(0);
  expect(isServed(node, topic)).toBe(true);
});

test("damage that a leader meets when a follower lacks the entries holds up nobody for long", () => {
  const { cluster, topic } = filled();
  const [late] = cluster.followers();
  const leader = cluster.leader();
  late.wipe();
  leader.disk.corruptSyncedSector(segmentOf(leader, 2), 20_000);
  late.start();
  cluster.settle();

  expect(isRepaired(leader)).toBe(true);
  expect(isServed(late, topic)).toBe(true);
});

test("a peer that sends other entries is not believed, though they are whole", () => {
  const { cluster, topic } = filled();
  const [node, peer] = cluster.followers();
  const leader = cluster.leader();
  // The first entries of another cluster: whole, in a chain, and not these.
  const other = filled(1e12, 7);
  const segment = node.replica.log.segments.all()[0];
  const foreign = other.cluster.leader().entries(1, segment?.chain.index ?? 0);
  expect(foreign).not.toEqual(leader.entries(1, segment?.chain.index ?? 0));
  let lies = 0;
  node.transport.tap = (delivery) => {
    const isAnswer =
      delivery.kind === "message" && delivery.from.nodeId === leader.id && delivery.bytes[0] === 4;
    if (!isAnswer) return delivery;
    lies += 1;
    return { ...delivery, bytes: new Uint8Array([...encodeEntriesHead(0), ...foreign]) };
  };
  node.disk.corruptSyncedSector(segmentOf(node), 20_000);
  expect(isServed(node, topic)).toBe(false);
  cluster.until(() => isRepaired(node), 60_000);

  expect(lies).toBeGreaterThan(0);
  expect(isServed(node, topic)).toBe(true);
  expect(node.entries()).toEqual(peer.entries());
});

test("entries that are damaged on their way are asked for again", () => {
  const { cluster, topic } = filled();
  const [node] = cluster.followers();
  let damaged = 0;
  node.transport.tap = (delivery) => {
    if (delivery.kind !== "message" || delivery.bytes[0] !== 4 || damaged >= 3) return delivery;
    damaged += 1;
    const bytes = delivery.bytes.slice();
    bytes[5000] = (bytes[5000] ?? 0) ^ 1;
    return { ...delivery, bytes };
  };
  node.disk.corruptSyncedSector(segmentOf(node), 20_000);
  expect(isServed(node, topic)).toBe(false);
  cluster.until(() => isRepaired(node), 60_000);

  expect(damaged).toBe(3);
  expect(isServed(node, topic)).toBe(true);
});

test("a disk without room for a repair is left alone meanwhile, and everything that waited for room goes on with it", () => {
  const { cluster, topic } = filled();
  const old = cluster.leader();
  cluster.isolate(old);
  old.send(topic, "lost");
  cluster.until(() => old.replica.log.syncedIndex > old.replica.raft.commitIndex);
  const name = segmentOf(old);
  const { freeBytesLimit } = old.disk.files;
  old.disk.files.freeBytesLimit = 0;
  old.disk.corruptSyncedSector(name, 20_000);
  expect(isServed(old, topic)).toBe(false);
  cluster.pass(20_000);
  const said = old.said.length;
  // Both the repair and the end of the tail that is to go must be noted in the manifest, for which there is no room.
  cluster.heal();
  cluster.pass(10_000);

  expect(old.said.length - said).toBeLessThan(20);
  expect(isRepaired(old)).toBe(false);

  old.disk.files.freeBytesLimit = freeBytesLimit;
  cluster.until(() => isRepaired(old));
  cluster.settle();

  expect(isServed(old, topic)).toBe(true);
  expect(old.entries()).toEqual(cluster.leader().entries());
});

test("a repair that comes to nothing leaves nothing behind, and is not begun again at once", () => {
  const { cluster, topic } = filled();
  const [node] = cluster.followers();
  cluster.settle();
  const files = node.disk.files.list();
  node.disk.corruptSyncedSector(segmentOf(node), 20_000);
  // Room for the manifest, and not for a segment.
  node.disk.files.freeBytesLimit = 1 << 15;
  expect(isServed(node, topic)).toBe(false);
  cluster.pass(60_000);
  const failed = node.said.filter(({ event }) => event === "repair_failed").length;

  expect(failed).toBeWithin(2, 25);
  expect(node.disk.files.list().filter((name) => !files.includes(name)).length).toBeLessThan(2);

  node.disk.files.freeBytesLimit = 2 ** 26;
  cluster.until(() => isRepaired(node));
  expect(isServed(node, topic)).toBe(true);
});

test("a node whose newest entries rotted comes back as another life, is filled, and votes again", () => {
  const { cluster, topic } = filled();
  const [node] = cluster.followers();
  const { incarnation } = node.replica.self;
  const { sequence } = node.replica.log.segments.active;
  node.kill();
  node.disk.corruptSyncedSector(fileName(sequence, "log"), 5000);
  node.start();

  expect(node.hasSaid("log_damaged")).toBe(true);
  expect(node.replica.self.incarnation).not.toBe(incarnation);
  expect(node.replica.raft.isFenced).toBe(true);

  let wasLearner = false;
  cluster.until(() => {
    wasLearner ||= cluster.leader().replica.membership.learners.includes(node.id);
    return node.hasReplica && wasLearner && !node.replica.membership.learners.includes(node.id);
  });
  cluster.settle();

  expect(node.replica.membership.voters).toEqual(["n1", "n2", "n3"]);
  expect(node.replica.raft.isFenced).toBe(false);
  expect(isServed(node, topic)).toBe(true);
  expect(node.entries()).toEqual(cluster.leader().entries());
});

/** What is damaged, and where. */
const USELESS: Readonly<Record<string, readonly (readonly [string, number])[]>> = {
  manifest: [[MANIFEST_FILE, 0]],
  state: [
    [STATE_FILE, 100],
    [STATE_FILE, 4200],
  ],
  "meta.json": [[META_FILE, 10]],
  "first segment": [[fileName(1, "log"), 10]],
};

test.each(Object.keys(USELESS))(
  "a node whose %s is of no use sets everything aside, whole, and is filled again",
  (what) => {
    const { cluster, topic } = filled();
    const [node] = cluster.followers();
    node.kill();
    const before = node.disk.files.list();
    for (const [name, position] of USELESS[what] ?? [])
      node.disk.corruptSyncedSector(name, position);
    node.start();

    expect(node.hasSaid("data_set_aside")).toBe(true);
    expect(node.disk.files.quarantined().sort()).toEqual(before.sort());

    cluster.settle();

    expect(node.replica.membership.voters).toEqual(["n1", "n2", "n3"]);
    expect(isServed(node, topic)).toBe(true);
    expect(node.broker.stateHash()).toEqual(cluster.leader().broker.stateHash());
  },
);
