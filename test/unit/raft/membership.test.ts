// Members come and go by entries of the log, one change at a time.

import { describe, expect, test } from "bun:test";
import { mayChangeConfiguration, step } from "../../../src/raft/mod.ts";
import { Cluster } from "../../raft/cluster.ts";
import { membersAre, NOBODY } from "../../raft/driver.ts";
import { acknowledge, leaderOf, nodeOf } from "../../raft/node.ts";

describe("R5: a change of configuration", () => {
  test("waits until an entry of the leader's term is committed, and all before it is applied", () => {
    const state = leaderOf();
    expect(() => step(state, { kind: "proposed", entries: 1, isConfiguration: true })).toThrow(
      "Another change",
    );
    step(state, { kind: "persisted", index: 11, term: 5 });
    acknowledge(state, "b", 11);
    expect(mayChangeConfiguration(state)).toBe(false);

    step(state, { kind: "applied", index: 10 });
    expect(mayChangeConfiguration(state)).toBe(true);
  });

  test("waits for an entry of the leader's term even when all that it found is applied", () => {
    const state = leaderOf({ commitIndex: 10, appliedIndex: 10 });
    expect(mayChangeConfiguration(state)).toBe(false);
    acknowledge(state, "b", 11);

    expect(acknowledge(state, "c", 11).commitIndex).toBe(11);
    expect(mayChangeConfiguration(state)).toBe(true);
  });

  test("waits for the one before it", () => {
    const state = leaderOf();
    step(state, { kind: "persisted", index: 11, term: 5 });
    acknowledge(state, "b", 11);
    step(state, { kind: "applied", index: 11 });
    step(state, { kind: "proposed", entries: 1, isConfiguration: true });
    expect(() => step(state, { kind: "proposed", entries: 1, isConfiguration: true })).toThrow(
      "Another change",
    );
    step(state, { kind: "persisted", index: 12, term: 5 });
    acknowledge(state, "b", 12);
    expect(mayChangeConfiguration(state)).toBe(false);
    const configuration = membersAre(["a", "b", "c"], ["d"]);
    step(state, { kind: "configured", configuration, index: 12 });
    step(state, { kind: "applied", index: 12 });

    expect(mayChangeConfiguration(state)).toBe(true);
    expect(state.progress.get("d")).toMatchObject({ matchIndex: 0, isActive: true });
  });

  test("is one entry, and only a leader's", () => {
    const state = leaderOf();
    step(state, { kind: "persisted", index: 11, term: 5 });
    acknowledge(state, "b", 11);
    step(state, { kind: "applied", index: 11 });

    expect(() => step(state, { kind: "proposed", entries: 2, isConfiguration: true })).toThrow();
    expect(mayChangeConfiguration(nodeOf())).toBe(false);
  });

  test("counts from an entry that is committed", () => {
    const state = nodeOf();

    expect(() =>
      step(state, { kind: "configured", configuration: membersAre(["a"]), index: 9 }),
    ).toThrow("committed up to 7");
  });
});

describe("a cluster", () => {
  test("takes in a learner, fills it, and makes it a voter", () => {
    const cluster = new Cluster(membersAre(["a", "b", "c"]), {}, ["a", "b", "c", "d"]);
    cluster.elect("a").propose("x");
    cluster.settle();
    for (const kind of ["addLearner", "addVoter"] as const) {
      const changes = [{ kind, nodeId: "d" }];
      expect(cluster.node("a").propose(kind, { changes })).toBe(true);
      cluster.settle();
      cluster.tick(4);
    }

    expect(cluster.node("d").state.configuration.voters).toEqual(["a", "b", "c", "d"]);
    expect(cluster.node("d").values).toEqual(cluster.node("a").values);
  });

  test("replaces two of three at once through a joint configuration, which its leader leaves", () => {
    const cluster = new Cluster(membersAre(["a", "b", "c"]), {}, ["a", "b", "c", "d", "e"]);
    cluster.elect("a");
    const changes = [
      { kind: "remove", nodeId: "b" },
      { kind: "remove", nodeId: "c" },
      { kind: "addVoter", nodeId: "d" },
      { kind: "addVoter", nodeId: "e" },
    ] as const;
    cluster.node("a").propose("swap", { changes, isJoint: true });
    cluster.settle();
    cluster.tick(4);

    for (const nodeId of ["a", "d", "e"])
      expect(cluster.node(nodeId).state.configuration).toEqual(membersAre(["a", "d", "e"]));
    cluster.cutOff.add("b").add("c");
    cluster.node("a").propose("after");
    cluster.settle();
    expect(cluster.node("e").values.at(-1)).toEndWith(" after");
  });

  test("goes on without a leader that removed itself, and that leader does not come back", () => {
    const cluster = new Cluster();
    cluster.elect("a");
    cluster.node("a").propose("bye", { changes: [{ kind: "remove", nodeId: "a" }] });
    cluster.settle();
    expect(cluster.node("a").state.role).toBe("follower");
    cluster.tick(12, "b");
    cluster.tick(12, "c");
    cluster.tick(12, "b");
    cluster.tick(40, "a");

    const leaders = [...cluster.nodes.values()].filter(({ state }) => state.role === "leader");
    expect(leaders.map(({ nodeId }) => nodeId)).not.toContain("a");
    expect(leaders).toHaveLength(1);
  });
});

test("a leader that is no voter any more leads until the others were told that they are", () => {
  const state = leaderOf();
  step(state, { kind: "persisted", index: 11, term: 5 });
  for (const from of ["b", "c"]) acknowledge(state, from, 11);
  step(state, { kind: "configured", configuration: membersAre(["b", "c"]), index: 11 });
  expect([state.isLeaving, mayChangeConfiguration(state)]).toEqual([true, false]);
  const send = (to: string) =>
    step(state, { kind: "sent", to, prevIndex: 11, lastIndex: 11, bytes: 0 });
  expect(send("b").lostLeadership).toBeUndefined();

  expect(send("c").lostLeadership).toBe(true);
});

test("a transfer ends when its target is no voter any more", () => {
  const state = leaderOf();
  step(state, { kind: "persisted", index: 11, term: 5 });
  acknowledge(state, "b", 11);
  step(state, { kind: "transfer", to: "c" });
  step(state, { kind: "configured", configuration: membersAre(["a", "b"], ["c"]), index: 11 });

  expect(state.transferee).toBeUndefined();
});

test("a smaller majority may commit what waited, and confirm reads", () => {
  const state = leaderOf({ configuration: { ...NOBODY, voters: ["a", "b", "c", "d"] } });
  step(state, { kind: "persisted", index: 11, term: 5 });
  acknowledge(state, "b", 11);
  acknowledge(state, "c", 11);
  step(state, { kind: "proposed", entries: 1 });
  step(state, { kind: "persisted", index: 12, term: 5 });
  acknowledge(state, "b", 12);
  step(state, { kind: "read", context: 1 });
  const beat = { kind: "heartbeatReply", from: "b", to: "a", term: 5, round: 1 } as const;
  expect(step(state, { kind: "received", message: beat }).reads).toBeUndefined();
  expect(state.commitIndex).toBe(11);

  const ready = step(state, {
    kind: "configured",
    configuration: membersAre(["a", "b", "c"]),
    index: 11,
  });
  expect(ready).toMatchObject({ commitIndex: 12, reads: [{ context: 1, index: 11 }] });
});
