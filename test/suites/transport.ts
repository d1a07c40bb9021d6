// What every transport promises, as the docstrings of the port say it. Run on the real one over loopback and on the
// simulated one: a fake that is not under this suite may not be used anywhere.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Delivery, PeerAddress, PeerHello, Transport } from "../../src/replica/ports.ts";

/** Transports with the world around them. */
export interface TransportWorld {
  /** Starts a node of this id, or starts it again where it was closed; its address stays. */
  readonly start: (id: string) => Transport;
  readonly address: (id: string) => PeerAddress;
  /** Lets the world go on until something holds; a bound ends it with an error. */
  readonly until: (holds: () => boolean) => Promise<void>;
  /** How often a connection from one node to the other could not be made. */
  readonly failures: (from: string, to: string) => number;
  /** Closes every transport, and removes what the test left. */
  readonly clean: () => Promise<void>;
}

const MANY = 2000;

/** What a node says of itself in these tests. */
export const helloOf = (nodeId: string, clusterId = ""): PeerHello => ({
  nodeId,
  clusterId,
  incarnation: "0123456789abcdef0123456789abcdef",
  httpUrl: `http://${nodeId}.example:7001`,
});

/** A node that keeps what it is given. */
export class Listener {
  readonly id: string;
  readonly transport: Transport;
  readonly deliveries: Delivery[] = [];
  wakes = 0;
  /** Above 0 while a method of the transport runs. */
  depth = 0;
  wakesInside = 0;

  constructor(id: string, transport: Transport) {
    this.id = id;
    this.transport = transport;
    transport.onWake = () => {
      this.wakes += 1;
      if (this.depth > 0) this.wakesInside += 1;
      else this.deliveries.push(...transport.poll());
    };
  }

  inside<T>(act: (transport: Transport) => T): T {
    this.depth += 1;
    const result = act(this.transport);
    this.depth -= 1;
    return result;
  }

  get messages(): Uint8Array[] {
    return this.deliveries.flatMap((one) => (one.kind === "message" ? [one.bytes] : []));
  }

  get texts(): string[] {
    return this.messages.map((bytes) => new TextDecoder().decode(bytes));
  }

  kinds(from: string): string[] {
    return this.deliveries.filter((one) => one.from.nodeId === from).map(({ kind }) => kind);
  }
}

