// The numbers that name things. Offsets and indexes are `number`: 2^53 lasts 285 years at a million a second.

import { assert } from "../lib/assert.ts";

/** Position of a record in its partition, from 0. */
export type Offset = number & { readonly __brand: "Offset" };

/** Position of an entry in the Raft log, from 1. */
export type RaftIndex = number & { readonly __brand: "RaftIndex" };

/** Raft term, from 1; 0 means none. */
export type Term = number & { readonly __brand: "Term" };

/** Identity of a topic, never used again, from 1. */
export type TopicId = number & { readonly __brand: "TopicId" };

/** Checks and brands an offset. */
export function offset(value: number): Offset {
  assert(
    Number.isSafeInteger(value) && value >= 0,
    `An offset is a safe integer from 0, not ${value}`,
  );
  return value as Offset;
}
