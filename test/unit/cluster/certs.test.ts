// `ayder certs`: what it makes serves nodes and satisfies openssl, and what is there is never touched.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { certs } from "../../../src/cli/certs.ts";
import { reasonOf } from "../../../src/cli/failure.ts";
import { parseArguments } from "../../../src/cli/parse.ts";
import { EXIT_CODES } from "../../../src/lib/fatal.ts";
import { introducePair, peerNode } from "../../support/peer-nodes.ts";
import { recordedVoice } from "../../support/recorded-voice.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ayder-certs-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function run(...argv: string[]): Promise<{ status: number; lines: string[] }> {
  const voice = recordedVoice();
  const given = parseArguments("certs", ["--out", directory, ...argv]);
  if (!given.ok) return { status: EXIT_CODES.invalid_arguments, lines: [given.error] };
  try {
    return { status: await certs(given.value, voice), lines: voice.printed };
  } catch (error) {
    return { status: EXIT_CODES[reasonOf(error)], lines: [String(error)] };
  }
}

const openssl = (...argv: string[]): string =>
  Bun.spawnSync(["openssl", ...argv], { cwd: directory, stderr: "pipe" }).stdout.toString();

const pathsOf = (id: string) => ({
  caPath: join(directory, "ca.pem"),
  certPath: join(directory, `${id}.pem`),
  keyPath: join(directory, `${id}.key`),
});

test("an authority and a certificate per node are written for their owner alone, and nodes meet with them", async () => {
  const { status, lines } = await run("--nodes", "node1,node2");

  expect(status).toBe(0);
  const names = ["ca.key", "ca.pem", "node1.key", "node1.pem", "node2.key", "node2.pem"];
  expect(readdirSync(directory).sort()).toEqual(names);
  expect(lines.sort()).toEqual(names.map((name) => join(directory, name)));
  for (const name of names) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
  await using one = peerNode("node1", { tls: pathsOf("node1") });
  await using other = peerNode("node2", { tls: pathsOf("node2") });
  await introducePair(one, other);
});

test("openssl agrees with names, purposes, curve and days", async () => {
  await run("--nodes", "node1", "--days", "10", "--hosts", "a.example,10.0.0.1");

  for (const purpose of ["sslserver", "sslclient"])
    expect(openssl("verify", "-purpose", purpose, "-CAfile", "ca.pem", "node1.pem")).toContain(
      "OK",
    );
  const text = openssl("x509", "-in", "node1.pem", "-noout", "-text");
  expect(text).toContain("Subject: CN = node1");
  expect(text).toContain("DNS:node1, DNS:a.example, IP Address:10.0.0.1");
  expect(text).toContain("prime256v1");
  expect(openssl("x509", "-in", "node1.pem", "-noout", "-checkend", "863000")).toContain(
    "will not",
  );
  expect(openssl("x509", "-in", "node1.pem", "-noout", "-checkend", "865000")).toContain(
    "will expire",
  );
});

test("another node gets a certificate of the authority that is there", async () => {
  await run("--nodes", "node1");
  const before = readFileSync(join(directory, "ca.pem"), "utf8");

  const { status, lines } = await run("--nodes", "node2");

  expect(status).toBe(0);
  expect(lines).toEqual([join(directory, "node2.pem"), join(directory, "node2.key")]);
  expect(readFileSync(join(directory, "ca.pem"), "utf8")).toBe(before);
  expect(openssl("verify", "-CAfile", "ca.pem", "node2.pem")).toContain("OK");
});

test("what is there is named and not touched, and nothing else is written", async () => {
  writeFileSync(join(directory, "node2.key"), "mine");

  const { status, lines } = await run("--nodes", "node1,node2");

  expect(status).toBe(10);
  expect(lines.join()).toContain("node2.key");
  expect(readdirSync(directory)).toEqual(["node2.key"]);
  expect(readFileSync(join(directory, "node2.key"), "utf8")).toBe("mine");
});

test.each([
  ["no nodes", ["--nodes", ""], "Usage"],
  ["a node twice", ["--nodes", "a,a"], "twice"],
  ["a node that is no id", ["--nodes", "a b"], "1 to 120"],
  ["a node named like the authority's files", ["--nodes", "ca"], "authority"],
  ["no days", ["--nodes", "a", "--days", "0"], "3650"],
  ["half a day", ["--nodes", "a", "--days", "0.5"], "3650"],
  ["a host that is another node", ["--nodes", "a,b", "--hosts", "b"], "id of a node"],
  ["a host that is none", ["--nodes", "a", "--hosts", "b c"], "neither"],
  ["an unknown flag", ["--nodes", "a", "--color"], "--color"],
])("%s is refused", async (_what, argv, why) => {
  const { status, lines } = await run(...argv);

  expect(status).toBe(64);
  expect(lines.join()).toContain(why);
  expect(readdirSync(directory)).toEqual([]);
});

test.each([
  ["half an authority", ["ca.pem"], "missing"],
  ["an authority that is none", ["ca.pem", "ca.key"], "Cannot use the authority"],
])("%s is data that cannot be used", async (_what, files, why) => {
  for (const name of files) writeFileSync(join(directory, name), "");

  const { status, lines } = await run("--nodes", "a");

  expect(status).toBe(10);
  expect(lines.join()).toContain(why);
  expect(readdirSync(directory).sort()).toEqual([...files].sort());
});
