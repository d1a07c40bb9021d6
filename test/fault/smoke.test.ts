// test/smoke.sh as operators run it: on a node, on one that it kills itself, on a cluster whose leader is killed, and on
// nodes that are wrong, which it must notice. `SMOKE_ROUNDS=50` is the long run; `BIG=1` tells it every lie.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { freePorts } from "../support/cluster-network.ts";
import { startCluster } from "../support/cluster-process.ts";
import { LIES, type Lie, lyingProxy } from "../support/lying-proxy.ts";
import { program, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { SMOKE_ROUNDS = "2", BIG } = process.env;
const SCRIPT = join(import.meta.dir, "../smoke.sh");
const hasTools = ["sh", "curl", "jq"].every((tool) => Bun.which(tool) !== null);
const TEST_MS_MAX = 240_000 + 60_000 * Number(SMOKE_ROUNDS);
const GREEN = "BROKER SMOKE TEST: ALL GREEN";

/** Runs the script to its end. */
async function smoke(
  url: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly lines: readonly string[]; readonly failed: string }> {
  const { PATH = "", TMPDIR = "/tmp" } = process.env;
  const child = Bun.spawn(["sh", SCRIPT, url], {
    env: { PATH, TMPDIR, ROUNDS: SMOKE_ROUNDS, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  const lines = text.trim().split("\n");
  const failed = lines.filter((line) => line.startsWith("FAIL")).join("\n");
  return { code: await child.exited, lines, failed };
}

describe.if(hasTools)("test/smoke.sh", () => {
  test(
    "is green on a node, also the second time on the same",
    async () => {
      const { path: dataDir, clean } = temporaryDirectory();
      await using node = await startNode({ dataDir });

      for (let time = 0; time < 2; time++) {
        const { code, lines, failed } = await smoke(node.url);

        expect(failed).toBe("");
        expect(lines.at(-1)).toBe(GREEN);
        expect(code).toBe(0);
        expect(lines.filter((line) => line.startsWith("ok ")).length).toBeGreaterThan(70);
      }
      clean();
    },
    TEST_MS_MAX,
  );

  test(
    `is green on a node that it kills ${SMOKE_ROUNDS} times in the middle of writes`,
    async () => {
      const { path: dataDir, clean } = temporaryDirectory();
      const [port] = freePorts("127.0.0.1", 1);
      const words = [...program, "--port", String(port), "--data", dataDir];

      const { code, lines, failed } = await smoke(`http://127.0.0.1:${port}`, {
        START: words.map((word) => `'${word}'`).join(" "),
      });

      expect(failed).toBe("");
      expect(lines.at(-1)).toBe(GREEN);
      expect(code).toBe(0);
      const kills = lines.filter((line) => line.includes("ready after SIGKILL"));
      expect(kills).toHaveLength(Number(SMOKE_ROUNDS));
      console.log(`smoke: ${lines.find((line) => line.includes("kills: none of"))}`);
      clean();
    },
    TEST_MS_MAX,
  );

  test(
    "is green on a follower of a cluster whose leader is killed in the middle of writes",
    async () => {
      await using cluster = await startCluster();
      const [follower] = await cluster.followers();
      if (follower === undefined) throw new Error("Nobody follows");
      await using killer = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: async () => {
          const leader = await cluster.leader();
          await leader.kill();
          leader.start();
          return new Response("killed");
        },
      });

      const { code, lines, failed } = await smoke(follower.url, {
        RESTART: `curl -sS ${killer.url.href}`,
      });

      expect(failed).toBe("");
      expect(lines.at(-1)).toBe(GREEN);
      expect(code).toBe(0);
    },
    TEST_MS_MAX,
  );

  /** The check that is to notice each lie. */
  const NOTICED: Readonly<Record<Lie, string>> = {
    drops_a_record: "what is read is what was written, in order",
    repeats_a_record: "what is read is what was written, in order",
    swaps_two_records: "its offsets have no gap",
    ignores_keys: "the same key is a duplicate with the same offset",
    commits_go_back: "a commit never goes back",
    cas_always_wins: "cas=0 is for a key without a value",
    says_synced_false: "every write is sealed, durable and synced",
  };

  test(
    "fails on a node that comes back from a kill with nothing",
    async () => {
      const { path, clean } = temporaryDirectory();
      const [port] = freePorts("127.0.0.1", 1);
      const words = [...program, "--port", String(port), "--data", path].map((word) => `'${word}'`);
      const url = `http://127.0.0.1:${port}`;

      const { code, failed } = await smoke(url, {
        START: `sh -c "rm -rf '${path}' && exec ${words.join(" ")}"`,
        ROUNDS: "1",
        RECORDS: "20",
        WAIT_S: "5",
      });

      expect(failed).toContain("FAIL  round 1: an old key is still a duplicate");
      expect(code).toBe(1);
      clean();
    },
    TEST_MS_MAX,
  );

  test.each(BIG === "1" ? [...LIES] : LIES.slice(0, 2))(
    "fails on a node that %s",
    async (lie) => {
      const { path: dataDir, clean } = temporaryDirectory();
      await using node = await startNode({ dataDir });
      const proxy = lyingProxy(node.url, lie);

      const { code, lines, failed } = await smoke(proxy.url, { RECORDS: "40", WAIT_S: "5" });
      await proxy.stop();

      expect(failed).toContain(`FAIL  ${NOTICED[lie]}`);
      expect(lines.at(-1)).toMatch(/^BROKER SMOKE TEST: \d+ OF \d+ CHECKS FAILED$/);
      expect(code).toBe(1);
      clean();
    },
    TEST_MS_MAX,
  );
});
