// Redis Streams with every write synced before its reply: the closest thing to Ayder's promise that Redis can make.

import { freePort, scratchDirectory, startProcess } from "../load/servers.ts";
import { type Dialogue, type ReplyReader, Wire } from "./dialogue.ts";
import type { Peer, PeerWork, RunningPeer } from "./peer.ts";
import { dialogueSlice } from "./slices.ts";

const PROGRAM = "redis-server";
const LINE_FEED = 10;
const DOLLAR = 36;
const MINUS = 45;

/** `XADD`, unpipelined, `appendonly yes`, `appendfsync always`, no snapshots; a batch is a pipeline of them. */
export const redis: Peer = {
  name: "Redis Streams",
  durability: "written to the file and synced, on one machine",
  sizes: [1],
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
  return {
    version: Bun.spawnSync([PROGRAM, "--version"]).stdout.toString().trim(),
    command: command.join(" "),
    ways: [
      {
        name: "Redis Streams, XADD",
        takesBatches: true,
        slice: (work) => dialogueSlice(() => dialogue(port, work), [running.pid], work),
      },
    ],
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** One PING: a listening socket is not enough, Redis accepts while it loads its file. */
async function answers(port: number): Promise<boolean> {
  const wire = await Wire.open(port);
  try {
    wire.send(encodeCommand(["PING"]));
    return (await wire.next())[0] !== MINUS;
  } finally {
    wire.close();
  }
}

function dialogue(port: number, { records, valueBytes }: PeerWork): Dialogue {
  const command = encodeCommand(["XADD", "bench", "*", "v", "x".repeat(valueBytes)]);
  return {
    port,
    greet: () => Promise.resolve(),
    request: Buffer.concat(Array.from({ length: records }, () => command)),
    repliesPerRequest: records,
    reader: new RespReader(),
  };
}

/** Encodes a command as an array of bulk strings. */
function encodeCommand(parts: readonly string[]): Uint8Array {
  const text = parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join("");
  return Buffer.from(`*${parts.length}\r\n${text}`);
}

/** Counts replies that are one line, or a bulk string of one line and its value. */
class RespReader implements ReplyReader {
  errors = 0;
  #lines = 0;
  #first = 0;

  feed(bytes: Uint8Array): number {
    let replies = 0;
    for (const byte of bytes) {
      if (this.#first === 0) {
        this.#first = byte;
        this.#lines = byte === DOLLAR ? 2 : 1;
        if (byte === MINUS) this.errors += 1;
      }
      if (byte === LINE_FEED && --this.#lines === 0) {
        this.#first = 0;
        replies += 1;
      }
    }
    return replies;
  }
}
