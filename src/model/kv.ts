// Changes of keys on their way between the room that speaks HTTP and the one that decides: numbers and bytes.

import type { Ack } from "./produce.ts";

/** A change of one key. The broker reads it at once and keeps nothing of it. */
export interface KvWrite {
  readonly namespace: string;
  readonly key: Uint8Array;
  /** Undefined: the key is deleted. */
  readonly value: Uint8Array | undefined;
  /** The `cas` that the key must have, 0 when it must have no value; -1: any. */
  readonly expectedCas: number;
  /** Of a put: milliseconds until the key ends; 0: it does not. */
  readonly ttlMs: number;
  readonly idempotencyKey: Uint8Array | undefined;
  readonly ack: Ack;
}

/** Bytes of a key: it is in an address, and compared at each step of a search. */
export const KV_KEY_BYTES_MAX = 1024;
/** Milliseconds that a key may live at most, so that deadlines stay exact: 31,000 years. */
export const KV_TTL_MS_MAX = 1e15;
