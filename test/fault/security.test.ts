// What a node leaves lying about, and what the network can reach: modes of files, tokens in what it writes and answers, names
// that are paths.

import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sendRaw } from "../suites/http/raw.ts";
import {
  program,
  runCommand,
  SMALL_SEGMENTS,
  startNode,
  waitUntil,
} from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const TOKENS = ["the-token-of-everything", "the-token-of-readers", "the-token-of-some"];
const GUESSES = ["a-guess-that-is-wrong", "the-token-of-everythin"];
const SETTINGS = {
  ...SMALL_SEGMENTS,
  RF_BEARER_TOKENS: `${TOKENS[0]},${TOKENS[1]}@read,${TOKENS[2]}@write=some.*`,
  RF_HTTP_ADDR: "127.0.0.1:0",
  RF_LOG_LEVEL: "debug",
};
/** A node that is started by somebody careless: nothing is left to the mask. */
const CARELESS = ["sh", "-c", 'umask 000; exec "$@"', "sh"];

/** Everything below a directory, itself included, with its mode. A running node takes files away meanwhile. */
function modesOf(path: string, name = ""): readonly (readonly [string, string])[] {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  const mode = (found.mode & 0o777).toString(8);
  if (!found.isDirectory()) return [[name, mode]];
  const inside = readdirSync(path).flatMap((item) => modesOf(join(path, item), `${name}/${item}`));
  return [[`${name}/`, mode], ...inside];
}

const call = (url: string, path: string, init: RequestInit = {}, token = TOKENS[0]) =>
  fetch(`${url}${path}`, { ...init, headers: { authorization: `Bearer ${token}` } });

/** Runs another command of the program, as carelessly. */
async function run(...args: readonly string[]): Promise<void> {
  const child = Bun.spawn([...CARELESS, ...program, ...args], { stdout: "pipe", stderr: "pipe" });
  const said = (await child.stdout.text()) + (await child.stderr.text());
  expect(await child.exited, said).toBe(0);
}

/** Makes the node write every kind of file that there is. */
async function exercise(url: string, dataDir: string): Promise<void> {
  const post = (path: string, body: string) => call(url, path, { method: "POST", body });
  await post("/broker/topics", '{"name":"some.t","partitions":1}');
  await post("/broker/topics", '{"name":"some.kept","partitions":1}');
  const large = "x".repeat(200_000);
  for (let i = 0; i < 40; i++) {
    const topic = i % 4 === 0 ? "some.kept" : "some.t";
    const reply = await post(
      `/broker/topics/${topic}/produce?partition=0&idempotency_key=${i}`,
      large,
    );
    expect(reply.status).toBe(200);
    await call(url, `/kv/some.ns/${i}`, { method: "PUT", body: large });
  }
  await post("/broker/delete-before", '{"topic":"some.t","partition":0,"before_offset":29}');
  const kinds = (): Set<string> =>
    new Set(readdirSync(dataDir).map((name) => name.split(".")[1] ?? name));
  await waitUntil(
    "there are archives",
    async () => {
      await post("/admin/compact", "");
      await post("/broker/topics/some.t/produce?partition=0", large);
      await post(
        "/broker/delete-before",
        '{"topic":"some.t","partition":0,"before_offset":1000000}',
      );
      return kinds().has("archive") && kinds().has("base");
    },
    60_000,
  );
}

test(
  "files are 0600 and directories 0700, whatever was done and however loose the mask is",
  async () => {
    const { path, clean } = temporaryDirectory();
    const dataDir = join(path, "data");
    {
      await using node = await startNode({ dataDir, env: SETTINGS, wrapper: CARELESS });
      await exercise(node.url, dataDir);
      const running = modesOf(dataDir);
      const kinds = new Set(running.map(([name]) => name.split(".").at(-1)));
      for (const kind of ["log", "archive", "index", "base"]) expect([...kinds]).toContain(kind);
      for (const [name, mode] of running)
        expect({ name, mode }).toEqual({ name, mode: name.endsWith("/") ? "700" : "600" });

      await run("backup", node.url, join(path, "a.backup"), "--token", TOKENS[0] as string);
      await node.kill("SIGKILL");
    }
    await run("restore", join(path, "a.backup"), join(path, "restored"));

    expect(modesOf(join(path, "a.backup"))).toEqual([["", "600"]]);
    for (const [name, mode] of [...modesOf(dataDir), ...modesOf(join(path, "restored"))])
      expect({ name, mode }).toEqual({ name, mode: name.endsWith("/") ? "700" : "600" });
    clean();
  },
  TEST_MS_MAX,
);

