// SIGKILL in the middle of writes, again and again, on one data directory: nothing acknowledged is lost, doubled, moved
// or garbled, and commits never go back. `KILL_ROUNDS=200` is the long run.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { Prng } from "../../src/lib/prng.ts";
import { createTopic } from "../support/node-client.ts";
import { Load } from "../support/node-load.ts";
import { LogOracle } from "../support/node-oracle.ts";
import { SMALL_SEGMENTS, spawnNode, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { KILL_ROUNDS = "12", KILL_SEED = "1" } = process.env;
const ROUNDS = Number(KILL_ROUNDS);
const ROUND_MS_MAX = 30_000;
/** Every so many rounds everything is read again, not only what is new. */
const WHOLE_ROUNDS = 10;
const PARTITIONS = 4;
const TOPIC = "kills";

const WORKER = { ...SMALL_SEGMENTS, RF_DISK: "worker" };
/** Mostly small segments: a large one, once it is made, takes many rounds to fill. */
const SETTINGS: readonly Readonly<Record<string, string>>[] = [
  ...[SMALL_SEGMENTS, WORKER, SMALL_SEGMENTS, WORKER, SMALL_SEGMENTS, SMALL_SEGMENTS, WORKER],
  ...[SMALL_SEGMENTS, SMALL_SEGMENTS, WORKER, SMALL_SEGMENTS, { RF_SEGMENT_BYTES: "17825792" }],
  ...[SMALL_SEGMENTS, {}],
];
/** How many files there are of each kind: a base says that deltas were merged. */
function filesByKind(dataDir: string): string {
  const kinds = new Map<string, number>();
  for (const name of readdirSync(dataDir)) {
    const kind = name.split(".")[1] ?? name;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return [...kinds].map(([kind, count]) => `${count} ${kind}`).join(", ");
}

/** Moments of a start at which it is killed, too. */
const START_EVENTS = ["starting", "disk", "recovered", "became_leader"] as const;

test(
  `${ROUNDS} kills during writes lose nothing, double nothing and move nothing`,
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const random = new Prng(Number(KILL_SEED));
    const oracle = new LogOracle(TOPIC, PARTITIONS);
    const load = new Load({
      topic: TOPIC,
      partitions: PARTITIONS,
      writers: 16,
      largeBytes: 30_000,
      random,
      oracle,
    });
    const readyMs: number[] = [];
    let unanswered = 0;
    let killedStarts = 0;
    const started = performance.now();

    for (let round = 0; round < ROUNDS; round++) {
      const env = SETTINGS[round % SETTINGS.length] ?? {};
      if (round % 4 === 3) {
        await using early = spawnNode({ dataDir, env });
        await early.line(START_EVENTS[random.below(START_EVENTS.length)] as string);
        await early.kill("SIGKILL");
        killedStarts += 1;
      }
      await using node = await startNode({ dataDir, env });
      readyMs.push(node.readyMs);
      await createTopic(node.url, TOPIC, PARTITIONS);
      await oracle.check(node.url, round % WHOLE_ROUNDS === 0);
      expect(oracle.faults, `round ${round}, seed ${KILL_SEED}`).toEqual([]);
      await load.retry(node.url);

      const { ended } = await load.run(node.url, 50 + random.below(700));
      await node.kill("SIGKILL");
      await ended;
      unanswered += load.unanswered;
    }
    await using node = await startNode({ dataDir });
    await load.retry(node.url);
    await oracle.check(node.url, true);

    expect(oracle.faults).toEqual([]);
    expect(Object.fromEntries(load.refusals)).toEqual({});
    readyMs.sort((left, right) => left - right);
    console.log(
      `kill loop: ${ROUNDS} rounds and ${killedStarts} killed starts in ` +
        `${((performance.now() - started) / 1000).toFixed(0)} s; ${oracle.acknowledged} acknowledged of ` +
        `${oracle.seen} records; ${unanswered} requests unanswered, ${load.retried} retried by key, ` +
        `${load.duplicates} of them already there; ready after ${readyMs[readyMs.length >> 1]?.toFixed(0)} ms ` +
        `in the median, ${readyMs.at(-1)?.toFixed(0)} ms at most; files: ${filesByKind(dataDir)}`,
    );
    clean();
  },
  ROUND_MS_MAX * (ROUNDS + 1),
);
