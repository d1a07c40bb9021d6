// A disk of one node that has no room or does not answer: the cluster goes on without it, and the log and the metrics say so.

import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { makeTopic, names, send, store, valuesOf, write } from "../support/cluster-client.ts";
import { type Cluster, type ClusterNode, startCluster } from "../support/cluster-process.ts";
import { canMount, type FileSystem, type Mount, mount } from "../support/node-mount.ts";
import { SMALL_SEGMENTS } from "../support/node-process.ts";

const TEST_MS_MAX = 90_000;
const TOPIC = "disks";
/** The reserve is two segments and 64 MiB; three segments are there from the beginning. */
const FULL_DISK_MIB = 160;
const FOREIGN_MIB = 100;
const FROZEN_DISK_MIB = 768;
const SHORT_MS = 400;

/** A cluster whose second node has a file system of its own. */
async function withDisk(
  kind: FileSystem,
  mebibytes: number,
): Promise<{ cluster: Cluster; own: ClusterNode; disk: Mount; stack: AsyncDisposableStack }> {
  await using stack = new AsyncDisposableStack();
  const disk = mount(kind, mebibytes);
  if (disk === undefined) throw new Error("Cannot mount");
  stack.use(disk);
  const cluster = stack.use(
    await startCluster({
      env: SMALL_SEGMENTS,
      dataDirOf: (node) => (node === 1 ? join(disk.path, "data") : undefined),
    }),
  );
  // A process that waits for a frozen disk does not even die.
  stack.defer(() => thaw(disk));
  await makeTopic(cluster, TOPIC);
  return { cluster, own: cluster.node(1), disk, stack: stack.move() };
}

function thaw(disk: Mount): void {
  try {
    disk.stall(false);
  } catch {
    // It is not frozen.
  }
}

/** Gives the lead to this node, or to another one. */
async function lead(cluster: Cluster, node: ClusterNode, isWanted: boolean): Promise<void> {
  const leader = await cluster.leader();
  if ((leader === node) === isWanted) return;
  const to = isWanted ? node : cluster.nodes.find((other) => other !== node);
  await cluster.change("transfer", { node_id: to?.id });
  await cluster.until("it leads", async () => ((await cluster.leader()) === node) === isWanted);
}

function occupy(disk: Mount): string {
  const file = join(disk.path, "foreign");
  Bun.spawnSync(["fallocate", "-l", `${FOREIGN_MIB}M`, file]);
  return file;
}

test.if(canMount("tmpfs"))(
  "a leader whose disk is full says 507 and hands over to one with room; it takes records again when it has some",
  async () => {
    const { cluster, own, disk, stack } = await withDisk("tmpfs", FULL_DISK_MIB);
    await using _ = stack;
    await lead(cluster, own, true);
    const foreign = occupy(disk);

    const refused = await cluster.until("a write is refused", async () => {
      const reply = await write(own, TOPIC, "room");
      return reply.status === 200 ? undefined : reply;
    });
    expect(refused).toMatchObject({ status: 507, fields: { error: "disk_full" } });
    await own.line("disk_full");
    await cluster.until("another one leads", async () => (await cluster.leader()) !== own);
    expect(await own.line("leadership_offered")).toMatchObject({ why: "the disk is full" });
    await store(cluster, TOPIC, names("meanwhile", 20));
    expect(await cluster.leader()).not.toBe(own);

    rmSync(foreign);
    await own.line("disk_has_room");
    await cluster.same();
    await lead(cluster, own, true);
    expect((await write(own, TOPIC, "again")).status).toBe(200);
    expect((await valuesOf(own, TOPIC)).filter((value) => value !== "room")).toEqual([
      ...names("meanwhile", 20),
      "again",
    ]);
  },
  TEST_MS_MAX,
);

