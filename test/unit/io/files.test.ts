// What `NodeFiles` does beyond the promises of the port: modes, quarantine names, and the kernel's words for errors.

import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { asFileError, fileError } from "../../../src/io/file-errors.ts";
import { NodeFiles } from "../../../src/io/mod.ts";
import { FileError } from "../../../src/log/disk.ts";
import { temporaryDirectory } from "../../support/real-disk.ts";

let directory: string;
let clean: () => void;
let files: NodeFiles;
beforeEach(() => {
  ({ path: directory, clean } = temporaryDirectory());
  files = new NodeFiles(directory);
});
afterEach(() => clean());

test("files are for their owner alone, and so is the quarantine", () => {
  files.create("a");
  expect(statSync(join(directory, "a")).mode & 0o777).toBe(0o600);

  files.quarantine("a");

  expect(statSync(join(directory, "quarantine")).mode & 0o777).toBe(0o700);
});

test("quarantine() numbers what comes later under the same name", () => {
  for (const content of ["first", "second", "third"]) {
    files.create("a");
    files.write("a", 0, new TextEncoder().encode(content));
    files.quarantine("a");
  }

  const folder = join(directory, "quarantine");
  expect(readdirSync(folder).sort()).toEqual(["a", "a.1", "a.2"]);
  expect(readFileSync(join(folder, "a"), "utf8")).toBe("first");
  expect(readFileSync(join(folder, "a.2"), "utf8")).toBe("third");
});

test("list() hides the lock, the quarantine and other folders", () => {
  writeFileSync(join(directory, "lock"), "");
  mkdirSync(join(directory, "lost+found"));
  files.create("a");

  expect(files.list()).toEqual(["a"]);
});

test("a full disk is no_space, and the name can be used again", () => {
  symlinkSync("/dev/full", join(directory, "full"));

  expect(() => files.write("full", 0, new Uint8Array(10))).toThrow(
    "Cannot write 10 bytes at 0 of full: ENOSPC",
  );
  files.remove("full");
  files.create("full");
  files.write("full", 0, new Uint8Array(10));
  expect(files.size("full")).toBe(10);
});

test("no descriptor is left open by any primitive", () => {
  files.create("a");
  const before = readdirSync("/proc/self/fd").length;
  for (let round = 0; round < 50; round += 1) {
    files.write("a", round, new Uint8Array(10));
    files.write("a", round, new Uint8Array(10));
    files.read("a", 0, new Uint8Array(5));
    files.sync("a");
    files.sync("a");
    files.syncDirectory();
    files.write("a", 0, new Uint8Array(1));
    files.rename("a", "b");
    files.write("b", 0, new Uint8Array(1));
    files.remove("b");
    files.create("a");
  }

  expect(readdirSync("/proc/self/fd").length).toBe(before);
});

test.each([
  ["ENOSPC", "no_space"],
  ["EDQUOT", "no_space"],
  ["EROFS", "read_only"],
  ["EACCES", "denied"],
  ["EPERM", "denied"],
  ["ENOENT", "not_found"],
  ["EEXIST", "exists"],
  ["EIO", "io"],
  ["EMFILE", "io"],
] as const)("%s is the kind %s", (code, kind) => {
  expect(fileError(code, "write").kind).toBe(kind);
  expect(asFileError(Object.assign(new Error("x"), { code }), "write").kind).toBe(kind);
});

test("what nobody expected is of the kind io and keeps its message", () => {
  const error = asFileError(new TypeError("odd"), "run the job free_bytes");

  expect(error).toBeInstanceOf(FileError);
  expect(error.kind).toBe("io");
  expect(error.message).toBe("Cannot run the job free_bytes: odd");
});
