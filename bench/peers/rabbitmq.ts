// RabbitMQ streams: an append-only log, on one node or three, confirmed when a majority has it, which is never a sync.

import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, scratchDirectory, startProcess } from "../load/servers.ts";
import { Wire } from "./dialogue.ts";
import type { Peer, RunningPeer } from "./peer.ts";
import { createStream, openSession, publishDialogue } from "./rabbitmq-stream.ts";
import { dialogueSlice } from "./slices.ts";

const PROGRAMS = "/usr/lib/rabbitmq/bin";
const HOST = "localhost";
const READY_MS_MAX = 60_000;

/** Confirmed publishing to a stream, over its own binary protocol; a batch is one frame of so many messages. */
export const rabbitmq: Peer = {
  name: "RabbitMQ streams",
  durability: "handed to the kernel on a majority, not synced: it has no setting for that",
  sizes: [1, 3],
  missing: () =>
    Bun.which("epmd") === null || Bun.which(join(PROGRAMS, "rabbitmq-server")) === null
      ? "apt-get install -y rabbitmq-server"
      : undefined,
  start,
};

interface RabbitNode {
  readonly name: string;
  readonly stream: number;
  readonly environment: Readonly<Record<string, string>>;
}

async function start(count: number): Promise<RunningPeer> {
  await using stack = new AsyncDisposableStack();
  const directory = scratchDirectory("rabbitmq");
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const names = freePort();
  // The name service of Erlang, as a child of this process: left to itself it would stay when all is over.
  const nameService = Bun.spawn(["epmd", "-port", String(names), "-address", "127.0.0.1"], {
    stdout: "ignore",
    stderr: "ignore",
  });
  stack.defer(async () => {
    nameService.kill();
    await nameService.exited;
  });
  const nodes = Array.from({ length: count }, (_, i) => settle(directory, i + 1, names));
  const running = await Promise.all(nodes.map((node) => startNode(node, directory)));
  for (const process of running) stack.use(process);
  for (const node of nodes.slice(1)) joinCluster(node, nodes[0] as RabbitNode);
  const [leader] = nodes as [RabbitNode];
  // Placed where it is asked for; the copies are on the other nodes.
  await createStream(leader.stream, count);
  const pids = running.map(({ pid }) => machineOf(pid));
  const owned = stack.move();
  return {
    version: `RabbitMQ ${ctl(leader, "version")}`,
    command: `${PROGRAMS}/rabbitmq-server with rabbitmq_stream, queue-leader-locator client-local`,
    ways: [
      {
        name: "RabbitMQ streams, not synced",
        takesBatches: true,
        slice: (work) => dialogueSlice(() => publishDialogue(leader.stream, work), pids, work),
      },
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Its files and ports. All is set here: nothing of the machine's own installation is read or written. */
function settle(directory: string, number: number, names: number): RabbitNode {
  const name = `bench${number}@${HOST}`;
  const home = join(directory, name);
  mkdirSync(home);
  const stream = freePort();
  const plugins = join(home, "plugins");
  const settings = join(home, "rabbitmq.conf");
  const cookie = join(home, ".erlang.cookie");
  writeFileSync(plugins, "[rabbitmq_stream].\n");
  writeFileSync(
    settings,
    `listeners.tcp = none\nstream.listeners.tcp.1 = 127.0.0.1:${stream}\nlog.console = false\nlog.file.level = warning\n`,
  );
  writeFileSync(cookie, "bench");
  chmodSync(cookie, 0o400);
  return {
    name,
    stream,
    environment: {
      HOME: home,
      RABBITMQ_NODENAME: name,
      RABBITMQ_DIST_PORT: String(freePort()),
      RABBITMQ_CONFIG_FILE: settings,
      RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
      RABBITMQ_MNESIA_BASE: join(home, "mnesia"),
      RABBITMQ_LOG_BASE: join(home, "log"),
      RABBITMQ_PID_FILE: join(home, "pid"),
      // No spinning while it waits: it shares two cores with those it is compared with.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
      ERL_EPMD_PORT: String(names),
      ERL_EPMD_ADDRESS: "127.0.0.1",
    },
  };
}

const startNode = (node: RabbitNode, directory: string): ReturnType<typeof startProcess> =>
  startProcess({
    command: [join(PROGRAMS, "rabbitmq-server")],
    environment: node.environment,
    directory: scratchDirectory(`rabbitmq-${directory.slice(-4)}`),
    readyMsMax: READY_MS_MAX,
    isReady: async () => {
      const wire = await Wire.open(node.stream);
      try {
        await openSession(wire);
        return true;
      } finally {
        wire.close();
      }
    },
  });

function ctl(node: RabbitNode, ...words: string[]): string {
  const child = Bun.spawnSync([join(PROGRAMS, "rabbitmqctl"), "--node", node.name, ...words], {
    env: { ...process.env, ...node.environment },
  });
  if (child.exitCode !== 0)
    throw new Error(`rabbitmqctl ${words.join(" ")}: ${child.stdout}${child.stderr}`);
  return child.stdout.toString().trim();
}

function joinCluster(node: RabbitNode, first: RabbitNode): void {
  ctl(node, "stop_app");
  ctl(node, "join_cluster", first.name);
  ctl(node, "start_app");
}

/** The Erlang machine under a shell script: the process that does the work. */
function machineOf(pid: number): number {
  const children = Bun.spawnSync(["ps", "-o", "pid=,comm=", "--ppid", String(pid)]).stdout;
  const found = /(\d+)\s+beam/.exec(children.toString());
  return found === null ? pid : Number(found[1]);
}
