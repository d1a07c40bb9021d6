// The cluster's part of the configuration: what it means, what is refused, and what is never shown.

import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  advertisedUrl,
  type ClusterConfig,
  insecureReason,
  loadConfig,
} from "../../../src/config/mod.ts";
import { makeAuthority } from "../../support/certificates.ts";

const authority = await makeAuthority(["node1"]);
afterAll(() => authority.clean());
const { caPath, certPath, keyPath } = authority.pathsOf("node1");
const FILES: Readonly<Record<string, string>> = {
  "/ok/ca": readFileSync(caPath, "utf8"),
  "/ok/cert": readFileSync(certPath, "utf8"),
  "/ok/key": readFileSync(keyPath, "utf8"),
};

const NODES = "node1:10.0.0.1:7000:200,node2:[fd00::2]:7000,node3:host-3.example:7100:0";
const BASE = { RF_HA_ENABLED: "1", RF_HA_NODE_ID: "node1", RF_HA_NODES: NODES };

const load = (env: Record<string, string>) =>
  loadConfig({ argv: [], env, readFile: (path) => FILES[path] });

function clusterOf(env: Record<string, string> = {}): ClusterConfig {
  const loaded = load({ ...BASE, ...env });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.error));
  if (loaded.value.config.cluster === undefined) throw new Error("There is no cluster");
  return loaded.value.config.cluster;
}

function problemsOf(env: Record<string, string>) {
  const loaded = load(env);
  return loaded.ok ? [] : loaded.error.problems;
}

function noticesOf(env: Record<string, string>) {
  const loaded = load(env);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.error));
  return loaded.value.notices.filter(({ event }) => !event.startsWith("default_token"));
}

test("an id and a list make a cluster, with defaults for the rest", () => {
  const cluster = clusterOf();

  expect(cluster).toEqual({
    nodeId: "node1",
    nodes: [
      { nodeId: "node1", host: "10.0.0.1", port: 7000, priority: 200 },
      { nodeId: "node2", host: "fd00::2", port: 7000, priority: 100 },
      { nodeId: "node3", host: "host-3.example", port: 7100, priority: 0 },
    ],
    isBootstrap: false,
    writeConcern: "majority",
    heartbeatMs: 50,
    electionTimeoutMs: 300,
    tls: undefined,
    secret: undefined,
    isInsecure: false,
    advertiseUrl: undefined,
    redirectStatus: 307,
    catchUpBytes: 1_073_741_824,
    raftHost: "10.0.0.1",
    raftPort: 7000,
  });
  expect(Object.isFrozen(cluster)).toBe(true);
});

test("without RF_HA_ENABLED there is no cluster, and what is set of it is named", () => {
  expect(load({}).ok && load({})).toMatchObject({ value: { config: { cluster: undefined } } });
  expect(noticesOf({})).toEqual([]);
  expect(noticesOf({ RF_HA_ENABLED: "0" })).toEqual([]);
  expect(noticesOf({ RF_HA_SECRET: "hush", RF_HA_NODE_ID: "a" })).toEqual([
    {
      level: "warn",
      event: "cluster_settings_unused",
      fields: {
        message: "RF_HA_ENABLED is not 1: this node is alone",
        variables: "RF_HA_NODE_ID RF_HA_SECRET",
      },
    },
  ]);
});

test("everything that may be set is taken", () => {
  const cluster = clusterOf({
    RF_HA_NODE_ID: "node2",
    RF_HA_BOOTSTRAP_LEADER: "1",
    RF_HA_WRITE_CONCERN: "3",
    RF_HA_HEARTBEAT_MS: "100",
    RF_HA_ELECTION_TIMEOUT_MS: "400",
    RF_HA_TLS: "1",
    RF_HA_TLS_CA: "/ok/ca",
    RF_HA_TLS_CERT: "/ok/cert",
    RF_HA_TLS_KEY: "/ok/key",
    RF_HA_INSECURE: "1",
    RF_HA_REDIRECT_STATUS: "308",
    RF_HA_CATCH_UP_BYTES: "1048576",
    RF_HTTP_ADVERTISE: "https://node2.example:8443/",
  });

  expect(cluster).toMatchObject({
    isBootstrap: true,
    writeConcern: 3,
    heartbeatMs: 100,
    electionTimeoutMs: 400,
    tls: { caPath: "/ok/ca", certPath: "/ok/cert", keyPath: "/ok/key" },
    isInsecure: true,
    redirectStatus: 308,
    catchUpBytes: 1_048_576,
    advertiseUrl: "https://node2.example:8443",
    raftHost: "fd00::2",
    raftPort: 7000,
  });
});

