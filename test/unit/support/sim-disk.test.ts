// The simulated disk keeps the promises of the port, and its crashes lose what a crash may lose and nothing else.

import { expect, test } from "bun:test";
import { Prng } from "../../../src/lib/prng.ts";
import { diskSuite } from "../../suites/disk.ts";
import { SimCrash, SimDisk, type SimDiskOptions } from "../../support/sim-disk.ts";

for (const reads of ["microtask", "step"] as const) {
  diskSuite(`simulated, reads by ${reads}`, () => {
    const disk = simDisk(1, { reads });
    return Promise.resolve({
      disk,
      step: () => disk.completeAll(),
      makeFullFile: (name: string) => {
        disk.files.create(name);
        disk.failNextAppend("no_space");
      },
      makeUnreadableFile: (name: string) => {
        disk.files.create(name);
        disk.failNextRead("io");
      },
      clean: () => undefined,
    });
  });
}

function simDisk(seed: number, options: Partial<SimDiskOptions> = {}): SimDisk {
  return new SimDisk({ prng: new Prng(seed), ...options });
}

const SEEDS = Array.from({ length: 200 }, (_, seed) => seed);

/** Whether some seed shows each of these. */
function expectSeen(seen: ReadonlySet<string>, all: readonly string[]): void {
  expect([...seen].sort()).toEqual([...all].sort());
}

/** Makes a synced file of zeros under a synced name. */
function prepare(disk: SimDisk, name: string, bytes: number): void {
  disk.files.create(name);
  disk.files.write(name, 0, new Uint8Array(bytes));
  disk.files.sync(name);
  disk.files.syncDirectory();
}

function contentOf(disk: SimDisk, name: string): Uint8Array {
  const content = new Uint8Array(disk.files.size(name) ?? 0);
  disk.files.read(name, 0, content);
  return content;
}

function crashed(disk: SimDisk): SimDisk {
  disk.crash();
  return disk.reopened();
}

/** Hands over `bytes` of the given value. */
function append(
  disk: SimDisk,
  name: string,
  position: number,
  bytes: number,
  value: number,
): Uint8Array {
  const slab = disk.allocate(bytes).fill(value);
  disk.append(disk.open(name), slab, 0, bytes, position, value);
  return slab;
}

test.each([512, 4096] as const)("sectors of %d bytes survive one by one", (sectorBytes) => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed, { sectorBytes });
    prepare(disk, "a", 3 * sectorBytes);
    disk.files.write("a", 0, new Uint8Array(3 * sectorBytes).fill(1));

    const content = contentOf(crashed(disk), "a");

    let pattern = "";
    for (let sector = 0; sector < 3; sector += 1) {
      const part = content.subarray(sector * sectorBytes, (sector + 1) * sectorBytes);
      expect(new Set(part).size).toBe(1);
      pattern += part[0];
    }
    seen.add(pattern);
  }

  expectSeen(seen, ["000", "001", "010", "011", "100", "101", "110", "111"]);
});

test("a world draws its sector size", () => {
  expectSeen(new Set(SEEDS.map((seed) => String(simDisk(seed).files.sectorBytes))), [
    "512",
    "4096",
  ]);
});

test("what was synced under a synced name is never lost, whatever else was under way", () => {
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    prepare(disk, "a", 20_000);
    for (let turn = 0; turn < 4; turn += 1) {
      append(disk, "a", turn * 5000, 5000, turn + 1);
      disk.completeAll();
    }
    expect(disk.poll().every(({ error }) => error === undefined)).toBe(true);
    disk.files.create("b");
    disk.files.write("b", 0, new Uint8Array(100));
    disk.files.rename("b", "c");

    const content = contentOf(crashed(crashed(disk)), "a");

    const expected = Uint8Array.from({ length: 20_000 }, (_, i) => Math.floor(i / 5000) + 1);
    expect(content).toEqual(expected);
  }
});

test("an append in flight may survive whole, in part, or not", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed, { sectorBytes: 512 });
    prepare(disk, "a", 4096);
    append(disk, "a", 0, 2048, 1);

    const share = contentOf(crashed(disk), "a").filter((byte) => byte === 1).length / 2048;

    seen.add(share === 0 ? "none" : share === 1 ? "whole" : "part");
  }

  expectSeen(seen, ["none", "part", "whole"]);
});

