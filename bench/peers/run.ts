// Durable single-record writes: Ayder beside other systems on the same machine, in the same minutes, by like clients.
// Usage: bun bench/peers/run.ts [--binary dist/ayder-linux-x64] [--url U --pid N] [--peers redis] [--peers-only]
//        [--rounds 5] [--seconds 2] [--connections 64,50] [--bytes 64] [--name peers]

import { parseArgs } from "node:util";
import { produceWork, runLoad } from "../../src/load/mod.ts";
import { circumstances, keepResult, printTable } from "../load/report.ts";
import {
  type Contender,
  demandGood,
  runRounds,
  type Slice,
  STANDING_HEADER,
  standingRow,
  standings,
} from "../load/rounds.ts";
import { benchDirectory, createTopic, type RunningServer, startAyder } from "../load/servers.ts";
import type { Peer, PeerWork, RunningPeer } from "./peer.ts";
import { redis } from "./redis.ts";

const PEERS: readonly Peer[] = [redis];

const { values } = parseArgs({
  options: {
    binary: { type: "string" },
    url: { type: "string" },
    pid: { type: "string" },
    peers: { type: "string", default: PEERS.map((peer) => peer.name).join(",") },
    "peers-only": { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    connections: { type: "string", default: "64,50" },
    bytes: { type: "string", default: "64" },
    name: { type: "string", default: "peers" },
  },
});

const target = { topic: "bench", partition: 0, token: "dev" };
const WARMUP_MS = 300;

const work = (connections: number): PeerWork => ({
  connections,
  valueBytes: Number(values.bytes),
  durationMs: Number(values.seconds) * 1000,
  warmupMs: WARMUP_MS,
});

function ayderContender(
  server: Pick<RunningServer, "url" | "pid">,
  connections: number,
): Contender<Slice> {
  const { valueBytes, ...rest } = work(connections);
  const options = {
    ...rest,
    url: server.url,
    serverPid: server.pid,
    work: produceWork(target, valueBytes),
  };
  return {
    name: `ayder c=${connections}`,
    slice: () => runLoad({ ...options, protocol: "http1" }).then(demandGood),
  };
}

/** Starts the peers that were asked for and are installed; says of the others how to install them. */
async function startPeers(stack: AsyncDisposableStack): Promise<Map<string, RunningPeer>> {
  const running = new Map<string, RunningPeer>();
  for (const name of values.peers.split(",").filter((wanted) => wanted !== "")) {
    const peer = PEERS.find((known) => known.name === name);
    if (peer === undefined)
      throw new Error(`Cannot find the peer ${name}: there are ${PEERS.map((p) => p.name)}`);
    const missing = peer.missing();
    if (missing === undefined) running.set(name, stack.use(await peer.start()));
    else console.log(`skipped ${name}: it is not installed; ${missing}`);
  }
  return running;
}

async function main(): Promise<void> {
  const around = await circumstances(benchDirectory);
  await using stack = new AsyncDisposableStack();
  const peers = await startPeers(stack);
  const given = values.url === undefined ? undefined : { url: values.url, pid: Number(values.pid) };
  const ayder = values["peers-only"]
    ? undefined
    : (given ?? stack.use(await startAyder(values.binary)));
  if (ayder !== undefined) await createTopic(ayder.url, target);
  const contenders = values.connections.split(",").flatMap((text): Contender<Slice>[] => {
    const connections = Number(text);
    const others = [...peers].map(([name, peer]) => ({
      name: `${name} c=${connections}`,
      against: `${name} c=${connections}`,
      slice: () => peer.slice(work(connections)),
    }));
    const [first] = others;
    if (ayder === undefined) return others;
    const own = ayderContender(ayder, connections);
    return [...others, first === undefined ? own : { ...own, against: first.name }];
  });
  for (const contender of contenders) await contender.slice(); // Warm-up; thrown away.
  const slices = await runRounds(contenders, Number(values.rounds));
  const table = standings(contenders, slices);
  printTable(STANDING_HEADER, table.map(standingRow));
  const ratios = ayder === undefined ? [] : ayderRatios(peers, slices);
  for (const { peer, connections, median } of ratios)
    console.log(`ayder / ${peer} at ${connections}: ${median.toFixed(2)} x`);
  const versions = Object.fromEntries(
    [...peers].map(([name, { version, command }]) => [name, { version, command }]),
  );
  const path = await keepResult(values.name, {
    ...around,
    settings: values,
    versions,
    table,
    ratios,
    slices: Object.fromEntries(slices),
  });
  console.log(`kept in ${path}`);
}

/** Ayder's rate over each peer's, round by round, and the median of that. */
function ayderRatios(
  peers: ReadonlyMap<string, RunningPeer>,
  slices: ReadonlyMap<string, readonly Slice[]>,
): { peer: string; connections: number; median: number }[] {
  return values.connections.split(",").flatMap((connections) =>
    [...peers.keys()].map((peer) => {
      const names = { own: `ayder c=${connections}`, other: `${peer} c=${connections}` };
      const pair = [names.other, names.own].map((name) => ({
        name,
        against: names.other,
        slice: noSlice,
      }));
      const [, own] = standings(pair, slices);
      return { peer, connections: Number(connections), median: own?.rateRatio ?? 0 };
    }),
  );
}

const noSlice = (): Promise<Slice> =>
  Promise.reject(new Error("This contender only reads results"));

await main();
