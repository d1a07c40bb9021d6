// The checker of histories: what has an order passes, what has none is found. Histories are made from a log that really has an
// order, then one thing in them is changed; a slow twin that tries every order says what is right.

import { describe, expect, test } from "bun:test";
import { Prng } from "../../../src/lib/prng.ts";
import {
  type AppendOperation,
  checkHistory,
  type Operation,
  type ReadOperation,
} from "../../support/history.ts";

const PARTITION = "orders/0";

/** What a made history looks like. */
interface Shape {
  readonly operations: number;
  /** How many of them may be under way at once. */
  readonly overlap: number;
  readonly countMax: number;
  readonly unknownShare: number;
}

const LARGE: Shape = { operations: 400, overlap: 6, countMax: 4, unknownShare: 0.1 };

/** A history of a log that has an order: each operation takes effect at one moment between its call and its return. */
function historyOf(prng: Prng, shape: Shape): Timed[] {
  const log: string[] = [];
  const made: Timed[] = [];
  for (let i = 0; i < shape.operations; i++) {
    const effectAt = 10 * (i + 1);
    const calledAt = effectAt - 1 - prng.below(10 * shape.overlap);
    const returnedAt = effectAt + 1 + prng.below(10 * shape.overlap);
    if (prng.chance(0.5)) {
      const count = 1 + prng.below(shape.countMax);
      const id = `a${i}`;
      const isUnknown = prng.chance(shape.unknownShare);
      const isStored = !isUnknown || prng.chance(0.5);
      const base = { kind: "append", partition: PARTITION, id, count, calledAt } as const;
      const offset = log.length;
      if (isStored) for (let place = 0; place < count; place++) log.push(`${id}/${place}`);
      made.push(
        isUnknown
          ? { ...base, returnedAt: undefined, outcome: "unknown" }
          : { ...base, returnedAt, outcome: "stored", offset },
      );
      continue;
    }
    const isLinearizable = prng.chance(0.7);
    const nextOffset = isLinearizable ? log.length : prng.below(log.length + 1);
    const from = prng.below(nextOffset + 1);
    made.push({
      kind: "read",
      partition: PARTITION,
      isLinearizable,
      calledAt,
      returnedAt,
      from,
      nextOffset,
      records: log.slice(from, nextOffset),
    });
  }
  return made;
}

const appendsOf = (history: readonly Operation[]): AppendOperation[] =>
  history.filter((operation) => operation.kind === "append");
const readsOf = (history: readonly Operation[]): ReadOperation[] =>
  history.filter((operation) => operation.kind === "read");

/** The history with one operation in another's place. */
const swapped = (history: readonly Operation[], from: Operation, to: Operation): Operation[] =>
  history.map((operation) => (operation === from ? to : operation));

const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1);

/** For each seed: takes a history apart with `damage`, which gives `undefined` where there is nothing to be damaged. */
function expectFound(damage: (history: Operation[], prng: Prng) => Operation[] | undefined): void {
  let damaged = 0;
  for (const seed of SEEDS) {
    const prng = new Prng(seed);
    const history = damage(historyOf(prng.fork("history"), LARGE), prng);
    if (history === undefined) continue;
    damaged += 1;
    expect({ seed, found: checkHistory(history).length > 0 }).toEqual({ seed, found: true });
  }
  expect(damaged).toBeGreaterThan(SEEDS.length / 2);
}

