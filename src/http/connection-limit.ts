// Bounds the connections of a node. Those beyond the bound wait with the kernel until others end: they cost this process
// nothing, and who is connected is served on.

import { limits } from "../config/mod.ts";
import type { Logger } from "../lib/logger.ts";
import type { ListenerPort } from "./ports.ts";

/** Looking takes at most one in so many milliseconds: old kernels make a list of all descriptors for it. */
const LOOK_COST_FACTOR = 100;
/** Below this, whoever runs the node should hear of it. */
const FEW_CONNECTIONS = 1000;
/** Milliseconds between two lines of the log that say the same. */
const SAY_INTERVAL_MS = 10_000;

/** Looks how many connections there are, and closes and opens the door. */
export class ConnectionLimit {
  readonly connectionsMax: number;
  readonly #listener: ListenerPort;
  readonly #logger: Logger;
  readonly #now: () => number;
  #isAccepting = true;
  #nextLookMs = 0;
  #nextSayMs = 0;

  constructor(listener: ListenerPort, logger: Logger, now: () => number = () => performance.now()) {
    this.#listener = listener;
    this.#logger = logger;
    this.#now = now;
    const share = Math.floor(listener.descriptorsMax * limits.CONNECTION_DESCRIPTORS_SHARE);
    this.connectionsMax = Math.min(limits.CONNECTIONS_MAX, share);
    if (share < FEW_CONNECTIONS)
      logger.warn("few_descriptors", {
        descriptors: listener.descriptorsMax,
        connections_max: share,
      });
  }

  /** Connections that are open, roughly. */
  get connections(): number {
    return this.#listener.connections();
  }

  /** Call every `CONNECTION_LOOK_MS`. */
  look(): void {
    const startedMs = this.#now();
    if (startedMs < this.#nextLookMs) return;
    const connections = this.#listener.connections();
    const endedMs = this.#now();
    this.#nextLookMs = endedMs + (endedMs - startedMs) * LOOK_COST_FACTOR;
    const mayAccept = connections < this.connectionsMax;
    if (mayAccept === this.#isAccepting) return;
    if (!this.#listener.setAccepting(mayAccept)) {
      this.#say("connections_unbounded", connections, endedMs);
      return;
    }
    this.#isAccepting = mayAccept;
    if (!mayAccept) this.#say("connections_full", connections, endedMs);
  }

  #say(event: string, connections: number, nowMs: number): void {
    if (nowMs < this.#nextSayMs) return;
    this.#nextSayMs = nowMs + SAY_INTERVAL_MS;
    this.#logger.warn(event, { connections, connections_max: this.connectionsMax });
  }
}
