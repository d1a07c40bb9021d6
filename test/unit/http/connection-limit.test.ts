// The door is closed at the limit and opened below it; what cannot be done is said, and not a hundred times a second.

import { expect, test } from "bun:test";
import { limits } from "../../../src/config/mod.ts";
import { ConnectionLimit } from "../../../src/http/connection-limit.ts";
import { createLogger } from "../../../src/lib/logger.ts";

/** A limit over a listener that does as it is told. */
function limited(descriptorsMax: number, lookMs = 0) {
  const events: string[] = [];
  const world = { nowMs: 0, connections: 0, looks: 0, doors: [] as boolean[], works: true };
  const logger = createLogger({
    level: "info",
    room: "http",
    now: () => 0,
    write: (line) => events.push((JSON.parse(line) as { event: string }).event),
  });
  const listener = {
    descriptorsMax,
    connections: () => {
      world.looks += 1;
      world.nowMs += lookMs;
      return world.connections;
    },
    setAccepting: (isAccepting: boolean) => {
      if (world.works) world.doors.push(isAccepting);
      return world.works;
    },
  };
  return { limit: new ConnectionLimit(listener, logger, () => world.nowMs), world, events };
}

test("it closes at the limit, opens below it, and says so once in ten seconds", () => {
  const { limit, world, events } = limited(1e6);
  for (const connections of [0, 19_999, 20_000, 25_000, 19_999, 20_000, 20_001, 5]) {
    world.nowMs += limits.CONNECTION_LOOK_MS;
    world.connections = connections;
    limit.look();
  }

  expect(limit.connectionsMax).toBe(20_000);
  expect(world.doors).toEqual([false, true, false, true]);
  expect(events).toEqual(["connections_full"]);
});

test("with few descriptors it leaves some for files, and says so at the start", () => {
  const { limit, events } = limited(1024);

  expect(limit.connectionsMax).toBe(768);
  expect(events).toEqual(["few_descriptors"]);
});

test("a kernel that does not close the door is asked again, and named", () => {
  const { limit, world, events } = limited(1e6);
  world.works = false;
  world.connections = 30_000;
  for (let i = 0; i < 5; i++) {
    world.nowMs += limits.CONNECTION_LOOK_MS;
    limit.look();
  }
  world.works = true;
  world.nowMs += limits.CONNECTION_LOOK_MS;
  limit.look();

  expect(events).toEqual(["connections_unbounded"]);
  expect(world.doors).toEqual([false]);
});

test("looking that takes long is done seldom", () => {
  const { limit, world } = limited(1e6, 10);
  const endMs = 60_000;
  while (world.nowMs < endMs) {
    limit.look();
    world.nowMs += limits.CONNECTION_LOOK_MS;
  }

  expect(world.looks * 10).toBeLessThan(endMs / 80);
});
