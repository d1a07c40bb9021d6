// The HTTP fuzzer at small settings: nothing hangs, runs twice, is mixed up or fails, and the node is as it was afterwards.
// `FUZZ_REQUESTS=1000000 FUZZ_SEED=7` is the long run; so is test/fault/fuzz-http.ts.

import { expect, test } from "bun:test";
import { FUZZ_SETTINGS, runHttpFuzz } from "../support/fuzz-run.ts";
import { startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { FUZZ_REQUESTS = "3000", FUZZ_SEED = "1" } = process.env;
const REQUESTS = Number(FUZZ_REQUESTS);
const TEST_MS_MAX = 240_000 + REQUESTS * 20;
/** Over the start: caches and pools fill up. */
const GROWTH_MIB_MAX = 150;
const DESCRIPTORS_MAX = 20;

test(
  `${REQUESTS} requests that nobody should send leave a node that is whole`,
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir, env: FUZZ_SETTINGS });

    const outcome = await runHttpFuzz({
      url: node.url,
      pid: node.pid,
      seed: Number(FUZZ_SEED),
      requests: REQUESTS,
      workers: 16,
      slowClients: 16,
      isAlive: node.isAlive,
    });

    expect(outcome.faults, `seed ${FUZZ_SEED}`).toEqual([]);
    expect(node.lines.filter(({ event }) => event === "request_failed")).toEqual([]);
    expect(outcome.replies).toBeGreaterThan(REQUESTS / 2);
    expect(outcome.canaryRecords).toBeGreaterThan(10);
    expect(outcome.endMebibytes - outcome.startMebibytes).toBeLessThan(GROWTH_MIB_MAX);
    expect(outcome.endDescriptors - outcome.startDescriptors).toBeLessThan(DESCRIPTORS_MAX);
    expect((await node.kill("SIGTERM")).code).toBe(0);
    clean();
  },
  TEST_MS_MAX,
);
