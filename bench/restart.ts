// How long a node takes to be ready again, and how much memory it then holds, with many single records in its log.
// Usage: bun bench/restart.ts [--records 8000000] [--binary dist/ayder-linux-x64] [--partitions 8] [--keep dir] [--starts 5]
// The records are driven through the replica without HTTP: one request each, about thirty to an entry.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openDisk } from "../src/io/mod.ts";
import { circumstances, keepResult } from "./load/report.ts";
import { type TimedStart, timeStart } from "./load/servers.ts";
import { nextTurn, startReplica } from "./replica.ts";

const { values } = parseArgs({
  options: {
    records: { type: "string", default: "8000000" },
    binary: { type: "string", default: "dist/ayder-linux-x64" },
    partitions: { type: "string", default: "8" },
    keep: { type: "string" },
    starts: { type: "string", default: "5" },
    name: { type: "string", default: "restart" },
  },
});
const RECORDS_PER_TURN = 30;

/** Produces single records through a replica and ends as a kill would: nothing is closed in order. */
async function fill(directory: string, records: number, partitions: number): Promise<number> {
  const { disk } = await openDisk(directory, {});
  const { broker, replica, answered, request, stop } = await startReplica(disk, {
    partitions,
    segmentBytes: 64 << 20,
  });
  for (let sent = 0; sent < records; ) {
    const end = Math.min(sent + RECORDS_PER_TURN, records);
    for (; sent < end; sent++) broker.produce(0, request);
    while (sent - answered() >= RECORDS_PER_TURN) await nextTurn();
    if (sent % 900_000 === 0) process.stderr.write(`\r${sent} records`);
  }
  while (answered() < records) await nextTurn();
  process.stderr.write("\n");
  stop();
  const { entries } = replica.log.probe;
  await disk.close();
  return entries;
}

/** Starts the binary, waits until it is ready, counts what it has, kills it. */
async function start(directory: string): Promise<TimedStart & { readonly nextOffset: number }> {
  let nextOffset = 0;
  const timed = await timeStart(values.binary, directory, async (url) => {
    const reply = await fetch(`${url}/broker/topics/bench`, {
      headers: { authorization: "Bearer dev" },
    });
    const topic = (await reply.json()) as { partition_details: { next_offset: number }[] };
    nextOffset = topic.partition_details.reduce((sum, part) => sum + part.next_offset, 0);
  });
  return { ...timed, nextOffset };
}

const directory = values.keep ?? mkdtempSync(join(tmpdir(), "ayder-restart-"));
mkdirSync(directory, { recursive: true });
try {
  const filled = performance.now();
  const entries = await fill(directory, Number(values.records), Number(values.partitions));
  const fillSeconds = (performance.now() - filled) / 1000;
  const starts = [];
  for (let i = 0; i < Number(values.starts); i++) starts.push(await start(directory));
  const sorted = starts.map((one) => one.readyMs).sort((left, right) => left - right);
  const result = {
    records: Number(values.records),
    entries,
    fillSeconds,
    readyMsMedian: sorted[Math.floor(sorted.length / 2)],
    readyMsWorst: sorted.at(-1),
    residentMiBWorst: Math.max(...starts.map((one) => one.residentMiB)),
    starts,
  };
  console.table(starts);
  console.log(
    `${result.records} records in ${entries} entries: ready in ${result.readyMsMedian?.toFixed(0)} ms (median), ${result.residentMiBWorst.toFixed(0)} MiB`,
  );
  console.log(
    `kept in ${await keepResult(values.name, { ...(await circumstances(directory)), ...result })}`,
  );
} finally {
  if (values.keep === undefined) rmSync(directory, { recursive: true, force: true });
}