describe("checkHistory()", () => {
  test.each(SEEDS)("finds nothing wrong with a log that has an order, seed %d", (seed) => {
    expect(checkHistory(historyOf(new Prng(seed), LARGE))).toEqual([]);
  });

  test("finds a linearizable read that is stale", () => {
    expectFound((history, prng) => {
      const read = readsOf(history).findLast(({ isLinearizable }) => isLinearizable);
      const stored = appendsOf(history).findLast(
        ({ outcome, returnedAt = 0 }) => outcome === "stored" && returnedAt < (read?.calledAt ?? 0),
      );
      if (read === undefined || stored?.offset === undefined) return undefined;
      const nextOffset = prng.below(stored.offset + 1);
      const from = Math.min(read.from, nextOffset);
      const records = read.from <= nextOffset ? read.records.slice(0, nextOffset - from) : [];
      return swapped(history, read, { ...read, from, nextOffset, records });
    });
  });

  test("finds an append that was acknowledged and is not there", () => {
    expectFound((history) => {
      const reads = readsOf(history).filter(({ records }) => records.length > 0);
      const lost = appendsOf(history).find(
        ({ id, outcome }) =>
          outcome === "stored" && reads.some(({ records }) => records.includes(`${id}/0`)),
      );
      if (lost?.offset === undefined) return undefined;
      const { offset, count } = lost;
      // Everybody who read beyond it sees the log without it.
      return history.map((operation) => {
        if (operation.kind !== "read" || operation.nextOffset <= offset) return operation;
        const records = operation.records.filter((record) => !record.startsWith(`${lost.id}/`));
        const nextOffset = operation.nextOffset - count;
        return { ...operation, from: nextOffset - records.length, nextOffset, records };
      });
    });
  });

  test("finds two appends that stand in the wrong order", () => {
    expectFound((history) => {
      const stored = appendsOf(history).filter(({ outcome }) => outcome === "stored");
      const early = stored.find((append) =>
        stored.some((later) => later.calledAt > (append.returnedAt ?? Number.POSITIVE_INFINITY)),
      );
      const late = stored.findLast(
        ({ calledAt, count }) =>
          count === early?.count && calledAt > (early.returnedAt ?? Number.POSITIVE_INFINITY),
      );
      if (early?.offset === undefined || late?.offset === undefined) return undefined;
      const { offset } = early;
      const quiet = history.filter(({ kind }) => kind === "append");
      const half = swapped(quiet, early, { ...early, offset: late.offset });
      return swapped(half, late, { ...late, offset });
    });
  });

  test("finds an append that is there twice", () => {
    expectFound((history) => {
      const last = readsOf(history).findLast(
        ({ isLinearizable, records }) => isLinearizable && records.length > 1,
      );
      if (last === undefined) return undefined;
      const records = [...last.records];
      records[records.length - 1] = records[0] as string;
      return swapped(history, last, { ...last, records });
    });
  });

  test("finds a key that is stored twice", () => {
    const base = { kind: "append", partition: PARTITION, count: 1, outcome: "stored" } as const;
    const first = { ...base, id: "a", key: "k", calledAt: 1, returnedAt: 2, offset: 0 };
    const again = { ...base, id: "b", key: "k", calledAt: 3, returnedAt: 4, offset: 1 };

    expect(checkHistory([first, again])).toHaveLength(1);
    expect(checkHistory([first, { ...again, key: "other" }])).toEqual([]);
  });

  test("finds a refused append that is shown, and one that is shown before it was sent", () => {
    const append: AppendOperation = {
      kind: "append",
      partition: PARTITION,
      id: "a",
      count: 1,
      calledAt: 10,
      returnedAt: 20,
      outcome: "unknown",
    };
    const read: ReadOperation = {
      kind: "read",
      partition: PARTITION,
      isLinearizable: true,
      calledAt: 30,
      returnedAt: 40,
      from: 0,
      nextOffset: 1,
      records: ["a/0"],
    };

    expect(checkHistory([append, read])).toEqual([]);
    expect(checkHistory([{ ...append, outcome: "refused" }, read])).toHaveLength(1);
    expect(checkHistory([append, { ...read, calledAt: 1, returnedAt: 2 }])).not.toEqual([]);
  });

  test("finds an offset that nobody was given", () => {
    const base = { kind: "append", partition: PARTITION, count: 1 } as const;
    const first: Operation = {
      ...base,
      id: "a",
      calledAt: 1,
      returnedAt: 2,
      outcome: "stored",
      offset: 1,
    };
    const unknown: Operation = {
      ...base,
      id: "b",
      calledAt: 1,
      returnedAt: undefined,
      outcome: "unknown",
    };

    expect(checkHistory([first])).toHaveLength(1);
    expect(checkHistory([first, unknown])).toEqual([]);
  });

  test("finds a source and a floor that go back", () => {
    const read = (at: number, startOffset: number, nextOffset: number): ReadOperation => ({
      kind: "read",
      partition: PARTITION,
      isLinearizable: false,
      source: "n1",
      calledAt: at,
      returnedAt: at + 1,
      from: nextOffset,
      startOffset,
      nextOffset,
      records: [],
    });
    const write: Operation = {
      kind: "append",
      partition: PARTITION,
      id: "a",
      count: 9,
      calledAt: 0,
      returnedAt: undefined,
      outcome: "unknown",
    };

    expect(checkHistory([write, read(1, 0, 5), read(3, 2, 7)])).toEqual([]);
    expect(checkHistory([write, read(1, 0, 5), read(3, 0, 4)])).toHaveLength(1);
    const floors = [read(1, 3, 5), read(3, 2, 7)].map((one) => ({ ...one, isLinearizable: true }));
    expect(checkHistory([write, ...floors])).toHaveLength(1);
  });

  test("finds a committed offset that goes back, or that nobody committed", () => {
    const raise = {
      kind: "raise",
      register: "g",
      calledAt: 1,
      returnedAt: 2,
      outcome: "stored",
    } as const;
    const read = { kind: "registerRead", register: "g", isLinearizable: true } as const;

    expect(
      checkHistory([
        { ...raise, value: 7 },
        { ...read, value: 7, calledAt: 3, returnedAt: 4 },
      ]),
    ).toEqual([]);
    expect(
      checkHistory([
        { ...raise, value: 7 },
        { ...read, value: -1, calledAt: 3, returnedAt: 4 },
      ]),
    ).toHaveLength(1);
    expect(
      checkHistory([
        { ...raise, value: 7 },
        { ...read, value: 9, calledAt: 3, returnedAt: 4 },
      ]),
    ).toHaveLength(1);
  });

  test("agrees with a twin that tries every order, on small histories that may have none", () => {
    const shape = { operations: 5, overlap: 2, countMax: 1, unknownShare: 0 };
    let without = 0;
    for (let seed = 1; seed <= 3000; seed++) {
      const prng = new Prng(seed);
      const history = distorted(historyOf(prng.fork("history"), shape), prng);
      const hasOrder = isOrderable(history);
      if (!hasOrder) without += 1;
      expect({ seed, hasOrder: checkHistory(history).length === 0 }).toEqual({ seed, hasOrder });
    }
    expect(without).toBeGreaterThan(300);
  });

  test("never complains of a history that has an order, whatever is unknown in it", () => {
    const shape = { operations: 5, overlap: 2, countMax: 1, unknownShare: 0.4 };
    for (let seed = 1; seed <= 3000; seed++) {
      const prng = new Prng(seed);
      const history = distorted(historyOf(prng.fork("history"), shape), prng);
      if (isOrderable(history))
        expect({ seed, faults: checkHistory(history) }).toEqual({ seed, faults: [] });
    }
  });
});

