// Slices of queries: one at a time, behind writes, and not behind them for ever.

import { expect, test } from "bun:test";
import { TurnQueue } from "../../../src/http/stream-turns.ts";

test("whoever waits is served in order, one per turn of the loop", async () => {
  const queue = new TurnQueue(() => false);
  const served: string[] = [];
  let turns = 0;
  const count = (): void => {
    turns += 1;
    if (served.length < 4) setImmediate(count);
  };
  setImmediate(count);

  await Promise.all(
    ["a", "b", "c", "d"].map((name) => queue.next().then(() => served.push(`${name}${turns}`))),
  );

  expect(served.map((name) => name[0])).toEqual(["a", "b", "c", "d"]);
  expect(new Set(served.map((name) => name.slice(1))).size).toBe(4);
});

test("a slice waits while writes are under way", async () => {
  let isBusy = true;
  const queue = new TurnQueue(() => isBusy);
  let isServed = false;
  const serving = queue.next().then(() => {
    isServed = true;
  });

  await new Promise((resolve) => setImmediate(resolve));
  const wasServed = isServed;
  isBusy = false;
  await serving;

  expect(wasServed).toBe(false);
});

test("a slice does not wait for ever", async () => {
  const queue = new TurnQueue(() => true);
  const startedMs = performance.now();

  await queue.next();
  await queue.next();

  expect(performance.now() - startedMs).toBeLessThan(1000);
});
