// Which pauses fall into a reply, which replies belong together, and what is held to be their cause.

import { describe, expect, test } from "bun:test";
import {
  episodesOf,
  Pauses,
  readParts,
  type Seen,
  type SlowReply,
} from "../../../bench/load/slow-replies.ts";

const nothingSeen = (): Seen => ({
  slowdowns: new Pauses(),
  collections: new Pauses(),
  waits: new Pauses(),
  stalls: new Pauses(),
});

const slow = (intended: number, sent: number, now: number, parts = {}): SlowReply => ({
  intended,
  sent,
  now,
  parts: { queue: 0, server: 0, syncWait: 0, ...parts },
});

describe("Pauses", () => {
  test("within() adds up what lies between two moments, and cuts what reaches beyond them", () => {
    const pauses = new Pauses();
    pauses.add(10, 20);
    pauses.add(30, 35);
    pauses.add(90, 130);

    expect(pauses.within(0, 200)).toBe(55);
    expect(pauses.within(15, 33)).toBe(8);
    expect(pauses.within(100, 110)).toBe(10);
    expect(pauses.within(40, 80)).toBe(0);
  });

  test("pauses that follow each other closely are one", () => {
    const pauses = new Pauses();
    pauses.add(10, 12, 5);
    pauses.add(14, 16, 5);
    pauses.add(40, 41, 5);

    expect(pauses.summary()).toEqual({ count: 2, sumMs: 7, worstMs: 6 });
    expect(pauses.within(12, 14)).toBe(2);
  });

  test("worstBySecond() keeps the longest of each second", () => {
    const pauses = new Pauses();
    pauses.add(1100, 1103);
    pauses.add(1500, 1509);
    pauses.add(3200, 3201);

    expect(pauses.worstBySecond(1000, 3)).toEqual([9, 0, 1]);
  });
});

describe("readParts()", () => {
  test("reads the last fields of a reply", () => {
    const ending = `"synced":true,"queue_us":104,"recv_parse_us":742,"server_us":1220,"produce_us":50,"sync_wait_us":325}`;

    expect(readParts(ending)).toEqual({ queue: 104, server: 1220, syncWait: 325 });
  });

  test("finds nothing in a reply that does not tell", () => {
    expect(readParts(`{"ok":true}`)).toEqual({ queue: 0, server: 0, syncWait: 0 });
  });
});

describe("episodesOf()", () => {
  test("puts replies together that came together, and judges by the one that was longest on its way", () => {
    const seen = nothingSeen();
    seen.collections.add(100, 115);
    const waitedForConnection = slow(101, 119, 121);
    const inCollection = slow(99, 99, 118);
    const muchLater = slow(500, 500, 520, { syncWait: 18_000, server: 19_000 });

    const episodes = episodesOf([inCollection, waitedForConnection, muchLater], seen, 50);

    expect(episodes.map(({ cause, writes, worstMs }) => ({ cause, writes, worstMs }))).toEqual([
      { cause: "collector", writes: 2, worstMs: 20 },
      { cause: "sync", writes: 1, worstMs: 20 },
    ]);
  });

  test("of several causes the machine's is the one that the others follow from", () => {
    const seen = nothingSeen();
    seen.slowdowns.add(0, 20);
    seen.collections.add(0, 20);
    seen.stalls.add(0, 20);

    expect(episodesOf([slow(0, 0, 20, { syncWait: 20_000 })], seen, 50)[0]?.cause).toBe("machine");
  });

  test("what nothing explains is the node's when its own clock says so, and else outside of it", () => {
    const [own, outside] = episodesOf(
      [slow(0, 0, 20, { server: 15_000 }), slow(200, 200, 220, { server: 1000 })],
      nothingSeen(),
      50,
    );

    expect(own?.cause).toBe("node");
    expect(outside?.cause).toBe("outside");
  });
});
