// The steps of a cluster of one: stand, vote durably, lead, commit what is durable of one's own term.

import { describe, expect, test } from "bun:test";
import { createRaft, type RaftState, step } from "../../../src/raft/mod.ts";

const node = (over: Partial<Parameters<typeof createRaft>[0]> = {}): RaftState =>
  createRaft({
    nodeId: "a",
    voters: ["a"],
    term: 4,
    vote: "a",
    commitIndex: 7,
    lastIndex: 10,
    lastTerm: 4,
    ...over,
  });

/** A leader whose term begins behind index 10. */
function leader(): RaftState {
  const state = node();
  step(state, { kind: "tick" });
  step(state, { kind: "voteSaved", term: 5 });
  return state;
}

describe("a start", () => {
  test("takes no more as committed than the log has", () => {
    expect(node({ commitIndex: 50 }).commitIndex).toBe(10);
  });

  test.each([
    ["voters that it does not know", { voters: ["b"] }],
    ["more voters than itself", { voters: ["a", "b", "c"] }],
    ["a log from a term after its vote", { lastTerm: 5 }],
  ])("refuses %s", (_, over) => {
    expect(() => node(over)).toThrow();
  });
});

describe("an election", () => {
  test("begins with a higher term and a vote to save, and is asked for once", () => {
    const state = node();

    expect(step(state, { kind: "tick" })).toEqual({
      vote: { term: 5, vote: "a" },
      commitIndex: 7,
    });
    expect(step(state, { kind: "tick" })).toEqual({ commitIndex: 7 });
    expect([state.role, state.isVoteSaved]).toEqual(["candidate", false]);
  });

  test("is won when the vote is durable, not before, and not by the vote of another term", () => {
    const state = node();
    step(state, { kind: "tick" });
    expect(step(state, { kind: "voteSaved", term: 4 }).becameLeader).toBeUndefined();
    expect(state.role).toBe("candidate");

    expect(step(state, { kind: "voteSaved", term: 5 }).becameLeader).toBe(true);
    expect([state.role, state.leaderId, state.termStartIndex]).toEqual(["leader", "a", 11]);
    expect(step(state, { kind: "voteSaved", term: 5 }).becameLeader).toBeUndefined();
  });
});

describe("a leader", () => {
  test("gives proposals their places, one behind the other", () => {
    const state = leader();

    expect(step(state, { kind: "proposed", entries: 2 }).appended).toEqual({
      term: 5,
      firstIndex: 11,
      entries: 2,
    });
    expect(step(state, { kind: "proposed", entries: 1 }).appended?.firstIndex).toBe(13);
  });

  test("commits what is durable, once an entry of its own term is (Raft §5.4.2)", () => {
    const state = leader();
    step(state, { kind: "proposed", entries: 3 });

    expect(step(state, { kind: "persisted", index: 10, term: 4 }).commitIndex).toBe(7);
    expect(step(state, { kind: "persisted", index: 12, term: 5 }).commitIndex).toBe(12);
    expect(step(state, { kind: "persisted", index: 11, term: 5 }).commitIndex).toBe(12);
    expect(step(state, { kind: "persisted", index: 13, term: 5 }).commitIndex).toBe(13);
  });

  test("reads only when something of its own term is committed", () => {
    const state = leader();
    step(state, { kind: "proposed", entries: 1 });
    expect(step(state, { kind: "read", context: 1 }).reads).toBeUndefined();
    step(state, { kind: "persisted", index: 11, term: 5 });

    expect(step(state, { kind: "read", context: 1 })).toMatchObject({ reads: [1], readIndex: 11 });
  });

  test("cannot be told that more is durable than there is", () => {
    expect(() => step(leader(), { kind: "persisted", index: 11, term: 5 })).toThrow(
      "log ends at 10",
    );
  });
});

test("a follower and a candidate take no proposals and answer no reads", () => {
  const follower = node();
  const candidate = node();
  step(candidate, { kind: "tick" });
  for (const state of [follower, candidate]) {
    expect(() => step(state, { kind: "proposed", entries: 1 })).toThrow("Only a leader");
    expect(step(state, { kind: "read", context: 1 }).reads).toBeUndefined();
  }
});
