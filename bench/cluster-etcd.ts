// Three nodes of etcd, each put synced by a majority before it is answered, driven over its HTTP gateway.

import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Work } from "../src/load/mod.ts";
import { freePort, scratchDirectory, startProcess } from "./load/servers.ts";

const PROGRAM = "etcd";
const NODES = 3;
const START_MS_MAX = 20_000;
const POLL_MS = 50;

/** A cluster that takes puts. */
export interface RunningEtcd extends AsyncDisposable {
  /** Of the leader. */
  readonly url: string;
  readonly pids: readonly number[];
  readonly version: string;
  /** One command line, for the record. */
  readonly command: string;
}

/** How to install it, or undefined when it is there. */
export const etcdMissing = (): string | undefined =>
  Bun.which(PROGRAM) === null ? "apt-get install -y etcd-server" : undefined;

/** One put of `valueBytes` bytes under one key. */
export const putWork = (valueBytes: number): Work => ({
  name: "put",
  request: {
    method: "POST",
    path: "/v3/kv/put",
    headers: { "content-type": "application/json" },
    body: new TextEncoder().encode(
      JSON.stringify({ key: btoa("bench"), value: btoa("x".repeat(valueBytes)) }),
    ),
  },
  recordsPerReply: 1,
});

/** Starts it on free ports, with its data where servers under measurement have theirs. */
export async function startEtcd(): Promise<RunningEtcd> {
  await using stack = new AsyncDisposableStack();
  const directory = scratchDirectory("etcd");
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const nodes = Array.from({ length: NODES }, (_, i) => ({
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
  const leader = await leaderOf(nodes.map(({ client }) => client));
  const said = Bun.spawnSync([PROGRAM, "--version"]).stdout.toString();
  const owned = stack.move();
  return {
    url: leader,
    pids: running.map(({ pid }) => pid),
    version: said.split("\n")[0] ?? "",
    command: commandOf(nodes[0] as (typeof nodes)[number]).join(" "),
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
