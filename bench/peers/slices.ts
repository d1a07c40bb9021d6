// One slice of a peer's work: by its own protocol, or over HTTP by the generator; with the processor time of all its processes.

import {
  type CpuFigures,
  type CpuTime,
  cpuBetween,
  LatencyHistogram,
  readProcessesCpu,
  runLoad,
  type Work,
} from "../../src/load/mod.ts";
import { demandGood } from "../load/rounds.ts";
import { type Dialogue, DialogueConnection, type Follower } from "./dialogue.ts";
import type { PeerSlice, PeerWork } from "./peer.ts";

interface Moment {
  readonly at: number;
  readonly client: CpuTime;
  readonly server: CpuTime;
}

const moment = (pids: readonly number[]): Moment => ({
  at: performance.now(),
  client: process.cpuUsage(),
  server: readProcessesCpu(pids),
});

function figures(
  { before, after }: { readonly before: Moment; readonly after: Moment },
  of: "client" | "server",
  requests: number,
): CpuFigures {
  const { user, system } = cpuBetween(before[of], after[of]);
  const perReply = (microseconds: number): number =>
    Math.round((microseconds / Math.max(1, requests)) * 100) / 100;
  return {
    userMicroseconds: perReply(user),
    systemMicroseconds: perReply(system),
    microseconds: perReply(user + system),
    cores: Math.round((user + system) / 10 / (after.at - before.at)) / 100,
  };
}

/** Keeps `work.inFlight` connections busy, each with a dialogue of its own. Rejects when a reply says no. */
export async function dialogueSlice(
  dialogue: () => Dialogue,
  pids: readonly number[],
  work: PeerWork,
): Promise<PeerSlice> {
  const latency = new LatencyHistogram();
  let isOpen = false;
  let requests = 0;
  let records = 0;
  const follower: Follower = {
    // A batch is a thousand requests to those who have none, and may take longer than a slice.
    replied: (replies) => {
      if (isOpen) records += replies;
    },
    answered: (sent, now) => {
      if (!isOpen) return;
      requests += 1;
      latency.record((now - sent) * 1000);
    },
  };
  const connections = Array.from(
    { length: work.inFlight },
    () => new DialogueConnection(dialogue(), follower),
  );
  await Promise.all(connections.map((connection) => connection.open()));
  await Bun.sleep(work.warmupMs);
  const before = moment(pids);
  isOpen = true;
  await Bun.sleep(work.durationMs);
  isOpen = false;
  const after = moment(pids);
  for (const connection of connections) connection.close();
  const errors = connections.reduce((sum, connection) => sum + connection.errors, 0);
  if (errors > 0 || records === 0)
    throw new Error(
      `Cannot compare with a server that refuses: ${errors} errors, ${records} records`,
    );
  const seconds = (after.at - before.at) / 1000;
  const worth = records / work.records;
  return {
    repliesPerSecond: Math.round(requests / seconds),
    recordsPerSecond: Math.round(records / seconds),
    errors,
    latency: latency.summary(),
    client: figures({ before, after }, "client", worth),
    server: figures({ before, after }, "server", worth),
  };
}

/** How many connections carry what is in flight over HTTP/2: few, as its clients do. */
const HTTP2_CONNECTIONS = 8;

/** The same over HTTP. */
export async function httpSlice(
  target: { readonly url: string; readonly protocol: "http1" | "http2"; readonly work: Work },
  pids: readonly number[],
  { inFlight, durationMs, warmupMs }: PeerWork,
): Promise<PeerSlice> {
  const isHttp1 = target.protocol === "http1";
  const connections = isHttp1 ? inFlight : Math.min(HTTP2_CONNECTIONS, inFlight);
  const result = demandGood(
    await runLoad({
      ...target,
      connections,
      streams: Math.ceil(inFlight / connections),
      durationMs,
      warmupMs,
      serverPids: pids,
    }),
  );
  const { repliesPerSecond, recordsPerSecond, errors, latency, client, server } = result;
  if (server === undefined) throw new Error("Cannot compare without processor time");
  return { repliesPerSecond, recordsPerSecond, errors, latency, client, server };
}
