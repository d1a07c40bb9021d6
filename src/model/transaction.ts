// A transaction on its way between the room that speaks HTTP and the one that decides: what is expected, and what is to be
// done, all of it or nothing, in one entry.

import type { Ack } from "./produce.ts";

/** What must hold before anything is done. */
export type Expectation =
  | {
      readonly kind: "key";
      readonly namespace: string;
      readonly key: Uint8Array;
      /** 0: it has no value. */
      readonly cas: number;
    }
  | {
      readonly kind: "group";
      readonly topic: string;
      readonly group: string;
      readonly partition: number;
      /** -1: the group has none. */
      readonly committedOffset: number;
    };

/** One record. */
export interface TransactionRecord {
  readonly topic: string;
  /** -1: by key when there is one, else spread evenly. */
  readonly partition: number;
  readonly key: Uint8Array | undefined;
  readonly value: Uint8Array;
}

/** One group that moves forward. */
export interface TransactionCommit {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly offset: number;
}

/** One key that changes. */
export interface TransactionKey {
  readonly namespace: string;
  readonly key: Uint8Array;
  /** Undefined: it is deleted. */
  readonly value: Uint8Array | undefined;
  readonly ttlMs: number;
}

/** All of it. */
export interface Transaction {
  readonly idempotencyKey: Uint8Array | undefined;
  readonly expect: readonly Expectation[];
  readonly produce: readonly TransactionRecord[];
  readonly commit: readonly TransactionCommit[];
  readonly kv: readonly TransactionKey[];
  readonly ack: Ack;
}

/** What it came to, part by part in the order of the request. */
export interface TransactionOutcome {
  /** Of its entry. */
  readonly raftIndex: number;
  readonly produced: readonly { readonly partition: number; readonly offset: number }[];
  /** What each key has from then on; 0: there was nothing to delete. */
  readonly cas: readonly number[];
}

/** Parts of one transaction: they are looked at in one turn. */
export const TRANSACTION_PARTS_MAX = 1000;
