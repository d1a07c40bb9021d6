// Redis Streams with every write synced before its reply: the closest thing to Ayder's promise that Redis can make.

import { type CpuTime, cpuBetween, LatencyHistogram, readProcessCpu } from "../../src/load/mod.ts";
import { freePort, scratchDirectory, startProcess } from "../load/servers.ts";
import type { Peer, PeerSlice, PeerWork, RunningPeer } from "./peer.ts";
import { encodeCommand, RespConnection } from "./resp-connection.ts";

const PROGRAM = "redis-server";

/** `XADD`, unpipelined, `appendonly yes`, `appendfsync always`, no snapshots. */
export const redis: Peer = {
  name: "redis",
  missing: () => (Bun.which(PROGRAM) === null ? "apt-get install -y redis-server" : undefined),
  start,
};

async function start(): Promise<RunningPeer> {
  const port = freePort();
  const directory = scratchDirectory("redis");
  const settings = {
    port: String(port),
    bind: "127.0.0.1",
    dir: directory,
    appendonly: "yes",
    appendfsync: "always",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const command = [PROGRAM, ...flags, "--save", ""];
  const running = await startProcess({ command, directory, isReady: () => answers(port) });
  const version = Bun.spawnSync([PROGRAM, "--version"]).stdout.toString().trim();
  console.error(`redis: pid ${running.pid} on port ${port}`);
  return {
    pid: running.pid,
    version,
    command: command.join(" "),
    slice: (work) => slice(port, running.pid, work),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** One PING: a listening socket is not enough, Redis accepts while it loads its file. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const connection = new RespConnection(encodeCommand(["PING"]), (isError) => {
      connection.close();
      resolve(!isError);
    });
    connection.open(port).catch(reject);
  });
}

async function slice(port: number, pid: number, work: PeerWork): Promise<PeerSlice> {
  const latency = new LatencyHistogram();
  let isOpen = false;
  let replies = 0;
  let errors = 0;
  const command = encodeCommand(["XADD", "bench", "*", "v", "x".repeat(work.valueBytes)]);
  const listener = (isError: boolean, sent: number, now: number): void => {
    if (!isOpen) return;
    replies += 1;
    if (isError) errors += 1;
    latency.record((now - sent) * 1000);
  };
  const connections = Array.from(
    { length: work.connections },
    () => new RespConnection(command, listener),
  );
  await Promise.all(connections.map((connection) => connection.open(port)));
  await Bun.sleep(work.warmupMs);
  const moment = (): { at: number; client: CpuTime; server: CpuTime | undefined } => ({
    at: performance.now(),
    client: process.cpuUsage(),
    server: readProcessCpu(pid),
  });
  const before = moment();
  isOpen = true;
  await Bun.sleep(work.durationMs);
  isOpen = false;
  const after = moment();
  for (const connection of connections) connection.close();
  const figures = (
    earlier: CpuTime | undefined,
    later: CpuTime | undefined,
  ): PeerSlice["server"] => {
    const none = { user: 0, system: 0 };
    const used = cpuBetween(earlier ?? none, later ?? none);
    const perReply = (microseconds: number): number =>
      Math.round((microseconds / Math.max(1, replies)) * 100) / 100;
    return {
      userMicroseconds: perReply(used.user),
      systemMicroseconds: perReply(used.system),
      microseconds: perReply(used.user + used.system),
      cores: (used.user + used.system) / 1000 / (after.at - before.at),
    };
  };
  return {
    repliesPerSecond: Math.round((replies * 1000) / (after.at - before.at)),
    errors,
    latency: latency.summary(),
    client: figures(before.client, after.client),
    server: figures(before.server, after.server),
  };
}
