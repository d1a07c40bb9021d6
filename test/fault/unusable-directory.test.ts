// Data directories that a node must not touch: it refuses with a named status and leaves every byte as it was.

import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTopic, produce, readAll } from "../support/node-client.ts";
import { editChecked, garble, snapshot } from "../support/node-data.ts";
import { canMount, mount } from "../support/node-mount.ts";
import { refusedStart, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 60_000;
const TOPIC = "kept";
const STATE_SLOT_BYTES = 4096;

/** A directory with one record in it, of a node that has ended. */
async function usedDirectory(path: string): Promise<void> {
  await using node = await startNode({ dataDir: path });
  await createTopic(node.url, TOPIC, 1);
  await produce(node.url, { topic: TOPIC }, "a record");
  await node.kill("SIGTERM");
}

/** Where the slot with the higher counter begins. */
function newestSlot(dataDir: string): number {
  const bytes = readFileSync(join(dataDir, "state"));
  const counterAt = (slot: number): bigint => bytes.readBigUInt64LE(slot + 8);
  return counterAt(0) > counterAt(STATE_SLOT_BYTES) ? 0 : STATE_SLOT_BYTES;
}

const cases: readonly {
  readonly name: string;
  readonly damage: (dataDir: string) => void;
  readonly code: number;
  readonly reason: string;
  readonly says: string;
}[] = [
  {
    name: "a directory of another format version",
    damage: (dataDir) => editChecked(join(dataDir, "meta.json"), { format: 1 }),
    code: 9,
    reason: "data_format",
    says: "format 1",
  },
  {
    name: "data without meta.json",
    damage: (dataDir) => rmSync(join(dataDir, "meta.json")),
    code: 10,
    reason: "data_unusable",
    says: "meta.json is missing",
  },
  {
    name: "a meta.json whose checksum does not hold",
    damage: (dataDir) => garble(join(dataDir, "meta.json"), 10, 1),
    code: 10,
    reason: "data_unusable",
    says: "meta.json",
  },
  {
    name: "data without a manifest",
    damage: (dataDir) => rmSync(join(dataDir, "manifest")),
    code: 10,
    reason: "data_unusable",
    says: "manifest",
  },
  {
    name: "a state with both slots damaged",
    damage: (dataDir) => {
      garble(join(dataDir, "state"), 100, 1);
      garble(join(dataDir, "state"), STATE_SLOT_BYTES + 100, 1);
    },
    code: 10,
    reason: "data_unusable",
    says: "state",
  },
  {
    name: "a state whose newest slot is damaged, behind the log",
    damage: (dataDir) => garble(join(dataDir, "state"), newestSlot(dataDir) + 100, 1),
    code: 10,
    reason: "data_unusable",
    says: "state",
  },
  {
    name: "a manifest that notes damage",
    damage: (dataDir) => editChecked(join(dataDir, "manifest"), { damage: "found at a read" }),
    code: 3,
    reason: "log_corrupt",
    says: "found at a read",
  },
];

for (const { name, damage, code, reason, says } of cases) {
  test(
    `${name} is refused as ${reason}, untouched`,
    async () => {
      const { path: dataDir, clean } = temporaryDirectory();
      await usedDirectory(dataDir);
      damage(dataDir);
      const before = snapshot(dataDir);

      const refused = await refusedStart({ dataDir });

      expect(refused.code).toBe(code);
      expect(refused.fatal?.reason).toBe(reason);
      expect(refused.fatal?.message).toContain(says);
      expect(snapshot(dataDir)).toEqual(before);
      clean();
    },
    TEST_MS_MAX,
  );
}

test(
  "a state whose older slot is damaged is read from the newer one",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await usedDirectory(dataDir);
    garble(join(dataDir, "state"), STATE_SLOT_BYTES - newestSlot(dataDir) + 100, 1);

    await using node = await startNode({ dataDir });

    expect(await readAll(node.url, TOPIC, 0)).toHaveLength(1);
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a file in the place of the directory is refused as data_unusable",
  async () => {
    const { path, clean } = temporaryDirectory();
    const dataDir = join(path, "file");
    writeFileSync(dataDir, "mine");

    const refused = await refusedStart({ dataDir });

    expect({ code: refused.code, reason: refused.fatal?.reason }).toEqual({
      code: 10,
      reason: "data_unusable",
    });
    expect(await Bun.file(dataDir).text()).toBe("mine");
    clean();
  },
  TEST_MS_MAX,
);

test.if(canMount("ext4"))(
  "a read-only file system is refused as data_unusable, with data and without",
  async () => {
    using disk = mount("ext4", 256);
    const used = join(disk?.path ?? "", "used");
    mkdirSync(used);
    await usedDirectory(used);
    disk?.lock();

    for (const dataDir of [used, join(disk?.path ?? "", "new")]) {
      const refused = await refusedStart({ dataDir });
      expect({ dataDir, code: refused.code, reason: refused.fatal?.reason }).toEqual({
        dataDir,
        code: 10,
        reason: "data_unusable",
      });
    }
  },
  TEST_MS_MAX,
);
