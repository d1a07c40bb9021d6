// Whoever reaches the port of a node and is not one of its peers: nothing of theirs is delivered, whatever they send.

import { describe, expect, test } from "bun:test";
import { ClusterKey } from "../../../src/cluster/keys.ts";
import { Outbox } from "../../../src/cluster/outbox.ts";
import { helloOf } from "../../suites/transport.ts";
import {
  introducePair,
  knowPair,
  middle,
  type PeerNode,
  peerNode,
  stranger,
  untilTrue,
} from "../../support/peer-nodes.ts";

const text = (bytes: string): Uint8Array => new TextEncoder().encode(bytes);

/** What a sender with this key would put on the wire. */
function framesOf(messages: readonly string[], secret: string): Uint8Array {
  const session = new ClusterKey(secret).sessionOf(new Uint8Array(32));
  const outbox = new Outbox(session.dialler);
  const written: Uint8Array[] = [];
  for (const message of messages) outbox.push("urgent", [text(message)]);
  outbox.flush((bytes, at, length) => {
    written.push(bytes.slice(at, at + length));
    return length;
  });
  return new Uint8Array(Buffer.concat(written));
}

/** Sends while every flush is one piece on the wire. */
async function say(from: PeerNode, to: string, message: string): Promise<void> {
  expect(from.transport.send(to, "urgent", [text(message)])).toBe(true);
  await untilTrue("it was handed over", () => from.transport.link(to).unsentBytes === 0);
}

describe("before the handshake", () => {
  test("one forged frame of 200 bytes is neither parsed nor delivered", async () => {
    await using node = peerNode("node");
    node.transport.setPeers([{ nodeId: "peer", host: "127.0.0.1", port: 1 }]);
    await using forger = await stranger(node.transport.port);

    const frame = framesOf(["x".repeat(160)], "guessed");
    expect(frame).toHaveLength(200);
    forger.write(frame);
    await untilTrue("the forger is thrown out", () => forger.isClosed);

    expect(node.listener.deliveries).toEqual([]);
    expect(node.transport.stats.refusals.malformed).toBe(1);
    expect(node.lines).toContainEqual(
      expect.objectContaining({ event: "peer_refused", peer: "stranger", reason: "malformed" }),
    );
  });

  test.each([
    ["an HTTP request", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"],
    ["a magic of another number", "ayder/2\n\0\0\0\0\0\0\0\0"],
    ["a length beyond the bound", "ayder/1\n\xff\xff\xff\x7f\0\0\0\0"],
    ["an empty body", "ayder/1\n\0\0\0\0\0\0\0\0"],
  ])("%s ends the connection", async (_what, bytes) => {
    await using node = peerNode("node");
    await using other = await stranger(node.transport.port);

    other.write(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)));
    await untilTrue("it is thrown out", () => other.isClosed);

    expect(node.transport.stats.refusals.malformed).toBe(1);
  });

  test("more than 64 connections without a proof push out the oldest", async () => {
    await using node = peerNode("node");
    await using first = await stranger(node.transport.port);
    const others = await Promise.all(
      Array.from({ length: 64 }, () => stranger(node.transport.port)),
    );

    await untilTrue("the oldest is thrown out", () => first.isClosed);
    expect(others.filter(({ isClosed }) => isClosed)).toHaveLength(0);
    expect(node.transport.stats.refusals.too_many).toBe(1);
    for (const other of others) await other[Symbol.asyncDispose]();
  });

  test("a connection that says nothing is ended in time, also when it does not close its side", async () => {
    await using node = peerNode("node", { times: { handshakeMs: 50 } });
    await using other = await stranger(node.transport.port, true);

    await untilTrue("it is thrown out", () => node.transport.stats.refusals.too_slow === 1);
    await untilTrue("it notices", () => other.isClosed);
  });
});

