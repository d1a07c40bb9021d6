// What answers for a node that does not belong to a cluster yet, or is still reading its log: every question is met with
// the same refusal, and none is forgotten.

import { fail, type Result } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";

const WAITING = refuse("not_ready", "The node waits for its peers");

/** A broker that has nothing yet. */
export class WaitingBroker {
  readonly #refused = (): Promise<Result<never, Refusal>> => Promise.resolve(fail(WAITING));

  status(): {
    ready: boolean;
    reason: string;
    lastSyncedBatchId: number;
    segmentBytes: number;
    readOnly: boolean;
  } {
    return {
      ready: false,
      reason: "waiting_for_peers",
      lastSyncedBatchId: 0,
      segmentBytes: 0,
      readOnly: false,
    };
  }

  writeGate(): Refusal {
    return WAITING;
  }

  topic(): undefined {
    return undefined;
  }

  topics(): [] {
    return [];
  }

  partition(): { startOffset: number; nextOffset: number; bytes: number } {
    return { startOffset: 0, nextOffset: 0, bytes: 0 };
  }

  groups(): [] {
    return [];
  }

  committedOffset(): undefined {
    return undefined;
  }

  retention(): { ttlMs: number; maxBytes: number } {
    return { ttlMs: 0, maxBytes: 0 };
  }

  produce(): Refusal {
    return WAITING;
  }

  createTopic = this.#refused;
  deleteTopic = this.#refused;
  commit = this.#refused;
  deleteBefore = this.#refused;
  setRetention = this.#refused;
  collect = this.#refused;
  readBarrier = this.#refused;
  addNode = this.#refused;
  promoteNode = this.#refused;
  removeNode = this.#refused;
  transferLeadership = this.#refused;

  writeKey(): Refusal {
    return WAITING;
  }

  transact(): Refusal {
    return WAITING;
  }

  readKey = this.#refused;

  listKeys(): undefined {
    return undefined;
  }

  timeLeft(): number {
    return 0;
  }

  keyChanges(
    _namespace: string,
    from: number,
  ): { changes: []; nextIndex: number; firstIndex: number } {
    return { changes: [], nextIndex: from, firstIndex: 0 };
  }

  onKeyChange(): () => void {
    return () => undefined;
  }

  compact(): void {
    // There is nothing to reclaim.
  }

  read(): { slices: []; startOffset: number; nextOffset: number } {
    return { slices: [], startOffset: 0, nextOffset: 0 };
  }

  onRecords(): () => void {
    return () => undefined;
  }

  stateHash(): { appliedIndex: number; hash: string } {
    return { appliedIndex: 0, hash: "0".repeat(16) };
  }

  membership(): { epoch: number; isJoint: boolean; nodes: [] } {
    return { epoch: 0, isJoint: false, nodes: [] };
  }
}
