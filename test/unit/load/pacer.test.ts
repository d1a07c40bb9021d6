// The schedule must go on when the server does not.

import { expect, test } from "bun:test";
import { type Lane, RatePacer, SaturationPacer } from "../../../src/load/pacer.ts";

class SpyLane implements Lane {
  readonly sent: [intended: number, now: number][] = [];
  send(intended: number, now: number): void {
    this.sent.push([intended, now]);
  }
}

test("RatePacer dates each request by the schedule, not by the moment it is sent", () => {
  const pacer = new RatePacer(1000);
  const lane = new SpyLane();

  pacer.idle(lane, 0);
  pacer.start(0, 100);
  pacer.idle(lane, 3.5); // The reply took 3.5 ms: requests 1 to 3 were due meanwhile.
  pacer.idle(lane, 4);

  expect(lane.sent).toEqual([
    [0, 0],
    [1, 3.5],
    [2, 4],
  ]);
});

test("RatePacer takes its lanes in turns", () => {
  const pacer = new RatePacer(1000);
  const lanes = [new SpyLane(), new SpyLane(), new SpyLane()];

  pacer.start(0, 10_000);
  for (const lane of lanes) pacer.idle(lane, 0);
  for (let now = 1; now < 6000; now++) {
    pacer.tick(now);
    pacer.idle(lanes[now % 3]!, now + 0.5);
  }

  expect(lanes.map((lane) => lane.sent.length)).toEqual([2000, 2000, 2000]);
});

test("RatePacer says when the next request is due and stops at the end", () => {
  const pacer = new RatePacer(100);
  for (let i = 0; i < 3; i++) pacer.idle(new SpyLane(), 0);

  pacer.start(0, 20);

  expect(pacer.tick(4)).toBe(6);
  expect(pacer.tick(9.5)).toBe(0.5);
  expect(pacer.tick(1000)).toBe(Number.POSITIVE_INFINITY);
});

test("SaturationPacer sends with every idle lane once it is started", () => {
  const pacer = new SaturationPacer();
  const lane = new SpyLane();

  pacer.idle(lane, 0);
  expect(lane.sent).toEqual([]);
  pacer.start(5);
  pacer.idle(lane, 7);

  expect(lane.sent).toEqual([
    [5, 5],
    [7, 7],
  ]);
});
