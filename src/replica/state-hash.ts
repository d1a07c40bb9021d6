// One number for everything that the log made, so that nodes can be compared: sixteen hexadecimal digits.

import { type BrokerState, hashState as hashBroker } from "../broker/mod.ts";
import { hashKv, type KvState } from "../kv/mod.ts";
import { PrintSum } from "../lib/checksum.ts";

/** Equal on every node that has applied the same entries, and different, but for a chance of 2^-64, on any other. */
export function hashState(state: BrokerState, kv: KvState): string {
  const sum = new PrintSum();
  hashBroker(state, sum);
  hashKv(kv, sum);
  return sum.text();
}
