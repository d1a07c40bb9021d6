// The HTTP/2 fuzzer at small settings: the node goes on, serves who behaves, and is as it was afterwards.
// `FUZZ_STORIES=20000 FUZZ_SEED=7` is the long run; so is test/fault/fuzz-http2.ts.

import { expect, test } from "bun:test";
import { runHttp2Fuzz } from "../support/fuzz-http2-run.ts";
import { FUZZ_SETTINGS } from "../support/fuzz-run.ts";
import { startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { FUZZ_STORIES = "500", FUZZ_SEED = "1" } = process.env;
const STORIES = Number(FUZZ_STORIES);
const TEST_MS_MAX = 240_000 + STORIES * 40;
/** Over the start: caches and pools fill up. */
const GROWTH_MIB_MAX = 150;
/** At any time: a tail that is not read holds 128 KiB, and each connection may have 256 of them. */
const PEAK_MIB_MAX = 1024;
const DESCRIPTORS_MAX = 20;

test(
  `${STORIES} connections of HTTP/2 that say what nobody should leave a node that is whole`,
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir, env: FUZZ_SETTINGS });

    const outcome = await runHttp2Fuzz({
      url: node.url,
      pid: node.pid,
      seed: Number(FUZZ_SEED),
      stories: STORIES,
      workers: 8,
      isAlive: node.isAlive,
    });

    expect(outcome.faults, `seed ${FUZZ_SEED}`).toEqual([]);
    expect(node.lines.filter(({ event }) => event === "request_failed")).toEqual([]);
    expect(outcome.replies).toBeGreaterThan(STORIES / 10);
    expect(outcome.records).toBeGreaterThan(10);
    expect(outcome.canaryRecords).toBeGreaterThan(10);
    expect(outcome.neighbourRequests).toBeGreaterThan(10);
    expect(outcome.endMebibytes - outcome.startMebibytes).toBeLessThan(GROWTH_MIB_MAX);
    expect(outcome.peakMebibytes).toBeLessThan(PEAK_MIB_MAX);
    expect(outcome.endDescriptors - outcome.startDescriptors).toBeLessThan(DESCRIPTORS_MAX);
    expect((await node.kill("SIGTERM")).code).toBe(0);
    clean();
  },
  TEST_MS_MAX,
);
