// What replication's way over the network costs: large messages at full speed and small ones back and forth, over loopback.
// Both ends live in this one thread, so each figure holds the work of sender and receiver together. `frames` is the bare way
// of frames over TCP, without tags and with them; `secret` and `tls` are two whole transports.

import { rmSync } from "node:fs";
import { FrameKey } from "../../src/cluster/frame.ts";
import { MessageReader } from "../../src/cluster/message-reader.ts";
import { ClusterTransport } from "../../src/cluster/mod.ts";
import { Outbox } from "../../src/cluster/outbox.ts";
import { silentLogger } from "../../src/lib/logger.ts";
import type { Transport } from "../../src/replica/mod.ts";
import { makeAuthority } from "../../test/support/certificates.ts";
import type { MicroResult, MicroSize } from "./micro.ts";

const LARGE_BYTES = 1 << 20;
const SMALL_BYTES = 1024;
const COUNTS = {
  tiny: { large: 2, small: 20, trips: 5 },
  real: { large: 1500, small: 200_000, trips: 5000 },
} as const;

/** Measures the four ways. */
export async function run(options: { readonly size: MicroSize }): Promise<MicroResult> {
  const counts = COUNTS[options.size];
  const figures: Record<string, number> = {};
  const keep = (name: string, found: Record<string, number>): void => {
    for (const [figure, value] of Object.entries(found)) figures[`${name}_${figure}`] = value;
  };
  keep("frames_bare", { large_mb_per_s: await measureFrames(undefined, counts.large) });
  const key = new FrameKey(new Uint8Array(32));
  keep("frames_tagged", { large_mb_per_s: await measureFrames(key, counts.large) });
  keep("secret", await measureTransports(counts, undefined));
  const authority = await makeAuthority(["one", "other"]);
  try {
    keep("tls", await measureTransports(counts, authority.pathsOf));
  } finally {
    rmSync(authority.directory, { recursive: true });
  }
  return { name: "cluster-transport", figures };
}

/** Sends large messages through one socket with nothing around it. */
async function measureFrames(key: FrameKey | undefined, count: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let received = 0;
  const reader = new MessageReader(key, () => {
    received += 1;
    if (received === count) resolve();
  });
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data: (_socket, chunk) => {
        const fault = reader.receive(chunk);
        if (fault !== undefined) throw new Error(fault);
      },
    },
  });
  const outbox = new Outbox(key);
  const message = new Uint8Array(LARGE_BYTES).fill(7);
  let sent = 0;
  const pump = (socket: Bun.Socket): void => {
    const write = (bytes: Uint8Array, at: number, length: number): number =>
      socket.write(bytes, at, length);
    do {
      while (sent < count && outbox.push("bulk", [message])) sent += 1;
    } while (outbox.flush(write) && sent < count);
  };
  const started = performance.now();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: listener.port,
    socket: { open: pump, drain: pump, data: () => undefined },
  });
  await promise;
  const seconds = (performance.now() - started) / 1000;
  socket.end();
  listener.stop(true);
  return Math.round((count * LARGE_BYTES) / 1e6 / seconds);
}

type PathsOf = (id: string) => ReturnType<Awaited<ReturnType<typeof makeAuthority>>["pathsOf"]>;

async function measureTransports(
  counts: (typeof COUNTS)[MicroSize],
  pathsOf: PathsOf | undefined,
): Promise<Record<string, number>> {
  const make = (id: string): ClusterTransport =>
    new ClusterTransport({
      host: "127.0.0.1",
      port: 0,
      tls: pathsOf?.(id),
      secret: "secret",
      logger: silentLogger,
    });
  const one = make("one");
  const other = make("other");
  try {
    await connect(one, other);
    const large = await stream(one, other, LARGE_BYTES, counts.large);
    const small = await stream(one, other, SMALL_BYTES, counts.small);
    const trips = await roundTrips(one, other, counts.trips);
    return {
      large_mb_per_s: Math.round((counts.large * LARGE_BYTES) / 1e6 / large.seconds),
      large_cpu_us_per_mb: Math.round(large.cpuMicros / ((counts.large * LARGE_BYTES) / 1e6)),
      small_per_s: Math.round(counts.small / small.seconds),
      small_cpu_us: Math.round((small.cpuMicros / counts.small) * 10) / 10,
      trip_p50_us: trips,
    };
  } finally {
    await one.close();
    await other.close();
  }
}

async function connect(one: ClusterTransport, other: ClusterTransport): Promise<void> {
  for (const [transport, nodeId, peer] of [
    [one, "one", other],
    [other, "other", one],
  ] as const) {
    transport.introduce({ nodeId, clusterId: "", incarnation: "", httpUrl: "" });
    const peerId = nodeId === "one" ? "other" : "one";
    transport.setPeers([{ nodeId: peerId, host: "127.0.0.1", port: peer.port }]);
  }
  while (!one.link("other").isConnected || !other.link("one").isConnected) await Bun.sleep(1);
}

/** Sends messages of one size as fast as they are taken. */
async function stream(
  from: Transport,
  to: Transport,
  bytes: number,
  count: number,
): Promise<{ readonly seconds: number; readonly cpuMicros: number }> {
  const message = new Uint8Array(bytes).fill(7);
  const { promise, resolve } = Promise.withResolvers<void>();
  let sent = 0;
  let received = 0;
  to.onWake = () => {
    for (const { kind } of to.poll()) if (kind === "message") received += 1;
    if (received >= count) resolve();
  };
  const cpu = process.cpuUsage();
  const started = performance.now();
  const pump = (): void => {
    // As a replica does: some in each turn.
    for (let i = 0; i < 256 && sent < count; i++) {
      if (!from.send("other", "bulk", [message])) break;
      sent += 1;
    }
    if (sent < count) setImmediate(pump);
  };
  pump();
  await promise;
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - started) / 1000, cpuMicros: user + system };
}

/** The median time from a message to its answer. */
async function roundTrips(one: Transport, other: Transport, count: number): Promise<number> {
  const message = new Uint8Array(SMALL_BYTES);
  other.onWake = () => {
    for (const { kind } of other.poll())
      if (kind === "message") other.send("one", "urgent", [message]);
  };
  const micros: number[] = [];
  for (let i = 0; i < count; i++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    one.onWake = () => {
      if (one.poll().some(({ kind }) => kind === "message")) resolve();
    };
    const started = performance.now();
    one.send("other", "urgent", [message]);
    await promise;
    micros.push((performance.now() - started) * 1000);
  }
  return Math.round(micros.sort((a, b) => a - b)[micros.length >> 1] ?? 0);
}
