// Slow and obvious versions of queries and joins, written from the reference and from nothing else, and random requests and
// records for both. Numbers are small, so that plain doubles are exact.

import fc from "fast-check";
import type { Fields, Value } from "../../src/streams/compare.ts";
import type { TimedRecord } from "./stream-run.ts";

const FIELDS = ["a", "b", "c"] as const;

/** Values that collide: numbers, texts that spell them, and everything that is neither. */
export const value: fc.Arbitrary<Value> = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -2, max: 4 }) },
  { weight: 3, arbitrary: fc.constantFrom("1", "2", "1.0", "-1", "x", "xy", "", "1e0", "03") },
  { weight: 1, arbitrary: fc.constantFrom(0.5, 1.5, 9007199254740993n, true, false, null) },
  { weight: 1, arbitrary: fc.constantFrom<Value[]>([1], ["1", 2], { k: 1 }, [], {}) },
);

/** Records with some of the fields, and times that are mostly times. */
export const records: fc.Arbitrary<TimedRecord[]> = fc
  .array(
    fc.record({
      record: fc
        .record(
          {
            a: value,
            b: value,
            c: value,
            ts: fc.oneof(
              { weight: 8, arbitrary: fc.integer({ min: -50, max: 150 }) },
              {
                weight: 1,
                arbitrary: fc.constantFrom<Value[]>(
                  "20",
                  "1970-01-01T00:00:00.030Z",
                  null,
                  "never",
                ),
              },
            ),
            n: fc.record({ d: value }),
          },
          { requiredKeys: [] },
        )
        .map((record) => record as Fields),
      appendMs: fc.nat({ max: 3 }),
    }),
    { maxLength: 30 },
  )
  .map((list) => {
    // Append times never go back.
    let appendMs = 0;
    return list.map(({ record, appendMs: step }) => {
      appendMs += step;
      return { record, appendMs };
    });
  });

const field = fc.constantFrom(...FIELDS, "n.d", "n", "zz");

const test = fc.oneof(
  fc.record({ field, op: fc.constantFrom("eq", "ne", "contains"), value }),
  fc.record({
    field,
    op: fc.constantFrom("lt", "le", "gt", "ge"),
    value: fc.constantFrom<Value[]>(0, 1, 2.5, "1", "x", ""),
  }),
  fc.record({ field, op: fc.constant("in"), value: fc.array(value, { maxLength: 3 }) }),
  fc.record({ field, op: fc.constant("exists"), value: fc.boolean() }),
);

/** Conditions. */
export const filter = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: test },
    { weight: 1, arbitrary: fc.record({ any: fc.array(test, { maxLength: 3 }) }) },
  ),
  { maxLength: 3 },
);

/** Windows of every kind. */
export const window = fc.option(
  fc.record({
    type: fc.constantFrom("tumbling", "hopping", "session"),
    size_ms: fc.integer({ min: 1, max: 40 }),
    hop_ms: fc.integer({ min: 1, max: 40 }),
    gap_ms: fc.integer({ min: 1, max: 20 }),
    field: fc.constantFrom("ts", undefined),
    allowed_lateness_ms: fc.constantFrom(undefined, 0, 10, 60),
  }),
  { nil: undefined },
);

/** Aggregations. */
export const aggregate = fc.record({
  group_by: fc.subarray([...FIELDS, "n.d"], { maxLength: 2 }),
  measures: fc.constant([
    { op: "count" },
    { op: "count", field: "b", as: "with_b" },
    { op: "sum", field: "a" },
    { op: "avg", field: "a" },
    { op: "min", field: "a" },
    { op: "max", field: "b" },
  ]),
});

type Condition =
  | { readonly field: string; readonly op: string; readonly value: unknown }
  | { readonly any: readonly Condition[] };

const get = (record: Fields, path: string): Value | undefined =>
  path
    .split(".")
    .reduce<Value | undefined>(
      (place, step) =>
        typeof place === "object" && place !== null && !Array.isArray(place)
          ? (place as Fields)[step]
          : undefined,
      record,
    );

const isNumeric = (v: unknown): boolean =>
  typeof v === "number" ||
  typeof v === "bigint" ||
  (typeof v === "string" && /^-?(0|[1-9]\d*)(\.\d+)?(e\d+)?$/.test(v));
const toNumber = (v: unknown): number | bigint => (typeof v === "bigint" ? v : Number(v));
const isReallyNumber = (v: unknown): boolean => typeof v === "number" || typeof v === "bigint";

