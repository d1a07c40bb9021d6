// Ayder's produce against the no-op route, in interleaved rounds: how much of what HTTP in Bun can do is left.
// Usage: bun bench/load/compare.ts [--binary dist/ayder-linux-x64] [--url U --pid N] [--rounds 5] [--seconds 2]
//        [--connections 64] [--http2 --streams 32] [--both] [--bytes 64] [--noop-only] [--name compare]

import { parseArgs } from "node:util";
import { type LoadResult, produceWork, runLoad } from "../../src/load/mod.ts";
import { circumstances, keepResult, printTable } from "./report.ts";
import {
  type Contender,
  demandGood,
  runRounds,
  STANDING_HEADER,
  standingRow,
  standings,
} from "./rounds.ts";
import {
  benchDirectory,
  createTopic,
  type RunningServer,
  startAyder,
  startNoop,
} from "./servers.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string" },
    url: { type: "string" },
    pid: { type: "string" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    connections: { type: "string", default: "64" },
    http2: { type: "boolean", default: false },
    streams: { type: "string", default: "32" },
    both: { type: "boolean", default: false },
    bytes: { type: "string", default: "64" },
    "noop-only": { type: "boolean", default: false },
    name: { type: "string", default: "compare" },
  },
});

const target = { topic: "bench", partition: 0, token: "dev" };
const WARMUP_MS = 300;
// With `--both`, HTTP/2 takes the specification's shape: few connections, many streams.
const BOTH_HTTP2_CONNECTIONS = 8;

function contenders(
  name: string,
  server: Pick<RunningServer, "url" | "pid">,
): Contender<LoadResult>[] {
  const slice = (protocol: "http1" | "http2", connections: number) => (): Promise<LoadResult> =>
    runLoad({
      url: server.url,
      serverPids: [server.pid],
      work: produceWork(target, Number(values.bytes)),
      connections,
      streams: Number(values.streams),
      protocol,
      warmupMs: WARMUP_MS,
      durationMs: Number(values.seconds) * 1000,
    }).then(demandGood);
  const connections = Number(values.connections);
  const http1 = {
    name: `${name} http/1.1`,
    against: "noop http/1.1",
    slice: slice("http1", connections),
  };
  const http2Connections = values.both ? BOTH_HTTP2_CONNECTIONS : connections;
  const http2 = {
    name: `${name} http/2`,
    against: "noop http/2",
    slice: slice("http2", http2Connections),
  };
  if (values.both) return [http1, http2];
  return values.http2 ? [http2] : [http1];
}

async function main(): Promise<void> {
  const around = await circumstances(benchDirectory);
  await using noop = await startNoop();
  await using started =
    values["noop-only"] || values.url !== undefined ? undefined : await startAyder(values.binary);
  const given = values.url === undefined ? undefined : { url: values.url, pid: Number(values.pid) };
  const ayder = started ?? given;
  if (ayder !== undefined) await createTopic(ayder.url, target);
  const all = [
    ...contenders("noop", noop),
    ...(ayder === undefined ? [] : contenders("ayder", ayder)),
  ];
  // The first slice of each server is thrown away: it runs code that is not compiled yet.
  for (const contender of all) await contender.slice();
  const slices = await runRounds(all, Number(values.rounds));
  const table = standings(all, slices);
  printTable(STANDING_HEADER, table.map(standingRow));
  const statuses = Object.fromEntries(
    [...slices].map(([name, own]) => [name, own.map((slice) => slice.statuses)]),
  );
  const path = await keepResult(values.name, {
    ...around,
    settings: values,
    table,
    statuses,
    slices: Object.fromEntries(slices),
  });
  console.log(`kept in ${path}`);
}

await main();
