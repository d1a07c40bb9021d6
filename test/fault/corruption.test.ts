// Damage on the disk: at or below what is known durable it stops the node, by name and without touching anything;
// above it, it is a torn tail, which nobody was promised, and is cut.

import { expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { call, createTopic, produce, readAll } from "../support/node-client.ts";
import {
  garble,
  type StoredEntry,
  type StoredWrite,
  snapshot,
  storedWrites,
} from "../support/node-data.ts";
import { recordValue } from "../support/node-oracle.ts";
import {
  type RunningNode,
  refusedStart,
  runCommand,
  SMALL_SEGMENTS,
  startNode,
  waitUntil,
} from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 120_000;
const TOPIC = "damage";
const RECORDS = 50;
/** A busy machine may let the node write its idle frame before the kill comes. */
const PROOF_ATTEMPTS = 20;
const ENTRY_HEADER_BYTES = 56;

/** Writes so many records one after the other, each an entry of its own. */
async function write(node: RunningNode, count: number, bytes: number): Promise<void> {
  await createTopic(node.url, TOPIC, 1);
  for (let i = 0; i < count; i++) {
    const reply = await produce(node.url, { topic: TOPIC }, recordValue(`r${i}`, 0, 1, bytes));
    expect(reply).toMatchObject({ status: 200, offset: i });
  }
}

/** The entries with records, and where they lie. */
const entriesWithRecords = (
  dataDir: string,
): readonly (StoredEntry & { readonly path: string })[] =>
  storedWrites(dataDir).flatMap(({ path, entries }) =>
    entries.filter((entry) => entry.records > 0).map((entry) => ({ ...entry, path })),
  );

/**
 * Kills a node right after a reply, until no frame says that the last write was synced: it was in flight, for all the
 * next start can know.
 */
async function killBeforeProof(dataDir: string): Promise<{
  readonly last: StoredWrite;
  readonly entry: StoredEntry;
  readonly acknowledged: number;
}> {
  let acknowledged = RECORDS;
  {
    await using node = await startNode({ dataDir });
    await write(node, RECORDS, 200);
    await node.kill("SIGKILL");
  }
  for (let attempt = 0; attempt < PROOF_ATTEMPTS; attempt++) {
    const writes = storedWrites(dataDir);
    const last = writes.filter((stored) => stored.entries.length > 0).at(-1);
    const entry = last?.entries.at(-1);
    if (last === undefined || entry === undefined) throw new Error("There is no last write");
    const isProved = writes.some((stored) => stored.syncedIndex >= entry.index);
    if (!isProved && entry.records > 0) return { last, entry, acknowledged };
    await using node = await startNode({ dataDir });
    await produce(node.url, { topic: TOPIC }, recordValue(`r${acknowledged}`, 0, 1, 200));
    acknowledged += 1;
    await node.kill("SIGKILL");
  }
  throw new Error(`The last write was proved ${PROOF_ATTEMPTS} times`);
}

const places: readonly { readonly name: string; readonly at: (entry: StoredEntry) => number }[] = [
  { name: "its length", at: (entry) => entry.position },
  { name: "its header", at: (entry) => entry.position + 24 },
  { name: "its records", at: (entry) => entry.position + ENTRY_HEADER_BYTES + 10 },
  { name: "its commands", at: (entry) => entry.position + entry.bytes - 24 },
];

for (const { name, at } of places) {
  test(
    `one byte of a durable entry turned over in ${name} stops the start, untouched, and inspect finds it`,
    async () => {
      const { path: dataDir, clean } = temporaryDirectory();
      {
        await using node = await startNode({ dataDir });
        await write(node, RECORDS, 200);
        await node.kill("SIGKILL");
      }
      const entry = entriesWithRecords(dataDir)[RECORDS >> 1];
      if (entry === undefined) throw new Error("There is no entry to damage");
      garble(entry.path, at(entry), 1);
      const before = snapshot(dataDir);

      const refused = await refusedStart({ dataDir });
      const inspected = await runCommand(["inspect", dataDir]);

      expect({ code: refused.code, reason: refused.fatal?.reason }).toEqual({
        code: 3,
        reason: "log_corrupt",
      });
      expect(refused.fatal?.message).toContain("ayder inspect");
      expect(refused.fatal?.message).toContain(`at ${entry.position}`);
      expect(inspected.code).toBe(3);
      expect(inspected.output).toContain(`at ${entry.position}`);
      expect(snapshot(dataDir)).toEqual(before);
      clean();
    },
    TEST_MS_MAX,
  );
}

test(
  "a torn last write above what is known durable is cut, and everything acknowledged before it stays",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const copies = temporaryDirectory();
    const { last, entry, acknowledged } = await killBeforeProof(dataDir);
    const torn: readonly (readonly [number, number])[] = [
      [entry.position, entry.bytes],
      [entry.position + entry.bytes - 8, 8],
      [entry.position + ENTRY_HEADER_BYTES, 1],
      [entry.position - 48, entry.bytes + 48],
    ];
    for (const [i, [position, bytes]] of torn.entries()) {
      const copy = join(copies.path, String(i));
      cpSync(dataDir, copy, { recursive: true });
      garble(join(copy, last.path.slice(dataDir.length)), position, bytes);

      await using node = await startNode({ dataDir: copy });

      await node.line("torn_tail_cut");
      const records = await readAll(node.url, TOPIC, 0);
      expect(records.length).toBe(acknowledged - 1);
      for (const { offset, value } of records)
        expect(value).toBe(recordValue(`r${offset}`, 0, 1, 200));
      const next = await produce(node.url, { topic: TOPIC }, "after the cut");
      expect(next).toMatchObject({ status: 200, offset: acknowledged - 1 });
      await node.kill("SIGKILL");
      await using again = await startNode({ dataDir: copy });
      expect((await readAll(again.url, TOPIC, 0)).at(-1)?.value).toBe("after the cut");
      expect((await runCommand(["inspect", copy])).code).toBe(0);
    }
    copies.clean();
    clean();
  },
  TEST_MS_MAX,
);