describe("nodes", () => {
  test.each([
    ["node1", "node 1 is not id:host:raft_port:priority"],
    ["node1:host", "node 1 is not"],
    ["node1:host:7000,", "node 2 is not"],
    ["node1:host:7000:1:2", "node 1 is not"],
    ["node1:fd00::1:7000", "node 1 is not"],
    ["node1:[host]:7000", "node 1 is not"],
    ["node1:ho st:7000", "node 1 is not"],
    ["node1:host:0", "node 1 has a port"],
    ["node1:host:65536", "node 1 has a port"],
    ["node1:host:7000:1001", "node 1 has a priority above 1000"],
    ["node1:host:7000:-1", "node 1 is not"],
    [":host:7000", "node 1 has an id"],
    ["no de:host:7000", "node 1 has an id"],
    [`${"n".repeat(121)}:host:7000`, "node 1 has an id"],
    ["node1:a:7000,node1:b:7000", "node 2 has the id of another one"],
    ["node1:a:7000,node2:a:7000", "node 2 has the address of another one"],
    [Array.from({ length: 10 }, (_, i) => `n${i}:h:${7000 + i}`).join(","), "there are 10"],
  ])("%s is refused", (nodes, why) => {
    const problems = problemsOf({ ...BASE, RF_HA_NODES: nodes });

    expect(problems).toMatchObject([{ variable: "RF_HA_NODES", value: nodes }]);
    expect(problems[0]?.range).toContain(why);
  });

  test.each([
    [1, 0],
    [2, 1],
    [3, 0],
    [4, 1],
    [5, 0],
    [7, 0],
    [9, 1],
  ])("%d nodes: %d warnings about their number", (count, warnings) => {
    const nodes = Array.from({ length: count }, (_, i) => `node${i + 1}:127.0.0.1:${7000 + i}`);

    const found = noticesOf({ ...BASE, RF_HA_NODES: nodes.join(",") });

    expect(found.filter(({ event }) => event === "unusual_cluster_size")).toHaveLength(warnings);
  });
});

