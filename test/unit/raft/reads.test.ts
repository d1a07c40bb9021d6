// Linearizable reads: confirmed by a majority after they were asked for, never by a clock.

import { describe, expect, test } from "bun:test";
import { type RaftState, step } from "../../../src/raft/mod.ts";
import { Cluster } from "../../raft/cluster.ts";
import { membersAre } from "../../raft/driver.ts";
import { acknowledge, appendOf, leaderOf, nodeOf, receive } from "../../raft/node.ts";

const confirm = (state: RaftState, from: string, round: number) =>
  receive(state, { kind: "heartbeatReply", from, to: "a", term: state.term, round });

/** A leader whose term has committed up to 11. */
function settled(over: Parameters<typeof leaderOf>[0] = {}): RaftState {
  const state = leaderOf(over);
  step(state, { kind: "persisted", index: 11, term: 5 });
  acknowledge(state, "b", 11);
  return state;
}

describe("R15: a leader answers a read", () => {
  test("when a majority has answered a round that began after it", () => {
    const state = settled();
    const asked = step(state, { kind: "read", context: 7 });
    expect(asked.reads).toBeUndefined();
    expect(asked.messages).toMatchObject([
      { kind: "heartbeat", to: "b", round: 1 },
      { kind: "heartbeat", to: "c", round: 1 },
    ]);

    expect(confirm(state, "b", 0).reads).toBeUndefined();
    expect(confirm(state, "b", 1).reads).toEqual([{ context: 7, index: 11 }]);
    expect(confirm(state, "c", 1).reads).toBeUndefined();
  });

  test("with what was committed when its round began", () => {
    const state = settled();
    step(state, { kind: "read", context: 1 });
    step(state, { kind: "proposed", entries: 1 });
    step(state, { kind: "persisted", index: 12, term: 5 });
    acknowledge(state, "b", 12);
    step(state, { kind: "read", context: 2 });
    // The second came while the first round was under way, so its own round begins now.
    const first = confirm(state, "b", 1);
    expect(first.reads).toEqual([{ context: 1, index: 11 }]);
    expect(first.messages).toMatchObject([{ round: 2 }, { round: 2 }]);

    expect(confirm(state, "c", 2).reads).toEqual([{ context: 2, index: 12 }]);
  });

  test("together with all others that waited", () => {
    const state = settled();
    for (const context of [1, 2, 3, 4]) step(state, { kind: "read", context });
    expect(confirm(state, "b", 1).reads).toHaveLength(1);

    expect(confirm(state, "b", 2).reads).toHaveLength(3);
  });

  test("when a later heartbeat is answered, if the first ones were lost", () => {
    const state = settled();
    step(state, { kind: "read", context: 1 });
    step(state, { kind: "tick", random: 0 });
    const beat = step(state, { kind: "tick", random: 0 });
    expect(beat.messages).toMatchObject([{ round: 1 }, { round: 1 }]);

    expect(confirm(state, "c", 1).reads).toHaveLength(1);
  });

  test("not before it has committed in its own term (Raft §8)", () => {
    const state = leaderOf();
    expect(step(state, { kind: "read", context: 1 }).messages).toEqual([]);
    step(state, { kind: "persisted", index: 11, term: 5 });
    const committed = acknowledge(state, "b", 11);
    expect(committed.messages).toMatchObject([{ round: 1 }, { round: 1 }]);

    expect(confirm(state, "b", 1).reads).toEqual([{ context: 1, index: 11 }]);
  });

  test("not by the word of learners", () => {
    const state = settled({ configuration: membersAre(["a", "b", "c"], ["d"]) });
    step(state, { kind: "read", context: 1 });
    expect(confirm(state, "d", 1).reads).toBeUndefined();
  });

  test("never, once it is deposed: it says so", () => {
    const state = settled();
    step(state, { kind: "read", context: 1 });
    step(state, { kind: "read", context: 2 });
    const ready = receive(state, appendOf({ term: 6, lastIndex: 10, runs: [] }));

    expect(ready).toMatchObject({ lostLeadership: true, failedReads: [1, 2] });
  });
});

describe("R7: a follower's read", () => {
  test("goes to the leader and comes back with what it must wait for", () => {
    const cluster = new Cluster();
    cluster.elect("a").propose("x");
    cluster.settle();
    cluster.node("b").step({ kind: "read", context: 5 });
    cluster.settle();

    expect(cluster.node("b").readsConfirmed).toEqual([{ context: 5, index: 2 }]);
    expect(cluster.node("a").readsConfirmed).toEqual([]);
  });

  test("is not answered by a leader that is cut off", () => {
    const cluster = new Cluster();
    cluster.elect("a");
    cluster.cutOff.add("a");
    cluster.node("a").step({ kind: "read", context: 1 });
    cluster.tick(25);

    expect(cluster.node("a").readsConfirmed).toEqual([]);
    expect(cluster.node("a").readsFailed).toEqual([1]);
  });

  test("fails at once without a leader", () => {
    expect(step(nodeOf(), { kind: "read", context: 1 }).failedReads).toEqual([1]);
  });

  test("fails when the leader changes, and when nothing comes back for two election timeouts", () => {
    const follower = (): RaftState => {
      const state = nodeOf({ term: 5 });
      receive(state, appendOf({ lastIndex: 10, runs: [] }));
      step(state, { kind: "read", context: 1 });
      return state;
    };
    const changed = follower();
    const late = follower();
    const failed: number[] = [];
    for (let i = 0; i < 20; i += 1) {
      const beat = { kind: "heartbeat", from: "b", to: "a", term: 5, round: 0 } as const;
      receive(late, { ...beat, commitIndex: 0 });
      failed.push(...(step(late, { kind: "tick", random: 0 }).failedReads ?? []));
    }

    const ready = receive(changed, appendOf({ from: "c", term: 6, lastIndex: 10, runs: [] }));
    expect(ready.failedReads).toEqual([1]);
    expect(failed).toEqual([1]);
    const reply = { kind: "readIndexReply", from: "b", to: "a", term: 5, context: 1 } as const;
    expect(receive(late, { ...reply, index: 9 }).reads).toBeUndefined();
  });
});
