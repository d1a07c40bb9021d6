// The common course of things: one node alone, three that elect, replicate, and go on without one of them.

import { describe, expect, test } from "bun:test";
import { createRaft, type RaftState, step } from "../../../src/raft/mod.ts";
import { Cluster } from "../../raft/cluster.ts";
import { membersAre } from "../../raft/driver.ts";

const alone = (over: Partial<Parameters<typeof createRaft>[0]> = {}): RaftState =>
  createRaft({
    nodeId: "a",
    configuration: membersAre(["a"]),
    configurationIndex: 0,
    term: 4,
    vote: "a",
    commitIndex: 7,
    appliedIndex: 7,
    lastIndex: 10,
    runs: [
      { index: 1, term: 1 },
      { index: 9, term: 4 },
    ],
    electionTicks: 10,
    heartbeatTicks: 2,
    random: 0,
    isFenced: false,
    inflightBytesMax: 1 << 20,
    inflightMessagesMax: 8,
    ...over,
  });

/** A leader whose term begins behind index 10. */
function leader(): RaftState {
  const state = alone();
  step(state, { kind: "campaign" });
  step(state, { kind: "stateSaved", term: 5, vote: "a" });
  return state;
}

describe("a start", () => {
  test("takes no more as committed than the log has", () => {
    expect(alone({ commitIndex: 50 }).commitIndex).toBe(10);
  });

  test("takes the term of its last entry when that is later, and has not voted in it", () => {
    const state = alone({ term: 3, vote: "b" });

    expect([state.term, state.vote]).toEqual([4, ""]);
  });

  test.each([
    ["no id", { nodeId: "" }],
    ["more applied than there is", { appliedIndex: 11 }],
    ["an election timeout within a heartbeat", { electionTicks: 2 }],
    [
      "terms that fall",
      {
        runs: [
          { index: 1, term: 4 },
          { index: 5, term: 3 },
        ],
      },
    ],
    ["a log without terms", { runs: [] }],
  ])("refuses %s", (_, over) => {
    expect(() => alone(over)).toThrow();
  });
});

describe("a node alone", () => {
  test("stands when its timeout is over, with a vote to save, and asks nobody", () => {
    const state = alone();
    for (let i = 0; i < 9; i += 1)
      expect(step(state, { kind: "tick", random: 0 })).toEqual({ messages: [], commitIndex: 7 });

    expect(step(state, { kind: "tick", random: 0 })).toEqual({
      messages: [],
      hardState: { term: 5, vote: "a" },
      commitIndex: 7,
    });
    expect(state.role).toBe("candidate");
  });

  test("is elected when its vote is durable, not before, and not by the vote of another term", () => {
    const state = alone();
    step(state, { kind: "campaign" });
    expect(step(state, { kind: "stateSaved", term: 4, vote: "a" }).becameLeader).toBeUndefined();
    expect(step(state, { kind: "stateSaved", term: 5, vote: "" }).becameLeader).toBeUndefined();
    expect(state.role).toBe("candidate");

    expect(step(state, { kind: "stateSaved", term: 5, vote: "a" }).becameLeader).toBe(true);
    expect([state.role, state.leaderId, state.termStartIndex]).toEqual(["leader", "a", 11]);
    expect(step(state, { kind: "stateSaved", term: 5, vote: "a" }).becameLeader).toBeUndefined();
  });

  test("commits what is durable, once an entry of its own term is (Raft §5.4.2)", () => {
    const state = leader();
    step(state, { kind: "proposed", entries: 3 });

    expect(step(state, { kind: "persisted", index: 10, term: 4 }).commitIndex).toBe(7);
    expect(step(state, { kind: "persisted", index: 12, term: 5 }).commitIndex).toBe(12);
    expect(step(state, { kind: "persisted", index: 11, term: 5 }).commitIndex).toBe(12);
    expect(step(state, { kind: "persisted", index: 13, term: 5 }).commitIndex).toBe(13);
  });

  test("answers reads at once when something of its own term is committed, and not before", () => {
    const state = leader();
    step(state, { kind: "proposed", entries: 1 });
    expect(step(state, { kind: "read", context: 1 }).reads).toBeUndefined();

    const ready = step(state, { kind: "persisted", index: 11, term: 5 });
    expect(ready.reads).toEqual([{ context: 1, index: 11 }]);
    expect(step(state, { kind: "read", context: 2 }).reads).toEqual([{ context: 2, index: 11 }]);
  });

  test("stands only when all that it knows to be committed is applied", () => {
    const state = alone({ appliedIndex: 6 });
    expect(step(state, { kind: "campaign" }).hardState).toBeUndefined();

    step(state, { kind: "applied", index: 7 });
    expect(step(state, { kind: "campaign" }).hardState).toEqual({ term: 5, vote: "a" });
  });

  test("that does not lead takes no proposals, and fails reads at once", () => {
    const state = alone();

    expect(() => step(state, { kind: "proposed", entries: 1 })).toThrow("Only a leader");
    expect(step(state, { kind: "read", context: 3 }).failedReads).toEqual([3]);
  });
});

describe("three nodes", () => {
  test("elect the first whose timeout ends, and it tells the others", () => {
    const cluster = new Cluster();
    cluster.tick(10, "b");

    expect(cluster.node("b").state.role).toBe("leader");
    for (const nodeId of ["a", "c"]) {
      const { role, leaderId, term } = cluster.node(nodeId).state;
      expect({ role, leaderId, term }).toEqual({ role: "follower", leaderId: "b", term: 1 });
    }
  });

  test("apply the same values in the same order", () => {
    const cluster = new Cluster();
    const leading = cluster.elect("a");
    for (const value of ["x", "y", "z"]) leading.propose(value);
    cluster.settle();

    for (const node of cluster.nodes.values())
      expect(node.values).toEqual(["1/1 ", "1/2 x", "1/3 y", "1/4 z"]);
  });

  test("go on without their leader, and it follows when it is back", () => {
    const cluster = new Cluster();
    cluster.elect("a").propose("x");
    cluster.settle();
    cluster.cutOff.add("a");
    // Written by the old leader, and by nobody else.
    cluster.node("a").propose("lost");
    cluster.tick(10, "b");
    // Whoever heard a leader lately holds on to it; its own timeout has to pass first.
    expect(cluster.node("b").state.role).toBe("preCandidate");
    cluster.tick(10, "c");
    cluster.tick(10, "b");
    const leading = [...cluster.nodes.values()].find((node) => node.state.term > 1);
    expect(leading).toBeDefined();
    cluster.tick(20);
    cluster.cutOff.clear();
    cluster.tick(20);

    const leaders = [...cluster.nodes.values()].filter(({ state }) => state.role === "leader");
    expect(leaders).toHaveLength(1);
    leaders[0]?.propose("y");
    cluster.settle();
    const expected = leaders[0]?.values ?? [];
    expect(expected.some((value) => value.endsWith(" x"))).toBe(true);
    expect(expected.some((value) => value.endsWith("lost"))).toBe(false);
    for (const node of cluster.nodes.values()) expect(node.values).toEqual(expected);
  });

  test("do nothing for a candidate that lacks what they have", () => {
    const cluster = new Cluster();
    cluster.cutOff.add("c");
    cluster.elect("a").propose("x");
    cluster.settle();
    cluster.cutOff.clear();
    cluster.cutOff.add("a");
    cluster.tick(12, "b");
    cluster.cutOff.add("b");
    cluster.tick(12, "c");
    cluster.cutOff.delete("b");
    cluster.tick(12, "c");

    expect(cluster.node("c").state.role).not.toBe("leader");
  });
});
