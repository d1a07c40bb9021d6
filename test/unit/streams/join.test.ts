// Joins by hand: every rule of the reference, null, missing and mixed types included.

import { describe, expect, test } from "bun:test";
import type { Fields } from "../../../src/streams/compare.ts";
import { joinSpec, runJoin, timed, WIDE } from "../../support/stream-run.ts";

const pairsOf = (
  rows: readonly { readonly left: Fields | null; readonly right: Fields | null }[],
) =>
  rows.map(({ left, right }) =>
    [left, right].map((side) =>
      side === null ? null : (Object.entries(side).find(([key]) => key === "id")?.[1] ?? null),
    ),
  );

const LEFT = timed([
  { id: "l0", k: 1 },
  { id: "l1", k: "1" },
  { id: "l2", k: "one" },
  { id: "l3" },
  { id: "l4", k: null },
  { id: "l5", k: 5 },
]);
const RIGHT = timed([
  { id: "r0", k: "1" },
  { id: "r1", k: "1.0" },
  { id: "r2", k: "one" },
  { id: "r3", k: null },
  { id: "r4", k: 6 },
]);

describe("joins", () => {
  test.each([
    [
      "inner",
      [
        ["l0", "r0"],
        ["l0", "r1"],
        ["l1", "r0"],
        ["l2", "r2"],
      ],
    ],
    [
      "left",
      [
        ["l0", "r0"],
        ["l0", "r1"],
        ["l1", "r0"],
        ["l2", "r2"],
        ["l5", null],
      ],
    ],
    [
      "right",
      [
        ["l0", "r0"],
        ["l0", "r1"],
        ["l1", "r0"],
        ["l2", "r2"],
        [null, "r4"],
      ],
    ],
    [
      "full",
      [
        ["l0", "r0"],
        ["l0", "r1"],
        ["l1", "r0"],
        ["l2", "r2"],
        ["l5", null],
        [null, "r4"],
      ],
    ],
  ] as const)("%s", (type, pairs) => {
    const { rows, run } = runJoin(joinSpec({ type }), LEFT, RIGHT);

    expect(pairsOf(rows)).toEqual(pairs as never);
    expect([run.left.withoutKey, run.right.withoutKey]).toEqual([2, 1]);
    expect(run.outerLeft).toBe(type === "left" || type === "full" ? 1 : 0);
    expect(run.outerRight).toBe(type === "right" || type === "full" ? 1 : 0);
  });

  test("a row has key, times and both sides; what is not there is null or empty", () => {
    const left = [{ record: { uid: 1, city: "NY", name: "Ann" }, appendMs: 1 }];
    const right = [
      { record: { uid: "1", city: "NY", item: "pen" }, appendMs: 2 },
      { record: { uid: 2, city: "LA" }, appendMs: 3 },
    ];
    const spec = joinSpec({
      left_keys: ["uid", "city"],
      right_keys: ["uid", "city"],
      type: "full",
      left_fields: ["name"],
      right_fields: ["item"],
    });
    const { rows, run } = runJoin(spec, left, right);
    const empty = runJoin({ ...spec, missing_as: "empty" }, left, right);

    expect(rows).toEqual([
      { key: "1|NY", left_ts_ms: 1, right_ts_ms: 2, left: { name: "Ann" }, right: { item: "pen" } },
      { key: "2|LA", left_ts_ms: null, right_ts_ms: 3, left: null, right: {} },
    ]);
    expect(empty.rows[1]?.left).toEqual({});
    expect(run.watermarkMs).toBe(1);
  });

  test("composite keys do not run into each other", () => {
    const spec = joinSpec({ left_keys: ["a", "b"], right_keys: ["a", "b"] });
    const { rows } = runJoin(
      spec,
      timed([
        { id: 1, a: "x|y", b: "z" },
        { id: 2, a: "1", b: 2 },
      ]),
      timed([
        { id: 1, a: "x", b: "y|z" },
        { id: 2, a: 1, b: "2" },
      ]),
    );

    expect(pairsOf(rows)).toEqual([[2, 2]]);
  });

  test("keys of other types meet by JSON equality", () => {
    const { rows } = runJoin(
      joinSpec({}),
      timed([
        { id: 1, k: true },
        { id: 2, k: [1] },
        { id: 3, k: { a: 1, b: 2 } },
        { id: 4, k: 9007199254740993n },
      ]),
      timed([
        { id: 1, k: "true" },
        { id: 2, k: ["1"] },
        { id: 3, k: { b: 2, a: 1 } },
        { id: 4, k: 9_007_199_254_740_992 },
        { id: 5, k: "9007199254740993" },
        { id: 6, k: true },
      ]),
    );

    expect(pairsOf(rows)).toEqual([
      [1, 6],
      [3, 3],
      [4, 5],
    ]);
  });

  test("times may differ by the size of the window, and no more", () => {
    const records = (...times: readonly unknown[]) =>
      timed(times.map((ts, id) => ({ id, ts, k: 1 }) as unknown as Fields));
    const spec = joinSpec({
      size_ms: 10,
      left_field: "ts",
      right_field: "ts",
      allowed_lateness_ms: 1000,
    });
    const { rows, run } = runJoin(
      spec,
      records(100, null),
      records(90, 110, 89, 111, "1970-01-01T00:00:00.105Z"),
    );

    expect(pairsOf(rows)).toEqual([
      [0, 0],
      [0, 1],
      [0, 4],
    ]);
    expect(run.left.withoutTime).toBe(1);
  });

  test("records older than the watermark less the window are late", () => {
    const record = (ts: number, appendMs: number) => ({ record: { id: ts, k: 1, ts }, appendMs });
    const left = [record(1000, 1), record(979, 4), record(980, 5)];
    const right = [record(990, 2), record(1005, 3)];
    const spec = joinSpec({ size_ms: 20, left_field: "ts", right_field: "ts" });
    const strict = runJoin(spec, left, right);
    const lenient = runJoin({ ...spec, allowed_lateness_ms: 1 }, left, right);

    expect([strict.run.left.late, strict.run.right.late, strict.run.watermarkMs]).toEqual([
      1, 0, 1000,
    ]);
    expect([lenient.run.left.late, lenient.run.watermarkMs]).toEqual([0, 999]);
    expect(runJoin(spec, left, []).run.watermarkMs).toBeUndefined();
  });

  test("dedupe once keeps the pairs whose left record came first", () => {
    const records = timed([
      { id: 0, k: 1 },
      { id: 1, k: 1 },
    ]);
    const { rows } = runJoin(joinSpec({ dedupe: "once" }), records, records);
    const outer = runJoin(
      joinSpec({ dedupe: "once", type: "full" }),
      timed([{ k: 0 }, { id: 1, k: 1 }]),
      timed([{ id: 0, k: 1 }]),
    );

    expect(pairsOf(rows)).toEqual([
      [0, 0],
      [0, 1],
      [1, 1],
    ]);
    expect(pairsOf(outer.rows)).toEqual([
      [null, null],
      [1, null],
      [null, 0],
    ]);
  });

  test("one_to_one uses each record once, in the order of offsets", () => {
    const records = timed([
      { id: 0, k: 1 },
      { id: 1, k: 1 },
      { id: 2, k: 1 },
    ]);
    const { rows } = runJoin(
      joinSpec({ dedupe: "one_to_one", type: "full" }),
      records,
      records.slice(0, 2),
    );

    expect(pairsOf(rows)).toEqual([
      [0, 0],
      [1, 1],
      [2, null],
    ]);
  });

  test("rows beyond max_rows are counted", () => {
    const records = timed([
      { id: 0, k: 1 },
      { id: 1, k: 1 },
    ]);
    const { rows, run } = runJoin(joinSpec({ max_rows: 3 }), records, records);

    expect([rows.length, run.rows, run.rowsLeftOut]).toEqual([3, 3, 1]);
  });

  test("too many pairs and too much state are refused by name", () => {
    const records = timed(Array.from({ length: 20 }, () => ({ k: 1 })));

    expect(() => runJoin(joinSpec({}), records, records, { ...WIDE, pairsMax: 399 })).toThrow(
      expect.objectContaining({ code: "limit_exceeded", fields: { limit: "pairs", max: 399 } }),
    );
    expect(() => runJoin(joinSpec({}), records, records, { ...WIDE, stateBytesMax: 9000 })).toThrow(
      expect.objectContaining({ fields: { limit: "state_bytes", max: 9000 } }),
    );
  });

  test.each([
    [{ left_keys: [] }, "missing_join_keys"],
    [{ left_keys: ["a", "b"] }, "invalid_parameter"],
    [{ left_keys: [""] }, "invalid_parameter"],
    [{ size_ms: -1 }, "invalid_parameter"],
  ])("refuses %p", (spec, code) => {
    expect(() => runJoin(joinSpec(spec as never), [], [])).toThrow(
      expect.objectContaining({ code }),
    );
  });
});
