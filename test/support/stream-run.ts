// Runs queries and joins over records in memory, as the routes do over a log.

import {
  compileJoin,
  compileQuery,
  type Fields,
  JoinRun,
  QueryRun,
  type StreamLimits,
} from "../../src/streams/mod.ts";

/** Bounds that no small test meets. */
export const WIDE: StreamLimits = {
  groupsMax: 100_000,
  stateBytesMax: 1 << 28,
  pairsMax: 10_000_000,
};

/** A record with its append time; its place in the list is its offset. */
export interface TimedRecord {
  readonly record: Fields;
  readonly appendMs: number;
}

/** Gives records the same append time. */
export const timed = (records: readonly Fields[], appendMs = 0): TimedRecord[] =>
  records.map((record) => ({ record, appendMs }));

/** Runs a query. Throws what it is refused with. */
export function runQuery(
  spec: Parameters<typeof compileQuery>[0],
  records: readonly TimedRecord[],
  limits = WIDE,
) {
  const plan = compileQuery(spec);
  if (!plan.ok) throw plan.error;
  const rows: Fields[] = [];
  const run = new QueryRun(plan.value, limits, (row) => rows.push(row));
  let consumed = 0;
  for (const { record, appendMs } of records) {
    if (run.isFull) break;
    const refusal = run.take(record, appendMs);
    if (refusal !== undefined) throw refusal;
    consumed += 1;
  }
  const aggregates = [...run.aggregates()].filter((row) => row !== undefined);
  return { rows, aggregates, consumed, counts: run.counts, matched: run.matched, run };
}

/** A join with what most tests leave out. */
export function joinSpec(
  spec: Partial<Parameters<typeof compileJoin>[0]>,
): Parameters<typeof compileJoin>[0] {
  return {
    left_keys: ["k"],
    right_keys: ["k"],
    type: "inner",
    size_ms: 1000,
    allowed_lateness_ms: 0,
    dedupe: "none",
    left_fields: [],
    right_fields: [],
    max_rows: 5000,
    missing_as: "null",
    ...spec,
  };
}

/** Runs a join: records are taken in the order of their append times, the left one first. Throws what it is refused with. */
export function runJoin(
  spec: Parameters<typeof compileJoin>[0],
  left: readonly TimedRecord[],
  right: readonly TimedRecord[],
  limits = WIDE,
) {
  const plan = compileJoin(spec);
  if (!plan.ok) throw plan.error;
  const run = new JoinRun(plan.value, limits);
  for (let l = 0, r = 0; l < left.length || r < right.length; ) {
    const [a, b] = [left[l], right[r]];
    const isLeft = a !== undefined && (b === undefined || a.appendMs <= b.appendMs);
    const side = isLeft ? "left" : "right";
    const { record, appendMs } = (isLeft ? a : b)!;
    const refusal = run.take(side, record, appendMs, isLeft ? l++ : r++, 10);
    if (refusal !== undefined) throw refusal;
  }
  const pairs = run.pairs();
  const rows = [];
  for (;;) {
    const { done, value } = pairs.next();
    if (done === true) {
      if (value !== undefined) throw value;
      return { rows, run };
    }
    if (value !== undefined) rows.push(value);
  }
}
