// What comes from peers: words of the handshake, frames, messages of consensus and of the cluster, commands and records.

import { FrameKey } from "../../src/cluster/frame.ts";
import {
  DiallerHandshake,
  type HandshakeInput,
  ListenerHandshake,
} from "../../src/cluster/handshake.ts";
import { encodeWord, WordReader } from "../../src/cluster/hello.ts";
import { ClusterKey } from "../../src/cluster/keys.ts";
import { MessageReader } from "../../src/cluster/message-reader.ts";
import { Outbox } from "../../src/cluster/outbox.ts";
import { ByteWriter, viewOf } from "../../src/lib/bytes.ts";
import { CHAIN_START } from "../../src/log/segment-scan.ts";
import { aloneAs } from "../../src/model/cluster.ts";
import { CommandCursor, putCommand } from "../../src/model/command-codec.ts";
import { decodeMessage, encodeMessage, type RaftMessage } from "../../src/raft/mod.ts";
import {
  decodePeer,
  encodeEntriesHead,
  encodePieceHead,
  encodeRaft,
  encodeRecordsHead,
  encodeTalk,
} from "../../src/replica/peer-codec.ts";
import type { ParserTarget } from "./parser-fuzz.ts";
import { encodeEntry } from "./segment-builder.ts";

const MESSAGES: readonly RaftMessage[] = [
  {
    kind: "append",
    from: "a",
    to: "b",
    term: 3,
    prevIndex: 4,
    prevTerm: 2,
    commitIndex: 4,
    lastIndex: 6,
    runs: [{ index: 5, term: 3 }],
  },
  { kind: "heartbeat", from: "a", to: "b", term: 3, commitIndex: 4, round: 7 },
  { kind: "heartbeatReply", from: "b", to: "a", term: 3, round: 7 },
  { kind: "vote", from: "a", to: "b", term: 3, lastIndex: 9, lastTerm: 2, isTransfer: false },
  {
    kind: "voteReply",
    from: "b",
    to: "a",
    term: 3,
    isRejected: true,
    commitIndex: 1,
    commitTerm: 1,
  },
];

const value = new Uint8Array(40).fill(7);
const entry = encodeEntry(
  { chunks: [{ topicId: 1, partition: 0, baseOffset: 0, values: [value, value] }] },
  CHAIN_START,
).bytes;

const TALKS = [
  encodeTalk({ kind: "empty", nodes: "a b", isBootstrap: true }, 5),
  encodeTalk({ kind: "wantPiece", index: 4, file: 1, position: 0 }, 5),
  encodeTalk({ kind: "wantRecords", index: 4, key: 1, offset: 0, endOffset: 9 }, 5),
  encodeTalk(
    {
      kind: "form",
      clusterId: "0".repeat(32),
      membership: aloneAs("a", "0".repeat(32)),
    },
    5,
  ),
];

const helloOf = (nodeId: string) => ({
  nodeId,
  incarnation: nodeId.padEnd(32, "0"),
  clusterId: "",
  httpUrl: `http://${nodeId}`,
});

const input = (nodeId: string): HandshakeInput => ({
  me: helloOf(nodeId),
  versions: { minimum: 1, maximum: 1 },
  nonce: new Uint8Array(32).fill(nodeId.charCodeAt(0)),
  key: new ClusterKey("the secret of a test"),
  names: undefined,
  isExpected: () => true,
});

/** What a listener is sent by one who knows the secret, and what a dialler is. */
function handshakeBytes(): readonly [Uint8Array, Uint8Array] {
  const dialler = new DiallerHandshake(input("a"), "b");
  const listener = new ListenerHandshake(input("b"));
  const sent: [Uint8Array[], Uint8Array[]] = [[dialler.start()], []];
  const read = (bytes: Uint8Array) => {
    const reader = new WordReader();
    reader.receive(bytes);
    const next = reader.next();
    if (next === undefined || next === "malformed") throw new Error("The handshake says nothing");
    return next;
  };
  for (let from = 0; ; from = 1 - from) {
    const last = sent[from as 0 | 1].at(-1) as Uint8Array;
    const { word, body } = read(last);
    const step = (from === 0 ? listener : dialler).receive(word, body);
    if (step.kind === "refused") throw new Error(`Refused: ${step.reason}`);
    if (step.bytes === undefined) break;
    sent[(1 - from) as 0 | 1].push(step.bytes);
  }
  return [new Uint8Array(Buffer.concat(sent[0])), new Uint8Array(Buffer.concat(sent[1]))];
}

