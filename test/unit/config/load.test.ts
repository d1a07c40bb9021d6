// The configuration: what wins, what is refused, and what is said about it.

import { expect, test } from "bun:test";
import { type ConfigInput, describeConfig, loadConfig } from "../../../src/config/mod.ts";

const load = (input: Partial<ConfigInput> = {}) =>
  loadConfig({ argv: [], env: {}, readFile: () => undefined, ...input });

function configOf(input: Partial<ConfigInput> = {}) {
  const loaded = load(input);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.error));
  return loaded.value.config;
}

function noticesOf(input: Partial<ConfigInput>) {
  const loaded = load(input);
  return loaded.ok ? loaded.value.notices : [];
}

function problemsOf(input: Partial<ConfigInput>) {
  const loaded = load(input);
  return loaded.ok ? [] : loaded.error.problems;
}

test("nothing said is a node on this machine's port 1109 with the token dev", () => {
  const config = configOf();

  expect(config).toMatchObject({
    httpHost: "127.0.0.1",
    httpPort: 1109,
    dataDir: "./data",
    tokens: [{ secret: "dev", access: "full" }],
    segmentBytes: 67_108_864,
    segmentsKept: 2,
    bodyBytesMax: 16_777_216,
    recordBytesMax: 1_048_576,
    writeTimeoutMs: 5000,
    inflightBytesMax: 268_435_456,
    idempotencyTtlMs: 86_400_000,
    idempotencyKeysMax: 1_000_000,
    createsTopics: false,
    rocket: { defaultMode: "sealed", bytesMax: 268_435_456, partitionBytesMax: 67_108_864 },
    isMetricsOpen: true,
    disk: "auto",
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test("flags win over environment, environment over file, file over defaults", () => {
  const readFile = () =>
    'data_dir = "/file"\nrf_log_level = "error"\nsegment_bytes = 33554432\nport = 3';
  const argv = ["--config", "a.toml", "--data", "/flag"];
  const env = { RF_DATA_DIR: "/env", RF_LOG_LEVEL: "warn" };

  expect(configOf({ argv, env, readFile })).toMatchObject({
    dataDir: "/flag",
    logLevel: "warn",
    segmentBytes: 33_554_432,
    httpPort: 3,
  });
});

test.each([
  ["", {}, "127.0.0.1", 1109],
  ["localhost", {}, "localhost", 1109],
  ["10.0.0.1:80", {}, "10.0.0.1", 80],
  ["[::1]:80", {}, "::1", 80],
  ["[::]", {}, "::", 1109],
  [":80", {}, "127.0.0.1", 80],
  ["10.0.0.1:80", { PORT: "81" }, "10.0.0.1", 81],
  ["", { RF_BEARER_TOKENS: "a" }, "0.0.0.0", 1109],
  ["127.0.0.1", { RF_BEARER_TOKENS: "a" }, "127.0.0.1", 1109],
])("the address %p listens where it says", (address, env, httpHost, httpPort) => {
  expect(configOf({ env: { RF_HTTP_ADDR: address, ...env } })).toMatchObject({
    httpHost,
    httpPort,
  });
});

test("--port wins over PORT, and takes the form with an equals sign", () => {
  expect(configOf({ argv: ["--port", "7"], env: { PORT: "8" } }).httpPort).toBe(7);
  expect(configOf({ argv: ["--port=7"] }).httpPort).toBe(7);
});

test.each([
  ["RF_HTTP_ADDR", "host:99999"],
  ["RF_HTTP_ADDR", "a b"],
  ["RF_HTTP_ADDR", "::1"],
  ["PORT", "65536"],
  ["PORT", "-1"],
  ["PORT", "80.5"],
  ["RF_SEGMENT_BYTES", "1"],
  ["RF_SEGMENT_BYTES", "2147483648"],
  ["RF_SEGMENT_BYTES", "64MiB"],
  ["RF_WRITE_TIMEOUT_MS", "0"],
  ["RF_INFLIGHT_BYTES", "99999999999999999999"],
  ["RF_LOG_LEVEL", "loud"],
  ["RF_DISK", "tape"],
  ["RF_AUTO_CREATE_TOPICS", "yes"],
  ["RF_DOCS_URL", "nowhere"],
  ["RF_ROCKET", "2"],
  ["RF_ROCKET_BYTES", "1048576"],
  ["RF_ROCKET_PARTITION_BYTES", "268435457"],
] as const)("%s=%s is refused with its range", (variable, value) => {
  const problems = problemsOf({ env: { [variable]: value } });

  expect(problems).toMatchObject([{ variable, value }]);
  expect(problems[0]?.range.length).toBeGreaterThan(3);
});

test("every problem is reported at once", () => {
  const problems = problemsOf({
    argv: ["--nonsense", "--port"],
    env: { RF_LOG_LEVEL: "loud", RF_DISK: "tape", RF_BEARER_TOKENS: "a@1:2" },
  });

  expect(problems.map(({ variable }) => variable).sort()).toEqual([
    "--nonsense",
    "--port",
    "RF_BEARER_TOKENS",
    "RF_DISK",
    "RF_LOG_LEVEL",
  ]);
});

test.each([
  [{ RF_RECORD_BYTES_MAX: "2000000", RF_BODY_BYTES_MAX: "1000000" }, "RF_RECORD_BYTES_MAX"],
  [{ RF_SEGMENT_BYTES: "1048576" }, "RF_SEGMENT_BYTES"],
  [{ RF_INFLIGHT_BYTES: "1048576" }, "RF_INFLIGHT_BYTES"],
  [{ RF_TLS_CERT: "cert.pem" }, "RF_TLS_KEY"],
  [{ RF_TLS_KEY: "key.pem" }, "RF_TLS_CERT"],
])("%p contradicts itself", (env, variable) => {
  expect(
    problemsOf({ env: env as Record<string, string> }).map((problem) => problem.variable),
  ).toContain(variable);
});

test("a problem with tokens does not repeat them", () => {
  const problems = problemsOf({ env: { RF_BEARER_TOKENS: "hush@1:2" } });

  expect(JSON.stringify(problems)).not.toContain("hush");
});

test("an unknown variable is a warning with the nearest name", () => {
  const env = { RF_SEGMENT_BYTE: "1", RF_HA_NODE: "x", HOME: "/root" };

  const notices = noticesOf({ env }).filter(({ event }) => event === "unknown_variable");

  expect(
    notices.map(({ level, fields: { variable, nearest } }) => [level, variable, nearest]),
  ).toEqual([
    ["warn", "RF_SEGMENT_BYTE", "RF_SEGMENT_BYTES"],
    ["warn", "RF_HA_NODE", "RF_HA_NODES"],
  ]);
});

test("names of later versions are known", () => {
  const env = {
    RF_HA_ENABLED: "0",
    RF_SHARED_ENTRIES: "5",
    RF_ROCKET: "0",
  };

  expect(noticesOf({ env }).map(({ event }) => event)).toEqual(["default_token"]);
});

test("--workers and --aof are taken with a notice", () => {
  const notices = noticesOf({ argv: ["--workers", "4", "--aof=always"] });

  expect(
    notices.filter(({ event }) => event === "flag_ignored").map(({ fields: { flag } }) => flag),
  ).toEqual(["--workers", "--aof"]);
});

test("the token dev is a warning, and a louder one on an open address", () => {
  expect(noticesOf({})).toMatchObject([{ level: "warn", event: "default_token" }]);
  expect(noticesOf({ env: { RF_HTTP_ADDR: "0.0.0.0" } })).toMatchObject([
    { level: "warn", event: "default_token_on_network" },
  ]);
  expect(noticesOf({ env: { RF_BEARER_TOKENS: "a" } })).toEqual([]);
});

test("a variable that is empty is not set", () => {
  expect(configOf({ env: { RF_BEARER_TOKENS: "", PORT: "" } })).toMatchObject({
    httpHost: "127.0.0.1",
    httpPort: 1109,
  });
});

test("a file that is missing or broken is a problem", () => {
  expect(problemsOf({ argv: ["--config", "none.toml"] })).toMatchObject([
    { variable: "--config", value: "none.toml" },
  ]);
  expect(problemsOf({ argv: ["--config", "a"], readFile: () => "a = = 1" })).toMatchObject([
    { variable: "--config" },
  ]);
});

test("the reference is what the schema prints", async () => {
  expect(await Bun.file("docs/reference/configuration.md").text()).toBe(describeConfig());
});
