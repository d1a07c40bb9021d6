// Requests that wait for the broker: each is answered once, with its own outcome, whenever and in how many steps it comes.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { limits } from "../../../src/config/mod.ts";
import { Admission } from "../../../src/http/admission.ts";
import { Alarms } from "../../../src/http/alarms.ts";
import { ErrorReplies } from "../../../src/http/errors.ts";
import { batchReply, singleReply } from "../../../src/http/replies.ts";
import { RouteStats, TopicTraffic } from "../../../src/http/stats.ts";
import { Waiters } from "../../../src/http/waiters.ts";
import { refuse } from "../../../src/model/errors.ts";

const REQUEST = new Request("http://node:1/broker/topics/t/produce?partition=0");

/** Slots with everything around them. */
class Desk {
  readonly admission = new Admission(1 << 30);
  readonly alarms = new Alarms();
  readonly waiters = new Waiters({
    admission: this.admission,
    alarms: this.alarms,
    errors: new ErrorReplies("https://docs.example"),
  });
  readonly stats = new RouteStats("POST", "/produce");
  readonly traffic = new TopicTraffic();

  /** Opens a slot that the broker takes. */
  take(timeoutMs = 60_000, maker = singleReply, hasTiming = false) {
    this.admission.reserve(10);
    const slot = this.waiters.open(REQUEST, this.stats, Bun.nanoseconds(), 10, timeoutMs);
    const reply = this.waiters.reply(slot);
    this.waiters.mark(slot, maker, hasTiming);
    return { slot, waiter: this.waiters.taken(slot, this.traffic), reply };
  }

  /** The broker's word on a record at `offset`. */
  say(waiter: number, offset: number, synced: number, duplicate = -1): void {
    this.waiters.produced(waiter, offset, 1, 0, offset + 100, synced, duplicate);
  }

  [Symbol.dispose](): void {
    this.alarms.stop();
  }
}

const reply = (offset: number, synced: boolean): string =>
  `{"ok":true,"offset":${offset},"partition":0,"batch_id":${offset + 100},"sealed":true,"durable":true,"mode":"sealed","synced":${synced}}`;

describe("an outcome in two steps", () => {
  test.each([
    [1, true],
    [0, false],
  ])("is answered with the second, %p", async (second, synced) => {
    using desk = new Desk();
    const { waiter, slot, reply: answer } = desk.take();

    desk.say(waiter, 7, 2);
    const isOpen = desk.waiters.isWaiting(slot);
    desk.say(waiter, 7, second);

    expect(isOpen).toBe(true);
    expect(await (await answer).text()).toBe(reply(7, synced));
    expect(desk.traffic).toMatchObject({ recordsIn: 1, bytesIn: 10 });
    expect([desk.waiters.size, desk.admission.bytes]).toEqual([0, 0]);
  });

  test("is a 200 with synced:false when time is up: the outcome is known", async () => {
    using desk = new Desk();
    const { waiter, reply: answer } = desk.take(60, batchReply, true);

    desk.say(waiter, 7, 2);
    const response = await answer;
    desk.say(waiter, 7, 1);

    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ first_offset: 7, count: 1, synced: false });
    expect(desk.stats.byStatus[200]).toBe(1);
    expect(desk.traffic).toMatchObject({ recordsIn: 1, bytesIn: 10 });
    expect([desk.waiters.size, desk.admission.bytes]).toEqual([0, 0]);
  });

  test("is not taken back by a refusal", async () => {
    using desk = new Desk();
    const { waiter, reply: answer } = desk.take();

    desk.say(waiter, 7, 2);
    desk.waiters.refused(waiter, refuse("timeout", undefined, { outcome: "unknown" }));

    expect(await (await answer).text()).toBe(reply(7, false));
  });

  test("that begins after the client was answered frees what it held", async () => {
    using desk = new Desk();
    const { waiter, reply: answer } = desk.take(60);

    const response = await answer;
    const held = [desk.waiters.size, desk.admission.bytes];
    desk.say(waiter, 7, 2);

    expect(response.status).toBe(504);
    expect(held).toEqual([1, 10]);
    expect([desk.waiters.size, desk.admission.bytes]).toEqual([0, 0]);
    desk.say(waiter, 7, 1);
    expect(desk.traffic.recordsIn).toBe(1);
  });
});

