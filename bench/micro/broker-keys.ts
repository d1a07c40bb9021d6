// What a million idempotency keys cost: adding, finding, and above all a full collection while they are there.

import { KeyWindow } from "../../src/broker/mod.ts";
import type { Remembered } from "../../src/model/command-codec.ts";

/** Adds keys to a window, finds them again, and collects garbage around them. */
export async function run({ size }: { size: "tiny" | "real" }) {
  const count = size === "tiny" ? 1000 : 1_000_000;
  const window = new KeyWindow();
  const outcome: Remembered = {
    topicId: 1,
    partition: 0,
    count: 1,
    firstOffset: 0,
    timestampMs: 0,
    fingerprintLow: 1,
    fingerprintHigh: 2,
    detail: new Uint8Array(0),
  };
  const key = new Uint8Array(24);
  const view = new DataView(key.buffer);
  let slowestAddMs = 0;
  const addStarted = performance.now();
  for (let i = 0; i < count; i++) {
    view.setUint32(0, i, true);
    outcome.firstOffset = i;
    const started = performance.now();
    window.add(key, outcome);
    slowestAddMs = Math.max(slowestAddMs, performance.now() - started);
  }
  const addMs = performance.now() - addStarted;

  let found = 0;
  const findStarted = performance.now();
  for (let i = 0; i < count; i++) {
    view.setUint32(0, i, true);
    if (window.find(1, key, outcome) && outcome.firstOffset === i) found += 1;
  }
  const findMs = performance.now() - findStarted;
  if (found !== count) throw new Error(`Found ${found} of ${count} keys`);

  Bun.gc(true);
  const collections: number[] = [];
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    Bun.gc(true);
    collections.push(performance.now() - started);
  }
  const withKeys = collections.sort((left, right) => left - right)[2] ?? 0;
  if (window.size !== count) throw new Error("The window is still needed here");
  return {
    name: "broker-keys",
    figures: {
      keys: count,
      add_ns: (addMs * 1e6) / count,
      find_ns: (findMs * 1e6) / count,
      slowest_add_ms: slowestAddMs,
      full_collection_ms: withKeys,
    },
  };
}
