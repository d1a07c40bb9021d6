// The files of TLS, of clients and between nodes: whatever is wrong with them is known before anything listens, by the name
// of its variable.

import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../../src/config/mod.ts";
import { makeAuthority } from "../../support/certificates.ts";

const authority = await makeAuthority(["node1", "node2"]);
afterAll(() => authority.clean());

const CUT_CHARS = 200;
const BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const at = (name: string): string => join(authority.directory, name);
const textOf = (name: string): string => readFileSync(at(name), "utf8");

function made(name: string, text: string): string {
  writeFileSync(at(name), text);
  return at(name);
}

const encrypted = at("encrypted.key");
Bun.spawnSync(
  ["openssl", "pkcs8", "-topk8", "-in", "node1.key", "-passout", "pass:x", "-out", encrypted],
  { cwd: authority.directory },
);
const MISSING = at("missing");
const EMPTY = made("empty", "");
const GARBAGE = made("garbage", "hello");
const CUT = made("cut.pem", textOf("node1.pem").slice(0, CUT_CHARS));
const BROKEN_CHAIN = made("chain.pem", textOf("node1.pem") + BROKEN);
const WHOLE_CHAIN = made("whole.pem", textOf("node1.pem") + textOf("ca.pem"));
const NAMED_CURVE = made(
  "curve.key",
  `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${textOf("node1.key")}`,
);
const [CA, CERT, KEY] = [at("ca.pem"), at("node1.pem"), at("node1.key")];

function problemsOf(env: Record<string, string>) {
  const loaded = loadConfig({
    argv: [],
    env,
    readFile: (path) => {
      try {
        return readFileSync(path, "utf8");
      } catch {
        return undefined;
      }
    },
  });
  return loaded.ok ? [] : loaded.error.problems;
}

const CLUSTER = {
  RF_HA_ENABLED: "1",
  RF_HA_NODE_ID: "node1",
  RF_HA_NODES: "node1:127.0.0.1:7000",
  RF_HA_TLS: "1",
};

describe.each([
  [
    "clients",
    "RF_TLS_CERT",
    "RF_TLS_KEY",
    (cert: string, key: string) => ({ RF_TLS_CERT: cert, RF_TLS_KEY: key }),
  ],
  [
    "nodes",
    "RF_HA_TLS_CERT",
    "RF_HA_TLS_KEY",
    (cert: string, key: string) => ({
      ...CLUSTER,
      RF_HA_TLS_CA: CA,
      RF_HA_TLS_CERT: cert,
      RF_HA_TLS_KEY: key,
    }),
  ],
] as const)("certificate and key for %s", (_whom, certVariable, keyVariable, env) => {
  test.each([
    ["a certificate", CERT, KEY],
    ["a chain", WHOLE_CHAIN, KEY],
    ["a key behind the name of its curve", CERT, NAMED_CURVE],
  ])("%s is taken", (_what, cert, key) => {
    expect(problemsOf(env(cert, key))).toEqual([]);
  });

  test.each([
    [MISSING, "readable file"],
    [EMPTY, "certificate"],
    [GARBAGE, "certificate"],
    [KEY, "certificate"],
    [CUT, "certificate"],
    [BROKEN_CHAIN, "certificate"],
  ])("the certificate %s is refused by its variable and file", (cert, range) => {
    expect(problemsOf(env(cert, KEY))).toEqual([
      { variable: certVariable, value: cert, range: expect.stringContaining(range) },
    ]);
  });

  test.each([
    [MISSING, "readable file"],
    [EMPTY, "private key"],
    [GARBAGE, "private key"],
    [CERT, "private key"],
    [encrypted, "without a passphrase"],
    [at("node2.key"), `${certVariable}, ${CERT}`],
  ])("the key %s is refused by its variable and file", (key, range) => {
    expect(problemsOf(env(CERT, key))).toEqual([
      { variable: keyVariable, value: key, range: expect.stringContaining(range) },
    ]);
  });

  test("both are named when both are wrong", () => {
    expect(problemsOf(env(GARBAGE, MISSING)).map(({ variable }) => variable)).toEqual([
      certVariable,
      keyVariable,
    ]);
  });
});

test.each([MISSING, EMPTY, GARBAGE, KEY, BROKEN_CHAIN])("the authority %s is refused", (ca) => {
  const paths = { RF_HA_TLS_CA: ca, RF_HA_TLS_CERT: CERT, RF_HA_TLS_KEY: KEY };

  expect(problemsOf({ ...CLUSTER, ...paths })).toMatchObject([
    { variable: "RF_HA_TLS_CA", value: ca },
  ]);
});

test("one file without the other is looked at, too", () => {
  expect(
    problemsOf({ RF_TLS_CERT: MISSING })
      .map(({ variable }) => variable)
      .sort(),
  ).toEqual(["RF_TLS_CERT", "RF_TLS_KEY"]);
});

test("files that nobody asks for are not read", () => {
  expect(problemsOf({ ...CLUSTER, RF_HA_TLS: "0", RF_HA_TLS_CERT: MISSING })).toEqual([]);
});