const [toListener, toDialler] = handshakeBytes();

/** Lets one side hear bytes. Only the true ones may convince it. */
function handshakes(
  name: string,
  whole: Uint8Array,
  make: () => DiallerHandshake | ListenerHandshake,
): ParserTarget {
  return {
    name,
    seeds: [whole],
    run: (bytes) => {
      const reader = new WordReader();
      if (!reader.receive(bytes)) return false;
      const side = make();
      for (let i = 0; i <= bytes.length; i++) {
        const next = reader.next();
        if (next === undefined || next === "malformed") return false;
        const step = side.receive(next.word, next.body);
        if (step.kind === "refused") return false;
        if (step.kind !== "done") continue;
        const used = bytes.length - reader.rest().length;
        if (Buffer.compare(bytes.subarray(0, used), whole) !== 0)
          throw new Error("A handshake that was tampered with went through");
        return true;
      }
      throw new Error("A handshake goes on for ever");
    },
  };
}

const key = (): FrameKey => new FrameKey(new Uint8Array(32).fill(9));
const SENT = [new Uint8Array(20).fill(1), new Uint8Array(700).fill(2), new Uint8Array(0)];

function frames(): Uint8Array {
  const outbox = new Outbox(key());
  for (const [i, message] of SENT.entries()) outbox.push(i === 1 ? "bulk" : "urgent", [message]);
  const wire: Uint8Array[] = [];
  outbox.flush((bytes, at, length) => wire.push(bytes.slice(at, at + length)) && length);
  return new Uint8Array(Buffer.concat(wire));
}

/** Every parser of bytes that peers send. */
export const WIRE_TARGETS: readonly ParserTarget[] = [
  {
    name: "peer messages",
    weight: 4,
    seeds: [
      ...MESSAGES.map((message) => encodeRaft(message, 5)),
      ...TALKS,
      encodePieceHead({ transfer: 1, file: 2, checksum: 3, position: 4 }, 5),
      encodeEntriesHead(5),
      encodeRecordsHead(1, 2, 5),
    ],
    run: (bytes) => decodePeer(bytes) !== undefined,
  },
  {
    name: "raft messages",
    weight: 2,
    seeds: MESSAGES.map(encodeMessage),
    run: (bytes) => {
      const decoded = decodeMessage(bytes);
      if (decoded === undefined) return false;
      if (decoded.end > bytes.length) throw new Error("A message ends behind its bytes");
      return true;
    },
  },
  handshakes("handshakes to a listener", toListener, () => new ListenerHandshake(input("b"))),
  handshakes("handshakes to a dialler", toDialler, () => new DiallerHandshake(input("a"), "b")),
  {
    name: "refusals",
    seeds: [encodeWord({ kind: "refuse", reason: "other_cluster" })],
    run: (bytes) => {
      const reader = new WordReader();
      return reader.receive(bytes) && typeof reader.next() === "object";
    },
  },
  {
    name: "frames",
    weight: 2,
    seeds: [frames()],
    run: (bytes) => {
      let taken = 0;
      const reader = new MessageReader(key(), (message) => {
        const isTrue = SENT.some((sent) => Buffer.compare(sent, message) === 0);
        if (!isTrue) throw new Error("A message that was never sent came through");
        taken += 1;
      });
      const fault = reader.receive(bytes);
      if (taken > SENT.length) throw new Error("A message came through twice");
      return fault === undefined && taken === SENT.length;
    },
  },
  {
    name: "commands",
    weight: 2,
    seeds: [commands(), entry.slice(56)],
    run: (bytes) => {
      const cursor = new CommandCursor().reset(bytes, viewOf(bytes), 0, bytes.length);
      let steps = 0;
      while (cursor.next()) {
        steps += 1;
        if (cursor.bodyEnd > bytes.length || steps > bytes.length)
          throw new Error("A command leaves its bounds");
      }
      return steps > 0 || bytes.length > 0;
    },
  },
];

function commands(): Uint8Array {
  const writer = new ByteWriter();
  putCommand(writer, { kind: "topicDeleted", topicId: 4 });
  putCommand(writer, { kind: "namespaceCreated", namespaceId: 1, name: "n" });
  return writer.written().slice();
}