describe("with another secret", () => {
  test.each([
    ["another one", "another secret"],
    ["none", undefined],
  ])(
    "a peer that has %s is refused on both sides, and nothing is delivered",
    async (_what, secret) => {
      await using node = peerNode("node");
      await using other = peerNode("other", { secret });
      knowPair(node, other);

      await untilTrue(
        "both refuse",
        () =>
          node.transport.stats.refusals.wrong_secret > 0 &&
          other.transport.stats.refusals.wrong_secret > 0,
      );

      await untilTrue("both directions are complained about", () =>
        ["peer_refused", "refused_by_peer"].every((wanted) =>
          node.lines.some(({ event, reason }) => event === wanted && reason === "wrong_secret"),
        ),
      );

      expect([...node.listener.deliveries, ...other.listener.deliveries]).toEqual([]);
      expect(node.transport.send("other", "urgent", [text("a")])).toBe(false);
      expect(node.transport.link("other").hello).toBeUndefined();
      expect(JSON.stringify(node.lines)).not.toContain("secret that");
    },
  );
});

describe("in between", () => {
  /** A pair with somebody in between, who changes one thing on the way from `one` to `other`. */
  const tamper = async (
    act: (one: PeerNode, between: ReturnType<typeof middle>) => Promise<void>,
  ): Promise<readonly string[]> => {
    await using one = peerNode("one");
    await using other = peerNode("other");
    await using between = middle(other.transport.port);
    await introducePair(one, other, between.port);
    await say(one, "other", "first");
    await untilTrue("the first is there", () => other.listener.messages.length === 1);

    await act(one, between);
    await untilTrue("the fault is seen", () => other.transport.stats.refusals.bad_frame === 1);
    between.change = undefined;
    await untilTrue(
      "they meet again",
      () =>
        other.listener.kinds("one").at(-1) === "connected" &&
        one.transport.stats.peers[0]?.connects === 2,
    );
    await say(one, "other", "last");
    await untilTrue("the last is there", () => other.listener.texts.at(-1) === "last");
    expect(other.listener.kinds("one").filter((kind) => kind !== "message")).toEqual([
      "connected",
      "disconnected",
      "connected",
    ]);
    expect(
      other.lines.some(({ detail }) => /^bad_(sequence|tag|checksum)$/.test(detail ?? "")),
    ).toBe(true);
    return other.listener.texts;
  };

  test("a frame that is played again ends the connection and is not delivered", async () => {
    const texts = await tamper(async (one, between) => {
      between.change = (chunk) => [chunk, chunk];
      await say(one, "other", "second");
    });
    expect(texts).toEqual(["first", "second", "last"]);
  });

  test("frames in another order end the connection and are not delivered", async () => {
    const texts = await tamper(async (one, between) => {
      let held: Uint8Array | undefined;
      between.change = (chunk) => {
        if (held === undefined) {
          held = chunk;
          return [];
        }
        return [chunk, held];
      };
      await say(one, "other", "second");
      await new Promise((resolve) => setImmediate(resolve));
      await say(one, "other", "third");
    });
    expect(texts).toEqual(["first", "last"]);
  });

  test("a frame of somebody without the key ends the connection and is not delivered", async () => {
    const texts = await tamper(async (one, between) => {
      // The right sequence and checksum, and a tag of another key.
      between.change = () => [framesOf(["first", "forged"], "guessed").subarray(45)];
      await say(one, "other", "second");
    });
    expect(texts).toEqual(["first", "last"]);
  });

  test("a changed bit ends the connection and is not delivered", async () => {
    const texts = await tamper(async (one, between) => {
      between.change = (chunk) => {
        const changed = chunk.slice();
        changed[26]! ^= 1;
        return [changed];
      };
      await say(one, "other", "second");
    });
    expect(texts).toEqual(["first", "last"]);
  });

  test("a peer that falls silent is let go on both sides, and comes back", async () => {
    const times = { aliveMs: 20, silenceMs: 100 };
    await using one = peerNode("one", { times });
    await using other = peerNode("other", { times });
    await using between = middle(other.transport.port);
    await introducePair(one, other, between.port);

    between.isSilent = true;
    await untilTrue(
      "both notice",
      () =>
        !one.transport.link("other").isConnected &&
        other.listener.kinds("one").at(-1) === "disconnected",
    );
    between.isSilent = false;
    await untilTrue("they meet again", () => other.listener.kinds("one").at(-1) === "connected");
    expect(one.lines).toContainEqual(
      expect.objectContaining({ event: "disconnected_to", peer: "other", reason: "silent" }),
    );
  });
});

