// Who may lead: votes, promises, time, and who must not stand.

import { describe, expect, test } from "bun:test";
import { type RaftState, step } from "../../../src/raft/mod.ts";
import { Cluster } from "../../raft/cluster.ts";
import { membersAre } from "../../raft/driver.ts";
import { appendOf, leaderOf, NOTHING, nodeOf, receive } from "../../raft/node.ts";

const voteOf = (over: object = {}) =>
  ({
    kind: "vote",
    from: "b",
    to: "a",
    term: 5,
    lastIndex: 10,
    lastTerm: 4,
    isTransfer: false,
    ...over,
  }) as const;

const tick = (state: RaftState, ticks: number) => {
  for (let i = 0; i < ticks; i += 1) step(state, { kind: "tick", random: 0 });
};

describe("R23: term and vote are durable before anything depends on them", () => {
  test("a vote leaves only when it is saved", () => {
    const state = nodeOf();
    const asked = receive(state, voteOf());
    expect(asked).toMatchObject({ messages: [], hardState: { term: 5, vote: "b" } });

    expect(step(state, { kind: "stateSaved", term: 5, vote: "b" }).messages).toMatchObject([
      { kind: "voteReply", to: "b", term: 5, isRejected: false },
    ]);
  });

  test("the saving of an earlier promise lets nothing go", () => {
    const state = nodeOf();
    receive(state, voteOf());

    expect(step(state, { kind: "stateSaved", term: 5, vote: "" }).messages).toEqual([]);
    expect(step(state, { kind: "stateSaved", term: 4, vote: "b" }).messages).toEqual([]);
  });

  test("a candidate asks for votes and counts its own only when it is saved", () => {
    const state = nodeOf({ isPreVote: false });
    expect(step(state, { kind: "campaign" }).messages).toEqual([]);
    receive(state, {
      kind: "voteReply",
      from: "b",
      to: "a",
      term: 5,
      isRejected: false,
      ...NOTHING,
    });
    expect(state.role).toBe("candidate");

    const saved = step(state, { kind: "stateSaved", term: 5, vote: "a" });
    expect(saved.messages.map(({ kind, to }) => `${kind} ${to}`)).toEqual(["vote b", "vote c"]);
    expect(saved.becameLeader).toBe(true);
  });

  test("an answer to an append of a new term waits for that term", () => {
    const state = nodeOf();
    receive(state, appendOf({ lastIndex: 10, runs: [] }));

    expect(step(state, { kind: "stateSaved", term: 5, vote: "" }).messages).toMatchObject([
      { kind: "appendReply", to: "b", term: 5, index: 10 },
    ]);
  });

  test("one vote a term: the same candidate hears it again, another is refused", () => {
    const state = nodeOf({ term: 5, vote: "b" });

    expect(receive(state, voteOf()).messages).toMatchObject([{ isRejected: false }]);
    expect(receive(state, voteOf({ from: "c" })).messages).toMatchObject([{ isRejected: true }]);
  });
});

describe("R23: a candidate's log is compared", () => {
  test.each([
    ["ends in an earlier term, and is longer", { lastIndex: 99, lastTerm: 3 }, true],
    ["ends in the same term, and is shorter", { lastIndex: 9, lastTerm: 4 }, true],
    ["is the same", { lastIndex: 10, lastTerm: 4 }, false],
    ["ends in the same term, and is longer", { lastIndex: 11, lastTerm: 4 }, false],
    ["ends in a later term, and is shorter", { lastIndex: 1, lastTerm: 5 }, false],
  ])("one that %s", (_, position, isRejected) => {
    for (const kind of ["vote", "preVote"] as const) {
      const state = nodeOf();
      const ready = receive(state, voteOf({ kind, term: 6, ...position }));
      const { term, vote } = state;
      const { messages } = ready.hardState
        ? step(state, { kind: "stateSaved", term, vote })
        : ready;

      expect(messages).toMatchObject([{ kind: `${kind}Reply`, isRejected }]);
      expect(state.vote).toBe(kind === "vote" && !isRejected ? "b" : "");
    }
  });
});

describe("R2: a fenced node", () => {
  test("gives no vote, to nobody, and neither says that it would", () => {
    for (const kind of ["vote", "preVote"] as const) {
      const state = nodeOf({ isFenced: true });
      receive(state, voteOf({ kind, lastIndex: 99, isTransfer: true }));
      step(state, { kind: "stateSaved", term: state.term, vote: state.vote });

      expect(state.vote).toBe("");
    }
    const state = nodeOf({ isFenced: true, term: 5 });
    expect(receive(state, voteOf()).messages).toMatchObject([{ isRejected: true }]);
  });

  test("does not stand: not in time, not when told to, not at the leader's wish", () => {
    const state = nodeOf({ isFenced: true });
    tick(state, 50);
    step(state, { kind: "campaign" });
    receive(state, { kind: "timeoutNow", from: "b", to: "a", term: 4 });

    expect([state.role, state.term]).toEqual(["follower", 4]);
  });

  test("takes what a leader sends, and answers for what is durable", () => {
    const state = nodeOf({ isFenced: true, term: 5 });
    receive(state, appendOf());

    expect(step(state, { kind: "persisted", index: 11, term: 5 }).messages).toMatchObject([
      { kind: "appendReply", index: 11, isRejected: false },
    ]);
  });

  test("lets go of leadership when the damage is found", () => {
    const state = leaderOf();

    expect(step(state, { kind: "fence", isFenced: true }).lostLeadership).toBe(true);
    step(state, { kind: "fence", isFenced: false });
    expect(step(state, { kind: "campaign" }).hardState).toEqual({ term: 6, vote: "a" });
  });
});