test(
  "once the node was idle its last write is proved, and damage in it is no torn tail",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    {
      await using node = await startNode({ dataDir });
      await write(node, 3, 200);
      const isProved = (): boolean =>
        storedWrites(dataDir).some(
          (stored) => stored.syncedIndex >= (entriesWithRecords(dataDir).at(-1)?.index ?? 0),
        );
      await waitUntil("the idle frame is written", isProved);
      await node.kill("SIGKILL");
    }
    const entry = entriesWithRecords(dataDir).at(-1);
    if (entry === undefined) throw new Error("There is no entry to damage");
    garble(entry.path, entry.position + ENTRY_HEADER_BYTES, 1);

    const refused = await refusedStart({ dataDir });

    expect({ code: refused.code, reason: refused.fatal?.reason }).toEqual({
      code: 3,
      reason: "log_corrupt",
    });
    clean();
  },
  TEST_MS_MAX,
);

test(
  "a damaged record of a sealed segment that is read stops the node, and the next start refuses",
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const count = 60;
    const bytes = 100_000;
    {
      await using node = await startNode({ dataDir, env: SMALL_SEGMENTS });
      await write(node, count, bytes);
      await node.kill("SIGTERM");
    }
    const entry = entriesWithRecords(dataDir)[1];
    if (entry === undefined) throw new Error("There is no entry to damage");
    garble(entry.path, entry.position + ENTRY_HEADER_BYTES + 5000, 1);

    await using node = await startNode({ dataDir, env: SMALL_SEGMENTS });
    const good = await call(node.url, `/broker/consume/${TOPIC}/g/0?offset=${count - 1}`);
    expect(good.status).toBe(200);
    const reply = await call(node.url, `/broker/consume/${TOPIC}/g/0?offset=0`).then(
      (answer) => answer.status,
      () => "closed",
    );
    const exit = await node.exited;

    expect([503, "closed"]).toContain(reply);
    expect(exit.code).toBe(3);
    expect(node.lines.find((line) => line.event === "fatal")?.reason).toBe("log_corrupt");
    const before = snapshot(dataDir);
    const refused = await refusedStart({ dataDir, env: SMALL_SEGMENTS });
    expect({ code: refused.code, reason: refused.fatal?.reason }).toEqual({
      code: 3,
      reason: "log_corrupt",
    });
    expect(refused.fatal?.message).toContain("ayder inspect");
    expect(snapshot(dataDir)).toEqual(before);
    expect((await runCommand(["inspect", dataDir])).code).toBe(3);
    clean();
  },
  TEST_MS_MAX,
);
