// The time of entries under clocks that do what they like: never back, never faster or slower than a tenth.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { LogTime } from "../../../src/replica/log-time.ts";

const YEAR_MS = 365 * 24 * 3600 * 1000;
const jump = fc.oneof(fc.constant(0), fc.integer({ min: -YEAR_MS, max: YEAR_MS }));

test("never goes back, and keeps within a tenth of the time that has passed, whatever the wall clock does", () => {
  const acts = fc.array(fc.record({ elapsedMs: fc.nat({ max: 100_000 }), jumpMs: jump }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(acts, fc.nat({ max: 2 * YEAR_MS }), (list, lastEntryMs) => {
      let monotonic = 5;
      let wall = YEAR_MS;
      const clock = { wallMs: () => wall, monotonicMs: () => monotonic };
      const time = new LogTime(clock, lastEntryMs);
      time.stepForward();
      const first = time.now();
      expect(first).toBe(Math.max(lastEntryMs, YEAR_MS));
      let last = first;
      let elapsed = 0;
      for (const { elapsedMs, jumpMs } of list) {
        monotonic += elapsedMs;
        wall += elapsedMs + jumpMs;
        elapsed += elapsedMs;
        const now = time.now();
        expect(Number.isSafeInteger(now)).toBe(true);
        expect(now).toBeGreaterThanOrEqual(last);
        expect(now - first).toBeLessThanOrEqual(elapsed * 1.1 + 1);
        expect(now - first).toBeGreaterThanOrEqual(elapsed * 0.9 - 1);
        last = now;
      }
    }),
  );
});

test("comes back to a wall clock that stands still in its error, a tenth at a time", () => {
  let monotonic = 0;
  let wall = 1_000_000;
  const time = new LogTime({ wallMs: () => wall, monotonicMs: () => monotonic }, 0);
  time.stepForward();
  wall += 500;
  for (let i = 0; i < 100; i++) {
    monotonic += 100;
    wall += 100;
    time.now();
  }

  expect(time.now()).toBe(wall);
});

test("a monotonic clock that goes back is taken to stand still", () => {
  let monotonic = 1000;
  const time = new LogTime({ wallMs: () => 50, monotonicMs: () => monotonic }, 0);
  time.stepForward();
  monotonic = 0;

  expect(time.now()).toBe(50);
});