/** Declares the tests of one transport. */
export function transportSuite(name: string, make: () => Promise<TransportWorld>): void {
  describe(`transport: ${name}`, () => {
    let world: TransportWorld;
    beforeEach(async () => {
      world = await make();
    });
    afterEach(async () => {
      await world.clean();
    });

    const listen = (id: string, clusterId = ""): Listener => {
      const listener = new Listener(id, world.start(id));
      listener.transport.introduce(helloOf(id, clusterId));
      return listener;
    };
    const addresses = (...ids: string[]): PeerAddress[] => ids.map((id) => world.address(id));
    const isLinked = (one: Listener, other: Listener): boolean =>
      one.transport.link(other.id).isConnected &&
      other.transport.link(one.id).isConnected &&
      one.kinds(other.id).at(-1) === "connected" &&
      other.kinds(one.id).at(-1) === "connected";
    const pair = async (oneCluster = "", otherCluster = ""): Promise<[Listener, Listener]> => {
      const one = listen("one", oneCluster);
      const other = listen("other", otherCluster);
      one.transport.setPeers(addresses("other"));
      other.transport.setPeers(addresses("one"));
      await world.until(() => isLinked(one, other));
      return [one, other];
    };
    const send = (
      from: Listener,
      to: string,
      priority: "urgent" | "bulk",
      ...parts: (string | Uint8Array)[]
    ): boolean =>
      from.inside((transport) =>
        transport.send(
          to,
          priority,
          parts.map((part) => bytesOf(part)),
        ),
      );

    test("two nodes meet, and each knows what the other says of itself", async () => {
      const [one, other] = await pair("abc", "");

      expect(one.deliveries).toEqual([{ kind: "connected", from: helloOf("other") }]);
      expect(other.deliveries).toEqual([{ kind: "connected", from: helloOf("one", "abc") }]);
      expect(one.transport.link("other").hello).toEqual(helloOf("other"));
      expect(other.transport.link("one").hello).toEqual(helloOf("one", "abc"));
    });

    test("nobody is connected to who is not there, and a message to them is not taken", () => {
      const one = listen("one");
      one.transport.setPeers(addresses("other"));

      expect(one.transport.link("other")).toEqual({
        isConnected: false,
        hello: undefined,
        unsentBytes: 0,
        bytesSent: 0,
        bytesReceived: 0,
      });
      expect(one.transport.link("nobody").isConnected).toBe(false);
      expect(send(one, "other", "bulk", "a")).toBe(false);
      expect(send(one, "nobody", "urgent", "a")).toBe(false);
    });

    test("send() puts parts together, and they may change afterwards", async () => {
      const [one, other] = await pair();
      const part = bytesOf("first ");

      expect(send(one, "other", "bulk", part, "", "second")).toBe(true);
      part.fill(0);
      await world.until(() => other.messages.length === 1);

      expect(other.texts).toEqual(["first second"]);
      expect(one.transport.link("other").bytesSent).toBeGreaterThanOrEqual(12);
      expect(other.transport.link("one").bytesReceived).toBeGreaterThanOrEqual(12);
      expect(other.deliveries.at(-1)?.from).toEqual(helloOf("one"));
    });

    test.each(["urgent", "bulk"] as const)(
      "%s messages arrive once and in order",
      async (priority) => {
        const [one, other] = await pair();
        const sent: string[] = [];

        let isPending = false;
        await world.until(() => {
          // A few in each turn, until all are taken: a refusal is no loss.
          for (let i = 0; i < 50 && sent.length < MANY && !isPending; i++) {
            const text = `${sent.length} ${"x".repeat((sent.length * 7919) % 900)}`;
            isPending = !send(one, "other", priority, text);
            if (!isPending) sent.push(text);
          }
          isPending = false;
          return other.messages.length === MANY;
        });

        expect(other.texts).toEqual(sent);
      },
    );

    test("an empty message and one of many pieces arrive whole, in both directions", async () => {
      const [one, other] = await pair();
      const large = noise(5_000_001);

      expect(send(one, "other", "bulk")).toBe(true);
      expect(send(one, "other", "bulk", large.subarray(0, 3), large.subarray(3))).toBe(true);
      expect(send(other, "one", "urgent", large.subarray(0, 700_000))).toBe(true);
      await world.until(() => other.messages.length === 2 && one.messages.length === 1);

      expect(other.messages.map(({ length }) => length)).toEqual([0, large.length]);
      expect(Buffer.compare(other.messages[1]!, large)).toBe(0);
      expect(Buffer.compare(one.messages[0]!, large.subarray(0, 700_000))).toBe(0);
    });

    test("what is too much is refused, what was taken arrives, and urgent ones do not wait for it", async () => {
      const [one, other] = await pair();
      const piece = noise(1_000_000);

      let taken = 0;
      while (taken < 100 && send(one, "other", "bulk", piece)) taken += 1;
      const unsent = one.transport.link("other").unsentBytes;
      const isUrgentTaken = send(one, "other", "urgent", "now");
      await world.until(() => other.messages.length === taken + 1);

      expect(taken).toBeLessThan(100);
      expect(unsent).toBeGreaterThan(1_000_000);
      expect(unsent).toBeLessThan(2_200_000);
      expect(isUrgentTaken).toBe(true);
      expect(other.messages.filter(({ length }) => length === piece.length)).toHaveLength(taken);
      expect(other.messages.at(-1)).toHaveLength(piece.length);
      await world.until(() => one.transport.link("other").unsentBytes === 0);
    });

    test("more than 1 MiB of unsent urgent messages are refused", async () => {
      const [one, other] = await pair();
      while (send(one, "other", "bulk", noise(1_000_000)));

      let taken = 0;
      while (taken < 1000 && send(one, "other", "urgent", noise(10_000))) taken += 1;

      expect(taken).toBeGreaterThan(80);
      expect(taken).toBeLessThan(1000);
      await world.until(() => one.transport.link("other").unsentBytes === 0);
      expect(other.kinds("one")).not.toContain("disconnected");
    });

    test("two clusters keep apart", async () => {
      const one = listen("one", "aa");
      const other = listen("other", "bb");
      one.transport.setPeers(addresses("other"));
      other.transport.setPeers(addresses("one"));
      await world.until(
        () => world.failures("one", "other") > 0 && world.failures("other", "one") > 0,
      );

      expect([...one.deliveries, ...other.deliveries]).toEqual([]);
      expect(one.transport.link("other").isConnected).toBe(false);
    });

    test("who is not among the peers is not let in", async () => {
      const one = listen("one");
      const other = listen("other");
      one.transport.setPeers(addresses("other"));
      await world.until(() => world.failures("one", "other") > 1);
      expect(other.deliveries).toEqual([]);

      other.transport.setPeers(addresses("one"));
      await world.until(() => isLinked(one, other));
    });

    test("setPeers() lets the others go", async () => {
      const [one, other] = await pair();
      send(one, "other", "bulk", "before");
      await world.until(() => other.messages.length === 1);

      one.inside((transport) => transport.setPeers([]));
      await world.until(
        () =>
          one.kinds("other").at(-1) === "disconnected" &&
          other.kinds("one").at(-1) === "disconnected" &&
          !other.transport.link("one").isConnected,
      );

      expect(one.transport.link("other").isConnected).toBe(false);
      expect(send(one, "other", "bulk", "after")).toBe(false);
      expect(other.kinds("one")).toEqual(["connected", "message", "disconnected"]);
      expect(one.wakesInside).toBe(0);
    });

    test("introduce() makes connections that said something else anew, and leaves the others", async () => {
      const [one, other] = await pair();
      one.inside((transport) => transport.introduce(helloOf("one")));
      expect(send(one, "other", "bulk", "still there")).toBe(true);
      await world.until(() => other.messages.length === 1);

      one.inside((transport) => transport.introduce(helloOf("one", "formed")));
      await world.until(
        () =>
          other.transport.link("one").hello?.clusterId === "formed" &&
          one.kinds("other").length === 3 &&
          isLinked(one, other),
      );

      expect(other.kinds("one")).toEqual(["connected", "message", "disconnected", "connected"]);
      expect(other.deliveries.at(-1)?.from).toEqual(helloOf("one", "formed"));
      expect(one.kinds("other")).toEqual(["connected", "disconnected", "connected"]);
      expect(one.wakesInside).toBe(0);
    });

    test("a node that starts again is connected again, and the old life's messages stay in it", async () => {
      const [one, other] = await pair();
      send(one, "other", "bulk", "old life");
      await world.until(() => other.messages.length === 1);

      await other.transport.close();
      await world.until(
        () =>
          !one.transport.link("other").isConnected && one.kinds("other").at(-1) === "disconnected",
      );
      const again = listen("other");
      again.transport.setPeers(addresses("one"));
      await world.until(() => isLinked(one, again));
      send(one, "other", "bulk", "new life");
      await world.until(() => again.messages.length === 1);

      expect(again.texts).toEqual(["new life"]);
      expect(again.kinds("one")).toEqual(["connected", "message"]);
      expect(one.kinds("other")).toEqual(["connected", "disconnected", "connected"]);
    });

    test("after close() nobody is woken, nothing is taken and nothing comes", async () => {
      const [one, other] = await pair();
      send(other, "one", "bulk", "too late");

      await one.inside((transport) => transport.close());
      const { wakes } = one;
      await world.until(() => other.kinds("one").at(-1) === "disconnected");

      expect(one.wakes).toBe(wakes);
      expect(one.transport.poll()).toEqual([]);
      expect(send(one, "other", "bulk", "too late")).toBe(false);
      expect(one.transport.link("other").isConnected).toBe(false);
    });

    test("three nodes talk to each other, and what one says to another stays there", async () => {
      const ids = ["one", "other", "third"];
      const nodes = ids.map((id) => listen(id));
      for (const node of nodes)
        node.transport.setPeers(addresses(...ids.filter((id) => id !== node.id)));
      await world.until(() =>
        nodes.every((node) => nodes.every((peer) => peer === node || isLinked(node, peer))),
      );

      for (const from of nodes) {
        for (const to of nodes)
          if (to !== from) send(from, to.id, "urgent", `${from.id} to ${to.id}`);
      }
      await world.until(() => nodes.every((node) => node.messages.length === 2));

      for (const node of nodes) {
        const expected = ids.filter((id) => id !== node.id).map((id) => `${id} to ${node.id}`);
        expect(node.texts.sort()).toEqual(expected);
        expect(node.wakesInside).toBe(0);
      }
    });
  });
}

function bytesOf(part: string | Uint8Array): Uint8Array {
  return typeof part === "string" ? new TextEncoder().encode(part) : part;
}

/** Bytes among which a wrong order or a gap shows. */
function noise(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 0x9e_37_79_b1);
  return new Uint8Array(words.buffer, 0, length);
}
