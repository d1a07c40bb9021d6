// What commands say when they fail: for people a sentence, for programs one shape of JSON, and a status that the documented
// table has. Nothing of the inside of the program comes out.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { COMMAND_LIST } from "../../src/cli/table.ts";
import { EXIT_CODES, type FatalReason } from "../../src/lib/fatal.ts";
import { program, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const COMMANDS = COMMAND_LIST.map(([name]) => name).filter((name) => name !== "serve");

const STACK = /^ +at /m;

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

/** Runs a command with `--json`: a sentence beside the output, and on it the one shape of failures. */
async function expectFailure(
  args: readonly string[],
  error: FatalReason,
  says: string,
  wrapper: readonly string[] = [],
): Promise<void> {
  const { code, out, err } = await run([...args, "--json"], wrapper);

  expect(err).toContain(says);
  expect(err).not.toMatch(STACK);
  const { message, ...facts } = JSON.parse(out);
  expect({ args, ...facts }).toMatchObject({ args, ok: false, error });
  expect(message).toBe(err.split("\nWarning: ")[0]?.trimEnd());
  expect(code).toBe(EXIT_CODES[error]);
}

const expectUnusable = (
  args: readonly string[],
  says: string,
  wrapper: readonly string[] = [],
): Promise<void> => expectFailure(args, "data_unusable", says, wrapper);

test("every status and its reasons are in the documented table, and nothing else is", async () => {
  const document = await Bun.file(join(import.meta.dir, "../../docs/operating/deploy.md")).text();
  const rows = [...document.matchAll(/^\| (\d+) \| `(\w+)` \|/gm)].map(
    ([, status, reason]) => [reason ?? "", Number(status)] as const,
  );

  const { ok, ...reasons } = EXIT_CODES;
  expect(document).toContain(`| ${ok} | stopped as asked`);
  expect(rows).toEqual(Object.entries(reasons));
});

test.each(COMMANDS)("%s refuses an option that it does not know", async (name) => {
  const takesSettings = name === "check-config" || name === "healthcheck";

  await expectFailure(
    [name, "--nonsense"],
    takesSettings ? "invalid_configuration" : "invalid_arguments",
    "--nonsense",
  );
});

test("without --json there is the sentence alone", async () => {
  const failed = await run(["inspect", join(directory.path, "missing")]);

  expect(failed).toEqual({
    code: EXIT_CODES.data_unusable,
    out: "",
    err: `Cannot list ${join(directory.path, "missing")}: ENOENT\n`,
  });
});

test("what is no command, page, shell, address or id is a wrong argument", async () => {
  for (const [args, says] of [
    [["bakcup"], "nearest is backup"],
    [["help", "bakcup"], "nearest is backup"],
    [["docs", "nothing"], "configuration or command-line"],
    [["completion", "tcsh"], "bash, zsh or fish"],
    [["backup", "localhost:1109", "file"], "an http or https address"],
    [["bench", "nowhere"], "an http or https address"],
    [["restore", "file", "dir", "--node-id", "a b"], "1 to 120"],
    [["certs", "--out", "dir", "--nodes", "a b"], "1 to 120"],
    [["prove", "--binary", " "], "Usage: ayder prove"],
    [["sandbox", "--host", "203.0.113.9"], "Cannot listen"],
  ] as const)
    await expectFailure(args, "invalid_arguments", says);
}, 60_000);

test("a file that cannot be used is named by every command that takes one, and nothing is left behind", async () => {
  const { path } = directory;
  const at = (name: string): string => join(path, name);
  await using node = await startNode({ dataDir: at("data") });
  writeFileSync(at("file"), "mine");
  mkdirSync(at("full"));
  writeFileSync(join(at("full"), "mine"), "mine");
  mkdirSync(at("certs"));
  for (const name of ["ca.pem", "ca.key"]) writeFileSync(join(at("certs"), name), "none");
  const before = readdirSync(path, { recursive: true, encoding: "utf8" }).sort();

  for (const [args, says] of [
    [["inspect", at("missing")], `list ${at("missing")}: ENOENT`],
    [["backup", node.url, at("missing/file")], `write ${at("missing/file.partial")}: ENOENT`],
    [["backup", node.url, at("full")], `write ${at("full")}: EISDIR`],
    [["restore", at("missing"), at("new")], `read ${at("missing")}: ENOENT`],
    [["restore", at("full"), at("new")], `read ${at("full")}: EISDIR`],
    [["restore", at("file"), at("file")], `make ${at("file")}: EEXIST`],
    [["restore", at("file"), at("full")], "it is not empty"],
    [["certs", "--out", at("file/new"), "--nodes", "a"], `make ${at("file/new")}: ENOTDIR`],
    [["certs", "--out", at("certs"), "--nodes", "a"], "Cannot use the authority"],
    [["prove", "--binary", at("missing")], `Cannot prove ${at("missing")}`],
  ] as const)
    await expectUnusable(args, says);
  await expectFailure(
    ["restore", at("file"), at("new")],
    "backup_damaged",
    "Cannot use the backup",
  );
  for (const name of ["check-config", "healthcheck"])
    await expectFailure([name, "--config", at("missing")], "invalid_configuration", at("missing"));

  expect(readdirSync(path, { recursive: true, encoding: "utf8" }).sort()).toEqual(
    [...before, "new"].sort(),
  );
}, 60_000);

test("a node that does not answer, or does not let one in, is not available", async () => {
  const { path } = directory;
  await using node = await startNode({ dataDir: join(path, "data") });
  const file = join(path, "file");

  await expectFailure(
    ["backup", node.url, file, "--token", "wrong"],
    "node_unavailable",
    "unauthorized",
  );
  await expectFailure(["bench", node.url, "--token", "wrong"], "node_unavailable", "unauthorized");
  await node.kill("SIGTERM");
  await expectFailure(["backup", node.url, file], "node_unavailable", "ECONNREFUSED");
  await expectFailure(["bench", node.url], "node_unavailable", "ECONNREFUSED");
  const { port } = new URL(node.url);
  await expectFailure(["healthcheck", "--port", port], "node_unavailable", "ECONNREFUSED");
}, 60_000);

test("an address that somebody has is in use", async () => {
  using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });

  await expectFailure(
    ["sandbox", "--port", String(server.port)],
    "address_in_use",
    "Cannot listen",
  );
});

test("what ran and is not well has the shape of a failure, and its result besides", async () => {
  const proved = await run(["prove", "--binary", "false", "--json"]);

  expect(JSON.parse(proved.out)).toMatchObject({
    ok: false,
    error: "check_failed",
    message: expect.stringContaining("ended"),
    nodes: 1,
    records_checked: 0,
  });
  expect(proved.code).toBe(EXIT_CODES.check_failed);
});

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
