// What is in the log, who has it, and when it is committed.

import { describe, expect, test } from "bun:test";
import { makeAppend, nextAppend, type RaftState, step, termAt } from "../../../src/raft/mod.ts";
import { Cluster } from "../../raft/cluster.ts";
import { membersAre } from "../../raft/driver.ts";
import { acknowledge, appendOf, leaderOf, NOTHING, nodeOf, receive } from "../../raft/node.ts";

/** Pulls what may go to a follower and counts it as sent, `bytes` each, until nothing may. */
function pull(state: RaftState, to: string, bytes = 100): string[] {
  const sent: string[] = [];
  for (let i = 0; i < 20; i += 1) {
    const next = nextAppend(state, to);
    if (next?.kind !== "append") return next === undefined ? sent : [...sent, next.kind];
    const lastIndex = Math.min(next.prevIndex + 1, next.lastIndex);
    sent.push(`${next.prevIndex}-${lastIndex}`);
    step(state, { kind: "sent", to, prevIndex: next.prevIndex, lastIndex, bytes });
  }
  return sent;
}

const reject = (state: RaftState, from: string, index: number, hint: [number, number]) =>
  receive(state, {
    kind: "appendReply",
    from,
    to: "a",
    term: state.term,
    index,
    isRejected: true,
    hintIndex: hint[0],
    hintTerm: hint[1],
  });

describe("commitment", () => {
  test("R2: a leader counts itself only after its own sync", () => {
    const state = leaderOf();
    expect(acknowledge(state, "b", 11).commitIndex).toBe(7);

    expect(step(state, { kind: "persisted", index: 11, term: 5 }).commitIndex).toBe(11);
  });

  test("R2: what was not durable when a node was elected does not count for it either", () => {
    const state = nodeOf({ term: 5, isPreVote: false });
    receive(state, appendOf());
    step(state, { kind: "stateSaved", term: 5, vote: "" });
    step(state, { kind: "campaign" });
    step(state, { kind: "stateSaved", term: 6, vote: "a" });
    receive(state, {
      kind: "voteReply",
      from: "c",
      to: "a",
      term: 6,
      isRejected: false,
      ...NOTHING,
    });
    step(state, { kind: "proposed", entries: 1 });

    expect([state.role, state.progress.get("a")?.matchIndex]).toEqual(["leader", 10]);
    expect(acknowledge(state, "c", 12).commitIndex).toBe(7);
    expect(step(state, { kind: "persisted", index: 12, term: 6 }).commitIndex).toBe(12);
  });

  test("a majority of others commits without the leader's own disk", () => {
    const state = leaderOf();
    acknowledge(state, "b", 11);

    expect(acknowledge(state, "c", 11).commitIndex).toBe(11);
    expect(state.durableIndex).toBe(10);
  });

  test("R23: an entry of an old term is never committed by counting (figure 8)", () => {
    const state = leaderOf();
    // Entry 10, of term 4, is on every disk; the leader's own first entry is on none but one.
    expect(acknowledge(state, "b", 10).commitIndex).toBe(7);
    expect(acknowledge(state, "c", 10).commitIndex).toBe(7);

    acknowledge(state, "b", 11);
    expect(acknowledge(state, "c", 11).commitIndex).toBe(11);
  });

  test("a learner counts for nothing", () => {
    const state = leaderOf({ configuration: membersAre(["a", "b", "c"], ["d", "e"]) });
    step(state, { kind: "persisted", index: 11, term: 5 });
    acknowledge(state, "d", 11);

    expect(acknowledge(state, "e", 11).commitIndex).toBe(7);
    expect(acknowledge(state, "b", 11).commitIndex).toBe(11);
  });

  test("a joint configuration takes a majority of each half", () => {
    const configuration = { ...membersAre(["a", "b", "c"]), outgoing: ["a", "d", "e"] };
    const state = leaderOf({ configuration });
    step(state, { kind: "persisted", index: 11, term: 5 });
    for (const from of ["b", "c"]) expect(acknowledge(state, from, 11).commitIndex).toBe(7);

    expect(acknowledge(state, "d", 11).commitIndex).toBe(11);
  });

  test("an answer of a stranger, of another term, or about more than there is counts for nothing", () => {
    const state = leaderOf();
    step(state, { kind: "persisted", index: 11, term: 5 });
    acknowledge(state, "x", 11);
    acknowledge(state, "b", 12);
    const reply = { kind: "appendReply", from: "b", to: "a", term: 4, index: 11 } as const;
    receive(state, { ...reply, isRejected: false, hintIndex: 0, hintTerm: 0 });

    expect(state.commitIndex).toBe(7);
  });
});

