// What every disk promises, as the docstrings of the port say it. Run on the real disks and on the simulated one:
// a fake that is not under this suite may not be used anywhere.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { MeasuredDisk } from "../../src/io/measured-disk.ts";
import { type DiskCompletion, FileError, type FileErrorKind } from "../../src/log/disk.ts";
import type { DiskJob } from "../../src/log/jobs.ts";

/** A disk with the world around it. */
export interface DiskUnderTest {
  readonly disk: MeasuredDisk;
  /** Lets the world go on until nothing is under way; a real disk needs no help. */
  readonly step: () => void;
  /** Makes a file of this name; the next append to it finds no space. */
  readonly makeFullFile: (name: string) => void;
  /** Makes a file of this name; the next read of it fails with `io`. */
  readonly makeUnreadableFile: (name: string) => void;
  /** Removes what the test left. The disk is closed by then. */
  readonly clean: () => void;
}

const WAIT_MS_MAX = 20_000;
const MANY_APPENDS = 2000;

/** Declares the tests of one disk. */
export function diskSuite(
  name: string,
  make: () => Promise<DiskUnderTest>,
  options: { readonly isAvailable: boolean } = { isAvailable: true },
): void {
  describe.if(options.isAvailable)(`disk: ${name}`, () => {
    let world: DiskUnderTest;
    let disk: MeasuredDisk;
    beforeEach(async () => {
      world = await make();
      disk = world.disk;
    });
    afterEach(async () => {
      const closed = disk.close();
      world.step();
      await bounded(closed);
      world.clean();
    });

    const job = async (order: DiskJob): Promise<DiskCompletion> => {
      disk.run(order, 1);
      return single(await completed(world, 1));
    };
    const appendText = async (file: string, text: string, position: number): Promise<void> => {
      const handle = disk.open(file);
      const slab = disk.allocate(text.length);
      slab.set(bytesOf(text));
      disk.append(handle, slab, 0, text.length, position, 7);
      expect(await completed(world, 1)).toEqual([{ token: 7, error: undefined }]);
      handle.close();
    };

    describe("files", () => {
      test("map() shows a whole file, also when it is unlinked, and nothing where there is none", () => {
        disk.files.create("a");
        expect(disk.files.map("a")).toBeUndefined();
        disk.files.write("a", 0, bytesOf("mapped"));

        const mapped = disk.files.map("a");
        disk.files.remove("a");

        expect(mapped).toEqual(bytesOf("mapped"));
        expect(disk.files.map("a")).toBeUndefined();
      });

      test("create() makes an empty file and refuses a name that is taken", () => {
        disk.files.create("a");
        disk.files.write("a", 0, bytesOf("kept"));

        expect(kindOf(() => disk.files.create("a"))).toBe("exists");
        expect(textOf(disk, "a")).toBe("kept");
      });

      test("size() is the size in bytes, and undefined without a file", () => {
        disk.files.create("a");
        disk.files.write("a", 10, bytesOf("xy"));

        expect(disk.files.size("a")).toBe(12);
        expect(disk.files.size("b")).toBeUndefined();
      });

      test("write() grows a file with zeros before and changes nothing around", () => {
        disk.files.create("a");
        disk.files.write("a", 3, bytesOf("wide"));
        disk.files.write("a", 4, bytesOf("ID"));

        expect(textOf(disk, "a")).toBe("\0\0\0wIDe");
      });

      test("read() is short at the end of the file and gives nothing past it", () => {
        disk.files.create("a");
        disk.files.write("a", 0, bytesOf("abcdef"));
        const into = new Uint8Array(4).fill(1);

        expect(disk.files.read("a", 1, into)).toBe(4);
        expect(disk.files.read("a", 4, into)).toBe(2);
        expect([...into]).toEqual([...bytesOf("efde")]);
        expect(disk.files.read("a", 6, into)).toBe(0);
        expect(disk.files.read("a", 600, into)).toBe(0);
      });

      const onMissing: [string, (files: MeasuredDisk["files"]) => void][] = [
        ["read", (files) => files.read("none", 0, new Uint8Array(1))],
        ["write", (files) => files.write("none", 0, new Uint8Array(1))],
        ["truncate", (files) => files.truncate("none", 0)],
        ["sync", (files) => files.sync("none")],
        ["rename", (files) => files.rename("none", "other")],
        ["quarantine", (files) => files.quarantine("none")],
      ];
      test.each(onMissing)("%s() of a missing file throws not_found and makes none", (_, act) => {
        expect(kindOf(() => act(disk.files))).toBe("not_found");
        expect(disk.files.list()).toEqual([]);
      });

      test("a name that is not flat is refused", () => {
        for (const bad of ["", ".", "..", "a/b", "../a", "a\0b"]) {
          expect(() => disk.files.create(bad)).toThrow("must be flat");
        }
      });

      test("truncate() cuts, and what is written beyond comes after zeros", () => {
        disk.files.create("a");
        disk.files.write("a", 0, bytesOf("abcdef"));
        disk.files.truncate("a", 2);
        expect(textOf(disk, "a")).toBe("ab");

        disk.files.write("a", 4, bytesOf("z"));
        disk.files.sync("a");

        expect(textOf(disk, "a")).toBe("ab\0\0z");
      });

      test("rename() replaces what had the name", () => {
        disk.files.create("a");
        disk.files.write("a", 0, bytesOf("new"));
        disk.files.create("b");
        disk.files.write("b", 0, bytesOf("older"));
        disk.files.rename("a", "b");
        disk.files.syncDirectory();

        expect(disk.files.list()).toEqual(["b"]);
        expect(textOf(disk, "b")).toBe("new");
      });

      test("remove() takes a name away, and a name that is gone is no error", () => {
        disk.files.create("a");
        disk.files.write("a", 0, bytesOf("x"));
        disk.files.remove("a");
        disk.files.remove("a");
        disk.files.create("a");

        expect(disk.files.size("a")).toBe(0);
      });

      test("quarantine() moves out of the list and never replaces an earlier file", () => {
        for (const content of ["first", "second", "third"]) {
          disk.files.create("a");
          disk.files.write("a", 0, bytesOf(content));
          disk.files.quarantine("a");
        }

        expect(disk.files.list()).toEqual([]);
        expect(disk.files.size("a")).toBeUndefined();
      });

      test("list() knows the data files and nothing else", () => {
        for (const file of ["b", "a", "c.tmp"]) disk.files.create(file);

        expect(disk.files.list().sort()).toEqual(["a", "b", "c.tmp"]);
      });

      test("freeBytes() is a positive number", () => {
        expect(disk.files.freeBytes()).toBeGreaterThan(0);
        expect(disk.files.freeBytes()).toBeLessThan(Number.POSITIVE_INFINITY);
      });
    });

    describe("append", () => {
      test("open() of a missing file throws not_found", () => {
        expect(kindOf(() => disk.open("none"))).toBe("not_found");
      });

      test.each([1, 100, 4096, 4097, 1 << 20])("allocate(%d) gives whole zeroed pages", (bytes) => {
        const slab = disk.allocate(bytes);

        expect(slab.length).toBe(Math.ceil(bytes / 4096) * 4096);
        expect(slab.every((byte) => byte === 0)).toBe(true);
      });

      test("writes just the given part of the slab, at the position", async () => {
        disk.files.create("a");
        disk.files.write("a", 0, new Uint8Array(9000).fill(1));
        const slab = disk.allocate(9000);
        for (let i = 0; i < slab.length; i += 1) slab[i] = (i % 200) + 2;
        const file = disk.open("a");

        disk.append(file, slab, 100, 5100, 3000, 42);

        expect(await completed(world, 1)).toEqual([{ token: 42, error: undefined }]);
        const expected = new Uint8Array(9000).fill(1);
        expected.set(slab.subarray(100, 5100), 3000);
        expect(contentOf(disk, "a")).toEqual(expected);
        file.close();
      });

      test("reaches places above 4 GiB", async () => {
        const position = 5 * 2 ** 30 + 3;
        if (disk.kind === "simulated") return;
        disk.files.create("a");
        await appendText("a", "far", position);

        expect(disk.files.size("a")).toBe(position + 3);
        const into = disk.allocate(16);
        const file = disk.open("a");
        expect(await bounded(disk.read(file, position - 1, into, 16))).toBe(4);
        expect([...into.subarray(0, 4)]).toEqual([0, ...bytesOf("far")]);
        file.close();
      });

      test("no wake is lost or early in many appends", async () => {
        disk.run(segment("log", 1 << 20), 0);
        await completed(world, 1);
        const file = disk.open("log");
        const slab = disk.allocate(64);
        let wrong = 0;
        for (let turn = 0; turn < MANY_APPENDS; turn += 1) {
          slab.fill(turn % 251);
          disk.append(file, slab, 0, 64, 4096 + turn * 64, turn);
          const done = await completed(world, 1);
          if (done.length !== 1 || done[0]?.token !== turn || done[0].error) wrong += 1;
        }

        expect(wrong).toBe(0);
        const content = contentOf(disk, "log");
        for (let turn = 0; turn < MANY_APPENDS; turn += 1) {
          if (content[4096 + turn * 64 + 63] !== turn % 251) wrong += 1;
        }
        expect(wrong).toBe(0);
        expect(disk.appends).toBe(MANY_APPENDS);
        expect(disk.appendBytes).toBe(MANY_APPENDS * 64);
        expect(disk.syncs).toBe(MANY_APPENDS);
        file.close();
      });

      test("one that finds no space says so, and the next to another file goes well", async () => {
        world.makeFullFile("full");
        disk.files.create("a");
        const slab = disk.allocate(4096);
        const file = disk.open("full");
        disk.append(file, slab, 0, 4096, 0, 5);

        const failed = single(await completed(world, 1));

        expect(failed.token).toBe(5);
        expect(failed.error).toBeInstanceOf(FileError);
        expect(failed.error?.kind).toBe("no_space");
        expect(failed.error?.message).toContain("full");
        file.close();
        await appendText("a", "fine", 0);
        expect(textOf(disk, "a")).toBe("fine");
        expect(disk.syncs).toBe(1);
      });

      test("a second one in flight is a broken invariant", async () => {
        disk.files.create("a");
        const file = disk.open("a");
        const slab = disk.allocate(4096);
        disk.append(file, slab, 0, 1, 0, 1);

        expect(() => disk.append(file, slab, 1, 2, 1, 2)).toThrow("another append");
        expect(await completed(world, 1)).toEqual([{ token: 1, error: undefined }]);
        file.close();
      });

      test("memory of another owner, an empty part and a closed file are refused", () => {
        disk.files.create("a");
        const file = disk.open("a");
        const slab = disk.allocate(4096);

        expect(() => disk.append(file, new Uint8Array(4096), 0, 1, 0, 1)).toThrow("allocate");
        expect(() => disk.append(file, slab, 5, 5, 0, 1)).toThrow("from 5 to 5");
        expect(() => disk.append(file, slab, 0, 4097, 0, 1)).toThrow("4096 bytes");
        file.close();
        expect(() => disk.append(file, slab, 0, 1, 0, 1)).toThrow("closed");
      });
    });

    describe("read", () => {
      test("many at once each get their own bytes", async () => {
        disk.files.create("a");
        const content = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7 + (i >> 8)) & 255);
        disk.files.write("a", 0, content);
        const file = disk.open("a");

        const reads = Array.from({ length: 500 }, async (_, i) => {
          const into = disk.allocate(300);
          const count = await disk.read(file, i * 199, into, 300);
          return (
            count === 300 &&
            Buffer.compare(into.subarray(0, 300), content.subarray(i * 199, i * 199 + 300)) === 0
          );
        });
        world.step();

        expect((await bounded(Promise.all(reads))).filter((isRight) => !isRight)).toEqual([]);
        expect(disk.reads).toBe(500);
        expect(disk.submits).toBeGreaterThanOrEqual(500);
        file.close();
      });

      test("is short at the end of the file, empty past it, and touches no more than it says", async () => {
        disk.files.create("a");
        disk.files.write("a", 0, bytesOf("abcdef"));
        const file = disk.open("a");
        const into = disk.allocate(8).fill(9);
        const read = (position: number, length: number): Promise<number> => {
          const reading = disk.read(file, position, into, length);
          world.step();
          return bounded(reading);
        };

        expect(await read(4, 8)).toBe(2);
        expect([...into.subarray(0, 4)]).toEqual([...bytesOf("ef"), 9, 9]);
        expect(await read(6, 8)).toBe(0);
        expect(await read(1000, 8)).toBe(0);
        expect(await read(0, 3)).toBe(3);
        expect([...into.subarray(0, 4)]).toEqual([...bytesOf("abc"), 9]);
        file.close();
      });

      test("one that fails rejects with a FileError that names the file", async () => {
        world.makeUnreadableFile("bad");
        const file = disk.open("bad");
        const reading = disk.read(file, 0, disk.allocate(4096), 4096).catch((error) => error);
        world.step();

        const error = await bounded(reading);

        expect(error).toBeInstanceOf(FileError);
        expect((error as FileError).kind).toBe("io");
        expect((error as FileError).message).toContain("bad");
        file.close();
      });

      test("goes on between appends and jobs in any order", async () => {
        disk.files.create("a");
        disk.files.write("a", 0, new Uint8Array(4096).fill(3));
        disk.files.create("log");
        disk.files.create("slots");
        const log = disk.open("log");
        const a = disk.open("a");
        const slab = disk.allocate(4096);
        const intos = Array.from({ length: 8 }, () => disk.allocate(4096));
        let wrong = 0;
        for (let turn = 0; turn < 100; turn += 1) {
          const before = intos.slice(0, turn % 4).map((into) => disk.read(a, 0, into, 4096));
          disk.append(log, slab, 0, 1 + (turn % 4096), turn, turn);
          if (turn % 10 === 0) {
            disk.run(
              { kind: "write_slot", name: "slots", position: turn, bytes: new Uint8Array(8) },
              1000 + turn,
            );
          }
          const after = intos.slice(4, 4 + (turn % 5)).map((into) => disk.read(a, 0, into, 4096));
          const done = await completed(world, turn % 10 === 0 ? 2 : 1);
          if (done.some(({ error }) => error !== undefined)) wrong += 1;
          const counts = await bounded(Promise.all([...before, ...after]));
          if (counts.some((count) => count !== 4096)) wrong += 1;
        }

        expect(wrong).toBe(0);
        expect(intos.slice(0, 3).every((into) => into[4095] === 3)).toBe(true);
        log.close();
        a.close();
      });
    });

    describe("jobs", () => {
      test("run one at a time in the order given, and a failed one stops nobody", async () => {
        disk.files.create("a");
        for (let turn = 0; turn < 20; turn += 1) {
          const name = turn === 7 ? "none" : "a";
          disk.run({ kind: "write_slot", name, position: turn, bytes: bytesOf("x") }, turn);
        }

        const done = await completed(world, 20);

        expect(done.map(({ token }) => token)).toEqual([...Array(20).keys()]);
        expect(done.filter(({ error }) => error).map(({ token }) => token)).toEqual([7]);
        expect(done[7]?.error?.kind).toBe("not_found");
        expect(textOf(disk, "a")).toBe("xxxxxxx\0xxxxxxxxxxxx");
      });

      test("prepare_segment makes zeros after the header and refuses a name that is taken", async () => {
        const done = await job(segment("log-1", (1 << 20) + 4096));

        expect(done.error).toBeUndefined();
        expect(done.result?.freeBytes).toBeGreaterThan(0);
        const content = contentOf(disk, "log-1");
        expect(content.length).toBe((1 << 20) + 4096);
        expect(textOf(disk, "log-1").startsWith("header")).toBe(true);
        expect(content.subarray(6).every((byte) => byte === 0)).toBe(true);
        expect((await job(segment("log-1", 4096))).error?.kind).toBe("exists");
        expect(disk.files.size("log-1")).toBe((1 << 20) + 4096);
      });

      test("replace_file switches the content and leaves no temporary, also after a cut-off one", async () => {
        disk.files.create("meta.tmp");
        disk.files.write("meta.tmp", 0, bytesOf("half of something longer"));
        for (const content of ["first", "2nd"]) {
          expect(
            (await job({ kind: "replace_file", name: "meta", bytes: bytesOf(content) })).error,
          ).toBeUndefined();
          expect(textOf(disk, "meta")).toBe(content);
        }

        expect(disk.files.list()).toEqual(["meta"]);
      });

      test("remove_files takes names that are gone already", async () => {
        for (const file of ["a", "b", "c"]) disk.files.create(file);

        const done = await job({ kind: "remove_files", names: ["a", "gone", "c"] });

        expect(done.error).toBeUndefined();
        expect(disk.files.list()).toEqual(["b"]);
      });

      test("free_bytes answers with a number", async () => {
        expect((await job({ kind: "free_bytes" })).result?.freeBytes).toBeGreaterThan(0);
      });
    });

    test("onWake is never called from inside a method", async () => {
      disk.files.create("a");
      const file = disk.open("a");
      const slab = disk.allocate(4096);
      const into = disk.allocate(4096);
      let isInside = false;
      let wakes = 0;
      let violations = 0;
      const inside = <T>(act: () => T): T => {
        isInside = true;
        try {
          return act();
        } finally {
          isInside = false;
        }
      };
      for (let turn = 0; turn < 50; turn += 1) {
        const taken: DiskCompletion[] = [];
        const { promise, resolve } = Promise.withResolvers<void>();
        disk.onWake = () => {
          wakes += 1;
          if (isInside) violations += 1;
          taken.push(...inside(() => disk.poll()));
          if (taken.length >= 2) resolve();
        };
        inside(() => disk.append(file, slab, 0, 100, 0, turn));
        const reading = inside(() => disk.read(file, 0, into, 100));
        inside(() => disk.run({ kind: "free_bytes" }, turn));
        world.step();
        await bounded(Promise.all([promise, reading]));
      }

      expect(violations).toBe(0);
      expect(wakes).toBeGreaterThan(0);
      file.close();
    });

    test("poll() hands each completion over once", async () => {
      await job({ kind: "free_bytes" });

      expect(disk.poll()).toEqual([]);
    });

    test("counts the latency of every append", async () => {
      disk.files.create("a");
      await appendText("a", "one", 0);
      await appendText("a", "two", 3);

      expect(disk.syncLatencyUs.count).toBe(disk.kind === "simulated" ? 0 : 2);
    });

    test("close() waits for what is under way and refuses later reads", async () => {
      disk.files.create("a");
      disk.files.write("a", 0, bytesOf("abc"));
      const file = disk.open("a");
      const into = disk.allocate(4096);
      disk.append(file, disk.allocate(10), 0, 10, 100, 1);
      disk.run(segment("log", 4096), 2);
      const reading = disk.read(file, 0, into, 3);

      const closed = disk.close();
      world.step();
      await bounded(closed);

      const tokens = disk.poll().map(({ token, error }) => [token, error]);
      expect(tokens.sort()).toEqual([
        [1, undefined],
        [2, undefined],
      ]);
      expect(await bounded(reading)).toBe(3);
      const refused = await bounded(disk.read(file, 0, into, 3).catch((error) => error));
      expect((refused as FileError).message).toContain("closed");
      expect(() => disk.run({ kind: "free_bytes" }, 3)).toThrow("closed");
      await bounded(disk.close());
      file.close();
    });
  });
}

const segment = (name: string, bytes: number): DiskJob => ({
  kind: "prepare_segment",
  name,
  bytes,
  header: bytesOf("header"),
});

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function contentOf(disk: MeasuredDisk, name: string): Uint8Array {
  const content = new Uint8Array(disk.files.size(name) ?? 0);
  expect(disk.files.read(name, 0, content)).toBe(content.length);
  return content;
}

const textOf = (disk: MeasuredDisk, name: string): string =>
  new TextDecoder().decode(contentOf(disk, name));

function kindOf(act: () => void): FileErrorKind | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof FileError) return error.kind;
    throw error;
  }
  return undefined;
}

function single<T>(list: readonly T[]): T {
  expect(list.length).toBe(1);
  return list[0] as T;
}

/** Lets the world go on until so many completions have come by wakes. */
async function completed(world: DiskUnderTest, count: number): Promise<DiskCompletion[]> {
  const taken: DiskCompletion[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  world.disk.onWake = () => {
    taken.push(...world.disk.poll());
    if (taken.length >= count) resolve();
  };
  world.step();
  await bounded(promise);
  return taken;
}

/** Gives up on what does not come: a lost wake fails here and not at the end of the run. */
async function bounded<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("Nothing came in time")), WAIT_MS_MAX);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