describe("who stands", () => {
  test.each([
    ["a learner", membersAre(["b", "c"], ["a"])],
    ["a node that is not a member", membersAre(["b", "c"])],
    ["a node that knows no member at all", membersAre([])],
  ])("%s does not", (_, configuration) => {
    const state = nodeOf({ configuration });
    tick(state, 50);
    step(state, { kind: "campaign" });

    expect([state.role, state.term]).toEqual(["follower", 4]);
  });

  test("an old voter of a joint configuration does", () => {
    const configuration = { ...membersAre(["b", "c"]), outgoing: ["a", "b"] };
    const state = nodeOf({ configuration });

    expect(step(state, { kind: "campaign" }).messages.map(({ to }) => to)).toEqual(["b", "c"]);
  });

  test("a learner votes when it is asked: it may be a voter already, and not know it", () => {
    const state = nodeOf({ configuration: membersAre(["b"], ["a"]), term: 5 });

    receive(state, voteOf());
    expect(state.vote).toBe("b");
  });

  test("the votes of learners elect nobody", () => {
    const state = nodeOf({
      configuration: membersAre(["a", "b", "c"], ["d", "e"]),
      isPreVote: false,
    });
    step(state, { kind: "campaign" });
    step(state, { kind: "stateSaved", term: 5, vote: "a" });
    for (const from of ["d", "e"])
      receive(state, { kind: "voteReply", from, to: "a", term: 5, isRejected: false, ...NOTHING });

    expect(state.role).toBe("candidate");
  });

  test("nobody whose pre-vote fails changes its term", () => {
    const state = nodeOf();
    step(state, { kind: "campaign" });
    expect(state.role).toBe("preCandidate");
    for (const from of ["b", "c"])
      receive(state, {
        kind: "preVoteReply",
        from,
        to: "a",
        term: 4,
        isRejected: true,
        ...NOTHING,
      });

    expect([state.role, state.term]).toEqual(["follower", 4]);
  });

  test("whoever is refused learns what is committed, and by which configuration to count", () => {
    // It does not know that it is the only voter now; who refuses knows, and is no voter any more.
    const configuration = membersAre(["a", "b"]);
    const state = nodeOf({ configuration });
    step(state, { kind: "campaign" });
    const refusal = {
      kind: "preVoteReply",
      from: "b",
      to: "a",
      term: 4,
      isRejected: true,
    } as const;
    expect(receive(state, { ...refusal, commitIndex: 9, commitTerm: 4 }).commitIndex).toBe(9);
    expect(state.role).toBe("preCandidate");

    step(state, { kind: "configured", configuration: membersAre(["a"]), index: 8 });
    expect(step(state, { kind: "applied", index: 9 }).hardState).toEqual({ term: 5, vote: "a" });
  });

  test("nothing is learned of entries that are not the same", () => {
    const state = nodeOf();
    step(state, { kind: "campaign" });
    const refusal = {
      kind: "preVoteReply",
      from: "b",
      to: "a",
      term: 4,
      isRejected: true,
    } as const;
    receive(state, { ...refusal, commitIndex: 9, commitTerm: 3 });

    expect(receive(state, { ...refusal, commitIndex: 12, commitTerm: 4 }).commitIndex).toBe(7);
  });

  test("a grant of an earlier question counts for nothing", () => {
    const state = nodeOf();
    step(state, { kind: "campaign" });
    receive(state, {
      kind: "preVoteReply",
      from: "b",
      to: "a",
      term: 4,
      isRejected: false,
      ...NOTHING,
    });

    expect(state.role).toBe("preCandidate");
  });
});

