// What one query or join may take, and how it is refused when that is not enough. The numbers come from `config`.

import { type Refusal, refuse } from "../model/errors.ts";

/** Bounds of one request. */
export interface StreamLimits {
  /** Groups of an aggregation, counted per window. */
  readonly groupsMax: number;
  /** Bytes of what is kept between records, roughly. */
  readonly stateBytesMax: number;
  /** Pairs of records that a join may find or look at. */
  readonly pairsMax: number;
}

const WORDS = {
  groups: "groups",
  state_bytes: "bytes of state",
  pairs: "pairs of records",
  records: "records",
  reply_bytes: "bytes of reply",
  time_ms: "milliseconds",
} as const;

/** The refusal of a request that needs more than it may take. */
export const limitExceeded = (limit: keyof typeof WORDS, max: number): Refusal =>
  refuse("limit_exceeded", `Request needs more than ${max} ${WORDS[limit]}: ask for less at once`, {
    limit,
    max,
  });
