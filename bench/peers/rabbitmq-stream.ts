// The part of RabbitMQ's stream protocol that a publisher needs (PROTOCOL.adoc of the plugin rabbitmq_stream): frames of a
// length, a key and a version, then what the key says.

import type { Dialogue, ReplyReader, Wire } from "./dialogue.ts";
import { Wire as Connection } from "./dialogue.ts";
import type { PeerWork } from "./peer.ts";

const STREAM = "bench";
const VERSION = 1;
const OK = 1;
const RESPONSE = 0x80_00;
const KEY = {
  declarePublisher: 1,
  publish: 2,
  publishConfirm: 3,
  publishError: 4,
  create: 13,
  peerProperties: 17,
  saslHandshake: 18,
  saslAuthenticate: 19,
  tune: 20,
  open: 21,
} as const;
const HEARTBEAT_SECONDS = 0;
const FRAME_BYTES_MAX = 0;
const PUBLISHER = 0;

const u8 = (value: number): Buffer => Buffer.of(value);
const u16 = (value: number): Buffer => Buffer.of(value >>> 8, value);
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = (value: number): Buffer => Buffer.concat([u32(0), u32(value)]);
const string = (text: string): Buffer =>
  Buffer.concat([u16(Buffer.byteLength(text)), Buffer.from(text)]);
const blob = (bytes: Uint8Array): Buffer => Buffer.concat([u32(bytes.length), bytes]);
const list = (parts: readonly Buffer[]): Buffer => Buffer.concat([u32(parts.length), ...parts]);

const frame = (key: number, ...parts: readonly Buffer[]): Buffer =>
  blob(Buffer.concat([u16(key), u16(VERSION), ...parts]));

/** Where a whole frame ends that begins at `at`, or undefined. */
function endOf(bytes: Buffer, at: number): number | undefined {
  if (bytes.length - at < 4) return undefined;
  const end = at + 4 + bytes.readUInt32BE(at);
  return end <= bytes.length ? end : undefined;
}

/** Sends a request with a correlation id and waits for its response. */
async function ask(wire: Wire, key: number, ...parts: readonly Buffer[]): Promise<void> {
  wire.send(frame(key, u32(key), ...parts));
  const reply = await wire.until((bytes) => endOf(bytes, 0) !== undefined);
  const answered = reply.readUInt16BE(4);
  const code = reply.readUInt16BE(12);
  if (answered !== (RESPONSE | key) || code !== OK)
    throw new Error(`Request ${key} of the stream protocol: answer ${answered}, code ${code}`);
}

/** Greets, signs in as the guest of a new node, agrees to what the server proposes. */
export async function openSession(wire: Wire): Promise<void> {
  await ask(wire, KEY.peerProperties, list([]));
  await ask(wire, KEY.saslHandshake);
  wire.send(
    frame(
      KEY.saslAuthenticate,
      u32(KEY.saslAuthenticate),
      string("PLAIN"),
      blob(Buffer.from("\0guest\0guest")),
    ),
  );
  // The answer, then, unasked, what the server would like to agree on.
  await wire.until((bytes) => {
    const end = endOf(bytes, 0);
    return end !== undefined && endOf(bytes, end) !== undefined;
  });
  wire.send(frame(KEY.tune, u32(FRAME_BYTES_MAX), u32(HEARTBEAT_SECONDS)));
  await ask(wire, KEY.open, string("/"));
}

/** Makes the stream with so many copies, led by the node at `port`. */
export async function createStream(port: number, copies: number): Promise<void> {
  const wire = await Connection.open(port);
  try {
    await openSession(wire);
    const settings = {
      "initial-cluster-size": String(copies),
      "queue-leader-locator": "client-local",
    };
    const pairs = Object.entries(settings).map((pair) => Buffer.concat(pair.map(string)));
    await ask(wire, KEY.create, string(STREAM), list(pairs));
  } finally {
    wire.close();
  }
}

/** Publishes `records` messages in one frame and waits until all are confirmed. */
export function publishDialogue(port: number, { records, valueBytes }: PeerWork): Dialogue {
  const message = blob(Buffer.alloc(valueBytes, "x"));
  return {
    port,
    greet: async (wire) => {
      await openSession(wire);
      // Without a name there is no deduplication: publishing ids may come again.
      await ask(wire, KEY.declarePublisher, u8(PUBLISHER), string(""), string(STREAM));
    },
    request: frame(
      KEY.publish,
      u8(PUBLISHER),
      list(Array.from({ length: records }, (_, id) => Buffer.concat([u64(id), message]))),
    ),
    repliesPerRequest: records,
    reader: new ConfirmReader(),
  };
}

/** Counts confirmed ids: a frame may hold any number of them. */
class ConfirmReader implements ReplyReader {
  errors = 0;
  #rest = Buffer.alloc(0);

  feed(chunk: Uint8Array): number {
    const own = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const bytes = this.#rest.length === 0 ? own : Buffer.concat([this.#rest, own]);
    let replies = 0;
    let at = 0;
    for (let end = endOf(bytes, at); end !== undefined; end = endOf(bytes, at)) {
      const key = bytes.readUInt16BE(at + 4);
      if (key === KEY.publishConfirm) replies += bytes.readUInt32BE(at + 9);
      if (key === KEY.publishError) this.errors += 1;
      at = end;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
    return replies;
  }
}
