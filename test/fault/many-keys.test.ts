// Hundreds of keyed writes that share an entry: its commands outgrow the memory that they begin with.

import { expect, test } from "bun:test";
import { createTopic, produce, readAll } from "../support/node-client.ts";
import { startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const WRITES = 400;
const TOPIC = "keys";

test(`${WRITES} keyed writes at once are all stored, and all known again after a kill`, async () => {
  const { path: dataDir, clean } = temporaryDirectory();
  const keyOf = (number: number): string => String(number).padStart(250, "k");
  const writeAll = (url: string) =>
    Promise.all(
      Array.from({ length: WRITES }, (_, i) =>
        produce(url, { topic: TOPIC, partition: 0, idempotencyKey: keyOf(i) }, `value ${i}`),
      ),
    );
  const first = await (async () => {
    await using node = await startNode({ dataDir });
    await createTopic(node.url, TOPIC, 1);
    const replies = await writeAll(node.url);
    await node.kill("SIGKILL");
    return replies;
  })();

  await using node = await startNode({ dataDir });
  const second = await writeAll(node.url);
  const records = await readAll(node.url, TOPIC, 0);

  expect(first.filter((reply) => reply.status !== 200)).toEqual([]);
  expect(second.filter((reply) => !reply.isDuplicate)).toEqual([]);
  expect(second.map((reply) => reply.offset)).toEqual(first.map((reply) => reply.offset));
  expect(records).toHaveLength(WRITES);
  for (const [i, reply] of first.entries()) expect(records[reply.offset]?.value).toBe(`value ${i}`);
  clean();
});