describe("peers", () => {
  test("two clusters refuse each other by name, and say so once a minute", async () => {
    await using one = peerNode("one");
    await using other = peerNode("other");
    one.transport.introduce(helloOf("one", "aa"));
    other.transport.introduce(helloOf("other", "bb"));
    knowPair(one, other);

    await untilTrue("several tries failed", () =>
      [one, other].every((node) =>
        node.transport.stats.peers.every(({ failures }) => failures > 2),
      ),
    );

    expect(one.lines.filter(({ event }) => event === "other_cluster")).toHaveLength(1);
    expect(other.lines.filter(({ event }) => event === "other_cluster")).toHaveLength(1);
    expect([...one.listener.deliveries, ...other.listener.deliveries]).toEqual([]);
  });

  test("a node that answers for another is refused", async () => {
    await using one = peerNode("one");
    await using other = peerNode("other");
    other.transport.setPeers([{ nodeId: "one", host: "127.0.0.1", port: 1 }]);
    one.transport.setPeers([{ nodeId: "third", host: "127.0.0.1", port: other.transport.port }]);

    await untilTrue("it is refused", () => other.transport.stats.refusals.other_node > 0);
    await untilTrue("it is told", () => one.lines.length > 0);

    expect(one.transport.link("third").isConnected).toBe(false);
    expect(one.lines).toEqual([
      expect.objectContaining({ event: "refused_by_peer", peer: "third", reason: "other_node" }),
    ]);
  });

  test("a second connection of a peer takes the place of the first", async () => {
    await using node = peerNode("node");
    await using first = peerNode("peer");
    await using second = peerNode("peer");
    await introducePair(node, first);

    second.transport.setPeers([{ nodeId: "node", host: "127.0.0.1", port: node.transport.port }]);
    await untilTrue("the first was replaced", () => node.listener.deliveries.length >= 3);

    expect(node.listener.kinds("peer").slice(0, 3)).toEqual([
      "connected",
      "disconnected",
      "connected",
    ]);
  });

  test("the counters tell what went back and forth", async () => {
    await using one = peerNode("one");
    await using other = peerNode("other");
    await introducePair(one, other);
    await say(one, "other", "x".repeat(1000));
    await untilTrue("it is there", () => other.listener.messages.length === 1);

    expect(one.transport.stats.peers).toMatchObject([
      { nodeId: "other", isConnected: true, messagesSent: 1, messagesReceived: 0, connects: 1 },
    ]);
    expect(one.transport.stats.peers[0]?.bytesSent).toBeGreaterThanOrEqual(1040);
    expect(other.transport.stats.peers).toMatchObject([{ messagesSent: 0, messagesReceived: 1 }]);
    expect(other.transport.stats.peers[0]?.bytesReceived).toBeGreaterThan(1040);
  });

  test("a name is resolved, and all of its addresses are tried", async () => {
    await using one = peerNode("one");
    await using other = peerNode("other");
    one.transport.setPeers([{ nodeId: "other", host: "localhost", port: other.transport.port }]);
    other.transport.setPeers([{ nodeId: "one", host: "name.invalid", port: one.transport.port }]);

    await untilTrue("one is connected", () => one.transport.link("other").isConnected);
    await untilTrue("the other says why not", () =>
      other.lines.some(({ event, peer }) => event === "peer_unreachable" && peer === "one"),
    );
  });

  test("a port that is taken is a named reason to stop", async () => {
    await using node = peerNode("node");

    expect(() => peerNode("other", { port: node.transport.port })).toThrow(
      expect.objectContaining({ reason: "address_in_use" }),
    );
  });
});
