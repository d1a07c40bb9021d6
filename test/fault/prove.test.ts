// `ayder prove` as a user runs it: the proof of a sound node and of a sound cluster, of a node that acknowledges too early,
// of a program that is none, and what is left behind when a proof is cut short.

import { expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ProofReport } from "../../src/proof/mod.ts";
import { program, waitUntil, within } from "../support/node-process.ts";
import { processesOf } from "../support/processes-of.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const PLANTED = join(import.meta.dir, "../support/early-replies.ts");
const PLANTED_LEADER = join(import.meta.dir, "../support/early-leader.ts");
const BUN = process.execPath;

/** Starts `ayder prove` with a directory of its own for scratch. */
function start(args: readonly string[], tmp: string) {
  return Bun.spawn([...program, "prove", ...args], {
    env: { ...process.env, TMPDIR: tmp },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Runs it to its end. */
async function proof(args: readonly string[]) {
  const { path, clean } = temporaryDirectory();
  const child = start(args, path);
  const [output, complaints] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const code = await child.exited;
  const left = readdirSync(path);
  clean();
  return { code, complaints, left, report: JSON.parse(output) as ProofReport };
}

const SOUND = {
  lost: 0,
  doubled: 0,
  reordered: 0,
  altered: 0,
  gaps: 0,
  commits_lost: 0,
  nodes_differ: 0,
};

test(
  "ayder prove kills a node twice in the middle of writes, and finds everything that was acknowledged",
  async () => {
    const { code, complaints, left, report } = await proof([]);

    expect({ report, complaints }).toMatchObject({
      report: { ok: true, nodes: 1, faults: SOUND },
      complaints: "",
    });
    expect({ code, left }).toEqual({ code: 0, left: [] });
    expect(report.rounds).toHaveLength(2);
    for (const round of report.rounds) {
      expect(round).toMatchObject({ killed: "node1", partitions: { length: 4 } });
      expect(round.unanswered_writes).toBeGreaterThan(0);
      expect(round.repeated_writes).toBeGreaterThan(20);
      for (const {
        last_committed_offset: last,
        commit_in_doubt: doubt,
        ...rest
      } of round.partitions) {
        expect(rest.first_consumed_offset).toBeGreaterThan(last ?? -1);
        expect(rest.first_consumed_offset).toBeLessThanOrEqual((doubt ?? last ?? -1) + 1);
      }
    }
    const guide = await Bun.file(join(import.meta.dir, "../../docs/operating/prove.md")).text();
    const fields = [report, report.rounds[0], report.rounds[0]?.partitions[0], report.faults];
    for (const name of fields.flatMap((one) => Object.keys(one ?? {})))
      if (name !== "partition") expect(guide).toContain(`\`${name}\``);
    expect(report.records_checked).toBe(report.acknowledged_records);
    expect(report.records_checked).toBeGreaterThan(2000);
  },
  TEST_MS_MAX,
);

test(
  "ayder prove --cluster 3 kills the leader twice, and all nodes end with the same state",
  async () => {
    const { code, report } = await proof(["--cluster", "3", "--json"]);

    expect(report).toMatchObject({ ok: true, nodes: 3, faults: SOUND });
    expect(code).toBe(0);
    expect(report.state_hashes).toHaveLength(3);
    expect(new Set(report.state_hashes.map(({ hash }) => hash)).size).toBe(1);
  },
  TEST_MS_MAX,
);

test(
  "a node that acknowledges before it writes is found out, each time",
  async () => {
    for (let round = 0; round < 3; round++) {
      const { code, left, report } = await proof(["--binary", `${BUN} ${PLANTED}`]);

      expect(report.ok).toBe(false);
      expect(report.message).toBe("A promise was broken");
      expect(report.faults.lost).toBeGreaterThan(0);
      expect(report.fault_details.length).toBeGreaterThan(0);
      expect({ code, left }).toEqual({ code: 1, left: [] });
    }
  },
  TEST_MS_MAX,
);

test(
  "a leader that acknowledges what nobody else has is found out, each time",
  async () => {
    for (let round = 0; round < 3; round++) {
      const { code, left, report } = await proof([
        ...["--cluster", "3"],
        ...["--binary", `${BUN} ${PLANTED_LEADER}`],
      ]);

      expect(report.ok).toBe(false);
      expect(report.message).toBe("A promise was broken");
      expect(report.faults.lost).toBeGreaterThan(0);
      expect({ code, left }).toEqual({ code: 1, left: [] });
    }
  },
  TEST_MS_MAX,
);

test(
  "a program that is no node is an answer, not a wait",
  async () => {
    const { code, left, report } = await proof(["--binary", "/bin/false"]);

    expect(report).toMatchObject({ ok: false, rounds: [], records_checked: 0 });
    expect(report.message).toContain("ended");
    expect({ code, left }).toEqual({ code: 1, left: [] });
  },
  TEST_MS_MAX,
);

test(
  "a proof that is interrupted leaves no process and no directory, and one that is killed no process",
  async () => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
      const { path, clean } = temporaryDirectory();
      const child = start(["--cluster", "3"], path);
      await waitUntil("the nodes run", () => processesOf(path).length === 3);
      const [scratch = ""] = readdirSync(path);
      expect(statSync(join(path, scratch)).mode & 0o777).toBe(0o700);

      child.kill(signal);

      const code = await within(TEST_MS_MAX / 4, "the proof ends", child.exited);
      await waitUntil("no node is left", () => processesOf(path).length === 0);
      if (signal !== "SIGKILL") {
        expect({ signal, code, left: readdirSync(path) }).toEqual({ signal, code: 1, left: [] });
        expect(JSON.parse(await child.stdout.text())).toMatchObject({ ok: false });
      }
      clean();
    }
  },
  TEST_MS_MAX,
);

test(
  "--keep leaves the directory, with what the node had",
  async () => {
    const { path, clean } = temporaryDirectory();
    const child = start(["--keep"], path);
    await child.exited;
    const [scratch = ""] = readdirSync(path);

    expect(existsSync(join(path, scratch, "node1", "manifest"))).toBe(true);
    clean();
  },
  TEST_MS_MAX,
);
