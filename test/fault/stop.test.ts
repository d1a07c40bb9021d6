// SIGTERM under load: the node finishes what it has taken, ends with status 0 within its bound, and loses nothing.

import { expect, test } from "bun:test";
import { Prng } from "../../src/lib/prng.ts";
import { call, createTopic } from "../support/node-client.ts";
import { Load } from "../support/node-load.ts";
import { LogOracle } from "../support/node-oracle.ts";
import { program, SMALL_SEGMENTS, startNode, within } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const ROUNDS = 16;
const PARTITIONS = 2;
const TOPIC = "stops";
/** Well below the grace that is given to requests that do not end. */
const STOP_MS_MAX = 5000;
const TEST_MS_MAX = 120_000;

test(
  "SIGTERM under load answers what is in flight, exits with 0 and loses nothing",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const random = new Prng(2);
    const oracle = new LogOracle(TOPIC, PARTITIONS);
    const load = new Load({
      topic: TOPIC,
      partitions: PARTITIONS,
      writers: 16,
      largeBytes: 100_000,
      random,
      oracle,
    });
    let unanswered = 0;
    let slowestMs = 0;

    for (let round = 0; round < ROUNDS; round++) {
      const env = round % 2 === 0 ? SMALL_SEGMENTS : { ...SMALL_SEGMENTS, RF_DISK: "worker" };
      await using node = await startNode({ dataDir, env });
      await createTopic(node.url, TOPIC, PARTITIONS);
      await oracle.check(node.url, false);
      await load.retry(node.url);

      const { ended } = await load.run(node.url, 200 + random.below(300));
      const asked = performance.now();
      const exit = await node.kill("SIGTERM");
      const stopMs = performance.now() - asked;
      await within(STOP_MS_MAX, "every request has ended", ended);

      expect({ round, ...exit, fatal: node.lines.find((line) => line.event === "fatal") }).toEqual({
        round,
        code: 0,
        signal: null,
        fatal: undefined,
      });
      expect(node.lines.at(-1)?.event).toBe("stopped");
      expect(stopMs).toBeLessThan(STOP_MS_MAX);
      slowestMs = Math.max(slowestMs, stopMs);
      unanswered += load.unanswered;
    }
    await using node = await startNode({ dataDir });
    await load.retry(node.url);
    await oracle.check(node.url, true);

    expect(oracle.faults).toEqual([]);
    // What was taken was answered: nothing is stored that nobody was told of.
    expect(oracle.seen).toBe(oracle.acknowledged);
    expect(load.duplicates).toBe(0);
    console.log(
      `stops: ${ROUNDS} rounds, ${oracle.acknowledged} acknowledged of ${oracle.seen} records, ` +
        `${unanswered} requests without an answer (${JSON.stringify([...load.breaks])}), ` +
        `${load.duplicates} of ${load.retried} keyed ones were stored, ` +
        `refusals ${JSON.stringify([...load.refusals])}, ` +
        `slowest stop ${slowestMs.toFixed(0)} ms`,
    );
    clean();
  },
  TEST_MS_MAX,
);

test(
  "SIGTERM ends long polls and tails at once, and idle connections do not hold it up",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    await using node = await startNode({ dataDir });
    await createTopic(node.url, TOPIC, PARTITIONS);
    const poll = call(node.url, `/broker/consume/${TOPIC}/g/0?wait_ms=60000`);
    const tail = await call(node.url, `/broker/tail/${TOPIC}/0`);

    const asked = performance.now();
    const exit = await node.kill("SIGTERM");

    expect(exit.code).toBe(0);
    expect(performance.now() - asked).toBeLessThan(STOP_MS_MAX);
    expect((await poll).status).toBe(200);
    await within(STOP_MS_MAX, "the tail ends", tail.text());
    clean();
  },
  TEST_MS_MAX,
);

test("with RF_STOP_WITH_STDIN=1 a node ends with the process that started it, also while it starts", async () => {
  for (const isServing of [true, false]) {
    const { path: dataDir, clean } = temporaryDirectory();
    const node = Bun.spawn([...program, "--port", "0", "--data", dataDir], {
      env: { ...process.env, RF_STOP_WITH_STDIN: "1" },
      stdin: "pipe",
      stdout: "ignore",
      stderr: "pipe",
    });
    const reader = node.stderr.getReader();
    let said = "";
    for (const mark = isServing ? '"ready"' : '"starting"'; !said.includes(mark); ) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`The node ended: ${said}`);
      said += new TextDecoder().decode(value);
    }

    await node.stdin.end();

    expect(await within(STOP_MS_MAX, "the node ends", node.exited)).toBe(0);
    clean();
  }
});
