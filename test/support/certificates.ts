// Certificates for tests, made by the commands that the documentation gives to operators.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterConfig } from "../../src/config/mod.ts";

/** An authority in a directory of its own. */
export interface CertificateAuthority {
  readonly directory: string;
  /** The files of one node; `authority` may be another one's. */
  readonly pathsOf: (id: string, authority?: string) => NonNullable<ClusterConfig["tls"]>;
  readonly clean: () => void;
}

const DOCUMENT = join(import.meta.dir, "../../docs/operating/tls.md");

/** Runs the documented openssl commands for these nodes. */
export async function makeAuthority(ids: readonly string[]): Promise<CertificateAuthority> {
  const text = await Bun.file(DOCUMENT).text();
  const commands = /```sh\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
  if (!commands.includes("node1 node2 node3"))
    throw new Error(`Cannot find the nodes in ${DOCUMENT}`);
  const directory = mkdtempSync(join(tmpdir(), "ayder-tls-"));
  const made = Bun.spawnSync(["sh", "-ec", commands.replace("node1 node2 node3", ids.join(" "))], {
    cwd: directory,
    stdout: "ignore",
    stderr: "pipe",
  });
  if (made.exitCode !== 0) throw new Error(made.stderr.toString());
  return {
    directory,
    pathsOf: (id, authority = directory) => ({
      caPath: join(authority, "ca.pem"),
      certPath: join(directory, `${id}.pem`),
      keyPath: join(directory, `${id}.key`),
    }),
    clean: () => rmSync(directory, { recursive: true, force: true }),
  };
}
