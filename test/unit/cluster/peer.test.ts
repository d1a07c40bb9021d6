// How long a node waits before it dials again, and how often it complains.

import { expect, test } from "bun:test";
import { Complaints } from "../../../src/cluster/complaints.ts";
import { retryMs } from "../../../src/cluster/peer.ts";
import { createLogger } from "../../../src/lib/logger.ts";

test("retryMs() doubles from 50 ms to 1 s and spreads over the upper half", () => {
  expect([0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => retryMs(attempt, 0))).toEqual([
    25, 50, 100, 200, 400, 500, 500, 500,
  ]);
  expect(retryMs(0, 0.999)).toBeCloseTo(50, 0);
  expect(retryMs(1e9, 0.999)).toBeCloseTo(1000, -1);
});

test("the same complaint is made once a minute, with how often it was left unsaid", () => {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    level: "warn",
    room: "cluster",
    write: (line) => lines.push(JSON.parse(line)),
    now: () => 0,
  });
  const complaints = new Complaints(logger);

  for (const nowMs of [0, 10, 59_999]) complaints.warn("refused", "a", { peer: "a" }, nowMs);
  complaints.warn("refused", "b", { peer: "b" }, 20);
  complaints.warn("refused", "a", { peer: "a" }, 60_000);

  expect(lines.map(({ peer, unsaid }) => [peer, unsaid])).toEqual([
    ["a", undefined],
    ["b", undefined],
    ["a", 2],
  ]);
});

test("complaints about ever new things do not pile up", () => {
  let written = 0;
  const logger = createLogger({
    level: "warn",
    room: "cluster",
    write: () => {
      written += 1;
    },
    now: () => 0,
  });
  const complaints = new Complaints(logger);

  for (let i = 0; i < 1000; i++) complaints.warn("refused", String(i), {}, 0);
  complaints.warn("refused", "999", {}, 1);

  expect(written).toBe(1000);
});
