// One process per data directory, by the kernel's lock, and by the process number where C is out of reach.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lockDirectory } from "../../../src/io/mod.ts";
import { FatalError } from "../../../src/lib/fatal.ts";
import { temporaryDirectory } from "../../support/real-disk.ts";

let directory: string;
let clean: () => void;
beforeEach(() => {
  ({ path: directory, clean } = temporaryDirectory());
});
afterEach(() => clean());

const noLibc = (): never => {
  throw new Error("No C here");
};

test("a second process is refused by name, and let in when the first is killed", async () => {
  const holder = startHolder();
  expect(await holder.firstLine()).toEqual({ guard: "flock" });

  const refused = startHolder();
  const { reason, message } = await refused.firstLine();

  expect(reason).toBe("data_locked");
  expect(message).toContain(`process ${holder.pid}`);
  expect(message).toContain(directory);
  holder.kill();
  await holder.exited;
  const next = startHolder();
  expect(await next.firstLine()).toEqual({ guard: "flock" });
  next.kill();
  await next.exited;
});

test("a child of the holder does not keep the directory", async () => {
  const lock = lockDirectory(directory);
  const child = Bun.spawn(["sh", "-c", "echo up; exec sleep 60"], { stdout: "pipe" });
  // Between its fork and its exec a child has all descriptors; what it says comes after both.
  await child.stdout.getReader().read();
  lock.release();

  lockDirectory(directory).release();
  child.kill();
  await child.exited;
});

test("a second lock in one process is refused too", () => {
  const lock = lockDirectory(directory);

  expect(refusalOf(() => lockDirectory(directory))).toBe("data_locked");
  lock.release();
  lockDirectory(directory).release();
});

test("the directory is made for its owner alone and the file holds the process number", () => {
  const inner = join(directory, "not", "there");
  const lock = lockDirectory(inner);

  expect(statSync(inner).mode & 0o777).toBe(0o700);
  expect(statSync(join(inner, "lock")).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(inner, "lock"), "utf8")).toBe(`${process.pid}\n`);
  lock.release();
});

test("a directory that cannot be made is unusable", () => {
  const file = join(directory, "file");
  writeFileSync(file, "");
  chmodSync(file, 0o600);

  expect(refusalOf(() => lockDirectory(join(file, "data")))).toBe("data_unusable");
});

test("without C a living process is respected, a dead one is not, and the guard says what it is worth", () => {
  const path = join(directory, "lock");
  writeFileSync(path, "1\n");
  expect(refusalOf(() => lockDirectory(directory, noLibc))).toBe("data_locked");

  // Above the largest number that Linux gives out.
  writeFileSync(path, "4194305\n");
  const lock = lockDirectory(directory, noLibc);

  expect(lock.guard).toBe("pid");
  expect(readFileSync(path, "utf8")).toBe(`${process.pid}\n`);
  lock.release();
});

function refusalOf(act: () => void): string | undefined {
  try {
    act();
  } catch (error) {
    if (error instanceof FatalError) return error.reason;
    throw error;
  }
  return undefined;
}

function startHolder() {
  const script = Bun.fileURLToPath(new URL("../../support/lock-holder.ts", import.meta.url));
  const child = Bun.spawn([process.execPath, script, directory], { stdin: "pipe", stdout: "pipe" });
  return {
    pid: child.pid,
    exited: child.exited,
    kill: () => child.kill("SIGKILL"),
    firstLine: async (): Promise<Record<string, string>> => {
      const { value } = await child.stdout.getReader().read();
      return JSON.parse(new TextDecoder().decode(value));
    },
  };
}
