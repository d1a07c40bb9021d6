// The simulated network may break, delay and separate, and never does what TCP does not: whatever is done to it, what comes
// over one connection is what was sent on it, in order per priority, from its beginning, without a gap.

import { expect, test } from "bun:test";
import { Prng } from "../../../src/lib/prng.ts";
import type { Transport } from "../../../src/replica/ports.ts";
import { helloOf } from "../../suites/transport.ts";
import { SimNetwork } from "../../support/sim-network.ts";

const IDS = ["a", "b", "c"];
const STEPS = 3000;
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const addresses = IDS.map((nodeId) => ({ nodeId, host: nodeId, port: 1 }));

/** A world in which everything happens, and what was seen of it. */
class NetworkWorld {
  readonly prng: Prng;
  readonly network: SimNetwork;
  readonly trace: string[] = [];
  readonly nodes = new Map<string, Transport>();
  messages = 0;
  disconnects = 0;
  /** By `from to`: what was sent on the present connection and has not come yet. */
  readonly #owed = new Map<string, { readonly urgent: number[]; readonly bulk: number[] }>();
  #sent = 0;

  constructor(seed: number) {
    const prng = new Prng(seed);
    this.prng = prng.fork("world");
    this.network = new SimNetwork(prng.fork("network"), {
      latencyMsMax: prng.below(100),
      breaksPerMillion: prng.below(1000),
      clogsPerMillion: prng.below(1000),
    });
    for (const id of IDS) this.start(id);
  }

  start(id: string): void {
    const transport = this.network.node(id);
    this.nodes.set(id, transport);
    for (const pair of this.#owed.keys()) if (pair.endsWith(` ${id}`)) this.#owed.delete(pair);
    transport.onWake = () => this.#take(id, transport);
    transport.introduce(helloOf(id));
    transport.setPeers(addresses.filter(({ nodeId }) => nodeId !== id));
  }

  act(): void {
    const one = this.#draw();
    const other = this.#draw();
    const chance = this.prng.below(1000);
    if (chance < 5) {
      this.network.crash(one);
      this.trace.push(`crash ${one}`);
      this.network.restart(one);
      this.start(one);
    } else if (chance < 15) this.network.block(one, other);
    else if (chance < 60) this.network.unblock(one, other);
    else if (chance < 300) this.network.advance(this.prng.below(50));
    else if (chance < 600 && one !== other) this.#send(one, other);
    else this.network.step();
  }

  heal(): void {
    for (const one of IDS) for (const other of IDS) this.network.unblock(one, other);
  }

  isWhole(): boolean {
    return IDS.every((one) =>
      IDS.every((other) => one === other || this.nodes.get(one)!.link(other).isConnected),
    );
  }

  #draw(): string {
    return IDS[this.prng.below(IDS.length)]!;
  }

  #send(from: string, to: string): void {
    const priority = this.prng.chance(0.3) ? "urgent" : "bulk";
    const bytes = new Uint8Array(8 + this.prng.below(200_000));
    this.#sent += 1;
    new DataView(bytes.buffer).setUint32(0, this.#sent);
    bytes[4] = priority === "urgent" ? 1 : 0;
    if (!this.nodes.get(from)!.send(to, priority, [bytes])) return;
    this.#owed.get(`${from} ${to}`)?.[priority].push(this.#sent);
    this.trace.push(`sent ${this.#sent}`);
  }

  #take(id: string, transport: Transport): void {
    for (const delivery of transport.poll()) {
      const pair = `${delivery.from.nodeId} ${id}`;
      const owed = this.#owed.get(pair);
      this.trace.push(`${this.network.nowMs} ${pair} ${delivery.kind}`);
      if (delivery.kind === "connected") {
        expect(owed).toBeUndefined();
        this.#owed.set(pair, { urgent: [], bulk: [] });
      } else if (delivery.kind === "disconnected") {
        expect(owed).toBeDefined();
        this.#owed.delete(pair);
        this.disconnects += 1;
      } else {
        const priority = delivery.bytes[4] === 1 ? "urgent" : "bulk";
        const number = new DataView(delivery.bytes.buffer).getUint32(0);
        expect(number).toBe(owed![priority].shift()!);
        this.messages += 1;
      }
    }
  }
}

function live(seed: number): NetworkWorld {
  const world = new NetworkWorld(seed);
  for (let step = 0; step < STEPS; step++) world.act();
  return world;
}

test.each(SEEDS)(
  "connections are bracketed, and messages in order within them; seed %d",
  (seed) => {
    const world = live(seed);

    expect(world.messages).toBeGreaterThan(20);
    expect(world.disconnects).toBeGreaterThan(0);
  },
);

test.each(SEEDS)("once healed, everybody is connected again; seed %d", (seed) => {
  const world = live(seed);
  world.heal();

  for (let step = 0; step < 20_000 && !(world.isWhole() && step > 10_000); step++) {
    if (!world.network.step()) world.network.advance(10);
  }

  expect(world.isWhole()).toBe(true);
});

test("a seed lives the same life twice", () => {
  expect(live(7).trace).toEqual(live(7).trace);
  expect(live(7).trace).not.toEqual(live(8).trace);
});

/** Two nodes that are connected, and the network between them. */
function connectedPair(): {
  network: SimNetwork;
  one: Transport;
  other: Transport;
  kinds: string[];
} {
  const network = new SimNetwork(new Prng(5), { latencyMsMax: 5 });
  const [one, other] = ["a", "b"].map((id) => {
    const transport = network.node(id);
    transport.introduce(helloOf(id));
    transport.setPeers(addresses.filter(({ nodeId }) => nodeId !== id && nodeId !== "c"));
    return transport;
  });
  const kinds: string[] = [];
  other!.onWake = () => kinds.push(...other!.poll().map(({ kind }) => kind));
  while (network.step());
  return { network, one: one!, other: other!, kinds };
}

const pass = (network: SimNetwork, milliseconds: number): void => {
  for (let i = 0; i < milliseconds; i++) {
    network.advance(1);
    while (network.step());
  }
};

test("a direction that is blocked for a moment delays, and loses nothing", () => {
  const { network, one, kinds } = connectedPair();

  network.block("a", "b");
  one.send("b", "bulk", [new Uint8Array(3)]);
  pass(network, 500);
  expect(kinds).toEqual(["connected"]);
  network.unblock("a", "b");
  pass(network, 20);

  expect(kinds).toEqual(["connected", "message"]);
});

test.each([
  ["a", "b"],
  ["b", "a"],
])("a direction that stays blocked ends the connections of both; %s to %s", (from, to) => {
  const { network, one, other, kinds } = connectedPair();

  network.block(from, to);
  pass(network, 12_000);

  expect(kinds).toEqual(["connected", "disconnected"]);
  expect(one.link("b").isConnected || other.link("a").isConnected).toBe(false);
  network.unblock(from, to);
  pass(network, 2000);
  expect(one.link("b").isConnected && other.link("a").isConnected).toBe(true);
});

test("a crashed node's inbox is gone, and its peers notice", () => {
  const { network, one, other } = connectedPair();
  other.onWake = () => undefined;
  one.send("b", "bulk", [new Uint8Array(3)]);
  pass(network, 20);

  network.crash("b");
  expect(other.poll()).toEqual([]);
  expect(other.send("a", "bulk", [])).toBe(false);
  pass(network, 6000);

  expect(one.link("b").isConnected).toBe(false);
  expect(network.restart("b")).not.toBe(other);
});