/** -1, 0, 1, or nothing. */
function order(a: unknown, b: unknown): number | undefined {
  if (typeof a === "string" && typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
  if (!isReallyNumber(a) && !isReallyNumber(b)) return undefined;
  if (!isNumeric(a) || !isNumeric(b)) return undefined;
  const [x, y] = [toNumber(a), toNumber(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

const json = (v: unknown): string =>
  JSON.stringify(v, (_, item: unknown) =>
    typeof item === "bigint"
      ? { bigint: String(item) }
      : typeof item === "object" && item !== null && !Array.isArray(item)
        ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
        : item,
  );
const isEqual = (a: unknown, b: unknown): boolean =>
  order(a, b) === 0 ||
  (order(a, b) === undefined && !isReallyNumber(a) && !isReallyNumber(b) && json(a) === json(b));

/** Whether a record is wanted. */
export function twinHolds(record: Fields, condition: Condition): boolean {
  if ("any" in condition) return condition.any.some((one) => twinHolds(record, one));
  const { op, value: wanted } = condition;
  const found = get(record, condition.field);
  if (op === "exists") return (found !== undefined) === wanted;
  if (found === undefined) return false;
  const o = order(found, wanted);
  switch (op) {
    case "eq":
      return isEqual(found, wanted);
    case "ne":
      return !isEqual(found, wanted);
    case "lt":
      return o !== undefined && o < 0;
    case "le":
      return o !== undefined && o <= 0;
    case "gt":
      return o !== undefined && o > 0;
    case "ge":
      return o !== undefined && o >= 0;
    case "in":
      return (wanted as unknown[]).some((one) => isEqual(found, one));
    default:
      if (typeof found === "string")
        return wanted === "" || (typeof wanted === "string" && found.split(wanted).length > 1);
      return Array.isArray(found) && found.some((one) => isEqual(one, wanted));
  }
}

/** Milliseconds of a value of `ts`. */
const timeIn = (v: Value | undefined): number | undefined =>
  v === "1970-01-01T00:00:00.030Z" ? 30 : isNumeric(v) ? Number(v) : undefined;

type WindowSpec = {
  readonly [key: string]: unknown;
  readonly type: string;
  readonly size_ms: number;
  readonly hop_ms: number;
  readonly gap_ms: number;
};

/** Every window that a time is in, by trying all of them. */
function windowsOf(spec: WindowSpec, time: number): [number, number][] {
  const hop = spec.type === "tumbling" ? spec.size_ms : spec.hop_ms;
  const found: [number, number][] = [];
  for (let k = -400; k <= 400; k++) {
    const start = k * hop;
    if (start <= time && time < start + spec.size_ms) found.push([start, start + spec.size_ms]);
  }
  return found;
}

const sumOf = (values: readonly unknown[]): { sum: number | bigint | null; avg: number | null } => {
  const numbers = values.filter(isNumeric).map(toNumber);
  if (numbers.length === 0) return { sum: null, avg: null };
  if (numbers.some((n) => typeof n === "bigint")) {
    const whole = numbers.every((n) => typeof n === "bigint" || Number.isInteger(n));
    if (!whole) return { sum: Number.NaN, avg: Number.NaN };
    const sum = numbers.reduce<bigint>((total, n) => total + BigInt(n), 0n);
    return { sum: sum > 2n ** 53n - 1n ? sum : Number(sum), avg: Number.NaN };
  }
  const sum = (numbers as number[]).reduce((total, n) => total + n, 0);
  return { sum: sum + 0, avg: sum / numbers.length + 0 };
};

function extreme(values: readonly unknown[], direction: number): unknown {
  const numbers = values.filter(isNumeric).map(toNumber);
  if (numbers.length > 0)
    return numbers.reduce((best, n) =>
      (n < best ? -1 : 1) === direction && n !== best ? n : best,
    );
  const texts = values.filter((v): v is string => typeof v === "string");
  return texts.length === 0 ? null : texts.sort()[direction < 0 ? 0 : texts.length - 1];
}

/** The aggregates of records that passed the filter. */
export function twinAggregates(
  list: readonly TimedRecord[],
  groupBy: readonly string[],
  spec: WindowSpec | undefined,
): { rows: Record<string, unknown>[]; late: number } {
  const groups: { id: string; values: Value[]; start: number; end: number; members: Fields[] }[] =
    [];
  const order: string[] = [];
  let newest = Number.NEGATIVE_INFINITY;
  let late = 0;
  const timesOf: { id: string; values: Value[]; time: number; record: Fields }[] = [];
  for (const { record, appendMs } of list) {
    const values = groupBy.map((path) => get(record, path) ?? null);
    const id = values.map(json).join("\u0000");
    const time =
      spec === undefined ? 0 : spec["field"] === undefined ? appendMs : timeIn(get(record, "ts"));
    if (time === undefined) continue;
    newest = Math.max(newest, time);
    const lateness = spec?.["allowed_lateness_ms"] as number | undefined;
    if (spec !== undefined && lateness !== undefined) {
      const hop = spec.type === "tumbling" ? spec.size_ms : spec.hop_ms;
      const end =
        spec.type === "session" ? time + spec.gap_ms : Math.floor(time / hop) * hop + spec.size_ms;
      if (end <= newest - lateness) {
        late += 1;
        continue;
      }
    }
    if (spec !== undefined && spec.type !== "session" && windowsOf(spec, time).length === 0)
      continue;
    if (!order.includes(id)) order.push(id);
    timesOf.push({ id, values, time, record });
  }
  for (const id of order) {
    const mine = timesOf.filter((one) => one.id === id);
    const { values } = mine[0]!;
    if (spec === undefined) {
      groups.push({ id, values, start: 0, end: 0, members: mine.map(({ record }) => record) });
    } else if (spec.type === "session") {
      // Sort by time and cut where the gap is too large.
      let open: (typeof groups)[number] | undefined;
      let last = 0;
      for (const { time, record } of [...mine].sort((a, b) => a.time - b.time)) {
        if (open === undefined || time - last > spec.gap_ms) {
          open = { id, values, start: time, end: 0, members: [] };
          groups.push(open);
        }
        open.members.push(record);
        open.end = time + spec.gap_ms;
        last = time;
      }
    } else {
      const starts = new Set(
        mine.flatMap(({ time }) => windowsOf(spec, time).map(([start]) => start)),
      );
      for (const start of starts) {
        const members = mine
          .filter(({ time }) => start <= time && time < start + spec.size_ms)
          .map(({ record }) => record);
        groups.push({ id, values, start, end: start + spec.size_ms, members });
      }
    }
  }
  if (spec === undefined && groupBy.length === 0 && groups.length === 0)
    groups.push({ id: "", values: [], start: 0, end: 0, members: [] });
  if (spec !== undefined)
    groups.sort((a, b) => a.start - b.start || order.indexOf(a.id) - order.indexOf(b.id));
  const rows = groups.map(({ values, start, end, members }) => {
    const as = members.map((record) => get(record, "a"));
    const bs = members.map((record) => get(record, "b"));
    const { sum, avg } = sumOf(as);
    return {
      group: Object.fromEntries(groupBy.map((path, i) => [path, values[i]])),
      ...(spec !== undefined && { window_start_ms: start, window_end_ms: end }),
      count: members.length,
      with_b: bs.filter((v) => v !== undefined && v !== null).length,
      sum_a: sum,
      avg_a: avg,
      min_a: extreme(as, -1),
      max_b: extreme(bs, 1),
    };
  });
  return { rows, late };
}

/** A join by trying every pair. */
export function twinJoin(
  spec: {
    readonly keys: readonly string[];
    readonly type: string;
    readonly size_ms: number;
    readonly allowed_lateness_ms: number;
    readonly isOnField: boolean;
    readonly dedupe: string;
  },
  left: readonly TimedRecord[],
  right: readonly TimedRecord[],
): { pairs: [number | null, number | null][]; late: number } {
  const { isOnField, size_ms: size } = spec;
  type Member = { offset: number; keys: Value[]; time: number; isUsed: boolean };
  const kept: Record<"left" | "right", Member[]> = { left: [], right: [] };
  const newest = { left: Number.NEGATIVE_INFINITY, right: Number.NEGATIVE_INFINITY };
  let late = 0;
  const arrivals = [
    ...left.map((one, offset) => ({ ...one, offset, side: "left" as const })),
    ...right.map((one, offset) => ({ ...one, offset, side: "right" as const })),
  ].sort(
    (a, b) =>
      a.appendMs - b.appendMs ||
      (a.side === b.side ? a.offset - b.offset : a.side === "left" ? -1 : 1),
  );
  for (const { record, appendMs, offset, side } of arrivals) {
    const time = isOnField ? timeIn(record["ts"]) : appendMs;
    if (time === undefined) continue;
    newest[side] = Math.max(newest[side], time);
    const watermark = Math.min(newest.left, newest.right) - spec.allowed_lateness_ms;
    if (time < watermark - size) {
      late += 1;
      continue;
    }
    const keys = spec.keys.map((key) => get(record, key));
    if (keys.some((key) => key === undefined || key === null)) continue;
    kept[side].push({ offset, keys: keys as Value[], time, isUsed: false });
  }
  const pairs: [number | null, number | null][] = [];
  for (const l of kept.left) {
    for (const r of kept.right) {
      if (Math.abs(l.time - r.time) > size || !l.keys.every((key, i) => isEqual(key, r.keys[i])))
        continue;
      if (spec.dedupe === "once" && l.offset > r.offset) continue;
      if (spec.dedupe === "one_to_one" && (l.isUsed || r.isUsed)) continue;
      pairs.push([l.offset, r.offset]);
      l.isUsed = true;
      r.isUsed = true;
    }
    if (!l.isUsed && (spec.type === "left" || spec.type === "full")) pairs.push([l.offset, null]);
  }
  if (spec.type === "right" || spec.type === "full")
    for (const r of kept.right) if (!r.isUsed) pairs.push([null, r.offset]);
  return { pairs, late };
}