describe("a follower", () => {
  test("R23: takes nothing from a leader of an earlier term", () => {
    const state = nodeOf({ term: 6 });
    const ready = receive(state, appendOf());

    expect(ready.accepted).toBeUndefined();
    expect([state.lastIndex, state.leaderId]).toEqual([10, undefined]);
  });

  test("R2: answers for entries when they are durable, once for all that came", () => {
    const state = nodeOf({ term: 5 });
    const first = receive(state, appendOf());
    expect(first).toMatchObject({ messages: [], accepted: { firstIndex: 11, lastIndex: 11 } });
    receive(state, appendOf({ prevIndex: 11, prevTerm: 5, lastIndex: 13, runs: runs(12, 5) }));

    expect(step(state, { kind: "persisted", index: 13, term: 5 }).messages).toMatchObject([
      { kind: "appendReply", index: 13, isRejected: false },
    ]);
  });

  test("answers at once when it has everything already", () => {
    const state = nodeOf({ term: 5 });
    const old = appendOf({ prevIndex: 8, prevTerm: 1, lastIndex: 10, runs: runs(9, 4) });

    expect(receive(state, old)).toMatchObject({ messages: [{ index: 10 }] });
  });

  test("says only what is the leader's: its own tail may be another's", () => {
    const state = nodeOf({ term: 5 });
    const probe = appendOf({ prevIndex: 8, prevTerm: 1, lastIndex: 8, runs: [] });

    expect(receive(state, probe).messages).toMatchObject([{ index: 8 }]);
    expect([state.lastIndex, state.commitIndex]).toEqual([10, 7]);
  });

  test("answers for no more of its tail than the leader is known to have, however much is durable", () => {
    const state = nodeOf({ term: 5 });
    receive(state, appendOf({ lastIndex: 12, runs: runs(11, 5) }));
    receive(state, appendOf({ from: "c", term: 6, lastIndex: 11 }));
    step(state, { kind: "stateSaved", term: 6, vote: "" });

    // Entry 12 is of the leader of term 5, and nobody knows yet what the one of term 6 has there.
    expect(step(state, { kind: "persisted", index: 12, term: 5 }).messages).toMatchObject([
      { to: "c", term: 6, index: 11 },
    ]);
  });

  test("takes nothing as committed by the word of a leader whose log it was not compared with", () => {
    const state = nodeOf({ term: 5 });
    receive(state, appendOf({ lastIndex: 11 }));
    const beat = { kind: "heartbeat", from: "c", to: "a", term: 6, round: 1 } as const;

    expect(receive(state, { ...beat, commitIndex: 11 }).commitIndex).toBe(7);
  });

  test("R23: drops what conflicts, and what it was told of a dropped write counts for nothing", () => {
    const state = nodeOf({ term: 5, lastIndex: 12, commitIndex: 7 });
    const ready = receive(
      state,
      appendOf({ prevIndex: 8, prevTerm: 1, lastIndex: 10, runs: runs(9, 5) }),
    );

    expect(ready).toMatchObject({ truncateFrom: 9, accepted: { firstIndex: 9, lastIndex: 10 } });
    expect(step(state, { kind: "persisted", index: 10, term: 4 }).messages).toEqual([]);
    expect([state.durableIndex, termAt(state, 9), termAt(state, 11)]).toEqual([8, 5, undefined]);
    expect(step(state, { kind: "persisted", index: 10, term: 5 }).messages).toMatchObject([
      { index: 10 },
    ]);
  });

  test("keeps what is there when a message comes again, late", () => {
    const state = nodeOf({ term: 5 });
    receive(state, appendOf({ lastIndex: 13, runs: runs(11, 5) }));
    const ready = receive(state, appendOf());

    expect([ready.truncateFrom, ready.accepted, state.lastIndex]).toEqual([
      undefined,
      undefined,
      13,
    ]);
  });

  test("never drops what is committed: it answers with where it is", () => {
    const state = nodeOf({ term: 5 });
    const wrong = appendOf({ prevIndex: 3, prevTerm: 1, lastIndex: 6, runs: runs(4, 3) });

    expect(receive(state, wrong)).toMatchObject({ messages: [{ index: 7, isRejected: false }] });
    expect(() =>
      receive(state, appendOf({ prevIndex: 7, prevTerm: 1, lastIndex: 8, runs: runs(8, 5) })),
    ).not.toThrow();
  });

  test("commits no more than what the leader and it both have", () => {
    const state = nodeOf({ term: 5 });
    const probe = appendOf({ prevIndex: 8, prevTerm: 1, lastIndex: 8, runs: [], commitIndex: 10 });
    expect(receive(state, probe).commitIndex).toBe(8);

    const beat = { kind: "heartbeat", from: "b", to: "a", term: 5, round: 1 } as const;
    expect(receive(state, { ...beat, commitIndex: 10 }).commitIndex).toBe(8);
    receive(state, appendOf({ lastIndex: 10, runs: [], commitIndex: 9 }));
    expect(receive(state, { ...beat, commitIndex: 10 }).commitIndex).toBe(10);
  });

  test.each([
    ["ends before the message", { prevIndex: 15, prevTerm: 4 }, [10, 4]],
    ["has another term there", { prevIndex: 10, prevTerm: 5 }, [10, 4]],
    ["has a later term there, and skips it whole", { prevIndex: 10, prevTerm: 3 }, [8, 1]],
  ])("says where the logs can match when its own %s", (_, position, hint) => {
    const state = nodeOf({ term: 5 });
    const lastIndex = position.prevIndex;
    const ready = receive(state, appendOf({ ...position, lastIndex, runs: [] }));

    expect(ready.messages).toMatchObject([
      { index: position.prevIndex, isRejected: true, hintIndex: hint[0], hintTerm: hint[1] },
    ]);
  });
});

