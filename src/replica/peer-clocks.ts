// What the clocks of the other nodes said, and when: a leader takes up the time of day only where a majority agrees on it.

import type { Clock } from "./log-time.ts";

/** Clocks that differ by less agree. */
const CLOCKS_AGREE_MS = 10_000;

/** The last word of each peer. */
export class PeerClocks {
  readonly #clock: Clock;
  readonly #said = new Map<string, { readonly wallMs: number; readonly atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A peer has spoken, and its clock was at `wallMs`. */
  heard(nodeId: string, wallMs: number): void {
    this.#said.set(nodeId, { wallMs, atMs: this.#clock.monotonicMs() });
  }

  /** When a peer last said anything: milliseconds ago, `Infinity` for never. */
  silentMs(nodeId: string): number {
    const atMs = this.#said.get(nodeId)?.atMs ?? Number.NEGATIVE_INFINITY;
    return this.#clock.monotonicMs() - atMs;
  }

  /** Whether the clocks of a majority of `voters`, this node's among them, are near each other. */
  agree(voters: readonly string[], ownId: string): boolean {
    const wallMs = this.#clock.wallMs();
    const monotonicMs = this.#clock.monotonicMs();
    const near = voters.filter((nodeId) => {
      if (nodeId === ownId) return true;
      const said = this.#said.get(nodeId);
      // The own clock may have jumped since the peer spoke.
      return (
        said !== undefined &&
        Math.abs(said.wallMs + monotonicMs - said.atMs - wallMs) < CLOCKS_AGREE_MS
      );
    });
    return near.length > voters.length / 2;
  }
}
