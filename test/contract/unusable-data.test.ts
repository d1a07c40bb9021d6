// Commands on files and directories that they cannot use: one sentence, the documented status, and nothing of the inside
// of the program.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

let directory = temporaryDirectory();
beforeEach(() => {
  directory = temporaryDirectory();
});
afterEach(() => directory.clean());

/** Permissions do not bind root: what they forbid is tried as nobody, where there is a tool for that. */
const AS_NOBODY: readonly string[] =
  process.getuid?.() === 0 ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : [];
const canBeNobody = AS_NOBODY.length === 0 || Bun.which("setpriv") !== null;

async function run(
  args: readonly string[],
  wrapper: readonly string[] = [],
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const child = Bun.spawn([...wrapper, ...program, ...args], { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, out, err };
}

/** Runs a command both ways; for people it is one line, for programs the same in JSON. */
async function expectUnusable(
  args: readonly string[],
  says: string,
  wrapper: readonly string[] = [],
): Promise<void> {
  const plain = await run(args, wrapper);
  expect(plain.err).toContain(says);
  expect(plain.err.trimEnd().split("\n")).toHaveLength(1);
  expect(plain).toMatchObject({ code: 10, out: "" });

  const json = await run([...args, "--json"], wrapper);
  expect(JSON.parse(json.out)).toEqual({
    ok: false,
    error: "data_unusable",
    message: plain.err.trimEnd(),
  });
  expect(json).toMatchObject({ code: 10, err: plain.err });
}

describe("ayder inspect", () => {
  test("says of what is no directory of a node that it cannot use it", async () => {
    const { path } = directory;
    writeFileSync(join(path, "file"), "mine");
    mkdirSync(join(path, "empty"));
    mkdirSync(join(path, "other"));
    writeFileSync(join(path, "other", "holiday.jpg"), "mine");

    for (const [name, says] of [
      ["missing", "ENOENT"],
      ["file", "ENOTDIR"],
      ["empty", "nothing of a node"],
      ["other", "nothing of a node"],
    ] as const)
      await expectUnusable(["inspect", join(path, name)], says);
  });

  test("says which file of a node it cannot use", async () => {
    const dataDir = join(directory.path, "data");
    mkdirSync(join(dataDir, "state"), { recursive: true });
    writeFileSync(join(dataDir, "manifest"), "");

    await expectUnusable(["inspect", dataDir], "state: EISDIR");
  });

  test.if(canBeNobody)("says that it may not read a directory, or a file in it", async () => {
    const dataDir = join(directory.path, "data");
    await using node = await startNode({ dataDir });
    await node.kill("SIGTERM");
    chmodSync(directory.path, 0o755);

    await expectUnusable(["inspect", dataDir], "EACCES", AS_NOBODY);
    chmodSync(dataDir, 0o755);
    await expectUnusable(["inspect", dataDir], "meta.json: EACCES", AS_NOBODY);
  });
});