/** The history with some ends moved; reads are linearizable and show where the log ends. */
function distorted(history: readonly Timed[], prng: Prng): Timed[] {
  return history.map((operation) => {
    const isMoved = prng.chance(0.3);
    const by = prng.below(3) - 1;
    if (operation.kind === "read") {
      const nextOffset = Math.max(0, operation.nextOffset + (isMoved ? by : 0));
      return { ...operation, isLinearizable: true, from: nextOffset, nextOffset, records: [] };
    }
    if (operation.kind !== "append" || operation.offset === undefined || !isMoved) return operation;
    return { ...operation, offset: Math.max(0, operation.offset + by) };
  });
}

type Timed = Exclude<Operation, { readonly kind: "keyStates" }>;

/** Tries every order that real time allows. */
function isOrderable(history: readonly Timed[]): boolean {
  const search = (left: readonly Timed[], length: number): boolean => {
    if (left.every((operation) => operation.kind === "append" && operation.outcome === "unknown"))
      return true;
    return left.some((next) => {
      // Nobody may stand before somebody who was over when he began.
      const isFirst = left.every(
        (other) =>
          other === next || (other.returnedAt ?? Number.POSITIVE_INFINITY) >= next.calledAt,
      );
      if (!isFirst) return false;
      const rest = left.filter((other) => other !== next);
      if (next.kind === "read") return next.nextOffset === length && search(rest, length);
      if (next.kind !== "append") return false;
      if (next.offset !== undefined) return next.offset === length && search(rest, length + 1);
      return search(rest, length + 1) || search(rest, length);
    });
  };
  return search(history, 0);
}

describe("keys", () => {
  const STATES = {
    kind: "keyStates",
    key: "a/k",
    states: new Map([
      [1, "w1"],
      [2, undefined],
      [3, "w2"],
    ]),
  } as const;
  const put = (value: string, cas: number, calledAt: number, returnedAt: number): Operation => ({
    kind: "keyWrite",
    key: "a/k",
    value,
    cas,
    calledAt,
    returnedAt,
    outcome: "stored",
  });
  const read = (
    cas: number,
    calledAt: number,
    returnedAt: number,
    isLinearizable = true,
  ): Operation => ({ kind: "keyRead", key: "a/k", isLinearizable, cas, calledAt, returnedAt });
  const deletion = { ...put("", 2, 30, 40), value: undefined } as Operation;
  const good = [STATES, put("w1", 1, 10, 20), deletion, put("w2", 3, 50, 60)];

  test.each<[string, readonly Operation[]]>([
    ["reads in step", [read(0, 1, 5), read(1, 21, 25), read(0, 41, 45), read(3, 61, 65)]],
    ["a read beside a write, before it or after it", [read(0, 10, 20), read(1, 15, 25)]],
    ["an old read that may be old", [read(1, 61, 65, false), read(0, 61, 65, false)]],
    ["no value beside a deletion and a put", [read(0, 35, 55), read(3, 56, 58)]],
  ])("%s have an order", (_name, reads) => {
    expect(checkHistory([...good, ...reads])).toEqual([]);
  });

  test.each<[string, readonly Operation[]]>([
    ["a stale read", [read(1, 61, 65)]],
    ["no value after a put was there to stay", [read(0, 61, 65)]],
    ["no value between a put and a deletion", [read(0, 21, 29)]],
    ["a value before it was written", [read(3, 41, 45)]],
    ["two reads that go back", [read(3, 51, 54), read(0, 55, 58)]],
    ["a value that the log never had", [read(7, 1, 70)]],
    ["another value than the log has", [{ ...read(1, 21, 25), value: "w2" } as Operation]],
    ["a put that is said to be elsewhere", [put("w3", 4, 70, 80)]],
    [
      "a put that was refused, and is there",
      [{ ...put("w2", 3, 50, 60), outcome: "refused" } as Operation],
    ],
    ["an expectation that did not hold", [{ ...put("w2", 3, 50, 60), expected: 1 } as Operation]],
  ])("%s is found", (_name, operations) => {
    expect(checkHistory([...good, ...operations])).not.toEqual([]);
  });
});
