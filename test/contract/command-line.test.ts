// The commands beside a running node: what they print is what the node says, and their exit statuses hold.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { program, runCommand, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const H = { authorization: "Bearer dev" };
const BENCH_MODES = ["produce", "batch", "consume", "tail"];

const CAMEL_CASE = expect.stringMatching(/[A-Z]/);

/** Every name in a value. */
const namesIn = (value: unknown): readonly string[] =>
  typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([name, item]) => [name, ...namesIn(item)])
    : [];

/** What a command prints on standard output alone. */
async function jsonOf(...args: string[]): Promise<{ code: number; json: Record<string, unknown> }> {
  const child = Bun.spawn([...program, ...args], { stdout: "pipe", stderr: "ignore" });
  const text = await child.stdout.text();
  return { code: await child.exited, json: JSON.parse(text) };
}

test("ayder bench drives a node in every mode, at a fixed rate as well, and ayder inspect finds what it wrote", async () => {
  const { path, clean } = temporaryDirectory();
  const dataDir = join(path, "data");
  await using node = await startNode({ dataDir });
  await fetch(`${node.url}/broker/topics`, { method: "POST", headers: H, body: '{"name":"gone"}' });
  await fetch(`${node.url}/broker/topics/gone`, { method: "DELETE", headers: H });

  for (const mode of BENCH_MODES) {
    const args = ["--mode", mode, "--seconds", "1", "--warmup", "0", "--connections", "4"];
    const { code, json } = await jsonOf("bench", node.url, ...args, "--json");

    expect(json).toMatchObject({ ok: true, mode, errors: 0, topic: "ayder.bench" });
    expect(code).toBe(0);
    expect(json["records"]).toBeGreaterThan(0);
  }
  const paced = await jsonOf("bench", node.url, "--seconds", "1", "--rate", "200", "--json");
  expect(paced.json).toMatchObject({ ok: true, rate: 200, unanswered: 0 });
  expect(paced.json["latency_ms"]).toMatchObject({ count: expect.any(Number) });
  expect(paced.json["service_ms"]).toMatchObject({ count: expect.any(Number) });

  const reply = await fetch(`${node.url}/broker/topics`, { headers: H });
  const { topics } = (await reply.json()) as {
    topics: { topic: string; partition_details: { start_offset: number; next_offset: number }[] }[];
  };
  const [{ start_offset: start, next_offset: next } = { start_offset: 0, next_offset: 0 }] =
    topics[0]?.partition_details ?? [];
  await node.kill("SIGTERM");
  const inspected = await jsonOf("inspect", dataDir, "--json");
  expect(inspected.code).toBe(0);
  expect(inspected.json).toMatchObject({
    ok: true,
    node_id: "node1",
    compacted_index: expect.any(Number),
    segments: expect.arrayContaining([
      expect.objectContaining({
        first_index: expect.any(Number),
        valid_bytes: expect.any(Number),
      }),
    ]),
  });
  expect(namesIn(inspected.json)).not.toContainEqual(CAMEL_CASE);
  expect(inspected.json["topics"]).toEqual([
    {
      name: "ayder.bench",
      topic_id: 2,
      mode: "sealed",
      partitions: 1,
      records: next - start,
      written: next,
    },
  ]);
  clean();
}, 60_000);

test("ayder bench says who does not answer, and who is not let in", async () => {
  const { path, clean } = temporaryDirectory();
  await using node = await startNode({ dataDir: join(path, "data") });

  const refused = await jsonOf("bench", node.url, "--token", "wrong", "--seconds", "1", "--json");
  expect(refused.code).toBe(1);
  expect(String(refused.json["message"])).toContain("401");
  await node.kill("SIGTERM");
  const alone = await jsonOf("bench", node.url, "--seconds", "1", "--json");
  expect(alone).toMatchObject({ code: 1, json: { ok: false } });
  clean();
}, 60_000);

test("ayder version --verbose says which disk a node would use here and why", async () => {
  const { code, json } = await jsonOf("version", "--verbose", "--json");

  expect(code).toBe(0);
  expect(json).toMatchObject({ bun: Bun.version, architecture: process.arch });
  expect(["uring", "worker"]).toContain(String(json["disk"]));
  for (const field of ["version", "commit", "target", "kernel", "disk_reason", "liburing"])
    expect(String(json[field])).not.toBe("");
  // Whatever the disk, the words agree with each other.
  expect(json["disk"] === "uring").toBe(json["io_uring"] === true);
});

test.each([
  [["help"]],
  [["help", "bench"]],
  [["docs"]],
  [["docs", "command-line"]],
  [["version", "--verbose"]],
  [["check-config", "--workers", "4"]],
])("%j has names in snake_case, as all JSON", async (args) => {
  const { json } = await jsonOf(...args, "--json");

  expect(namesIn(json).length).toBeGreaterThan(1);
  expect(namesIn(json)).not.toContainEqual(CAMEL_CASE);
});

test("what is wrong with the arguments ends with 64, the nearest known word and the usage", async () => {
  for (const [args, words] of [
    [
      ["backup", "u", "f", "--tokn", "x"],
      ["--tokn", "--token", "Usage: ayder backup"],
    ],
    [["bakcup"], ["nearest is backup"]],
    [["--prot", "1"], ["nearest is --port"]],
  ] as const) {
    const { code, output } = await runCommand(args);

    expect(code).toBe(64);
    for (const word of words) expect(output).toContain(word);
  }
});

test.if(Bun.which("script") !== null)(
  "colours are for terminals, and not where NO_COLOR says so",
  async () => {
    const line = [...program, "help"].map((word) => `'${word}'`).join(" ");
    const onTerminal = async (env: Record<string, string>): Promise<string> => {
      const { PATH = "" } = process.env;
      const child = Bun.spawn(["script", "-qec", line, "/dev/null"], {
        env: { PATH, TERM: "xterm", ...env },
        stdin: "ignore",
        stdout: "pipe",
      });
      return child.stdout.text();
    };

    expect(await onTerminal({})).toContain("\x1b[1mCommands\x1b[0m");
    expect(await onTerminal({ NO_COLOR: "1" })).not.toContain("\x1b[1m");
    expect((await runCommand(["help"])).output).not.toContain("\x1b[");
  },
);