test.if(canMount("tmpfs"))(
  "a follower without a byte left holds up nobody but who asks for all; it catches up when it has room",
  async () => {
    const { cluster, own, disk, stack } = await withDisk("tmpfs", FULL_DISK_MIB);
    await using _ = stack;
    await lead(cluster, own, false);
    const filler = join(disk.path, "filler");
    Bun.spawnSync(["dd", "if=/dev/zero", `of=${filler}`, "bs=64k"]);
    const leader = await cluster.leader();

    // What it has prepared it still fills.
    const value = "x".repeat(200_000);
    await cluster.until("the follower stores no more", async () => {
      expect((await write(leader, TOPIC, value)).fields).toMatchObject({ synced: true });
      const wide = await write(leader, TOPIC, value, { ack: "all", timeoutMs: SHORT_MS });
      return wide.fields.synced === false;
    });
    await own.line("disk_full");
    const lag = `ayder_ha_peer_lag_entries{peer="${own.id}"}`;
    expect((await leader.haMetrics()).get(lag)).toBeGreaterThan(0);
    expect(await own.isReady()).toBe(true);
    expect((await send(own, "GET", `/broker/consume/${TOPIC}/g/0?offset=0&limit=1`)).status).toBe(
      200,
    );

    rmSync(filler);
    await own.line("disk_has_room");
    await cluster.same();
    expect((await write(leader, TOPIC, "x", { ack: "all" })).fields).toMatchObject({
      synced: true,
    });
  },
  TEST_MS_MAX,
);

const canFreeze = canMount("ext4") && Bun.which("fsfreeze") !== null;

test.if(canFreeze)(
  "a leader whose disk stands still hands over; its writes under way are unknown, and there once or not at all",
  async () => {
    const { cluster, own, disk, stack } = await withDisk("ext4", FROZEN_DISK_MIB);
    await using _ = stack;
    await store(cluster, TOPIC, names("before", 3));
    await lead(cluster, own, true);

    disk.stall(true);
    const underWay = await write(own, TOPIC, "under way", { timeoutMs: 8000, key: "u" });
    // Unknown, unless it had no place in the log yet: then it is refused for good.
    const isUnknown = underWay.fields.outcome === "unknown";
    expect([503, 504]).toContain(underWay.status);
    expect(underWay.status === 504).toBe(isUnknown);
    expect(await own.line("leadership_offered")).toMatchObject({ why: "the disk does not answer" });
    const others = cluster.nodes.filter((node) => node !== own);
    const leader = await cluster.leader(others);
    expect((await write(leader, TOPIC, "after", { timeoutMs: 5000 })).status).toBe(200);
    expect(await valuesOf(own, TOPIC)).toEqual(names("before", 3));
    disk.stall(false);

    await cluster.same();
    expect(await valuesOf(own, TOPIC)).toEqual(await valuesOf(leader, TOPIC));
    const values = await valuesOf(own, TOPIC);
    expect(values.filter((value) => value !== "under way")).toEqual([
      ...names("before", 3),
      "after",
    ]);
    const again = await write(leader, TOPIC, "under way", { key: "u" });
    expect(again.status).toBe(200);
    expect(again.fields.duplicate === true).toBe(values.includes("under way"));
    if (!isUnknown) expect(values).not.toContain("under way");
  },
  TEST_MS_MAX,
);

test.if(canFreeze)(
  "a follower whose disk stands still delays nobody but who asks for all",
  async () => {
    const { cluster, own, disk, stack } = await withDisk("ext4", FROZEN_DISK_MIB);
    await using _ = stack;
    await lead(cluster, own, false);
    const leader = await cluster.leader();

    disk.stall(true);
    const begun = performance.now();
    for (const value of names("stalled", 20))
      expect((await write(leader, TOPIC, value)).fields).toMatchObject({ synced: true });
    expect(performance.now() - begun).toBeLessThan(5000);
    const wide = await write(leader, TOPIC, "wide", { ack: "all", timeoutMs: SHORT_MS });
    expect(wide.fields).toMatchObject({ synced: false });
    disk.stall(false);

    await cluster.same();
    expect(await valuesOf(own, TOPIC)).toEqual([...names("stalled", 20), "wide"]);
  },
  TEST_MS_MAX,
);
