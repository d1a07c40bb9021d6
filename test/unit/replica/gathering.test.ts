// A write waits for the requests that are on their way, and never for one that does not come.

import { expect, test } from "bun:test";
import { Gathering } from "../../../src/replica/gathering.ts";
import { TestClock } from "../../support/sim-node.ts";

/** Passes of the loop until the write goes; `arriving` come in each. */
function passes(gathering: Gathering, clock: TestClock, from: number, arriving: number[]): number {
  let added = from;
  for (let pass = 0; ; pass++) {
    added += arriving[pass] ?? 0;
    if (!gathering.isOn(added, clock)) {
      gathering.end();
      gathering.submitted(added);
      return pass;
    }
  }
}

test("the first request of an idle node does not wait", () => {
  expect(passes(new Gathering(), new TestClock(), 1, [])).toBe(0);
});

test("as many are waited for as were answered, and no longer once they are here", () => {
  const [gathering, clock] = [new Gathering(), new TestClock()];
  passes(gathering, clock, 64, []);
  gathering.synced(64);

  expect(passes(gathering, clock, 64, [20, 20, 24, 99])).toBe(2);
});

test("two passes that bring nothing end it", () => {
  const [gathering, clock] = [new Gathering(), new TestClock()];
  passes(gathering, clock, 64, []);
  gathering.synced(64);

  expect(passes(gathering, clock, 64, [10, 0, 0, 0])).toBe(2);
});

test("it ends after a millisecond, whatever comes", () => {
  const [gathering, clock] = [new Gathering(), new TestClock()];
  passes(gathering, clock, 1000, []);
  gathering.synced(1000);
  let added = 1000;
  let count = 0;
  while (gathering.isOn(++added, clock)) {
    clock.pass(0.3);
    count += 1;
  }

  expect(count).toBe(4);
});
