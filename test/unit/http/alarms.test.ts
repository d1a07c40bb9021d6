// The one timer of the room.

import { expect, test } from "bun:test";
import { Alarms } from "../../../src/http/alarms.ts";

test("alarms ring once, not early, and a tick late at most", async () => {
  const alarms = new Alarms();
  const started = performance.now();
  const rung = Promise.withResolvers<number>();

  alarms.after(120, () => rung.resolve(performance.now() - started));
  const elapsed = await rung.promise;

  expect(elapsed).toBeGreaterThanOrEqual(119);
  expect(elapsed).toBeLessThan(400);
});

test("an alarm that was taken back does not ring", async () => {
  const alarms = new Alarms();
  let rings = 0;

  const cancel = alarms.after(60, () => {
    rings += 1;
  });
  cancel();
  alarms.after(60, () => {
    rings += 10;
  });
  await Bun.sleep(250);

  expect(rings).toBe(10);
});

test("a sweep runs until it answers false", async () => {
  const alarms = new Alarms();
  let sweeps = 0;

  alarms.everyTick(() => {
    sweeps += 1;
    return sweeps < 2;
  });
  await Bun.sleep(300);

  expect(sweeps).toBe(2);
});