describe("what is sent", () => {
  test("a probe is one message at a time; a heartbeat's answer or its own lets the next one go", () => {
    const state = leaderOf();
    expect(pull(state, "b")).toEqual(["10-11"]);
    step(state, { kind: "proposed", entries: 1 });
    expect(pull(state, "b")).toEqual([]);

    receive(state, { kind: "heartbeatReply", from: "b", to: "a", term: 5, round: 0 });
    expect(pull(state, "b")).toEqual(["10-11"]);
    acknowledge(state, "b", 11);
    expect(pull(state, "b")).toEqual(["11-12"]);
  });

  test("entries go ahead of the answers until the window is full, in messages or in bytes", () => {
    for (const [bytes, expected] of [
      [100, ["11-12", "12-13", "13-14", "14-15"]],
      [600, ["11-12", "12-13"]],
    ] as const) {
      const state = leaderOf();
      acknowledge(state, "b", 11);
      step(state, { kind: "proposed", entries: 9 });
      expect(pull(state, "b", bytes)).toEqual([...expected]);
      expect(state.progress.get("b")).toMatchObject({ isPaused: true, isFull: true });

      acknowledge(state, "b", 12);
      expect(pull(state, "b", bytes)).toHaveLength(1);
    }
  });

  test("R20: a slow follower holds nobody up", () => {
    const state = leaderOf();
    step(state, { kind: "persisted", index: 11, term: 5 });
    for (const from of ["b", "c"]) acknowledge(state, from, 11);
    for (let index = 12; index < 100; index += 1) {
      step(state, { kind: "proposed", entries: 1 });
      step(state, { kind: "persisted", index, term: 5 });
      pull(state, "c");
      expect(pull(state, "b")).toContain(`${index - 1}-${index}`);

      expect(acknowledge(state, "b", index).commitIndex).toBe(index);
    }
  });

  test("the commit index goes without entries when it is news", () => {
    const state = leaderOf();
    pull(state, "b");
    step(state, { kind: "persisted", index: 11, term: 5 });
    acknowledge(state, "b", 11);

    expect(nextAppend(state, "b")).toMatchObject({ prevIndex: 11, lastIndex: 11, commitIndex: 11 });
    expect(pull(state, "b")).toEqual(["11-11"]);
    expect(pull(state, "b")).toEqual([]);
  });

  test("a broken connection sends what was under way again", () => {
    const state = leaderOf();
    acknowledge(state, "b", 11);
    step(state, { kind: "proposed", entries: 3 });
    expect(pull(state, "b")).toEqual(["11-12", "12-13", "13-14"]);
    step(state, { kind: "unreachable", nodeId: "b" });

    expect(pull(state, "b")).toEqual(["11-12"]);
  });

  test("a refusal goes back to where the logs can match, and no further than what does", () => {
    const state = leaderOf();
    pull(state, "b");
    reject(state, "b", 10, [9, 3]);
    // Term 3 is not in this log; what is at 8, of term 1, is the latest that can be in both.
    expect(pull(state, "b")).toEqual(["8-9"]);
    acknowledge(state, "b", 9);
    pull(state, "b");
    reject(state, "b", 9, [2, 1]);

    expect(state.progress.get("b")).toMatchObject({ matchIndex: 9, state: "replicate" });
  });

  test("a follower that was forgotten is asked again from the end, and believed", () => {
    const state = leaderOf();
    acknowledge(state, "b", 11);
    step(state, { kind: "forget", nodeId: "b" });
    expect(state.progress.get("b")).toMatchObject({ matchIndex: 0, nextIndex: 12, state: "probe" });
    expect(pull(state, "b")).toEqual(["11-11"]);
    reject(state, "b", 11, [0, 0]);

    expect(pull(state, "b")).toEqual(["0-1"]);
  });

  test("an append carries the terms of its entries", () => {
    const state = leaderOf();

    expect(makeAppend(state, "b", 6, 11)).toEqual({
      kind: "append",
      from: "a",
      to: "b",
      term: 5,
      prevIndex: 6,
      prevTerm: 1,
      commitIndex: 7,
      lastIndex: 11,
      runs: [
        { index: 7, term: 1 },
        { index: 9, term: 4 },
        { index: 11, term: 5 },
      ],
    });
  });

  test("nothing goes to itself, to a stranger, or from a follower", () => {
    expect(nextAppend(leaderOf(), "a")).toBeUndefined();
    expect(nextAppend(leaderOf(), "x")).toBeUndefined();
    expect(nextAppend(nodeOf(), "b")).toBeUndefined();
  });

  test("what was sent of a term that is over, or to a pause, counts for nothing", () => {
    const state = leaderOf();
    step(state, { kind: "sent", to: "b", prevIndex: 4, lastIndex: 9, bytes: 1 });
    step(state, { kind: "sent", to: "x", prevIndex: 10, lastIndex: 11, bytes: 1 });

    expect(pull(state, "b")).toEqual(["10-11"]);
  });
});

describe("figure 8 with whole nodes", () => {
  test("R23: an old entry that a majority has may still be lost, and is then applied by nobody", () => {
    const cluster = new Cluster(membersAre(["a", "b", "c", "d", "e"]), { isCheckQuorum: false });
    for (const away of ["c", "d", "e"]) cluster.cutOff.add(away);
    cluster.cutOff.clear();
    cluster.elect("a");
    for (const away of ["c", "d", "e"]) cluster.cutOff.add(away);
    cluster.node("a").propose("old");
    cluster.settle();
    cluster.cutOff.clear();
    for (const away of ["a", "b"]) cluster.cutOff.add(away);
    cluster.elect("e");
    cluster.node("e").propose("new");
    cluster.settle();
    cluster.cutOff.clear();
    cluster.tick(4);

    for (const node of cluster.nodes.values()) {
      expect(node.values.some((value) => value.endsWith(" new"))).toBe(true);
      expect(node.values.some((value) => value.endsWith(" old"))).toBe(false);
    }
  });
});

const runs = (index: number, term: number) => [{ index, term }];
