// Who may come into a sandbox, how long they may stay, and how fast they may ask.

import { expect, test } from "bun:test";
import { Allowance } from "../../../src/sandbox/allowance.ts";
import {
  IDLE_MS_MAX,
  VISIT_MS_MAX,
  VISITORS_MAX,
  VISITS_BURST,
} from "../../../src/sandbox/bounds.ts";
import { Visitors } from "../../../src/sandbox/visitors.ts";

/** Stands for a node: the visits are what is looked at. */
const NODE = { program: ["/bin/true"], env: {} };

test("an allowance is used up by a burst, and fills again with time and no further", () => {
  const allowance = new Allowance(2, 10, 0);

  expect([allowance.take(0), allowance.take(0), allowance.take(0)]).toEqual([true, true, false]);
  expect([allowance.take(100), allowance.take(100)]).toEqual([true, false]);
  const later = [0, 0, 0].map(() => allowance.take(60_000));
  expect(later).toEqual([true, true, false]);
});

test("a visit ends when nobody has been seen for a while, and in any case after a longer one", async () => {
  let nowMs = 0;
  await using visitors = new Visitors(NODE, () => nowMs);
  const [idle, busy] = [visitors.enter(), visitors.enter()];

  for (; nowMs < VISIT_MS_MAX; nowMs += IDLE_MS_MAX / 2) {
    expect(visitors.find(busy)).toBeDefined();
    visitors.find(busy)?.seen(nowMs);
    expect(visitors.find(idle) === undefined).toBe(nowMs >= IDLE_MS_MAX);
  }
  expect(visitors.find(busy)).toBeUndefined();
});

test("who is too late finds no place until somebody's visit is over, and ids do not repeat", async () => {
  let nowMs = 0;
  await using visitors = new Visitors(NODE, () => nowMs);
  const ids = Array.from({ length: VISITORS_MAX }, () => visitors.enter());

  expect(new Set(ids).size).toBe(VISITORS_MAX);
  expect(ids).not.toContain(undefined);
  expect(visitors.enter()).toBeUndefined();
  await visitors.leave(ids[0] as string);
  expect(visitors.enter()).toMatch(/^[0-9a-f]{64}$/);
  nowMs += IDLE_MS_MAX;
  expect(visitors.find(ids[1])).toBeUndefined();
});

test("visits come no faster than nodes may be started", async () => {
  await using visitors = new Visitors(NODE, () => 0);

  for (let i = 0; i < VISITS_BURST; i++) await visitors.leave(visitors.enter() as string);

  expect(visitors.enter()).toBeUndefined();
});
