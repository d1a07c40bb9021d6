// HTTPS of the program itself: what a node does not start with, and `check-config` says so before; and how the commands that
// talk to a node know that it is the one, with the certificates of `ayder certs`.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { makeAuthority } from "../support/certificates.ts";
import { type NodeProcess, program, refusedStart, spawnNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const authority = await makeAuthority(["node1", "node2"]);
const { path, clean } = temporaryDirectory();
afterAll(() => {
  authority.clean();
  clean();
});

/** Runs a command to its end; it has nothing of the tests' own environment. */
async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { PATH = "" } = process.env;
  const child = Bun.spawn([...program, ...args], {
    env: { ...env, PATH },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, out, err };
}

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
    const checked = await run(["check-config"], env);
    const refused = await refusedStart({ dataDir: join(path, "data"), env });

    expect(checked.err).toContain(`${variable}=${file}`);
    expect(checked.code).toBe(64);
    expect(refused.lines).toMatchObject([
      { event: "invalid_configuration", variable, value: file },
    ] as object[]);
    expect(refused.code).toBe(64);
  },
);

describe("a node with a certificate of ayder certs", () => {
  const made = join(path, "made");
  const [ca, key] = [join(made, "ca.pem"), join(made, "node1.key")];
  const env = { RF_TLS_CERT: join(made, "node1.pem"), RF_TLS_KEY: key };
  let node: NodeProcess;
  let url = "";

  beforeAll(async () => {
    const { code } = await run([
      ...["certs", "--out", made, "--nodes", "node1", "--hosts", "localhost,127.0.0.1"],
    ]);
    expect(code).toBe(0);
    node = spawnNode({ dataDir: join(path, "served"), env });
    url = (await node.line("started")).url ?? "";
  });
  afterAll(() => node[Symbol.asyncDispose]());

  const file = join(path, "node.backup");
  const quick = ["--seconds", "1", "--warmup", "0", "--connections", "2"];
  const commands: [string, () => string[]][] = [
    ["backup", () => ["backup", url, file]],
    ["bench", () => ["bench", url, ...quick]],
    ["bench --mode tail", () => ["bench", url, ...quick, "--mode", "tail"]],
  ];

  test.each(commands)("is believed by %s --ca", async (_name, args) => {
    const { code, out } = await run([...args(), "--ca", ca, "--json"]);

    expect(JSON.parse(out)).toMatchObject({ ok: true });
    expect(code).toBe(0);
  });

  test.each(commands)(
    "is not believed by %s without it, nor with another authority",
    async (_name, args) => {
      for (const others of [[], ["--ca", at("ca.pem")]]) {
        const { code, out } = await run([...args(), ...others, "--json"]);

        expect(JSON.parse(out)).toMatchObject({
          ok: false,
          error: "node_unavailable",
          message: expect.stringContaining("certificate"),
        });
        expect(code).toBe(1);
      }
    },
  );

  const health = (...args: string[]) =>
    run(["healthcheck", "--port", new URL(url).port, ...args], env);

  test("is asked by healthcheck whatever it shows, and with --ca only when it is of the authority", async () => {
    expect(await health()).toMatchObject({ code: 0 });
    expect(await health("--ca", ca, "--json")).toMatchObject({ code: 0, out: '{"ready":true}\n' });
    const refused = await health(`--ca=${at("ca.pem")}`, "--json");
    expect(JSON.parse(refused.out)).toMatchObject({ ok: false, error: "node_unavailable" });
    expect(refused.code).toBe(1);
  });

  test("an authority that cannot be used is data that cannot be used", async () => {
    const calls = [...commands.map(([, args]) => args()), ["healthcheck"]];
    for (const wrong of [join(path, "missing.pem"), path, key])
      for (const args of calls) {
        const { code, out } = await run([...args, "--ca", wrong, "--json"]);

        expect(JSON.parse(out)).toMatchObject({
          ok: false,
          error: "data_unusable",
          message: expect.stringContaining(wrong),
        });
        expect(code).toBe(10);
      }
  });

  test("a missing file name is a wrong argument of healthcheck, too", async () => {
    const { code, err } = await health("--ca");

    expect(err).toContain("--ca wants its FILE");
    expect(code).toBe(64);
  });
});

test("healthcheck --ca asks for the authority, not for the name of the host", async () => {
  const env = { RF_TLS_CERT: at("node2.pem"), RF_TLS_KEY: at("node2.key") };
  await using node = spawnNode({ dataDir: join(path, "other"), env });
  const { port } = new URL((await node.line("started")).url ?? "");

  expect(await run(["healthcheck", "--port", port, "--ca", at("ca.pem")], env)).toMatchObject({
    code: 0,
  });
});