test.each([
  [{ RF_HA_ENABLED: "1" }, ["RF_HA_NODES", "RF_HA_NODE_ID"]],
  [{ RF_HA_ENABLED: "1", RF_HA_NODES: NODES }, ["RF_HA_NODE_ID"]],
  [{ ...BASE, RF_HA_NODE_ID: "node4" }, ["RF_HA_NODE_ID"]],
  [{ ...BASE, RF_HA_NODE_ID: "node 1" }, ["RF_HA_NODE_ID"]],
  [{ ...BASE, RF_HA_WRITE_CONCERN: "4" }, ["RF_HA_WRITE_CONCERN"]],
  [{ ...BASE, RF_HA_WRITE_CONCERN: "0" }, ["RF_HA_WRITE_CONCERN"]],
  [{ ...BASE, RF_HA_WRITE_CONCERN: "most" }, ["RF_HA_WRITE_CONCERN"]],
  [{ ...BASE, RF_HA_SYNC_MODE: "sync" }, ["RF_HA_SYNC_MODE"]],
  [{ ...BASE, RF_HA_ELECTION_TIMEOUT_MS: "199" }, ["RF_HA_ELECTION_TIMEOUT_MS"]],
  [{ ...BASE, RF_HA_HEARTBEAT_MS: "100" }, ["RF_HA_ELECTION_TIMEOUT_MS"]],
  [{ ...BASE, RF_HA_TLS: "1" }, ["RF_HA_TLS_CA", "RF_HA_TLS_CERT", "RF_HA_TLS_KEY"]],
  [
    {
      ...BASE,
      RF_HA_TLS: "1",
      RF_HA_TLS_CA: "/ok/ca",
      RF_HA_TLS_CERT: "/no/cert",
      RF_HA_TLS_KEY: "/ok/key",
    },
    ["RF_HA_TLS_CERT"],
  ],
  [{ ...BASE, RF_HA_DEDICATED_WORKER: "1" }, ["RF_HA_DEDICATED_WORKER"]],
  [{ ...BASE, RF_HA_REDIRECT_STATUS: "302" }, ["RF_HA_REDIRECT_STATUS"]],
  [{ ...BASE, RF_HA_CATCH_UP_BYTES: "1000" }, ["RF_HA_CATCH_UP_BYTES"]],
  [{ ...BASE, RF_HTTP_ADVERTISE: "host" }, ["RF_HTTP_ADVERTISE"]],
  [{ ...BASE, RF_HTTP_ADVERTISE: "http://host/path" }, ["RF_HTTP_ADVERTISE"]],
  [{ ...BASE, RF_HTTP_ADVERTISE: "ftp://host" }, ["RF_HTTP_ADVERTISE"]],
  [{ ...BASE, RF_HTTP_ADVERTISE: "http://user@host" }, ["RF_HTTP_ADVERTISE"]],
  [
    {
      ...BASE,
      RF_HA_NODE_ID: "node4",
      RF_HA_HEARTBEAT_MS: "100",
      RF_HA_TLS: "1",
      RF_RECORD_BYTES_MAX: "33554432",
    },
    [
      "RF_HA_ELECTION_TIMEOUT_MS",
      "RF_HA_NODE_ID",
      "RF_HA_TLS_CA",
      "RF_HA_TLS_CERT",
      "RF_HA_TLS_KEY",
      "RF_RECORD_BYTES_MAX",
    ],
  ],
] as [Record<string, string>, string[]][])("%j is refused", (env, variables) => {
  expect(
    problemsOf(env)
      .map(({ variable }) => variable)
      .sort(),
  ).toEqual(variables);
});

test("a thread of its own for replication is refused with what to do, and its default is taken", () => {
  expect(problemsOf({ ...BASE, RF_HA_DEDICATED_WORKER: "1" })).toEqual([
    {
      variable: "RF_HA_DEDICATED_WORKER",
      value: "1",
      range: "0, or left out: replication runs on the serving thread (ADR 0013)",
    },
  ]);
  expect(problemsOf({ ...BASE, RF_HA_DEDICATED_WORKER: "0" })).toEqual([]);
});

describe("write concern", () => {
  test.each([
    ["1", undefined, 1],
    ["2", undefined, 2],
    ["all", undefined, "all"],
    ["majority", undefined, "majority"],
    [undefined, "async", 1],
    [undefined, "sync-majority", "majority"],
    [undefined, "sync-all", "all"],
    ["1", "async", 1],
    ["2", "sync-majority", 2],
    ["3", "sync-all", 3],
  ] as const)("%p with mode %p is %p", (concern, mode, expected) => {
    const env = {
      ...(concern !== undefined && { RF_HA_WRITE_CONCERN: concern }),
      ...(mode !== undefined && { RF_HA_SYNC_MODE: mode }),
    };
    expect(clusterOf(env).writeConcern).toBe(expected);
  });

  test.each([
    ["1", "sync-majority"],
    ["2", "async"],
    ["2", "sync-all"],
    ["majority", "sync-all"],
    ["all", "async"],
  ])("%s and %s contradict each other, and both are named", (concern, mode) => {
    const problems = problemsOf({ ...BASE, RF_HA_WRITE_CONCERN: concern, RF_HA_SYNC_MODE: mode });

    expect(problems).toMatchObject([{ variable: "RF_HA_WRITE_CONCERN", value: concern }]);
    expect(problems[0]?.range).toContain(`RF_HA_SYNC_MODE, which is ${mode}`);
  });
});

