// NATS JetStream, each message synced before its acknowledgement, alone or as a group of three that agree by Raft.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, scratchDirectory, startProcess } from "../load/servers.ts";
import { type Dialogue, type ReplyReader, Wire } from "./dialogue.ts";
import type { Peer, PeerWork, RunningPeer } from "./peer.ts";
import { dialogueSlice } from "./slices.ts";

const PROGRAM = "nats-server";
const STREAM = "BENCH";
const LINE_FEED = 10;
const ATTEMPTS = 600;
const ATTEMPT_MS = 100;
const HELLO = Buffer.from(
  'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1","protocol":1}\r\nPING\r\n',
);

/** A publish that waits for its acknowledgement; a batch is so many publishes before the first acknowledgement. */
export const nats: Peer = {
  name: "NATS JetStream",
  durability: "written to the file and synced (sync_interval: always), on a majority",
  sizes: [1, 3],
  missing,
  start,
};

/** `sync_interval` came with 2.10; Debian 12 has 2.9, Debian 13 has 2.10, which runs on both. */
function missing(): string | undefined {
  const howTo =
    "apt-get install -y nats-server of Debian 13 or later: 2.10 is the first with sync_interval: always";
  if (Bun.which(PROGRAM) === null) return howTo;
  const [, major, minor] = /v(\d+)\.(\d+)/.exec(version()) ?? [];
  return Number(major) > 2 || Number(minor) >= 10 ? undefined : `${version()} is too old: ${howTo}`;
}

const version = (): string => Bun.spawnSync([PROGRAM, "--version"]).stdout.toString().trim();

interface NatsNode {
  readonly name: string;
  readonly client: number;
  readonly peer: number;
}

function settings(node: NatsNode, nodes: readonly NatsNode[], directory: string): string {
  const routes = nodes.map(({ peer }) => `"nats://127.0.0.1:${peer}"`).join(", ");
  const cluster = `cluster { name: bench, listen: "127.0.0.1:${node.peer}", routes: [${routes}] }\n`;
  return `server_name: ${node.name}
listen: "127.0.0.1:${node.client}"
jetstream { store_dir: "${directory}", sync_interval: always }
${nodes.length > 1 ? cluster : ""}`;
}

async function start(count: number): Promise<RunningPeer> {
  await using stack = new AsyncDisposableStack();
  const directory = scratchDirectory("nats");
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const nodes = Array.from({ length: count }, (_, i) => ({
    name: `n${i + 1}`,
    client: freePort(),
    peer: freePort(),
  }));
  const running = await Promise.all(
    nodes.map((node) => {
      const file = join(directory, `${node.name}.conf`);
      writeFileSync(file, settings(node, nodes, join(directory, node.name)));
      return startProcess({
        command: [PROGRAM, "-c", file],
        directory: scratchDirectory(node.name),
        isReady: async () => {
          const wire = await Wire.open(node.client);
          await greet(wire);
          wire.close();
          return true;
        },
      });
    }),
  );
  for (const process of running) stack.use(process);
  const leader = await createStream(nodes);
  const pids = running.map(({ pid }) => pid);
  const owned = stack.move();
  return {
    version: version(),
    command: `${PROGRAM} -c file: ${settings(nodes[0] as NatsNode, nodes, "data").replaceAll("\n", "; ")}`,
    ways: [
      {
        name: "NATS JetStream",
        takesBatches: true,
        slice: (work) => dialogueSlice(() => dialogue(leader.client, work), pids, work),
      },
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function greet(wire: Wire): Promise<void> {
  wire.send(HELLO);
  await wire.until((bytes) => bytes.includes("PONG\r\n"));
}

/** Makes the stream with a copy on each node. @returns who leads it. */
async function createStream(nodes: readonly NatsNode[]): Promise<NatsNode> {
  const config = JSON.stringify({
    name: STREAM,
    subjects: ["bench"],
    storage: "file",
    retention: "limits",
    discard: "old",
    num_replicas: nodes.length,
  });
  let said = "";
  // The group elects who places streams first; until then it answers with an error, or not at all.
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    said = await ask(nodes[0] as NatsNode, `$JS.API.STREAM.CREATE.${STREAM}`, config).catch(String);
    const leader = /"leader":\s*"(\w+)"/.exec(said)?.[1];
    if (leader !== undefined || (nodes.length === 1 && said.includes('"created"')))
      return nodes.find(({ name }) => name === leader) ?? (nodes[0] as NatsNode);
    await Bun.sleep(ATTEMPT_MS);
  }
  throw new Error(`Cannot create the stream: ${said}`);
}

async function ask(node: NatsNode, subject: string, payload: string): Promise<string> {
  const wire = await Wire.open(node.client);
  try {
    await greet(wire);
    const inbox = "_INBOX.ask";
    wire.send(
      Buffer.from(
        `SUB ${inbox} 1\r\nPUB ${subject} ${inbox} ${Buffer.byteLength(payload)}\r\n${payload}\r\n`,
      ),
    );
    const reply = wire.until((bytes) => /MSG [^\n]*\n[^\n]*\n/.test(bytes.toString()));
    const late = Bun.sleep(2000).then(() => Promise.reject(new Error("no answer")));
    return (await Promise.race([reply, late])).toString();
  } finally {
    wire.close();
  }
}

let inboxes = 0;

function dialogue(port: number, { records, valueBytes }: PeerWork): Dialogue {
  const inbox = `_INBOX.b${inboxes++}`;
  return {
    port,
    greet: async (wire) => {
      await greet(wire);
      wire.send(Buffer.from(`SUB ${inbox} 1\r\nPING\r\n`));
      await wire.until((bytes) => bytes.includes("PONG\r\n"));
    },
    request: Buffer.from(
      `PUB bench ${inbox} ${valueBytes}\r\n${"x".repeat(valueBytes)}\r\n`.repeat(records),
    ),
    repliesPerRequest: records,
    reader: new AckReader(),
  };
}

/** Counts acknowledgements: a line with the subject, a line with JSON. Anything else has no place in a slice. */
class AckReader implements ReplyReader {
  errors = 0;
  #lines = 0;

  feed(bytes: Uint8Array): number {
    const before = this.#lines >> 1;
    let at = bytes.indexOf(LINE_FEED);
    for (; at >= 0; at = bytes.indexOf(LINE_FEED, at + 1)) this.#lines += 1;
    if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes('"error"'))
      this.errors += 1;
    return (this.#lines >> 1) - before;
  }
}
