// `ayder version`: what this program is, and with `--verbose` what a node of it would find on this machine.

import { mkdtempSync, rmSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { type ConfigInput, loadConfig } from "../config/mod.ts";
import { probeDisk } from "../io/mod.ts";

/** What was built. */
export interface Build {
  readonly version: string;
  readonly commit: string;
  /** `linux-x64-musl` and its like; `source` where nothing was built. */
  readonly target: string;
}

/** Says what there is, as what `--json` prints. */
export async function describeBuild(build: Build, input: Omit<ConfigInput, "argv">) {
  const loaded = loadConfig({ ...input, argv: [] });
  const asked = loaded.ok ? loaded.value.config.disk : "auto";
  const scratch = scratchDirectory();
  try {
    const dataDir = loaded.ok ? loaded.value.config.dataDir : ".";
    const directory = scratch ?? dataDir;
    const disk = await probeDisk(directory, asked === "auto" ? {} : { prefer: asked });
    return {
      ...build,
      bun: Bun.version,
      architecture: process.arch,
      kernel: release(),
      disk: disk.kind,
      disk_reason: disk.reason,
      liburing: disk.liburing ?? "none",
      io_uring: disk.isRingUsable ?? null,
    };
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  }
}

/** A directory of its own, where one can be made: a container's root may be read-only, and the data belong to a node. */
function scratchDirectory(): string | undefined {
  try {
    return mkdtempSync(join(tmpdir(), "ayder-version-"));
  } catch {
    return undefined;
  }
}

/** The same for people. */
export function buildLines(facts: Awaited<ReturnType<typeof describeBuild>>): readonly string[] {
  const usable = facts.io_uring;
  return [
    ["version", facts.version],
    ["commit", facts.commit],
    ["target", facts.target],
    ["bun", facts.bun],
    ["kernel", `${facts.kernel}, ${facts.architecture}`],
    ["io_uring", usable === null ? "not tried" : usable ? "works" : "does not work here"],
    ["liburing", facts.liburing],
    ["disk", `${facts.disk}: ${facts.disk_reason}`],
  ].map(([name = "", value = ""]) => `${name.padEnd(10)}${value}`);
}