describe("secrets", () => {
  test("the secret follows from RF_HA_SECRET, else from the tokens in any order, else there is none", () => {
    const own = clusterOf({
      RF_HA_SECRET: "a long and random secret",
      RF_BEARER_TOKENS: "x",
    }).secret;
    const tokens = clusterOf({ RF_BEARER_TOKENS: "x@read,y" }).secret;

    expect(own).toMatch(/^[0-9a-f]{64}$/);
    expect(clusterOf({ RF_HA_SECRET: "a long and random secret" }).secret).toBe(own);
    expect(tokens).toMatch(/^[0-9a-f]{64}$/);
    expect(tokens).not.toBe(own);
    expect(clusterOf({ RF_BEARER_TOKENS: "y,x" }).secret).toBe(tokens);
    expect(clusterOf({ RF_BEARER_TOKENS: "y" }).secret).not.toBe(tokens);
    expect(clusterOf({}).secret).toBeUndefined();
    expect(clusterOf({ RF_BEARER_TOKENS: "dev" }).secret).toBeUndefined();
  });

  test("no secret is in the configuration, a problem or a notice", () => {
    const env = { ...BASE, RF_HA_SECRET: "hush-hush", RF_HA_NODE_ID: "node9" };

    expect(JSON.stringify(load(env))).not.toContain("hush");
    expect(JSON.stringify(load({ ...env, RF_HA_NODE_ID: "node1" }))).not.toContain("hush");
    expect(JSON.stringify(load({ RF_HA_SECRET: "hush-hush" }))).not.toContain("hush");
    expect(noticesOf({ ...env, RF_HA_NODE_ID: "node1" })).toMatchObject([
      { event: "weak_cluster_secret" },
    ]);
  });
});

describe("insecureReason()", () => {
  const LOCAL = "node1:127.0.0.1:7000,node2:localhost:7001,node3:[::1]:7002";

  test.each([
    ["peers on a network and nothing else", {}, true],
    ["only loopback", { RF_HA_NODES: LOCAL }, false],
    ["one peer elsewhere", { RF_HA_NODES: `${LOCAL},node4:10.0.0.4:7000` }, true],
    ["its own address elsewhere", { RF_HA_NODES: "node1:0.0.0.0:7000" }, true],
    ["a secret", { RF_HA_SECRET: "a long and random secret" }, false],
    ["tokens", { RF_BEARER_TOKENS: "mine" }, false],
    ["the token that everybody knows", { RF_BEARER_TOKENS: "dev" }, true],
    ["consent", { RF_HA_INSECURE: "1" }, false],
    [
      "TLS",
      {
        RF_HA_TLS: "1",
        RF_HA_TLS_CA: "/ok/ca",
        RF_HA_TLS_CERT: "/ok/cert",
        RF_HA_TLS_KEY: "/ok/key",
      },
      false,
    ],
  ] as [string, Record<string, string>, boolean][])("with %s: %#", (_what, env, isInsecure) => {
    const reason = insecureReason(clusterOf(env));

    expect(reason !== undefined).toBe(isInsecure);
    if (isInsecure) expect(reason).toContain("RF_HA_SECRET");
  });
});

test.each([
  [{}, "http://10.0.0.1:1109"],
  [{ RF_HA_NODE_ID: "node2" }, "http://[fd00::2]:1109"],
  [{ RF_HTTP_ADVERTISE: "public.example:80" }, "http://public.example:80"],
  [{ RF_HTTP_ADVERTISE: "[fd00::9]:80" }, "http://[fd00::9]:80"],
  [{ RF_HTTP_ADVERTISE: "http://a.example" }, "http://a.example"],
] as [Record<string, string>, string][])("%j is advertised as %s", (env, url) => {
  expect(advertisedUrl(clusterOf(env), false, 1109)).toBe(url);
});

test("with HTTPS the advertised address is one, too", () => {
  const tls = { RF_TLS_CERT: "/ok/cert", RF_TLS_KEY: "/ok/key" };

  expect(advertisedUrl(clusterOf(tls), true, 1109)).toBe("https://10.0.0.1:1109");
  expect(clusterOf({ ...tls, RF_HTTP_ADVERTISE: "a:1" }).advertiseUrl).toBe("https://a:1");
});
