// Groups, measures and windows, by hand.

import { describe, expect, test } from "bun:test";
import { runQuery, timed, WIDE } from "../../support/stream-run.ts";

const PEOPLE = timed([
  { name: "Ann", region: "us", spent: 100.5 },
  { name: "Dan", region: "us", spent: 95 },
  { name: "Hank", region: "eu", spent: "1.5" },
  { name: "Eve", spent: null },
  { name: "Joe", region: null },
]);

describe("groups and measures", () => {
  test("a group has a key, its fields and its measures; what is missing is null", () => {
    const { aggregates } = runQuery(
      {
        aggregate: {
          group_by: ["region"],
          measures: [
            { op: "count" },
            { op: "count", field: "spent", as: "with_spent" },
            { op: "sum", field: "spent", as: "spent_total" },
            { op: "avg", field: "spent" },
            { op: "min", field: "spent" },
            { op: "max", field: "spent" },
            { op: "max", field: "name" },
          ],
        },
      },
      PEOPLE,
    );

    expect(aggregates).toEqual([
      {
        key: "region=us",
        group: { region: "us" },
        count: 2,
        with_spent: 2,
        spent_total: 195.5,
        avg_spent: 97.75,
        min_spent: 95,
        max_spent: 100.5,
        max_name: "Dan",
      },
      {
        key: "region=eu",
        group: { region: "eu" },
        count: 1,
        with_spent: 1,
        spent_total: 1.5,
        avg_spent: 1.5,
        min_spent: 1.5,
        max_spent: 1.5,
        max_name: "Hank",
      },
      {
        key: "region=null",
        group: { region: null },
        count: 2,
        with_spent: 0,
        spent_total: null,
        avg_spent: null,
        min_spent: null,
        max_spent: null,
        max_name: "Joe",
      },
    ]);
  });

  test("types are told apart, and keys come in the order asked", () => {
    const { aggregates } = runQuery(
      { aggregate: { group_by: ["b", "a"] } },
      timed([
        { a: 1, b: "x" },
        { a: "1", b: "x" },
        { a: 1n, b: "x" },
        { a: [1, { z: 1, y: 2 }], b: true },
        { b: true, a: [1, { y: 2, z: 1 }] },
      ]),
    );

    expect(aggregates).toEqual([
      { key: "b=x|a=1", group: { b: "x", a: 1 }, count: 2 },
      { key: "b=x|a=1", group: { b: "x", a: "1" }, count: 1 },
      { key: 'b=true|a=[1,{"z":1,"y":2}]', group: { b: true, a: [1, { z: 1, y: 2 }] }, count: 2 },
    ]);
  });

  test("without group_by there is one group, also of nothing", () => {
    expect(runQuery({ aggregate: {} }, []).aggregates).toEqual([{ key: "", group: {}, count: 0 }]);
    expect(runQuery({ aggregate: {} }, PEOPLE).aggregates).toEqual([
      { key: "", group: {}, count: 5 },
    ]);
    expect(runQuery({ aggregate: { group_by: ["a"] } }, []).aggregates).toEqual([]);
    expect(runQuery({}, PEOPLE).aggregates).toEqual([]);
  });

  test("sums of integers are exact whatever their size", () => {
    const big = Number.MAX_SAFE_INTEGER;
    const { aggregates } = runQuery(
      {
        aggregate: {
          measures: [
            { op: "sum", field: "n" },
            { op: "max", field: "n" },
          ],
        },
      },
      timed([
        { n: big },
        { n: big },
        { n: 3 },
        { n: 9007199254740993n },
        { n: "9007199254740995" },
      ]),
    );

    expect(aggregates).toEqual([
      { key: "", group: {}, sum_n: 36028797018963973n, max_n: 9007199254740995n },
    ]);
  });

  test("sums of decimals carry their rounding errors", () => {
    const values = [1e16, 1, 0.1, 0.2, -1e16, 0.7];
    const { aggregates } = runQuery(
      { aggregate: { measures: [{ op: "sum", field: "n", as: "s" }] } },
      timed(values.map((n) => ({ n }))),
    );

    expect(Number(aggregates.map(({ s }) => s)[0])).toBeCloseTo(2, 12);
  });

  test("values that cannot be measured are counted", () => {
    const { aggregates, counts } = runQuery(
      {
        aggregate: {
          measures: [
            { op: "sum", field: "n" },
            { op: "min", field: "n" },
          ],
        },
      },
      timed([{ n: "x" }, { n: true }, { n: [1] }, { n: null }, {}, { n: 4 }]),
    );

    expect(aggregates).toMatchObject([{ sum_n: 4, min_n: 4 }]);
    expect(counts.notMeasured).toBe(5);
  });

  test.each([
    [{ measures: [{ op: "sum" }] }],
    [{ measures: [{ op: "count", as: "key" }] }],
    [{ measures: [{ op: "count" }, { op: "count" }] }],
    [{ group_by: [""] }],
  ])("refuses %p", (aggregate) => {
    expect(() => runQuery({ aggregate: aggregate as never }, [])).toThrow(
      expect.objectContaining({ code: "invalid_parameter" }),
    );
  });

  test("too many groups, and too much text, are refused by name", () => {
    const records = timed(Array.from({ length: 11 }, (_, n) => ({ n, text: "x".repeat(1000) })));

    expect(() =>
      runQuery({ aggregate: { group_by: ["n"] } }, records, { ...WIDE, groupsMax: 10 }),
    ).toThrow(
      expect.objectContaining({ code: "limit_exceeded", fields: { limit: "groups", max: 10 } }),
    );
    expect(() =>
      runQuery(
        { aggregate: { group_by: ["n"], measures: [{ op: "min", field: "text" }] } },
        records,
        { ...WIDE, stateBytesMax: 20_000 },
      ),
    ).toThrow(expect.objectContaining({ fields: { limit: "state_bytes", max: 20_000 } }));
  });
});

