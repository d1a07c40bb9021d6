// A full disk: writes are refused by name, reads go on, nothing acknowledged is lost, and the node comes back by itself.

import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../src/lib/prng.ts";
import { commit, createTopic, produce } from "../support/node-client.ts";
import { Load } from "../support/node-load.ts";
import { canMount, type FileSystem, mount } from "../support/node-mount.ts";
import { LogOracle, recordValue } from "../support/node-oracle.ts";
import {
  cpuSeconds,
  type RunningNode,
  refusedStart,
  SMALL_SEGMENTS,
  startNode,
  waitUntil,
} from "../support/node-process.ts";

const TEST_MS_MAX = 120_000;
const TOPIC = "full";
const PARTITIONS = 2;
const DISK_MIB = 192;
/** Their reserve is two segments and 64 MiB. */
const SETTINGS = { ...SMALL_SEGMENTS, RF_WRITE_TIMEOUT_MS: "1000" };
const LINES_MAX = 40;
/** Longer than the node waits between two looks at the free space. */
const ROOM_MS_MAX = 5000;

function newLoad(): { readonly load: Load; readonly oracle: LogOracle } {
  const oracle = new LogOracle(TOPIC, PARTITIONS);
  const shape = { topic: TOPIC, partitions: PARTITIONS, writers: 8, largeBytes: 200_000 };
  return { load: new Load({ ...shape, random: new Prng(3), oracle }), oracle };
}

/** A file of somebody else. */
function occupy(path: string, mebibytes: number): string {
  const file = join(path, "foreign");
  Bun.spawnSync(["fallocate", "-l", `${mebibytes}M`, file]);
  return file;
}

/** Takes all room that is left. */
function fill(path: string): void {
  Bun.spawnSync(["dd", "if=/dev/zero", `of=${join(path, "filler")}`, "bs=64k"]);
}

const isRefused = async (node: RunningNode): Promise<boolean> =>
  (await produce(node.url, { topic: "other" }, "room")).status === 507;

const isTaken = async (node: RunningNode): Promise<boolean> =>
  (await produce(node.url, { topic: "other" }, "room")).status === 200;

