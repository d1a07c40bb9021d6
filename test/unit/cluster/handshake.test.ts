// Who lets whom in, without sockets.

import { describe, expect, test } from "bun:test";
import {
  DiallerHandshake,
  type HandshakeInput,
  type HandshakeStep,
  ListenerHandshake,
} from "../../../src/cluster/handshake.ts";
import { encodeWord, type Word, WordReader } from "../../../src/cluster/hello.ts";
import { ClusterKey } from "../../../src/cluster/keys.ts";
import { helloOf } from "../../suites/transport.ts";

const key = new ClusterKey("a secret");

const inputOf = (id: string, changes: Partial<HandshakeInput> = {}): HandshakeInput => ({
  me: helloOf(id),
  versions: { minimum: 1, maximum: 1 },
  nonce: crypto.getRandomValues(new Uint8Array(32)),
  key,
  names: undefined,
  isExpected: () => true,
  ...changes,
});

function wordOf(bytes: Uint8Array): { word: Word; body: Uint8Array } {
  const reader = new WordReader();
  expect(reader.receive(bytes)).toBe(true);
  const next = reader.next();
  if (next === undefined || next === "malformed") throw new Error(`Cannot read a word: ${next}`);
  return next;
}

/** Lets both talk until one has an outcome; what each of them came to. */
function talk(
  dialler: DiallerHandshake,
  listener: ListenerHandshake,
): { dialler: HandshakeStep | undefined; listener: HandshakeStep | undefined } {
  let bytes: Uint8Array | undefined = dialler.start();
  let said: HandshakeStep | undefined;
  let heard: HandshakeStep | undefined;
  for (let turn = 0; bytes !== undefined && turn < 8; turn++) {
    const { word, body } = wordOf(bytes);
    const step: HandshakeStep = (turn % 2 === 0 ? listener : dialler).receive(word, body);
    if (turn % 2 === 0) heard = step;
    else said = step;
    bytes = step.bytes;
  }
  return { dialler: said, listener: heard };
}

const meet = (one: Partial<HandshakeInput>, other: Partial<HandshakeInput>, to = "listener") =>
  talk(
    new DiallerHandshake(inputOf("dialler", one), to),
    new ListenerHandshake(inputOf("listener", other)),
  );

test("both learn who the other is, and each side's frames are readable by the other alone", () => {
  const { dialler, listener } = meet({}, {});

  expect(dialler).toMatchObject({ kind: "done", peer: helloOf("listener") });
  expect(listener).toMatchObject({ kind: "done", peer: helloOf("dialler") });
  if (dialler?.kind !== "done" || listener?.kind !== "done") throw new Error("No session");
  const frame = new Uint8Array(30).fill(3);
  const tag = dialler.session!.dialler.tagOf(frame);
  const [header, payload] = [frame.subarray(0, 24), frame.subarray(24)];
  expect(listener.session!.dialler.isTag(tag, header, payload)).toBe(true);
  expect(listener.session!.listener.isTag(tag, header, payload)).toBe(false);
});

test("every conversation has keys of its own", () => {
  const frame = new Uint8Array(30);
  const tags = [meet({}, {}), meet({}, {})].map(({ dialler }) =>
    dialler?.kind === "done" ? dialler.session!.dialler.tagOf(frame).toString() : "",
  );

  expect(tags[0]).not.toBe(tags[1]);
});

test("with TLS there are neither proofs nor tags", () => {
  const { dialler, listener } = meet(
    { key: undefined, names: ["listener"] },
    { key: undefined, names: ["dialler", "also this"] },
  );

  expect(dialler).toMatchObject({ kind: "done", session: undefined });
  expect(listener).toMatchObject({ kind: "done", session: undefined });
});

const range = (minimum: number, maximum: number) => ({ versions: { minimum, maximum } });
const inCluster = (id: string, clusterId: string) => ({ me: helloOf(id, clusterId) });