describe("time", () => {
  test("an election timeout is at least as many ticks as said and less than twice as many", () => {
    for (const [random, ticks] of [
      [0, 10],
      [0.5, 15],
      [0.999, 19],
    ] as const) {
      const state = nodeOf({ random });
      tick(state, ticks - 1);
      expect(state.role).toBe("follower");
      tick(state, 1);
      expect(state.role).toBe("preCandidate");
    }
  });

  test("who hears a leader is deaf to candidates, but not to one that the leader sent", () => {
    const state = nodeOf({ term: 5 });
    receive(state, appendOf({ lastIndex: 10, runs: [] }));
    tick(state, 9);
    expect(receive(state, voteOf({ from: "c", term: 6 })).messages).toEqual([]);
    expect(state.term).toBe(5);
    receive(state, voteOf({ from: "c", term: 6, isTransfer: true }));
    expect([state.term, state.vote]).toEqual([6, "c"]);
  });

  test("a leader that hears no majority for an election timeout steps down", () => {
    const state = leaderOf();
    receive(state, { kind: "heartbeatReply", from: "b", to: "a", term: 5, round: 0 });
    tick(state, 10);
    expect(state.role).toBe("leader");

    tick(state, 9);
    expect(state.role).toBe("leader");
    expect(step(state, { kind: "tick", random: 0 }).lostLeadership).toBe(true);
    expect([state.role, state.leaderId, state.term]).toEqual(["follower", undefined, 5]);
  });

  test("learners and strangers do not keep a leader in charge", () => {
    const state = leaderOf({ configuration: membersAre(["a", "b", "c"], ["d"]) });
    for (let i = 0; i < 20; i += 1) {
      tick(state, 1);
      for (const from of ["d", "x"])
        receive(state, { kind: "heartbeatReply", from, to: "a", term: 5, round: 0 });
    }

    expect(state.role).not.toBe("leader");
  });
});

describe("terms", () => {
  test.each(["appendReply", "heartbeatReply", "voteReply"] as const)(
    "a leader that hears a later term in a %s steps down",
    (kind) => {
      const state = leaderOf();
      const reply = {
        from: "b",
        to: "a",
        term: 6,
        isRejected: true,
        round: 0,
        index: 0,
        ...NOTHING,
      };
      const ready = receive(state, { kind, ...reply, hintIndex: 0, hintTerm: 0 });

      expect(ready).toMatchObject({ lostLeadership: true, hardState: { term: 6, vote: "" } });
    },
  );

  test("a leader of an earlier term hears of the later one, and so does who would stand in it", () => {
    const state = nodeOf();
    const old = appendOf({ term: 3, prevTerm: 1, prevIndex: 8, lastIndex: 8, runs: [] });

    expect(receive(state, old).messages).toMatchObject([{ kind: "appendReply", term: 4 }]);
    expect(receive(state, voteOf({ kind: "preVote", term: 3 })).messages).toMatchObject([
      { kind: "preVoteReply", term: 4, isRejected: true },
    ]);
    expect(receive(state, voteOf({ term: 3 })).messages).toEqual([]);
  });

  test("two leaders of one term are a broken invariant", () => {
    expect(() => receive(leaderOf(), appendOf())).toThrow("Both a and b lead term 5");
  });

  test("a message to somebody else, or from itself, is not listened to", () => {
    const state = nodeOf();
    receive(state, voteOf({ to: "z", term: 9 }));
    receive(state, voteOf({ from: "a", term: 9 }));

    expect(state.term).toBe(4);
  });
});

describe("handing over", () => {
  test("goes to a voter that has the whole log, at once and without asking beforehand", () => {
    const cluster = new Cluster();
    cluster.elect("a").propose("x");
    cluster.settle();
    cluster.node("a").step({ kind: "transfer", to: "b" });
    expect(cluster.node("a").state.transferee).toBe("b");
    expect(cluster.node("a").propose("y")).toBe(false);
    cluster.settle();

    expect(cluster.node("b").state.role).toBe("leader");
    expect(
      cluster.delivered.filter(({ kind, from }) => kind === "preVote" && from === "b"),
    ).toEqual([]);
    expect(cluster.node("a").state).toMatchObject({ role: "follower", leaderId: "b" });
  });

  test("waits until the target has the whole log", () => {
    const state = leaderOf();
    expect(step(state, { kind: "transfer", to: "b" }).messages).toEqual([]);
    const reply = { kind: "appendReply", from: "b", to: "a", term: 5, isRejected: false } as const;
    const ready = receive(state, { ...reply, index: 11, hintIndex: 0, hintTerm: 0 });

    expect(ready.messages).toMatchObject([{ kind: "timeoutNow", to: "b" }]);
  });

  test("is given up after an election timeout", () => {
    const state = leaderOf();
    step(state, { kind: "transfer", to: "b" });
    for (let i = 0; i < 10; i += 1) {
      receive(state, { kind: "heartbeatReply", from: "c", to: "a", term: 5, round: 0 });
      tick(state, 1);
    }

    expect([state.role, state.transferee]).toEqual(["leader", undefined]);
  });

  test.each(["a", "d", "x"])("does not go to %s: itself, a learner, a stranger", (to) => {
    const state = leaderOf({ configuration: membersAre(["a", "b", "c"], ["d"]) });
    step(state, { kind: "transfer", to });

    expect(state.transferee).toBeUndefined();
  });
});
