// Prose and structure checked like code: rooms, arrows, purity, head comments, docstrings, paths in documents, names.

import { describe, expect, test } from "bun:test";
import { dirname, join, normalize } from "node:path";
import { ERROR_CODES } from "../src/model/errors.ts";

/** Which rooms each room may import; `lib` and `model` by file, the others by their front door (ARCHITECTURE.md). */
const ARROWS: Record<string, readonly string[]> = {
  lib: [],
  model: ["lib"],
  raft: ["model", "lib"],
  broker: ["model", "lib"],
  kv: ["model", "lib"],
  streams: ["model", "lib"],
  log: ["model", "lib"],
  replica: ["raft", "log", "broker", "kv", "model", "lib"],
  cluster: ["replica", "raft", "config", "model", "lib"],
  io: ["log", "model", "lib"],
  metrics: ["log", "replica", "model", "lib"],
  config: ["model", "lib"],
  http: ["broker", "streams", "metrics", "config", "model", "lib"],
  load: ["model", "lib"],
  proof: ["load", "lib"],
  sandbox: ["proof", "lib"],
  cli: ["config", "log", "io", "load", "proof", "sandbox", "model", "lib"],
};

/** Rings 1 and 2: no clock, no chance, no I/O, no waiting. */
const PURE_ROOMS = ["raft", "broker", "kv", "streams", "log", "replica"];
/** Reads may wait (STYLE.md). */
const MAY_WAIT = ["log/entry-reader.ts", "log/segment-reader.ts"];
const IMPURE =
  /\bDate\.now\(|\bMath\.random\(|\bperformance\.|\bsetTimeout\b|\bsetInterval\b|\basync\b|\bawait\b|\bBun\.|\bprocess\.|"node:|"bun[":]/;

const IMPORT = /\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g;

const filesOf = async (pattern: string, root = "."): Promise<string[]> =>
  (await Array.fromAsync(new Bun.Glob(pattern).scan({ cwd: root, dot: false }))).sort();
const tracked = Bun.spawnSync(["git", "ls-files", "--cached", "--others", "--exclude-standard"])
  .stdout.toString()
  .trim()
  .split("\n")
  .filter((path) => path !== "");
const textOf = (path: string): Promise<string> => Bun.file(path).text();
/** Source without comments, so that a rule may be named where it is explained. */
const codeOf = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");

describe("rooms", () => {
  test("every import follows an arrow and enters a room by its front door", async () => {
    const wrong: string[] = [];
    for (const file of await filesOf("*/**/*.ts", "src")) {
      const room = file.split("/")[0] ?? "";
      for (const [, path = ""] of (await textOf(join("src", file))).matchAll(IMPORT)) {
        const [target = "", ...rest] = normalize(join(dirname(file), path)).split("/");
        if (target === room || path.endsWith(".json") || path.endsWith(".md")) continue;
        const isOpen = rest.join("/") === "mod.ts" || target === "lib" || target === "model";
        if (!isOpen || !ARROWS[room]?.includes(target)) wrong.push(`${file} -> ${path}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("every room has arrows, a front door and a place in ARCHITECTURE.md", async () => {
    const rooms = [
      ...new Set((await filesOf("*/**/*.ts", "src")).map((file) => file.split("/")[0] ?? "")),
    ];
    const architecture = await textOf("ARCHITECTURE.md");
    for (const room of rooms) {
      expect(Object.keys(ARROWS)).toContain(room);
      if (room !== "lib" && room !== "model")
        expect(await Bun.file(`src/${room}/mod.ts`).exists()).toBe(true);
      expect(architecture).toContain(`\`${room}/\``);
    }
  });

  test("rings 1 and 2 have no clock, chance, I/O or waiting", async () => {
    const wrong: string[] = [];
    for (const room of PURE_ROOMS) {
      for (const file of await filesOf(`${room}/**/*.ts`, "src")) {
        if (MAY_WAIT.includes(file)) continue;
        const found = IMPURE.exec(codeOf(await textOf(join("src", file))));
        if (found !== null) wrong.push(`${file}: ${found[0]}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("only io/ffi-* imports bun:ffi, and only config and main read the environment", async () => {
    const wrong: string[] = [];
    for (const file of await filesOf("**/*.ts", "src")) {
      const code = codeOf(await textOf(join("src", file)));
      if (code.includes('"bun:ffi"') && !/^io\/ffi-/.test(file)) wrong.push(`${file}: bun:ffi`);
      if (/process\.env|Bun\.env/.test(code) && !file.startsWith("config/") && file !== "main.ts") {
        wrong.push(`${file}: environment`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("files", () => {
  test("every source file opens with a comment of one to six lines", async () => {
    const wrong: string[] = [];
    for (const file of tracked.filter((path) =>
      /^(src|test|bench)\/.*\.ts$|^build\.ts$/.test(path),
    )) {
      if (!(await Bun.file(file).exists())) continue;
      if (!(await textOf(file)).startsWith("// ") && !file.endsWith(".d.ts")) wrong.push(file);
    }
    expect(wrong).toEqual([]);
  });

  test("every export of a source file has a docstring", async () => {
    const wrong: string[] = [];
    for (const file of await filesOf("**/*.ts", "src")) {
      const lines = (await textOf(join("src", file))).split("\n");
      for (const [i, line] of lines.entries()) {
        const name =
          /^export (?:abstract )?(?:async )?(?:function\*?|class|const|interface|type) (\w+)/.exec(
            line,
          )?.[1];
        if (name === undefined) continue;
        const before = lines[i - 1] ?? "";
        // Constants that belong together share the docstring above the first of them.
        const isGrouped = /^export const/.test(line) && /^export const/.test(before);
        if (!before.endsWith("*/") && !isGrouped) wrong.push(`${file}: ${name}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("no file is named by a number or by nothing", () => {
    const bad = tracked.filter(
      (path) =>
        /^(src|test|bench)\//.test(path) &&
        (/\d\.(test\.)?ts$/.test(path) && !/(http[12]|crc32)/.test(path)
          ? true
          : /(^|\/)(utils?|helpers?|common|misc|manager|types)(\.|\/)/.test(path)),
    );
    expect(bad).toEqual([]);
  });

  test("nothing that is promised is left open", async () => {
    // Spelled in parts, or this line would find itself.
    const marks = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|")})\\b`);
    const wrong: string[] = [];
    for (const file of tracked.filter((path) => /\.(ts|md|sh|json)$|^Dockerfile/.test(path))) {
      if (!(await Bun.file(file).exists())) continue;
      if (marks.test(await textOf(file))) wrong.push(file);
    }
    expect(wrong).toEqual([]);
  });
});

describe("documents", () => {
  const documents = tracked.filter((path) => path.endsWith(".md"));

  test("every path of the project that a document names exists", async () => {
    const wrong: string[] = [];
    for (const document of documents) {
      for (const [, path = ""] of (await textOf(document)).matchAll(
        /`((?:src|test|bench|docs|\.ci)\/[\w./-]*\w)`/g,
      )) {
        const isThere = tracked.some((file) => file === path || file.startsWith(`${path}/`));
        if (!isThere) wrong.push(`${document}: ${path}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("every relative link of a document leads somewhere", async () => {
    const wrong: string[] = [];
    for (const document of documents) {
      for (const [, link = ""] of (await textOf(document)).matchAll(
        /\]\((?!https?:|#|\/)([^)#\s]+)[^)]*\)/g,
      )) {
        const path = normalize(join(dirname(document), link)).replace(/\/$/, "");
        if (!tracked.some((file) => file === path || file.startsWith(`${path}/`)))
          wrong.push(`${document}: ${link}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("every error code has a heading in the reference", async () => {
    const reference = await textOf("docs/reference/errors.md");
    expect(ERROR_CODES.filter((code) => !reference.includes(`${code}`))).toEqual([]);
  });
});