describe.each([
  ["neighbouring versions", range(1, 2), range(2, 3), undefined],
  ["an older and a newer one", range(1, 1), range(2, 3), "other_version"],
  ["a newer and an older one", range(3, 4), range(1, 2), "other_version"],
  ["one cluster", inCluster("dialler", "aa"), inCluster("listener", "aa"), undefined],
  ["no cluster and one", inCluster("dialler", ""), inCluster("listener", "bb"), undefined],
  ["one and no cluster", inCluster("dialler", "aa"), inCluster("listener", ""), undefined],
  ["two clusters", inCluster("dialler", "aa"), inCluster("listener", "bb"), "other_cluster"],
  ["a node that is not on the list", {}, { isExpected: () => false }, "unknown_node"],
  ["another secret", { key: new ClusterKey("b") }, {}, "wrong_secret"],
  ["no secret", { key: new ClusterKey(undefined) }, {}, "wrong_secret"],
  [
    "a certificate of another",
    { key: undefined, names: ["listener"] },
    { key: undefined, names: ["third"] },
    "wrong_certificate",
  ],
  [
    "a listener with TLS and a dialler without",
    {},
    { key: undefined, names: ["dialler"] },
    "wrong_secret",
  ],
] as const)("%s", (_what, one, other, reason) => {
  test(reason ?? "is let in", () => {
    const { listener, dialler } = meet(
      one as Partial<HandshakeInput>,
      other as Partial<HandshakeInput>,
    );

    if (reason === undefined) expect([listener?.kind, dialler?.kind]).toEqual(["done", "done"]);
    else
      expect([listener, dialler]).toContainEqual(
        expect.objectContaining({ kind: "refused", reason }),
      );
  });
});

test("a listener that was not meant refuses", () => {
  expect(meet({}, {}, "third").listener).toMatchObject({ kind: "refused", reason: "other_node" });
});

test("an answer of another node is refused by the dialler", () => {
  const dialler = new DiallerHandshake(
    inputOf("dialler", { isExpected: (id) => id === "listener" }),
    "listener",
  );
  const { word, body } = wordOf(
    encodeWord({
      kind: "hello",
      hello: {
        ...helloOf("third"),
        to: "dialler",
        versions: { minimum: 1, maximum: 1 },
        nonce: new Uint8Array(32),
      },
    }),
  );

  expect(dialler.receive(word, body)).toMatchObject({ kind: "refused", reason: "other_node" });
});

test("a listener proves nothing to a dialler that has not proven itself", () => {
  const listener = new ListenerHandshake(inputOf("listener"));
  const { word, body } = wordOf(new DiallerHandshake(inputOf("dialler"), "listener").start());

  const step = listener.receive(word, body);

  expect(step.kind).toBe("reply");
  expect(wordOf(step.bytes!).word.kind).toBe("hello");
});

test("a proof of one conversation is none in another", () => {
  const dialler = new DiallerHandshake(inputOf("dialler"), "listener");
  const hear = (listener: ListenerHandshake, bytes: Uint8Array): HandshakeStep => {
    const { word, body } = wordOf(bytes);
    return listener.receive(word, body);
  };
  const first = new ListenerHandshake(inputOf("listener"));
  const hello = hear(first, dialler.start());
  const { word, body } = wordOf(hello.bytes!);
  const proof = dialler.receive(word, body).bytes!;
  const second = new ListenerHandshake(inputOf("listener"));
  hear(second, dialler.start());

  expect(hear(first, proof).kind).toBe("done");
  expect(hear(second, proof)).toMatchObject({ kind: "refused", reason: "wrong_secret" });
});

test.each([
  ["a node id that is none", { nodeId: "a b" }],
  ["an empty node id", { nodeId: "" }],
  ["a cluster id with a line end", { clusterId: "a\nb" }],
  ["an address with a line end", { httpUrl: "http://a\r\nx: y" }],
  ["an address of another scheme", { httpUrl: "file:///etc" }],
  ["a long address", { httpUrl: `http://${"a".repeat(600)}` }],
])("a hello with %s is malformed", (_what, changes) => {
  const hello = {
    ...helloOf("dialler"),
    to: "listener",
    versions: { minimum: 1, maximum: 1 },
    nonce: new Uint8Array(32),
    ...changes,
  };
  const reader = new WordReader();
  reader.receive(encodeWord({ kind: "hello", hello }));

  expect(reader.next()).toBe("malformed");
});

test("what a later version adds to a hello is let be", () => {
  const hello = encodeWord({
    kind: "hello",
    hello: {
      ...helloOf("dialler"),
      to: "listener",
      versions: { minimum: 1, maximum: 2 },
      nonce: new Uint8Array(32),
    },
  });
  const longer = new Uint8Array(hello.length + 20);
  longer.set(hello);
  const view = new DataView(longer.buffer);
  view.setUint32(8, hello.length - 16 + 20, true);
  view.setUint32(12, Bun.hash.crc32(longer.subarray(16)), true);

  expect(wordOf(longer).word.kind).toBe("hello");
});