for (const kind of ["tmpfs", "ext4"] as const satisfies readonly FileSystem[]) {
  const available = test.if(canMount(kind));

  available(
    `${kind}: below the reserve writes get 507 disk_full, and nothing acknowledged is lost`,
    async () => {
      using disk = mount(kind, DISK_MIB);
      const path = disk?.path ?? "";
      const dataDir = join(path, "data");
      const foreign = occupy(path, 80);
      const { load, oracle } = newLoad();
      {
        await using node = await startNode({ dataDir, env: SETTINGS });
        await createTopic(node.url, TOPIC, PARTITIONS);
        await createTopic(node.url, "other", 1);
        const { ended } = await load.run(node.url, 100);
        await waitUntil("writes are refused", () => load.refusals.size > 0, TEST_MS_MAX);
        load.stop();
        await ended;

        const refusal = await produce(node.url, { topic: TOPIC }, "no room");
        expect({ status: refusal.status, error: refusal.error }).toEqual({
          status: 507,
          error: "disk_full",
        });
        expect(await commit(node.url, TOPIC, "workers", 0, 0)).toBe(200);
        await oracle.check(node.url, true);
        expect(oracle.faults).toEqual([]);

        rmSync(foreign);
        await waitUntil("there is room again", () => isTaken(node), ROOM_MS_MAX);
        await node.line("disk_full");
        await node.line("disk_has_room");
        expect(node.lineCount()).toBeLessThan(LINES_MAX);
        const again = await load.run(node.url, 500);
        await node.kill("SIGKILL");
        await again.ended;
      }
      await using node = await startNode({ dataDir, env: SETTINGS });
      await load.retry(node.url);
      await oracle.check(node.url, true);

      expect(oracle.faults).toEqual([]);
      expect([...load.refusals.keys()]).toEqual(["507 disk_full"]);
      console.log(`${kind}: ${oracle.acknowledged} acknowledged, ${[...load.refusals]} refused`);
    },
    TEST_MS_MAX,
  );

  available(
    `${kind}: not a byte left in the middle of writes, and the node neither dies, spins nor floods its log`,
    async () => {
      using disk = mount(kind, DISK_MIB);
      const path = disk?.path ?? "";
      const dataDir = join(path, "data");
      const { load, oracle } = newLoad();
      await using node = await startNode({ dataDir, env: SETTINGS });
      await createTopic(node.url, TOPIC, PARTITIONS);
      await createTopic(node.url, "other", 1);
      const { ended } = await load.run(node.url, 200);
      fill(path);
      await waitUntil("writes are refused", () => isRefused(node), TEST_MS_MAX);
      load.stop();
      await ended;
      const cpuBefore = cpuSeconds(node.pid);
      const quietMs = 2000;
      const quietUntil = performance.now() + quietMs;
      await waitUntil("two seconds have gone by, health answered throughout", async () =>
        (await fetch(`${node.url}/health`)).ok ? performance.now() > quietUntil : undefined,
      );
      const cpu = cpuSeconds(node.pid) - cpuBefore;
      await oracle.check(node.url, true);

      expect(oracle.faults).toEqual([]);
      expect(node.lineCount()).toBeLessThan(LINES_MAX);
      rmSync(join(path, "filler"));
      await waitUntil("there is room again", () => isTaken(node), ROOM_MS_MAX);
      await load.retry(node.url);
      const again = await load.run(node.url, 500);
      load.stop();
      await again.ended;
      fill(path);
      expect((await node.kill("SIGTERM")).code).toBe(0);

      // On the full disk it starts and serves what it has.
      await using full = await startNode({ dataDir, env: SETTINGS });
      await oracle.check(full.url, true);
      expect(oracle.faults).toEqual([]);
      await waitUntil("writes are refused", () => isRefused(full), ROOM_MS_MAX);
      console.log(
        `${kind}: ${oracle.acknowledged} acknowledged, ${node.lineCount()} lines, ` +
          `${cpu.toFixed(2)} s of CPU in ${quietMs} ms of health checks, ${[...load.refusals]}`,
      );
    },
    TEST_MS_MAX,
  );

  available(
    `${kind}: a new directory on a full disk is refused as disk_full`,
    async () => {
      using disk = mount(kind, 32);
      const path = disk?.path ?? "";
      fill(path);
      // Less than the first segment, and enough for everything else.
      Bun.spawnSync(["truncate", "-s", "-2M", join(path, "filler")]);

      const refused = await refusedStart({ dataDir: join(path, "data") });

      expect(refused.code).toBe(5);
      expect(refused.fatal?.reason).toBe("disk_full");
    },
    TEST_MS_MAX,
  );

  available(
    `${kind}: a new directory with room for a start and none for records refuses them until there is some`,
    async () => {
      using disk = mount(kind, DISK_MIB);
      const path = disk?.path ?? "";
      const foreign = occupy(path, 140);
      await using node = await startNode({ dataDir: join(path, "data"), env: SETTINGS });
      await createTopic(node.url, "other", 1);
      await waitUntil("writes are refused", () => isRefused(node), ROOM_MS_MAX);
      rmSync(foreign);
      await waitUntil("writes are taken", () => isTaken(node), ROOM_MS_MAX);
    },
    TEST_MS_MAX,
  );
}

test.if(canMount("tmpfs"))(
  "writes that were taken and then find no room are honest unknowns, and do not hold a stop",
  async () => {
    using disk = mount("tmpfs", DISK_MIB);
    const path = disk?.path ?? "";
    const dataDir = join(path, "data");
    const sendAll = (node: RunningNode) =>
      Promise.all(
        Array.from({ length: 40 }, (_, i) => {
          const target = { topic: TOPIC, partition: 0, idempotencyKey: `key ${i}` };
          return produce(node.url, target, recordValue(`r${i}`, 0, 1, 250_000));
        }),
      );
    let replies: Awaited<ReturnType<typeof sendAll>> = [];
    {
      await using node = await startNode({ dataDir, env: SETTINGS });
      await createTopic(node.url, TOPIC, PARTITIONS);
      // Before the node looks at the free space again, it takes more than it has segments for.
      fill(path);
      replies = await sendAll(node);
      const exit = await node.kill("SIGTERM");

      expect(exit).toEqual({ code: 0, signal: null });
    }
    const answers = replies.map((reply) => `${reply.status} ${reply.error}`);
    expect(answers).toContain("200 ");
    expect(answers).toContain("504 timeout");

    rmSync(join(path, "filler"));
    await using node = await startNode({ dataDir, env: SETTINGS });
    const oracle = new LogOracle(TOPIC, PARTITIONS);
    for (const [i, reply] of (await sendAll(node)).entries()) {
      expect(reply.status).toBe(200);
      const first = replies[i];
      if (first?.status === 200) expect(reply.offset).toBe(first.offset);
      oracle.acknowledge(`r${i}`, 1, reply);
    }
    await oracle.check(node.url, true);
    expect(oracle.faults).toEqual([]);
    expect(oracle.seen).toBe(replies.length);
  },
  TEST_MS_MAX,
);
