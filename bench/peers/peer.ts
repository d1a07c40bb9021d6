// What another system must offer to be measured beside Ayder: one file each, listed in `run.ts`.

import type { CpuFigures, LatencySummary } from "../../src/load/mod.ts";

/** The work that all do alike: durable writes, one request in flight on each connection. */
export interface PeerWork {
  /** Requests in flight, all connections together. */
  readonly inFlight: number;
  /** Records a request: 1, or as many as a client of that system would hand over at once. */
  readonly records: number;
  readonly valueBytes: number;
  readonly durationMs: number;
  readonly warmupMs: number;
}

/** What one slice found. */
export interface PeerSlice {
  readonly repliesPerSecond: number;
  readonly recordsPerSecond: number;
  readonly errors: number;
  /** Of a request, in milliseconds. */
  readonly latency: LatencySummary;
  readonly client: CpuFigures;
  /** Of all processes of the server together. */
  readonly server: CpuFigures;
}

/** One way to write to a peer that is up: the same server may be asked in several protocols. */
export interface PeerWay {
  /** What its row is called. */
  readonly name: string;
  /** Whether it takes many records in one request. */
  readonly takesBatches: boolean;
  slice(work: PeerWork): Promise<PeerSlice>;
}

/** A peer that is up. */
export interface RunningPeer extends AsyncDisposable {
  readonly version: string;
  /** One command line, and the settings that its durability hangs on. */
  readonly command: string;
  readonly ways: readonly PeerWay[];
}

/** A system to compare with. */
export interface Peer {
  readonly name: string;
  /** What is true of a write when it is answered, with the settings of this comparison. */
  readonly durability: string;
  /** Sizes that it is measured at: 1, and 3 where a majority of three can hold a write before its reply. */
  readonly sizes: readonly number[];
  /** How to install it, or undefined when it is there. */
  missing(): string | undefined;
  /** Starts so many nodes on free ports and scratch directories. */
  start(nodes: number): Promise<RunningPeer>;
}
