// What another system must offer to be measured beside Ayder: one file each, listed in `run.ts`.

import type { CpuFigures, LatencySummary } from "../../src/load/mod.ts";

/** The work that all do alike: durable single records, one request in flight on each connection. */
export interface PeerWork {
  readonly connections: number;
  readonly valueBytes: number;
  readonly durationMs: number;
  readonly warmupMs: number;
}

/** What one slice found. */
export interface PeerSlice {
  readonly repliesPerSecond: number;
  readonly errors: number;
  readonly latency: LatencySummary;
  readonly client: CpuFigures;
  readonly server: CpuFigures;
}

/** A peer that is up. */
export interface RunningPeer extends AsyncDisposable {
  readonly pid: number;
  readonly version: string;
  readonly command: string;
  slice(work: PeerWork): Promise<PeerSlice>;
}

/** A system to compare with. */
export interface Peer {
  readonly name: string;
  /** How to install it, or undefined when it is there. */
  missing(): string | undefined;
  /** Starts it on a free port and a scratch directory, set to sync every write before it answers. */
  start(): Promise<RunningPeer>;
}
