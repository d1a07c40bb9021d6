// HTTPS of the program itself: what a node does not start with, and `check-config` says so before.

import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { makeAuthority } from "../support/certificates.ts";
import { program, refusedStart } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const authority = await makeAuthority(["node1", "node2"]);
const { path, clean } = temporaryDirectory();
afterAll(() => {
  authority.clean();
  clean();
});

const at = (name: string): string => join(authority.directory, name);
const CLUSTER = {
  RF_HA_ENABLED: "1",
  RF_HA_NODE_ID: "node1",
  RF_HA_NODES: "node1:127.0.0.1:7000",
  RF_HA_TLS: "1",
  RF_HA_TLS_CA: at("ca.pem"),
};

test.each([
  ["RF_TLS_CERT", { RF_TLS_CERT: at("gone.pem"), RF_TLS_KEY: at("node1.key") }],
  ["RF_TLS_CERT", { RF_TLS_CERT: at("node1.key"), RF_TLS_KEY: at("node1.key") }],
  ["RF_TLS_KEY", { RF_TLS_CERT: at("node1.pem"), RF_TLS_KEY: at("node2.key") }],
  [
    "RF_HA_TLS_KEY",
    { ...CLUSTER, RF_HA_TLS_CERT: at("node1.pem"), RF_HA_TLS_KEY: at("node2.key") },
  ],
])(
  "check-config and serve both refuse a wrong %s with 64, its name and its file",
  async (variable, env) => {
    const file = (env as Record<string, string>)[variable] ?? "";
    const { PATH = "" } = process.env;
    const checked = Bun.spawnSync([...program, "check-config"], { env: { ...env, PATH } });
    const refused = await refusedStart({ dataDir: join(path, "data"), env });

    expect(checked.stdout.toString() + checked.stderr.toString()).toContain(`${variable}=${file}`);
    expect(checked.exitCode).toBe(64);
    expect(refused.lines).toMatchObject([
      { event: "invalid_configuration", variable, value: file },
    ] as object[]);
    expect(refused.code).toBe(64);
  },
);
