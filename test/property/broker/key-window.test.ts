// The window of keys against a list: the same keys, the same outcomes, the oldest first out.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { KeyWindow } from "../../../src/broker/mod.ts";
import { encodeText } from "../../../src/lib/bytes.ts";
import type { Remembered } from "../../../src/model/command-codec.ts";

const blank = (): Remembered => ({
  topicId: 0,
  partition: 0,
  count: 0,
  firstOffset: 0,
  timestampMs: 0,
  fingerprintLow: 0,
  fingerprintHigh: 0,
  detail: new Uint8Array(0),
});

type Act =
  | { readonly kind: "add"; readonly key: string; readonly topicId: number; readonly step: number }
  | { readonly kind: "trim"; readonly keysMax: number; readonly age: number }
  | { readonly kind: "drop" };

/** Runs acts on both and compares them at the end of each. */
function runBoth(acts: readonly Act[], padding: string): void {
  const window = new KeyWindow();
  const twin: { key: string; outcome: Remembered }[] = [];
  const seen = new Set<string>();
  let now = 1;
  for (const [i, act] of acts.entries()) {
    switch (act.kind) {
      case "add": {
        const key = act.key + padding;
        now += act.step;
        const known = twin.findIndex(
          (item) => item.key === key && item.outcome.topicId === act.topicId,
        );
        if (known >= 0) break;
        seen.add(`${act.topicId} ${key}`);
        const outcome: Remembered = {
          topicId: act.topicId,
          partition: i % 300,
          count: 1 + (i % 7),
          firstOffset: i * 1e9,
          timestampMs: now,
          fingerprintLow: i * 3,
          fingerprintHigh: 0xff_ff_ff_ff - i,
          detail: new Uint8Array(i % 5).fill(i),
        };
        window.add(encodeText(key), outcome);
        twin.push({ key, outcome });
        break;
      }
      case "trim": {
        let dropped = 0;
        while (
          twin.length > act.keysMax ||
          (twin[0] !== undefined && twin[0].outcome.timestampMs <= now - act.age)
        ) {
          twin.shift();
          dropped += 1;
        }
        expect(window.trim(act.keysMax, now - act.age)).toBe(dropped);
        break;
      }
      case "drop":
        if (twin.shift() !== undefined) window.dropOldest();
        break;
    }
    expect(window.size).toBe(twin.length);
    if (twin[0] !== undefined) expect(window.oldestTag).toBe(twin[0].outcome.timestampMs);
  }
  for (const name of seen) {
    const [topicId = "", ...key] = name.split(" ");
    const wanted = twin.find(
      (item) => item.key === key.join(" ") && item.outcome.topicId === Number(topicId),
    );
    const found = blank();
    expect(window.find(Number(topicId), encodeText(key.join(" ")), found)).toBe(
      wanted !== undefined,
    );
    if (wanted !== undefined) expect(found).toEqual(wanted.outcome);
  }
}

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      key: fc.string({ maxLength: 3 }),
      topicId: fc.constantFrom(1, 2, 70_000),
      step: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("trim" as const),
      keysMax: fc.nat({ max: 60 }),
      age: fc.nat({ max: 50 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("drop" as const) }) },
);

test("holds what a list holds", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 200, size: "max" }), (acts) => runBoth(acts, "")),
    {
      numRuns: 100,
    },
  );
});

test("holds it over many pages, and gives back those that are used up", () => {
  // 300-byte keys: 770 of them fill a page.
  const acts: Act[] = [];
  for (let i = 0; i < 6000; i++) {
    acts.push({ kind: "add", key: `k${i}`, topicId: 1, step: 1 });
    if (i % 500 === 499) acts.push({ kind: "trim", keysMax: 900, age: 1e9 });
  }
  acts.push({ kind: "trim", keysMax: 0, age: 1e9 }, { kind: "add", key: "x", topicId: 1, step: 1 });
  runBoth(acts, "p".repeat(256));
});

test("an empty key is a key", () => {
  const window = new KeyWindow();
  window.add(new Uint8Array(0), { ...blank(), topicId: 3, firstOffset: 9 });
  const found = blank();

  expect(window.find(3, new Uint8Array(0), found)).toBe(true);
  expect(found.firstOffset).toBe(9);
  expect(window.find(4, new Uint8Array(0), found)).toBe(false);
});