test(
  "no token, right or wrong, is in the log, in metrics, in the document or in an answer",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir, env: SETTINGS });
    const answers: string[] = [];
    const paths = [
      "/broker/topics",
      "/health",
      "/metrics",
      "/metrics_ha",
      "/openapi.json",
      "/swagger",
      "/nothing",
      "/admin/state-hash",
      "/ha/membership",
      "/broker/consume/none/g/0",
      "/kv/other/key",
      "/broker/commit",
    ];
    for (const token of [...TOKENS, ...GUESSES])
      for (const path of paths)
        for (const method of ["GET", "POST", "DELETE", "PUT"]) {
          const reply = await call(
            node.url,
            path,
            { method, ...(method !== "GET" && { body: "{" }) },
            token,
          );
          answers.push(JSON.stringify([...reply.headers]), await reply.text());
        }
    // A body that is cut off is written down at this level.
    const head = `POST /broker/topics/x/produce HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${TOKENS[0]}\r\n`;
    await sendRaw(node.url, [`${head}Content-Length: 9\r\n\r\nx`], undefined, 50);
    await node.kill("SIGTERM");

    const shown = [...answers, ...node.lines.map((line) => JSON.stringify(line))].join("\n");
    expect(node.lines.length).toBeGreaterThan(5);
    expect(shown.length).toBeGreaterThan(100_000);
    for (const token of [...TOKENS, ...GUESSES]) expect(shown.includes(token), token).toBe(false);
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a configuration that is wrong says so without a token",
  async () => {
    const { path, clean } = temporaryDirectory();
    const file = join(path, "ayder.toml");
    for (const tokens of [
      "the-secret@nothing",
      "the-secret@1:2",
      "the-secret,the-secret",
      "the-secret with space",
    ]) {
      writeFileSync(file, `bearer_tokens = "${tokens}"\n`);
      const { code, output } = await runCommand(["check-config", "--config", file]);
      expect({ tokens, code: code === 0 }).toEqual({ tokens, code: false });
      expect(output).not.toContain("the-secret");
    }
    clean();
  },
  TEST_MS_MAX,
);

/** The same name as a body would say it; what is no UTF-8 stays as it is. */
function bodyForm(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Names that are paths to somebody, in a form that a URL can carry. */
const NAMES = [
  "..%2f..%2fescaped",
  "..%2Fescaped",
  "%2e%2e%2fescaped",
  "..%5cescaped",
  "%2fetc%2fpasswd",
  "%00escaped",
  "escaped%00.log",
  "..",
  ".",
  "%2e%2e",
  "meta.json",
  "manifest",
  "lock",
  "state",
  "quarantine",
  "%F0%9F%98%80",
  "%E2%80%AEgol",
  "%C0%AE%C0%AE%C0%AFescaped",
  "x".repeat(121),
  "x".repeat(4000),
];

test(
  "no name that comes over the network is a path of the file system",
  async () => {
    const { path, clean } = temporaryDirectory();
    const dataDir = join(path, "a", "data");
    mkdirSync(join(path, "a"));
    writeFileSync(join(path, "a", "outside"), "what lies outside");
    await using node = await startNode({ dataDir, env: SETTINGS });
    const auth = `Host: a\r\nAuthorization: Bearer ${TOKENS[0]}\r\n`;
    const ask = async (method: string, target: string, body = ""): Promise<string> => {
      const head = `${method} ${target} HTTP/1.1\r\n${auth}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
      return (await sendRaw(node.url, [head + body], (seen) => /\}$|<\/html>/.test(seen), 300))
        .text;
    };
    const before = readdirSync(dataDir)
      .filter((name) => !/\.(log|index|delta|base)$/.test(name))
      .sort();

    for (const name of NAMES) {
      const plain = bodyForm(name);
      const replies = [
        await ask("POST", "/broker/topics", JSON.stringify({ name: plain, partitions: 1 })),
        await ask(
          "POST",
          `/broker/topics/${name}/produce?partition=0&key=${name}&idempotency_key=${name.slice(0, 200)}`,
          "value",
        ),
        await ask("PUT", `/kv/${name}/${name}`, "value"),
        await ask("PUT", `/kv/some.ns/${name}`, "value"),
        await ask("GET", `/kv/some.ns/${name}`),
        await ask("GET", `/docs/${name}/${name}`),
        await ask("GET", `/docs/reference/${name}`),
        await ask("GET", `/docs/..%2f..%2f..%2fa/outside`),
        await ask("GET", `/swagger/${name}`),
        await ask(
          "POST",
          "/ha/membership/add",
          JSON.stringify({ node_id: plain, advertise_addr: "../escaped:1" }),
        ),
        await ask(
          "POST",
          "/broker/commit",
          JSON.stringify({ topic: plain, group: plain, partition: 0, offset: 0 }),
        ),
      ];
      for (const reply of replies) {
        expect(reply).not.toMatch(/^HTTP\/1\.1 500/);
        expect(reply).not.toContain("what lies outside");
        expect(reply).not.toContain("root:");
      }
    }

    const after = readdirSync(dataDir)
      .filter((name) => !/\.(log|index|delta|base)$/.test(name))
      .sort();
    expect(after).toEqual(before);
    expect(readdirSync(path)).toEqual(["a"]);
    expect(readdirSync(join(path, "a")).sort()).toEqual(["data", "outside"]);
    expect(existsSync("/escaped") || existsSync("/tmp/escaped")).toBe(false);
    expect(readFileSync(join(path, "a", "outside"), "utf8")).toBe("what lies outside");
    expect(node.lines.filter(({ event }) => event === "request_failed")).toEqual([]);
    expect((await node.kill("SIGTERM")).code).toBe(0);
    clean();
  },
  TEST_MS_MAX,
);
