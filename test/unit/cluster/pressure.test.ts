// A node that does not take what comes: its memory stays bounded, its peers have to wait, and nothing is lost or cut off.

import { afterAll, expect, test } from "bun:test";
import { makeAuthority } from "../../support/certificates.ts";
import { introducePair, peerNode, untilTrue } from "../../support/peer-nodes.ts";

const MIB = 1 << 20;
const MESSAGES = 64;

const authority = await makeAuthority(["one", "other"]);
afterAll(authority.clean);

test.each([
  ["a secret", undefined],
  ["TLS", authority.pathsOf],
] as const)(
  "with %s, more than 16 MiB that nobody polls hold the sender back",
  async (_what, pathsOf) => {
    // Longer than it takes to be called silent: who is not read is not silent.
    const times = { aliveMs: 10, silenceMs: 50 };
    await using one = peerNode("one", { tls: pathsOf?.("one"), times });
    await using other = peerNode("other", { tls: pathsOf?.("other"), times });
    await introducePair(one, other);
    const { transport } = other;
    let isPolling = false;
    let received = 0;
    const take = (): void => {
      for (const delivery of transport.poll()) {
        if (delivery.kind === "message") received += 1;
        else other.listener.deliveries.push(delivery);
      }
    };
    transport.onWake = () => {
      if (isPolling) take();
    };

    const message = new Uint8Array(MIB);
    let sent = 0;
    const send = (): void => {
      while (sent < MESSAGES && one.transport.send("other", "bulk", [message])) sent += 1;
    };
    let quietSince = performance.now();
    await untilTrue("the sender is held back", () => {
      const before = sent;
      send();
      if (sent > before) quietSince = performance.now();
      return performance.now() - quietSince > 200;
    });
    const held = transport.stats.peers[0]?.messagesReceived ?? 0;
    expect(held).toBeGreaterThan(15);
    expect(held).toBeLessThan(20);
    expect(sent).toBeLessThan(MESSAGES);

    isPolling = true;
    take();
    await untilTrue("everything is there", () => {
      send();
      return received === MESSAGES;
    });
    expect(other.listener.kinds("one")).toEqual(["connected"]);
  },
);

test("a node that listens on a name is found by that name", async () => {
  await using one = peerNode("one", { host: "localhost" });
  await using other = peerNode("other", { host: "localhost" });
  for (const [node, peer] of [
    [one, other],
    [other, one],
  ] as const) {
    const { id } = peer.listener;
    node.transport.setPeers([{ nodeId: id, host: "localhost", port: peer.transport.port }]);
  }

  await untilTrue(
    "both are connected",
    () => one.transport.link("other").isConnected && other.transport.link("one").isConnected,
  );
});
