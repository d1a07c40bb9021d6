// The promises of the Transport port, kept by sockets with and without TLS and by the simulated network.

import { afterAll } from "bun:test";
import { ClusterTransport } from "../../src/cluster/mod.ts";
import { silentLogger } from "../../src/lib/logger.ts";
import { Prng } from "../../src/lib/prng.ts";
import type { Transport } from "../../src/replica/ports.ts";
import { type TransportWorld, transportSuite } from "../suites/transport.ts";
import { type CertificateAuthority, makeAuthority } from "../support/certificates.ts";
import { SimNetwork } from "../support/sim-network.ts";

const WAIT_MS_MAX = 20_000;
const STEPS_MAX = 1_000_000;

const IDS = ["one", "other", "third"];

/** A port that nobody listens on just now. */
function freePort(): number {
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: () => undefined },
  });
  const { port } = listener;
  listener.stop(true);
  return port;
}

async function realWorld(authority: CertificateAuthority | undefined): Promise<TransportWorld> {
  const ports = new Map<string, number>();
  const running = new Map<string, ClusterTransport>();
  for (const id of IDS) ports.set(id, freePort());
  const port = (id: string): number => ports.get(id) ?? 1;
  return {
    start: (id) => {
      const transport = new ClusterTransport({
        host: "127.0.0.1",
        port: port(id),
        tls: authority?.pathsOf(id),
        secret: "the same on each",
        logger: silentLogger,
      });
      running.set(id, transport);
      return transport;
    },
    address: (nodeId) => ({ nodeId, host: "127.0.0.1", port: port(nodeId) }),
    until: async (holds) => {
      const end = performance.now() + WAIT_MS_MAX;
      while (!holds()) {
        if (performance.now() > end) throw new Error("It did not come about");
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
    failures: (from, to) =>
      running.get(from)?.stats.peers.find(({ nodeId }) => nodeId === to)?.failures ?? 0,
    clean: async () => {
      for (const transport of running.values()) await transport.close();
    },
  };
}

function simulatedWorld(seed: number): TransportWorld {
  const network = new SimNetwork(new Prng(seed));
  const running = new Map<string, Transport>();
  return {
    start: (id) => {
      const transport = network.node(id);
      running.set(id, transport);
      return transport;
    },
    address: (nodeId) => ({ nodeId, host: nodeId, port: 1 }),
    until: async (holds) => {
      for (let steps = 0; !holds(); steps++) {
        if (steps > STEPS_MAX) throw new Error(`It did not come about; seed ${seed}`);
        if (!network.step()) network.advance(Math.min(1000, network.nextMs - network.nowMs));
      }
    },
    failures: (from, to) => network.failures.get(`${from} ${to}`) ?? 0,
    clean: async () => {
      for (const transport of running.values()) await transport.close();
    },
  };
}

const authority = await makeAuthority(IDS);
afterAll(authority.clean);

transportSuite("sockets, a secret", () => realWorld(undefined));
transportSuite("sockets, TLS", () => realWorld(authority));
for (const seed of [1, 2, 3])
  transportSuite(`simulated, seed ${seed}`, () => Promise.resolve(simulatedWorld(seed)));
