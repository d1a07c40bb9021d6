// The worker of docs/examples/exactly-once.sh: it and the node are killed at random, and each input has exactly one output.
// INPUTS=1000 KILLS=20 is the long run.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { Prng } from "../../src/lib/prng.ts";
import { call, createTopic } from "../support/node-client.ts";
import { type RunningNode, SMALL_SEGMENTS, startNode, waitUntil } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { INPUTS = "150", KILLS = "4", TXN_SEED = "1" } = process.env;
const SCRIPT = join(import.meta.dir, "../../docs/examples/exactly-once.sh");
const hasTools = ["bash", "curl", "jq"].every((tool) => Bun.which(tool) !== null);
/** Time for a few transactions between two kills. */
const LIFE_MS_MAX = 400;
const BOUND_MS = 300_000;

test.skipIf(!hasTools)(
  "a worker and a node that are killed again and again make one output of each input",
  async () => {
    const inputs = Number(INPUTS);
    const prng = new Prng(Number(TXN_SEED));
    const directory = temporaryDirectory();
    const dataDir = join(directory.path, "data");
    let node: RunningNode = await startNode({ dataDir, env: SMALL_SEGMENTS });
    const port = Number(new URL(node.url).port);
    const worker = () =>
      Bun.spawn(["bash", SCRIPT, "in", "out", "g"], {
        env: { ...process.env, AYDER_URL: `http://127.0.0.1:${port}` },
        stdout: "ignore",
        stderr: "ignore",
      });
    let running = worker();
    const kills = { worker: 0, node: 0 };
    try {
      await createTopic(node.url, "in", 1);
      await createTopic(node.url, "out", 1);
      const wanted = Number(KILLS);
      let produced = 0;
      const isDone = async (): Promise<boolean> => {
        if (produced < inputs || kills.worker < wanted || kills.node < wanted) return false;
        const reply = await call(node.url, "/broker/topics/out");
        return nextOffsetOf(await reply.json()) >= inputs;
      };
      const started = performance.now();
      while (!(await isDone())) {
        expect(performance.now() - started).toBeLessThan(BOUND_MS);
        const lines = Array.from(
          { length: Math.min(25, inputs - produced) },
          (_, i) => `record ${produced + i}`,
        );
        if (lines.length > 0) {
          const path = "/broker/topics/in/produce-ndjson?partition=0";
          const reply = await call(node.url, path, { method: "POST", body: lines.join("\n") });
          expect(reply.status).toBe(200);
          produced += lines.length;
        }
        await Bun.sleep(20 + prng.below(LIFE_MS_MAX));
        if (prng.chance(0.5)) {
          running.kill("SIGKILL");
          await running.exited;
          kills.worker += 1;
          running = worker();
        }
        if (prng.chance(0.5)) {
          await node.kill("SIGKILL");
          kills.node += 1;
          node = await startNode({ dataDir, port, env: SMALL_SEGMENTS });
        }
      }
      running.kill("SIGKILL");
      await running.exited;

      const values: string[] = [];
      await waitUntil("every output is read", async () => {
        const path = `/broker/consume/out/check/0?offset=${values.length}&limit=1000`;
        const page = (await (await call(node.url, path)).json()) as {
          readonly messages: readonly { readonly value: string }[];
        };
        values.push(...page.messages.map(({ value }) => value));
        return page.messages.length === 0;
      });
      expect(values).toEqual(Array.from({ length: inputs }, (_, i) => `RECORD ${i}`));
      console.log(
        `${inputs} inputs, ${kills.worker} kills of the worker, ${kills.node} of the node`,
      );
    } finally {
      running.kill("SIGKILL");
      await node[Symbol.asyncDispose]();
    }
  },
  BOUND_MS + 60_000,
);

function nextOffsetOf(topic: unknown): number {
  const { partition_details: details } = topic as {
    readonly partition_details: readonly { readonly next_offset: number }[];
  };
  return details[0]?.next_offset ?? 0;
}
