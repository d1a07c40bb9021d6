// etcd, each put synced by a majority before it is answered, over gRPC, as its clients do, and over its HTTP gateway.

import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Work } from "../../src/load/mod.ts";
import { freePort, scratchDirectory, startProcess } from "../load/servers.ts";
import type { Peer, RunningPeer } from "./peer.ts";
import { httpSlice } from "./slices.ts";

const PROGRAM = "etcd";
const START_MS_MAX = 20_000;
const POLL_MS = 50;
const KEY = "bench";

/** A cluster that takes puts. */
export interface RunningEtcd extends RunningPeer {
  /** Of the leader. */
  readonly url: string;
  readonly pids: readonly number[];
}

/** Puts of one key. It has no batches. */
export const etcd = {
  name: "etcd",
  durability: "written to the log and synced, on a majority",
  sizes: [1, 3],
  missing: () => (Bun.which(PROGRAM) === null ? "apt-get install -y etcd-server" : undefined),
  start,
} as const satisfies Peer;

/** One put of `valueBytes` bytes under one key, as JSON for the gateway. */
export const putWork = (valueBytes: number): Work => ({
  name: "put",
  request: {
    method: "POST",
    path: "/v3/kv/put",
    headers: { "content-type": "application/json" },
    body: new TextEncoder().encode(
      JSON.stringify({ key: btoa(KEY), value: btoa("x".repeat(valueBytes)) }),
    ),
  },
  recordsPerReply: 1,
});

/** The same as gRPC: `PutRequest` has the key in field 1 and the value in field 2, both shorter than 128 bytes here. */
function grpcPutWork(valueBytes: number): Work {
  const field = (number: number, text: string): Buffer =>
    Buffer.concat([Buffer.of((number << 3) | 2, text.length), Buffer.from(text)]);
  if (valueBytes > 127) throw new Error("Cannot put more than 127 bytes over gRPC");
  const message = Buffer.concat([field(1, KEY), field(2, "x".repeat(valueBytes))]);
  return {
    name: "put",
    request: {
      method: "POST",
      path: "/etcdserverpb.KV/Put",
      headers: { "content-type": "application/grpc", te: "trailers" },
      body: Buffer.concat([Buffer.of(0, 0, 0, 0, message.length), message]),
    },
    recordsPerReply: 1,
  };
}

/** Starts it on free ports, with its data where servers under measurement have theirs. */
async function start(count: number): Promise<RunningEtcd> {
  await using stack = new AsyncDisposableStack();
  const directory = scratchDirectory("etcd");
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const nodes = Array.from({ length: count }, (_, i) => ({
    name: `etcd${i + 1}`,
    client: `http://127.0.0.1:${freePort()}`,
    peer: `http://127.0.0.1:${freePort()}`,
  }));
  const list = nodes.map(({ name, peer }) => `${name}=${peer}`).join(",");
  const commandOf = ({ name, client, peer }: (typeof nodes)[number]): string[] => [
    PROGRAM,
    ...["--name", name, "--data-dir", join(directory, name)],
    ...["--listen-client-urls", client, "--advertise-client-urls", client],
    ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
    ...["--initial-cluster", list, "--initial-cluster-state", "new", "--logger", "zap"],
  ];
  // A node is not healthy before it has a majority: all of them are started before any is waited for.
  const running = await Promise.all(
    nodes.map((node) =>
      startProcess({
        command: commandOf(node),
        directory: scratchDirectory(node.name),
        isReady: async () => (await fetch(`${node.client}/health`)).ok,
      }),
    ),
  );
  for (const process of running) stack.use(process);
  const url = await leaderOf(nodes.map(({ client }) => client));
  const said = Bun.spawnSync([PROGRAM, "--version"]).stdout.toString();
  const pids = running.map(({ pid }) => pid);
  const owned = stack.move();
  return {
    url,
    pids,
    version: said.split("\n")[0] ?? "",
    command: commandOf(nodes[0] as (typeof nodes)[number]).join(" "),
    ways: [
      {
        name: "etcd, gRPC",
        takesBatches: false,
        slice: (work) =>
          httpSlice({ url, protocol: "http2", work: grpcPutWork(work.valueBytes) }, pids, work),
      },
      {
        name: "etcd, HTTP gateway",
        takesBatches: false,
        slice: (work) =>
          httpSlice({ url, protocol: "http1", work: putWork(work.valueBytes) }, pids, work),
      },
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function leaderOf(clients: readonly string[]): Promise<string> {
  const deadline = performance.now() + START_MS_MAX;
  for (;;) {
    for (const client of clients) {
      const reply = await fetch(`${client}/v3/maintenance/status`, { method: "POST", body: "{}" });
      const { header, leader } = (await reply.json()) as {
        readonly header: { readonly member_id: string };
        readonly leader?: string;
      };
      if (header.member_id === leader) return client;
    }
    if (performance.now() > deadline) throw new Error("etcd has no leader");
    await Bun.sleep(POLL_MS);
  }
}
