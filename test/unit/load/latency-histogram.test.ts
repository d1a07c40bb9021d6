// The histogram against a sorted array: the slow answer that cannot be wrong.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { LatencyHistogram } from "../../../src/load/latency-histogram.ts";

const QUANTILES = [0, 0.001, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999_99, 1];

function exact(sorted: readonly number[], quantile: number): number {
  return sorted[Math.max(1, Math.ceil(quantile * sorted.length)) - 1]!;
}

function filled(values: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

const latencies = fc.array(
  fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 100_000 }), fc.nat({ max: 2 ** 31 - 1 })),
  { minLength: 1, maxLength: 400 },
);

test("quantile() is never below a sorted array's answer and at most one step of 1/128 above", () => {
  fc.assert(
    fc.property(latencies, (values) => {
      const sorted = [...values].sort((a, b) => a - b);
      const histogram = filled(values);

      for (const quantile of QUANTILES) {
        const want = exact(sorted, quantile);
        const got = histogram.quantile(quantile);
        expect(got).toBeGreaterThanOrEqual(want);
        expect(got).toBeLessThanOrEqual(want + Math.floor(want / 128));
      }
      expect(histogram.quantile(1)).toBe(sorted.at(-1)!);
    }),
  );
});

test("merge() counts as if all had been recorded in one", () => {
  fc.assert(
    fc.property(latencies, latencies, (one, other) => {
      const merged = filled(one);
      merged.merge(filled(other));

      expect(merged.summary()).toEqual(filled([...one, ...other]).summary());
    }),
  );
});

test("summary() is in milliseconds and keeps the exact maximum", () => {
  const summary = filled([100, 200, 123_457]).summary();

  expect(summary.count).toBe(3);
  expect(summary.p50).toBe(0.2);
  expect(summary.max).toBe(123.457);
  expect(summary.mean).toBe(41.252);
});

test("summary() of nothing is all zero", () => {
  expect(Object.values(new LatencyHistogram().summary())).toEqual(Array(9).fill(0));
});

test("record() counts values beyond the range as its ends", () => {
  const histogram = filled([-5, 2 ** 40]);

  expect(histogram.quantile(0.5)).toBe(0);
  expect(histogram.quantile(1)).toBe(2 ** 31 - 1);
});
