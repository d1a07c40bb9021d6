// The engine of one node: drives consensus, log and state in turns, batches what arrives, wakes who waits. Never speaks
// HTTP, never touches a file. Keeps: nothing is answered before it is committed and durable as asked; state is what the
// log says. Driven by `main.ts` in production and by `test/sim` in simulation, the same class in both.

export { Forming } from "./forming.ts";
export type { Clock } from "./log-time.ts";
export { ALONE, noPeers } from "./no-peers.ts";
export { NodeBroker } from "./node-broker.ts";
export type { Delivery, PeerAddress, PeerHello, PeerLink, Transport } from "./ports.ts";
export { ReplicaProbe } from "./probe.ts";
export { Replica } from "./replica.ts";
export { hashState } from "./state-hash.ts";
export { WaitingBroker } from "./waiting-broker.ts";