test("what is not stored in time is a timeout with an unknown outcome", async () => {
  using desk = new Desk();
  const { waiter, reply: answer } = desk.take(60);

  const response = await answer;
  desk.say(waiter, 7, 1);

  expect(response.status).toBe(504);
  expect(await response.json()).toMatchObject({ error: "timeout", outcome: "unknown" });
  expect(desk.stats.byStatus[200]).toBe(0);
});

test("when the node stops everyone is told what is known", async () => {
  using desk = new Desk();
  const stored = desk.take();
  const unknown = desk.take();
  const coming = desk.waiters.open(REQUEST, desk.stats, Bun.nanoseconds(), 0, 60_000);
  const body = desk.waiters.reply(coming);
  desk.say(stored.waiter, 7, 2);

  desk.waiters.endAll();

  expect(await (await stored.reply).text()).toBe(reply(7, false));
  expect(await (await unknown.reply).json()).toMatchObject({ outcome: "unknown" });
  // Its body may still come, and find the gate closed.
  expect(desk.waiters.isWaiting(coming)).toBe(true);
  desk.waiters.refuse(coming, refuse("not_ready"));
  expect((await body).status).toBe(503);
});

test("a node that is away for ever does not use up the slots, and its late word meets no stranger", async () => {
  using desk = new Desk();
  const gone: number[] = [];
  for (let offset = 0; offset < limits.WAITERS_MAX; offset++) {
    const { waiter } = desk.take();
    desk.say(waiter, offset, 2);
    gone.push(waiter);
  }
  desk.waiters.endAll();

  const later = Array.from({ length: 3 }, () => desk.take());
  // The broker comes back to everyone that it still remembers.
  for (const [offset, waiter] of gone.entries()) desk.say(waiter, offset, 1);
  for (const [i, { waiter }] of later.entries()) desk.say(waiter, 1_000_000 + i, 1);

  for (const [i, { reply: answer, waiter }] of later.entries()) {
    expect(gone).not.toContain(waiter);
    expect(await (await answer).text()).toBe(reply(1_000_000 + i, true));
  }
  expect(Math.max(...gone.slice(0, 1000), ...later.map(({ waiter }) => waiter))).toBeLessThan(
    2 ** 31,
  );
  expect([desk.waiters.size, desk.admission.bytes]).toEqual([0, 0]);
});

test("whatever happens in whatever order, each client gets its own record, once", async () => {
  const step = fc.record({
    what: fc.constantFrom("take", "store", "finish", "refuse", "end"),
    at: fc.nat({ max: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      using desk = new Desk();
      const all: { waiter: number; offset: number; text: Promise<string>; state: string }[] = [];
      for (const { what, at } of steps) {
        if (what === "take") {
          const { waiter, reply: answer } = desk.take();
          const text = answer.then((response) => response.text());
          all.push({ waiter, offset: all.length, text, state: "open" });
        } else if (what === "end") {
          desk.waiters.endAll();
        } else {
          const owed = all.filter(({ state }) => state !== "done");
          const one = owed[at % Math.max(owed.length, 1)];
          if (one === undefined) continue;
          if (what === "refuse") desk.waiters.refused(one.waiter, refuse("disk_full"));
          else desk.say(one.waiter, one.offset, what === "store" ? 2 : 1);
          one.state = what === "store" ? "stored" : "done";
        }
      }
      for (const one of all.filter(({ state }) => state !== "done")) {
        desk.say(one.waiter, one.offset, 1);
      }

      for (const { offset, text } of all) {
        const said = JSON.parse(await text) as { ok: boolean; offset?: number; error?: string };
        if (said.ok) expect(said.offset).toBe(offset);
        else expect(["timeout", "disk_full"]).toContain(said.error ?? "");
      }
      expect([desk.waiters.size, desk.admission.bytes]).toEqual([0, 0]);
    }),
    { numRuns: 300 },
  );
});