describe("windows", () => {
  const at = (...times: readonly unknown[]) => timed(times.map((ts) => ({ ts }) as never));
  const shown = (rows: readonly Record<string, unknown>[]) =>
    rows.map(({ window_start_ms: start, window_end_ms: end, count }) => [start, end, count]);

  test("tumbling windows are aligned to the epoch and take their start", () => {
    const { aggregates } = runQuery(
      { window: { type: "tumbling", size_ms: 10, field: "ts" } },
      at(0, 9, 10, 25, -1, -10, "1970-01-01T00:00:00.005Z", "19"),
    );

    expect(shown(aggregates)).toEqual([
      [-10, 0, 2],
      [0, 10, 3],
      [10, 20, 2],
      [20, 30, 1],
    ]);
  });

  test("without a field it is the append time", () => {
    const { aggregates } = runQuery({ window: { type: "tumbling", size_ms: 10 } }, [
      { record: {}, appendMs: 12 },
      { record: {}, appendMs: 19 },
    ]);

    expect(shown(aggregates)).toEqual([[10, 20, 2]]);
  });

  test("hopping windows overlap, or leave gaps", () => {
    const overlapping = runQuery(
      { window: { type: "hopping", size_ms: 10, hop_ms: 5, field: "ts" } },
      at(0, 7),
    );
    const sparse = runQuery(
      { window: { type: "hopping", size_ms: 5, hop_ms: 10, field: "ts" } },
      at(0, 4, 5, 9, 10),
    );

    expect(shown(overlapping.aggregates)).toEqual([
      [-5, 5, 1],
      [0, 10, 2],
      [5, 15, 1],
    ]);
    expect(shown(sparse.aggregates)).toEqual([
      [0, 5, 2],
      [10, 15, 1],
    ]);
  });

  test("a session goes on over gaps of up to gap_ms, whatever the order", () => {
    const { aggregates } = runQuery(
      { window: { type: "session", gap_ms: 10, field: "ts" } },
      at(0, 10, 21, 31, 100, 41, 20),
    );

    expect(shown(aggregates)).toEqual([
      [0, 51, 6],
      [100, 110, 1],
    ]);
  });

  test("records without a time are counted", () => {
    const { aggregates, counts } = runQuery(
      { window: { type: "tumbling", size_ms: 10, field: "ts" } },
      at(1, null, "soon", true, 1e300),
    );

    expect(shown(aggregates)).toEqual([[0, 10, 1]]);
    expect(counts.withoutTime).toBe(4);
  });

  test("what comes after its window was over is late, as far as lateness does not allow it", () => {
    const times = [5, 25, 9, 15, 20, 7];
    const late = (allowed: number | undefined) =>
      runQuery(
        { window: { type: "tumbling", size_ms: 10, field: "ts", allowed_lateness_ms: allowed } },
        at(...times),
      ).counts.late;

    expect(late(undefined)).toBe(0);
    expect(late(0)).toBe(3);
    expect(late(5)).toBe(3);
    expect(late(6)).toBe(2);
    expect(late(15)).toBe(2);
    expect(late(16)).toBe(0);
  });

  test.each([
    [{ type: "tumbling" }],
    [{ type: "tumbling", size_ms: 0 }],
    [{ type: "tumbling", size_ms: -1 }],
    [{ type: "tumbling", size_ms: 1.5 }],
    [{ type: "hopping", size_ms: 10 }],
    [{ type: "hopping", size_ms: 10, hop_ms: 0 }],
    [{ type: "hopping", size_ms: 10_000, hop_ms: 1 }],
    [{ type: "session" }],
    [{ type: "session", gap_ms: -5 }],
  ])("refuses %p", (window) => {
    expect(() => runQuery({ window: window as never }, [])).toThrow(
      expect.objectContaining({ code: "invalid_parameter" }),
    );
  });
});

describe("rows", () => {
  test("show the fields that are asked and there, in the order asked", () => {
    const { rows } = runQuery(
      { transform: { left_fields: ["b.c", "a", "__proto__"], emit_rows: 10 } },
      timed([{ a: 1, b: { c: 2 } }, { a: null }, JSON.parse('{"__proto__":5}')]),
    );

    expect(rows.map((row) => JSON.stringify(row))).toEqual([
      '{"b.c":2,"a":1}',
      '{"a":null}',
      '{"__proto__":5}',
    ]);
  });

  test("end the page when they are full, unless something is aggregated", () => {
    const records = timed([{ n: 1 }, { n: 2 }, { n: 3 }]);
    const page = runQuery({ transform: { emit_rows: 2 } }, records);
    const sample = runQuery({ transform: { emit_rows: 2 }, aggregate: {} }, records);

    expect([page.rows.length, page.consumed]).toEqual([2, 2]);
    expect([sample.rows.length, sample.consumed, sample.run.rowsLeftOut]).toEqual([2, 3, 1]);
    expect(runQuery({}, records).rows).toEqual([]);
  });
});
