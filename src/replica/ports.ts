// What the replica needs of the world, and what it is asked and answers: plain data, no closures on the hot path.

import type { Refusal } from "../model/errors.ts";

/** A produce as it comes in: read at once, nothing of it is kept. See `http/ports.ts`, whose form this is. */
export interface ProduceRequest {
  topicId: number;
  /** -1: by key when there is one, else spread evenly. */
  partition: number;
  key: Uint8Array | undefined;
  idempotencyKey: Uint8Array | undefined;
  /** -1: none. */
  expectedOffset: number;
  headers: Uint8Array | undefined;
  body: Uint8Array;
  /** Undefined: one record, the whole body. Else `[start, end, …]`. */
  ranges: Int32Array | undefined;
  count: number;
}

/** How a produce ended, in numbers only. */
export interface ProduceSink {
  /** When the write that the completions speak of was handed to the disk: milliseconds of the monotonic clock. */
  submittedMs: number;
  produced(
    waiter: number,
    firstOffset: number,
    count: number,
    partition: number,
    raftIndex: number,
    synced: number,
    duplicate: number,
  ): void;
  refused(waiter: number, refusal: Refusal): void;
}

/** Asks for a turn soon, outside of the present one. Asking twice before it comes is one turn. */
export type RequestTurn = () => void;
