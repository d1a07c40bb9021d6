// Logs that are large: many segments across kills, and with `BIG=1` one of more than 4 GiB, past every 32-bit number.

import { expect, test } from "bun:test";
import { call, createTopic, produceBatch } from "../support/node-client.ts";
import { preparedSegments, sizeOf } from "../support/node-data.ts";
import { LogOracle, recordValue, recordValues } from "../support/node-oracle.ts";
import { SMALL_SEGMENTS, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const { BIG } = process.env;
const TOPIC = "big";
const GIB = 2 ** 30;
const MIB = 2 ** 20;
const BIG_BYTES = 4.2 * GIB;
const RECORD_BYTES = 150_000;
const BATCH_RECORDS = 100;
/** Batches that are sent at the same time. */
const BATCHES_AT_ONCE = 4;
const TEST_MS_MAX = 120_000;
const BIG_MS_MAX = 1_800_000;

/** The value of one record, read alone. */
async function readOne(url: string, offset: number): Promise<string> {
  const reply = await call(url, `/broker/consume/${TOPIC}/g/0?offset=${offset}&limit=1`);
  const { messages } = (await reply.json()) as {
    readonly messages: readonly { readonly offset: number; readonly value: string }[];
  };
  expect(messages[0]?.offset).toBe(offset);
  return messages[0]?.value ?? "";
}

test(
  "a hundred segments over four kills keep every record at its offset",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const oracle = new LogOracle(TOPIC, 1);
    const readyMs: string[] = [];
    const rounds = 4;
    const batches = 64;
    for (let round = 0; round < rounds; round++) {
      await using node = await startNode({ dataDir, env: SMALL_SEGMENTS });
      readyMs.push(node.readyMs.toFixed(0));
      await createTopic(node.url, TOPIC, 1);
      await oracle.check(node.url, true);
      for (let i = 0; i < batches; i++) {
        const id = `r${round}-${i}`;
        const values = recordValues(id, 40, 10_000);
        const reply = await produceBatch(node.url, { topic: TOPIC, partition: 0 }, values);
        expect(reply.status).toBe(200);
        oracle.acknowledge(id, values.length, reply);
      }
      await node.kill("SIGKILL");
    }
    await using node = await startNode({ dataDir, env: SMALL_SEGMENTS });
    await oracle.check(node.url, true);

    expect(oracle.faults).toEqual([]);
    expect(oracle.seen).toBe(rounds * batches * 40);
    expect(preparedSegments(dataDir)).toBeGreaterThan(90);
    console.log(
      `segments: ${preparedSegments(dataDir)}, ${(sizeOf(dataDir).bytes / MIB).toFixed(0)} MiB, ` +
        `ready after ${[...readyMs, node.readyMs.toFixed(0)].join(", ")} ms`,
    );
    clean();
  },
  TEST_MS_MAX,
);

test.if(BIG === "1")(
  "a log of more than 4 GiB goes on after a kill, and its first and last records are there",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const started = performance.now();
    const batches = Math.ceil(BIG_BYTES / (RECORD_BYTES * BATCH_RECORDS));
    const firstOffsets = new Map<number, number>();
    {
      await using node = await startNode({ dataDir });
      await createTopic(node.url, TOPIC, 1);
      let next = 0;
      const send = async (): Promise<void> => {
        for (let i = next++; i < batches; i = next++) {
          const values = recordValues(`b${i}`, BATCH_RECORDS, RECORD_BYTES);
          const reply = await produceBatch(node.url, { topic: TOPIC, partition: 0 }, values);
          expect(reply).toMatchObject({ status: 200, count: BATCH_RECORDS });
          firstOffsets.set(i, reply.offset);
        }
      };
      await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, send));
      await node.kill("SIGKILL");
    }
    const writtenMs = performance.now() - started;
    const bytes = sizeOf(dataDir).bytes;

    await using node = await startNode({ dataDir });
    const total = batches * BATCH_RECORDS;
    const after = await produceBatch(node.url, { topic: TOPIC, partition: 0 }, ["after"]);

    expect(bytes).toBeGreaterThan(4 * GIB);
    expect(after.offset).toBe(total);
    expect(await readOne(node.url, total)).toBe("after");
    for (const batch of [0, 1, batches >> 1, batches - 2, batches - 1]) {
      const first = firstOffsets.get(batch) ?? -1;
      for (const place of [0, 50, BATCH_RECORDS - 1]) {
        const expected = recordValue(`b${batch}`, place, BATCH_RECORDS, RECORD_BYTES);
        expect(await readOne(node.url, first + place)).toBe(expected);
      }
    }
    console.log(
      `big: ${total} records, ${(bytes / GIB).toFixed(2)} GiB on disk, written in ` +
        `${(writtenMs / 1000).toFixed(0)} s, ready again after ${node.readyMs.toFixed(0)} ms`,
    );
    await node.kill("SIGTERM");
    clean();
  },
  BIG_MS_MAX,
);
