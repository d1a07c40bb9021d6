// The judge of a proof: silent about what is right, and a name for each way in which it can be wrong.

import { describe, expect, test } from "bun:test";
import {
  Ledger,
  type Placement,
  type ReadRecord,
  recordValue,
  type WriteRequest,
} from "../../../src/proof/ledger.ts";

const request = (id: string, count = 1, idempotencyKey?: string): WriteRequest => ({
  id,
  writer: 1,
  partition: 0,
  count,
  idempotencyKey,
});
const placed = (offset: number, count = 1, isDuplicate = false): Placement => ({
  partition: 0,
  offset,
  count,
  isDuplicate,
});
const record = (offset: number, id: string, place = 0, count = 1): ReadRecord => ({
  offset,
  value: recordValue(id, place, count),
});

/** A ledger that knows of `a` at 0 and a batch `b` at 1 and 2, both acknowledged, and of `c`, which was only sent. */
function known(): Ledger {
  const ledger = new Ledger(1);
  const [a, b] = [request("a"), request("b", 2)];
  for (const one of [a, b, request("c")]) ledger.sent(one);
  ledger.acknowledge(a, placed(0));
  ledger.acknowledge(b, placed(1, 2));
  return ledger;
}

const WHOLE = [record(0, "a"), record(1, "b", 0, 2), record(2, "b", 1, 2)];

describe("check() finds nothing where", () => {
  for (const [what, records] of [
    ["everything is where it was acknowledged", WHOLE],
    ["what had no reply is there, too", [...WHOLE, record(3, "c")]],
  ] as const) {
    test(what, () => {
      const ledger = known();

      expect(ledger.check([records])).toBe(3);
      expect({ isClean: ledger.isClean, faults: ledger.faults }).toEqual({
        isClean: true,
        faults: [],
      });
    });
  }
});

describe("check() finds", () => {
  for (const [kind, what, records] of [
    ["lost", "an acknowledged record that is missing at the end", WHOLE.slice(0, 1)],
    ["lost", "everything gone", []],
    ["doubled", "a record that is there twice", [...WHOLE, record(3, "a")]],
    ["doubled", "what had no reply there twice", [...WHOLE, record(3, "c"), record(4, "c")]],
    [
      "reordered",
      "records elsewhere than acknowledged",
      [record(0, "b", 0, 2), record(1, "b", 1, 2), record(2, "a")],
    ],
    ["gaps", "an offset that is missing", [...WHOLE, record(4, "c")]],
    ["altered", "a byte changed", [...WHOLE, { offset: 3, value: `${recordValue("c", 0, 1)}!` }]],
    ["altered", "what nobody sent", [...WHOLE, record(3, "d")]],
    ["altered", "half a batch", [record(0, "a"), record(1, "b", 0, 2)]],
  ] as const) {
    test(`${kind}: ${what}`, () => {
      const ledger = known();

      ledger.check([records]);

      expect(ledger.counts[kind]).toBeGreaterThan(0);
      expect(ledger.isClean).toBe(false);
      expect(ledger.faults.length).toBeGreaterThan(0);
    });
  }

  test("lost: a record that a reader was shown and that gave its place to another", () => {
    const ledger = known();
    ledger.shown(0, [record(3, "c")]);

    ledger.check([[...WHOLE]]);

    expect(ledger.counts.lost).toBe(1);
  });
});

describe("acknowledge() finds", () => {
  test("doubled: a request that is stored again under its key", () => {
    const ledger = new Ledger(1);
    const keyed = request("k", 1, "key");
    ledger.sent(keyed);
    ledger.acknowledge(keyed, placed(0));
    ledger.acknowledge(keyed, placed(1));

    expect(ledger.counts.doubled).toBe(1);
  });

  test("nothing when the first offset comes back", () => {
    const ledger = new Ledger(1);
    const keyed = request("k", 1, "key");
    ledger.sent(keyed);
    ledger.acknowledge(keyed, placed(0));
    ledger.acknowledge(keyed, placed(0, 1, true));

    expect(ledger.isClean).toBe(true);
  });

  test("lost: an offset that is given to another", () => {
    const ledger = known();
    ledger.acknowledge(request("c"), placed(2));

    expect(ledger.counts.lost).toBe(1);
  });

  test("reordered: a writer's later request before its earlier one", () => {
    const ledger = new Ledger(1);
    ledger.acknowledge(request("late"), placed(5));
    ledger.acknowledge(request("early"), placed(4));

    expect(ledger.counts.reordered).toBe(1);
  });
});
