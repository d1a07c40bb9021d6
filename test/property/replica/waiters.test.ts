// Who waits is woken once, in order, when its entry is applied and not before: the ring against a list.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { EntryCallbacks, ProduceWaiters, RecordWishes } from "../../../src/replica/waiters.ts";

test("the ring answers what a list would, with every number as it was given, while it grows", () => {
  const act = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ add: fc.integer({ min: 1, max: 700 }), step: fc.nat({ max: 2 }) }),
    },
    { weight: 2, arbitrary: fc.record({ wake: fc.nat({ max: 5 }) }) },
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
      const waiters = new ProduceWaiters();
      const twin: number[][] = [];
      const woken: number[][] = [];
      const wanted: number[][] = [];
      const sink = {
        submittedMs: 0,
        produced: (...numbers: number[]) => void woken.push(numbers),
        refused: () => {
          throw new Error("Nobody is refused here");
        },
      };
      let index = 1;
      let waiter = 0;
      for (const one of acts) {
        if ("add" in one) {
          for (let i = 0; i < one.add; i++) {
            waiter += 1;
            const offset = waiter * 2 ** 33;
            waiters.add(index, waiter, offset, 1 + (i % 9), i % 256, (i % 3) - 1);
            twin.push([waiter, offset, 1 + (i % 9), i % 256, index, 1, (i % 3) - 1]);
          }
          index += one.step;
        } else {
          const applied = index - one.wake;
          waiters.wake(applied, 1, sink);
          while ((twin[0]?.[4] ?? Number.POSITIVE_INFINITY) <= applied)
            wanted.push(twin.shift() as number[]);
        }
        expect(waiters.size).toBe(twin.length);
      }
      expect(woken).toEqual(wanted);
    }),
    { numRuns: 60 },
  );
});

test("callbacks run in the order of their entries, those added on the way wait for theirs, and the lost are told", () => {
  const callbacks = new EntryCallbacks();
  const ran: string[] = [];
  const lost: string[] = [];
  const add = (index: number, name: string, run: () => void = () => undefined): void =>
    callbacks.add(
      index,
      () => {
        ran.push(name);
        run();
      },
      ({ code }) => lost.push(`${name} ${code}`),
    );
  add(5, "5a");
  add(3, "3", () => add(4, "4 later"));
  add(5, "5b");
  add(9, "9");
  callbacks.wake(2);
  expect(ran).toEqual([]);
  callbacks.wake(5);
  expect(ran).toEqual(["3", "5a", "5b"]);
  callbacks.wake(6);

  expect(ran).toEqual(["3", "5a", "5b", "4 later"]);
  expect(callbacks.size).toBe(1);

  callbacks.refuse((index) => ({ code: index === 9 ? "timeout" : "not_leader" }));

  expect(lost).toEqual(["9 timeout"]);
  expect(callbacks.size).toBe(0);
});

test("wishes are granted by the offset they wait for, woken in parts, and may be taken back", () => {
  const wishes = new RecordWishes();
  const woken: string[] = [];
  const wish = (name: string, key: number, offset: number): (() => void) =>
    wishes.add(key, offset, () => woken.push(name));
  wish("a0", 1, 0);
  wish("a5", 1, 5);
  const takeBack = wish("a1", 1, 1);
  wish("b0", 2, 0);
  const late = wish("a2", 1, 2);
  takeBack();
  takeBack();
  expect(wishes.size).toBe(4);
  wishes.grant(1, 3);
  wishes.grant(7, 100);
  expect(woken).toEqual([]);
  late();
  expect(wishes.wakeSome(1)).toBe(true);
  expect(wishes.wakeSome(10)).toBe(false);
  expect(woken).toEqual(["a0"]);
  wishes.grant(1, 6);
  wishes.grant(2, 1);
  wishes.wakeSome(10);

  expect(woken).toEqual(["a0", "a5", "b0"]);
  expect(wishes.size).toBe(0);
});
