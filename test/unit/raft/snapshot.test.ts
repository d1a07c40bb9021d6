// State in place of entries, on both sides.

import { describe, expect, test } from "bun:test";
import { nextAppend, type RaftState, step, termAt } from "../../../src/raft/mod.ts";
import { Cluster } from "../../raft/cluster.ts";
import { membersAre } from "../../raft/driver.ts";
import { acknowledge, appendOf, leaderOf, nodeOf, receive } from "../../raft/node.ts";

const offerOf = (index: number, indexTerm: number) =>
  ({ kind: "snapshot", from: "b", to: "a", term: 5, index, indexTerm }) as const;

/** A leader that has entries from 8 on only, and a follower at 3 that speaks. */
function compacted(): RaftState {
  const state = leaderOf();
  step(state, { kind: "compacted", index: 7 });
  receive(state, {
    kind: "appendReply",
    from: "b",
    to: "a",
    term: 5,
    index: 10,
    isRejected: true,
    hintIndex: 3,
    hintTerm: 1,
  });
  return state;
}

describe("a leader", () => {
  test("offers a snapshot when what a follower needs is gone, and waits for it", () => {
    const state = compacted();
    expect(nextAppend(state, "b")).toEqual({ kind: "snapshot" });
    const ready = step(state, { kind: "snapshotStarted", to: "b", index: 7 });

    expect(ready.messages).toMatchObject([{ kind: "snapshot", to: "b", index: 7, indexTerm: 1 }]);
    expect(nextAppend(state, "b")).toBeUndefined();
    expect(state.progress.get("b")).toMatchObject({ state: "snapshot", pendingSnapshot: 7 });
  });

  test("offers none to a follower that says nothing", () => {
    const state = compacted();
    step(state, { kind: "unreachable", nodeId: "b" });
    for (let i = 0; i < 10; i += 1) {
      step(state, { kind: "tick", random: 0 });
      receive(state, { kind: "heartbeatReply", from: "c", to: "a", term: 5, round: 0 });
    }

    expect(state.role).toBe("leader");
    expect(nextAppend(state, "b")).toBeUndefined();
  });

  test("goes on with entries as soon as the follower has any state that they fit", () => {
    const state = compacted();
    step(state, { kind: "snapshotStarted", to: "b", index: 7 });
    acknowledge(state, "b", 9);

    expect(nextAppend(state, "b")).toMatchObject({ kind: "append", prevIndex: 9 });
    expect(state.progress.get("b")?.state).toBe("replicate");
  });

  test("offers another when the log was compacted beyond the first one meanwhile", () => {
    const state = compacted();
    step(state, { kind: "snapshotStarted", to: "b", index: 7 });
    step(state, { kind: "persisted", index: 11, term: 5 });
    acknowledge(state, "c", 11);
    step(state, { kind: "compacted", index: 11 });
    acknowledge(state, "b", 7);

    expect(nextAppend(state, "b")).toEqual({ kind: "snapshot" });
  });

  test.each([
    ["fails, it begins again after a sign of life", "snapshotFailed", { kind: "snapshot" }],
    ["ends, it goes on behind it after a sign of life", "snapshotFinished", { prevIndex: 7 }],
  ] as const)("when the transfer %s", (_, kind, expected) => {
    const state = compacted();
    step(state, { kind: "snapshotStarted", to: "b", index: 7 });
    step(state, { kind, to: "b", index: 7 });
    expect(nextAppend(state, "b")).toBeUndefined();
    receive(state, { kind: "heartbeatReply", from: "b", to: "a", term: 5, round: 0 });

    expect(nextAppend(state, "b")).toMatchObject(expected);
  });

  test("offers nothing that is not committed, or of which it does not know the term", () => {
    const state = compacted();

    expect(() => step(state, { kind: "snapshotStarted", to: "b", index: 9 })).toThrow();
    expect(() => step(state, { kind: "snapshotStarted", to: "b", index: 5 })).toThrow();
  });

  test("keeps what it must of a compacted log: the term at its point", () => {
    const state = compacted();

    expect([6, 7, 8].map((index) => termAt(state, index))).toEqual([undefined, 1, 1]);
    expect(() => step(state, { kind: "compacted", index: 8 })).toThrow("committed is 7");
  });
});

describe("a follower", () => {
  test("wants a snapshot of what it does not have", () => {
    const ready = receive(nodeOf({ term: 5 }), offerOf(20, 5));

    expect(ready.snapshotOffered).toEqual({ from: "b", index: 20, term: 5 });
    expect(ready.messages).toEqual([]);
  });

  test("does not want one at or below its commit index: it says where it is", () => {
    const ready = receive(nodeOf({ term: 5 }), offerOf(7, 1));

    expect(ready.snapshotOffered).toBeUndefined();
    expect(ready.messages).toMatchObject([{ kind: "appendReply", index: 7 }]);
  });

  test("does not want one whose entry it has compacted itself", () => {
    const state = nodeOf({ term: 5 });
    step(state, { kind: "compacted", index: 7 });

    expect(receive(state, offerOf(5, 1)).snapshotOffered).toBeUndefined();
  });

  test("learns from one whose last entry it has that all up to there is committed", () => {
    const ready = receive(nodeOf({ term: 5 }), offerOf(9, 4));

    expect(ready).toMatchObject({ commitIndex: 9, messages: [{ index: 9, isRejected: false }] });
    expect(ready.snapshotOffered).toBeUndefined();
  });

  test("is where the snapshot is when it is installed, and says so", () => {
    const state = nodeOf({ term: 5 });
    receive(state, offerOf(20, 5));
    const configuration = membersAre(["a", "b"]);
    const ready = step(state, {
      kind: "snapshotInstalled",
      index: 20,
      term: 5,
      configuration,
      configurationIndex: 15,
    });

    expect(ready).toMatchObject({ commitIndex: 20, messages: [{ index: 20, to: "b" }] });
    const { lastIndex, lastTerm, appliedIndex, durableIndex, configurationIndex } = state;
    expect({ lastIndex, lastTerm, appliedIndex, durableIndex, configurationIndex }).toEqual({
      lastIndex: 20,
      lastTerm: 5,
      appliedIndex: 20,
      durableIndex: 20,
      configurationIndex: 15,
    });
    const next = appendOf({
      prevIndex: 20,
      prevTerm: 5,
      lastIndex: 21,
      runs: [{ index: 21, term: 5 }],
    });
    expect(receive(state, next).accepted).toEqual({ firstIndex: 21, lastIndex: 21 });
  });

  test("never goes back by one", () => {
    const installed = { configuration: membersAre(["a"]), configurationIndex: 0 };

    expect(() =>
      step(nodeOf(), { kind: "snapshotInstalled", index: 6, term: 1, ...installed }),
    ).toThrow("Cannot go back");
    expect(() =>
      step(leaderOf(), { kind: "snapshotInstalled", index: 20, term: 5, ...installed }),
    ).toThrow("does not replace");
  });
});

test("a node that was away while the log was compacted catches up", () => {
  const cluster = new Cluster();
  cluster.elect("a");
  cluster.cutOff.add("c");
  for (let i = 0; i < 20; i += 1) cluster.node("a").propose(`v${i}`);
  cluster.settle();
  cluster.node("a").compact();
  cluster.cutOff.clear();
  cluster.node("a").propose("after");
  cluster.tick(6);

  expect(cluster.delivered.some(({ kind }) => kind === "snapshot")).toBe(true);
  expect(cluster.node("c").values).toEqual(cluster.node("a").values);
});
