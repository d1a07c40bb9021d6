// The transport of a node that is alone: there is nobody to reach.

import type { PeerLink, Transport } from "./ports.ts";
import type { ClusterOptions } from "./replica.ts";

const NOBODY: PeerLink = {
  isConnected: false,
  hello: undefined,
  unsentBytes: 0,
  bytesSent: 0,
  bytesReceived: 0,
};

/** The part of a node that is alone. */
export const ALONE: ClusterOptions = {
  writeConcern: "majority",
  tickMs: 50,
  electionTicks: 10,
  heartbeatTicks: 1,
  httpUrl: "",
  addresses: [],
  catchUpBytes: Number.POSITIVE_INFINITY,
};

/** Reaches nobody. */
export const noPeers = (): Transport => ({
  onWake: () => undefined,
  introduce: () => undefined,
  setPeers: () => undefined,
  link: () => NOBODY,
  send: () => false,
  poll: () => [],
  close: () => Promise.resolve(),
});