test("a sector written twice since its sync may hold what was there in between", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    prepare(disk, "a", 512);
    disk.files.write("a", 0, new Uint8Array(512).fill(1));
    disk.files.write("a", 0, new Uint8Array(512).fill(2));
    seen.add(String(contentOf(crashed(disk), "a")[0]));
  }

  expectSeen(seen, ["0", "1", "2"]);
});

test("a size that was not synced may be lost, and its bytes may come back as zeros", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed, { sectorBytes: 512 });
    prepare(disk, "a", 512);
    disk.files.write("a", 512, new Uint8Array(512).fill(1));
    const after = crashed(disk);
    seen.add(`${after.files.size("a")}:${contentOf(after, "a")[512] ?? "-"}`);
  }

  expectSeen(seen, ["512:-", "1024:0", "1024:1"]);
});

test("a cut that was not synced may be undone", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    prepare(disk, "a", 100);
    disk.files.truncate("a", 10);
    seen.add(String(crashed(disk).files.size("a")));
  }

  expectSeen(seen, ["10", "100"]);
});

test("names that were not synced are kept or lost one by one, and data without a name is gone", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    for (const name of ["old", "moved"]) prepare(disk, name, 10);
    disk.files.create("new");
    disk.files.write("new", 0, new Uint8Array(5));
    disk.files.sync("new");
    disk.files.remove("old");
    disk.files.rename("moved", "target");

    const names = crashed(disk).files.list();

    expect(names.includes("moved")).toBe(!names.includes("target"));
    seen.add(["new", "old", "target"].map((name) => (names.includes(name) ? 1 : 0)).join(""));
  }

  expectSeen(seen, ["000", "001", "010", "011", "100", "101", "110", "111"]);
});

test("a rename of a file whose creation was lost is lost too", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    disk.files.create("a.tmp");
    disk.files.rename("a.tmp", "a");
    seen.add(crashed(disk).files.list().join());
  }

  expectSeen(seen, ["", "a", "a.tmp"]);
});

test("replace_file leaves the old content or the new one, wherever the power fails in it", () => {
  const seen = new Set<string>();
  for (let primitive = 1; primitive <= 6; primitive += 1) {
    for (const seed of SEEDS) {
      const disk = simDisk(seed);
      disk.run({ kind: "replace_file", name: "meta", bytes: new Uint8Array(700).fill(1) }, 1);
      disk.completeAll();
      disk.run({ kind: "replace_file", name: "meta", bytes: new Uint8Array(900).fill(2) }, 2);
      disk.crashAfterPrimitives(primitive);
      expect(() => disk.completeAll()).toThrow(SimCrash);

      const content = contentOf(crashed(disk), "meta");

      const first = content[0] ?? 0;
      expect(content.length).toBe(first === 1 ? 700 : 900);
      expect(new Set(content).size).toBe(1);
      seen.add(`${primitive}:${first}`);
    }
  }

  // The rename is the fifth: before it nothing of the new content may show under the name.
  expectSeen(seen, ["1:1", "2:1", "3:1", "4:1", "5:1", "5:2", "6:1", "6:2"]);
});

test("a planted bug is seen: without its syncs replace_file loses both contents in some seed", () => {
  let losses = 0;
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    prepare(disk, "meta", 100);
    disk.files.planted.ignoresSyncs = true;
    disk.run({ kind: "replace_file", name: "meta", bytes: new Uint8Array(100).fill(2) }, 1);
    disk.completeAll();
    if (contentOf(crashed(disk), "meta")[0] !== 2) losses += 1;
  }

  expect(losses).toBeGreaterThan(10);
});

test("a planted bug is seen: a directory sync that does nothing loses a new file in some seed", () => {
  let losses = 0;
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    disk.files.planted.ignoresDirectorySyncs = true;
    prepare(disk, "a", 10);
    if (crashed(disk).files.size("a") === undefined) losses += 1;
  }

  expect(losses).toBeGreaterThan(10);
});

