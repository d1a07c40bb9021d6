// The disk is chosen once: what is asked for, what is there, and what is said about it. Both give everything back.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { openDisk } from "../../../src/io/mod.ts";
import { hasRing, temporaryDirectory } from "../../support/real-disk.ts";

const isRingThere = await hasRing();

test("the ring is taken where it works, and the reason is said in either case", async () => {
  const { path, clean } = temporaryDirectory();
  const { disk, reason } = await openDisk(path);

  expect(disk.kind).toBe(isRingThere ? "uring" : "worker");
  expect(reason).toContain(isRingThere ? "io_uring works" : "using a worker");
  await disk.close();
  clean();
});

test("the worker is taken when it is asked for", async () => {
  const { path, clean } = temporaryDirectory();
  const { disk } = await openDisk(path, { prefer: "worker" });

  expect(disk.kind).toBe("worker");
  await disk.close();
  clean();
});

test.each(["uring", "worker"] as const)(
  "%s: close() gives back every descriptor",
  async (prefer) => {
    const { path, clean } = temporaryDirectory();
    // Bun keeps some from the first worker on.
    await (await openDisk(path, { prefer })).disk.close();
    const before = readdirSync("/proc/self/fd").length;
    for (let round = 0; round < 5; round += 1) {
      await (await openDisk(path, { prefer })).disk.close();
    }

    expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before);
    clean();
  },
);

test.each(["uring", "worker"] as const)(
  "%s: a long job does not delay an append",
  async (prefer) => {
    const { path, clean } = temporaryDirectory();
    const { disk } = await openDisk(path, { prefer });
    disk.files.create("a");
    const file = disk.open("a");
    const tokens: number[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.onWake = () => {
      tokens.push(...disk.poll().map(({ token }) => token));
      if (tokens.length === 2) resolve();
    };

    // 64 pieces, each with a sync, against one.
    const header = new Uint8Array(8);
    disk.run({ kind: "prepare_segment", name: "log", bytes: 64 << 20, header }, 1);
    disk.append(file, disk.allocate(8), 0, 8, 0, 2);

    await promise;
    expect(tokens).toEqual([2, 1]);
    file.close();
    await disk.close();
    clean();
  },
);