test("a buffer that changes while its append is stalled is a broken invariant", () => {
  const disk = simDisk(1);
  prepare(disk, "a", 4096);
  disk.isStalled = true;
  const slab = append(disk, "a", 0, 4096, 1);
  expect(disk.step()).toBe(false);

  slab[17] = 9;
  disk.isStalled = false;

  expect(() => disk.step()).toThrow("changed before its completion");
});

test("with that bug planted, half of the sectors have the bytes of the wrong moment", () => {
  const disk = simDisk(1, { sectorBytes: 512 });
  disk.files.planted.ignoresBufferChanges = true;
  prepare(disk, "a", 65_536);
  append(disk, "a", 0, 65_536, 1).fill(2);
  disk.completeAll();

  expect(new Set(contentOf(disk, "a"))).toEqual(new Set([1, 2]));
});

test("a failed sync is told once, and what it lost stays lost after a later sync that goes well", () => {
  let losses = 0;
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    prepare(disk, "a", 8192);
    disk.failNextSync();
    append(disk, "a", 0, 4096, 1);
    disk.completeAll();
    expect(disk.poll()[0]?.error?.kind).toBe("io");
    append(disk, "a", 4096, 4096, 2);
    disk.completeAll();
    expect(disk.poll()[0]?.error).toBeUndefined();
    expect(contentOf(disk, "a")[0]).toBe(1);

    const content = contentOf(crashed(disk), "a");

    expect(content.subarray(4096).every((byte) => byte === 2)).toBe(true);
    if (content.subarray(0, 4096).some((byte) => byte === 0)) losses += 1;
  }

  expect(losses).toBeGreaterThan(50);
});

test("rot changes a synced sector for good, and may not be asked for where nothing is synced", () => {
  const disk = simDisk(2);
  prepare(disk, "a", 10_000);
  disk.corruptSyncedSector("a", 5000);

  expect(contentOf(crashed(disk), "a").some((byte) => byte !== 0)).toBe(true);
  const other = simDisk(2);
  other.files.create("a");
  other.files.write("a", 0, new Uint8Array(10));
  expect(() => other.corruptSyncedSector("a", 5)).toThrow("is not synced");
});

test("room is taken by growth alone, runs out with no_space, and comes back", () => {
  const disk = simDisk(1, { freeBytesLimit: 1000 });
  prepare(disk, "a", 900);
  append(disk, "a", 0, 900, 1);
  disk.completeAll();
  expect(disk.poll()[0]?.error).toBeUndefined();
  append(disk, "a", 900, 200, 2);
  disk.completeAll();
  expect(disk.poll()[0]?.error?.kind).toBe("no_space");
  expect(disk.files.freeBytes()).toBe(0);

  disk.files.remove("a");

  expect(disk.files.freeBytes()).toBe(1000);
});

test("the end of the process alone keeps what was written, and cuts at most the append in flight", () => {
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const disk = simDisk(seed);
    disk.files.create("a");
    disk.files.write("a", 0, new Uint8Array(4096).fill(1));
    append(disk, "a", 4096, 4096, 2);
    const next = disk.reopened();
    const content = contentOf(next, "a");
    expect(content.subarray(0, 4096).every((byte) => byte === 1)).toBe(true);
    seen.add(String(content.length));
    expect(() => disk.poll()).toThrow(SimCrash);
  }

  expectSeen(seen, ["4096", "8192"]);
});

test("a seed lived through twice ends the same", () => {
  const live = (seed: number): number => {
    const disk = simDisk(seed, { reads: "step" });
    prepare(disk, "a", 30_000);
    append(disk, "a", 0, 10_000, 1);
    disk.run({ kind: "replace_file", name: "meta", bytes: new Uint8Array(50) }, 2);
    disk.step();
    const after = crashed(disk);
    const names = new TextEncoder().encode(after.files.list().sort().join());
    return Bun.hash.crc32(contentOf(after, "a"), Bun.hash.crc32(names));
  };

  const hashes = SEEDS.map(live);

  expect(SEEDS.map(live)).toEqual(hashes);
  expect(new Set(hashes).size).toBeGreaterThan(10);
});
