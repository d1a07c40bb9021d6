// Topics, groups, floors and rules as requests change them, over restarts: what was answered is what is so.

import { describe, expect, test } from "bun:test";
import { SimNode, simDisk } from "../../support/sim-node.ts";

const SMALL = { limits: { segmentBytes: 1 << 16, slabBytes: 1 << 14, mergeBytesMin: 1 } };

/** Lets derived files and a base come to be, then starts from them. */
function viaBase(node: SimNode, topic: number): SimNode {
  for (let i = 0; i < 30; i++) node.produce(topic, new Uint8Array(8000));
  node.rest();
  expect(node.replica.log.counts.merges).toBeGreaterThan(0);
  return node.crashed(SMALL);
}

const shape = (name: string, partitions: number) =>
  ({ name, partitions, mode: "sealed", ttlMs: 0, maxBytes: 0 }) as const;

describe("a topic", () => {
  test("is created once, the same again is the same, another shape is refused", () => {
    const node = SimNode.ready(simDisk());
    const first = node.good(node.broker.createTopic(shape("t", 3)));
    const again = node.good(node.broker.createTopic(shape("t", 3)));

    expect(first.created).toBe(true);
    expect(again).toEqual({ topicId: first.topicId, created: false });
    expect(node.refusal(node.broker.createTopic(shape("t", 4)))).toBe("topic_exists");
  });

  test("is made again with the rules it has now, or without a word about them, and with no others", () => {
    const node = SimNode.ready(simDisk());
    const made = {
      name: "t",
      partitions: 1,
      mode: "sealed",
      ttlMs: 1000,
      maxBytes: undefined,
    } as const;
    const { topicId } = node.good(node.broker.createTopic(made));
    const again = (rules: { readonly ttlMs?: number; readonly maxBytes?: number }) =>
      node.broker.createTopic({ ...made, ttlMs: undefined, ...rules });
    const isSame = { topicId, created: false };

    expect(node.good(again({}))).toEqual(isSame);
    expect(node.good(again({ ttlMs: 1000 }))).toEqual(isSame);
    expect(node.good(again({ ttlMs: 1000, maxBytes: 0 }))).toEqual(isSame);
    expect(node.refusal(again({ ttlMs: 2000 }))).toBe("topic_exists");
    expect(node.refusal(again({ ttlMs: 0 }))).toBe("topic_exists");
    expect(node.refusal(again({ maxBytes: 1 }))).toBe("topic_exists");

    const rule = { topic: "t", partition: undefined, ttlMs: 2000, maxBytes: undefined };
    node.good(node.broker.setRetention(rule));
    expect(node.good(again({ ttlMs: 2000 }))).toEqual(isSame);
    expect(node.refusal(again({ ttlMs: 1000 }))).toBe("topic_exists");
  });

  test.each([
    ["", 1],
    ["a b", 1],
    ["x".repeat(121), 1],
    ["t", 0],
    ["t", 257],
    ["t", 1.5],
  ])("of the name %p with %p partitions is refused", (name, partitions) => {
    const node = SimNode.ready(simDisk());

    expect(node.refusal(node.broker.createTopic(shape(name, partitions)))).toBe(
      "invalid_parameter",
    );
  });

  test("made again after a deletion has another id and none of the old records, groups and keys", () => {
    let node = SimNode.ready(simDisk(), SMALL);
    const other = node.topic("other");
    const old = node.topic("t");
    node.produce(old, "old", { idempotencyKey: "k" });
    const commit = { topic: "t", group: "g", partition: 0, offset: 0 };
    node.good(node.broker.commit(commit));
    expect(node.good(node.broker.deleteTopic("t"))).toEqual({ deletedRecords: 1 });
    const fresh = node.topic("t");
    node = viaBase(node, other);

    expect(fresh).toBeGreaterThan(old);
    expect(node.texts(fresh)).toEqual([]);
    expect(node.broker.committedOffset(fresh, 0, "g")).toBeUndefined();
    expect(node.produce(fresh, "new", { idempotencyKey: "k" })).toBe(0);
    expect(node.refusedProduce(old, "x")).toBe("topic_not_found");
  });

  test("that is being deleted takes nothing more, so that no record stands behind the deletion", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    const before = node.send(topic, "before");
    const deletion = node.broker.deleteTopic("t");

    expect(node.refusedProduce(topic, "late")).toBe("topic_not_found");
    expect(node.outcome(before)).toMatchObject({ firstOffset: 0 });
    expect(node.good(deletion)).toEqual({ deletedRecords: 1 });
    expect(node.refusal(node.broker.deleteTopic("t"))).toBe("topic_not_found");
  });

  test("ids are not used again, even when the newest topic is gone from the base", () => {
    let node = SimNode.ready(simDisk(), SMALL);
    const other = node.topic("other");
    const last = node.topic("last");
    node.good(node.broker.deleteTopic("last"));
    node = viaBase(node, other);

    expect(node.topic("next")).toBeGreaterThan(last);
  });
});

describe("a commit", () => {
  test("never goes back, also not when two are under way in the wrong order, also after a restart", () => {
    let node = SimNode.ready(simDisk(), SMALL);
    const topic = node.topic("t");
    for (let i = 0; i < 10; i++) node.produce(topic, "x");
    const commit = (offset: number) =>
      node.broker.commit({ topic: "t", group: "g", partition: 0, offset });
    const both = [commit(8), commit(3)];
    for (const answer of both) node.good(answer);
    node.good(commit(5));
    expect(node.broker.committedOffset(topic, 0, "g")).toBe(8);
    node = viaBase(node, topic);

    expect(node.broker.committedOffset(topic, 0, "g")).toBe(8);
  });

  test("past the end, of an unknown topic, partition or group name is refused", () => {
    const node = SimNode.ready(simDisk());
    node.produce(node.topic("t"), "x");
    const commit = (topic: string, partition: number, offset: number, group = "g") =>
      node.refusal(node.broker.commit({ topic, group, partition, offset }));

    expect(commit("t", 0, 1)).toBe("invalid_parameter");
    expect(commit("t", 0, -1)).toBe("invalid_parameter");
    expect(commit("t", 0, 0, "a/b")).toBe("invalid_parameter");
    expect(commit("none", 0, 0)).toBe("topic_not_found");
    expect(commit("t", 1, 0)).toBe("partition_not_found");
  });
});

describe("a floor", () => {
  test("past the end is the end, and hides no later record", () => {
    let node = SimNode.ready(simDisk(), SMALL);
    const topic = node.topic("t");
    for (const text of ["a", "b", "c"]) node.produce(topic, text);
    const request = { topic: "t", partition: 0, beforeOffset: 1000 };

    expect(node.good(node.broker.deleteBefore(request))).toEqual({
      deletedCount: 3,
      freedBytes: 9,
    });
    node.produce(topic, "d");
    expect(node.texts(topic)).toEqual(["d"]);
    node = node.crashed(SMALL);
    expect(node.texts(topic)).toEqual(["d"]);
    expect(node.broker.partition(topic, 0)).toEqual({ startOffset: 3, nextOffset: 4, bytes: 3 });
  });

  test("goes up only, and counts what it newly hides", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    for (let i = 0; i < 10; i++) node.produce(topic, "x");
    const before = (beforeOffset: number) =>
      node.good(node.broker.deleteBefore({ topic: "t", partition: 0, beforeOffset })).deletedCount;

    expect([before(4), before(2), before(6), before(0)]).toEqual([4, 0, 2, 0]);
    expect(node.broker.partition(topic, 0).startOffset).toBe(6);
  });
});

describe("a rule", () => {
  const set = (
    node: SimNode,
    topic: string,
    change: { ttlMs?: number; maxBytes?: number; partition?: number },
  ): void => {
    node.good(
      node.broker.setRetention({
        topic,
        partition: change.partition,
        ttlMs: change.ttlMs,
        maxBytes: change.maxBytes,
      }),
    );
  };
  const ruleOf = (node: SimNode, name: string, partition = 0) => {
    const topic = node.replica.state.byName(name);
    if (topic === undefined) throw new Error(`There is no topic ${name}`);
    return node.replica.state.ruleOf(topic, partition);
  };

  test("for all topics holds for those made later, too", () => {
    let node = SimNode.ready(simDisk(), SMALL);
    const early = node.topic("early");
    set(node, "*", { ttlMs: 5000 });
    node.topic("late");
    node = viaBase(node, early);
    node.topic("latest");

    for (const name of ["early", "late", "latest"])
      expect(ruleOf(node, name)).toEqual({ ttlMs: 5000, maxBytes: 0 });
  });

  test("set for one limit keeps the other over a restart, and one switched off stays off", () => {
    let node = SimNode.ready(simDisk(), SMALL);
    const topic = node.topic("t");
    set(node, "t", { ttlMs: 1e12, maxBytes: 1e12 });
    set(node, "t", { ttlMs: 2e12 });
    expect(ruleOf(node, "t")).toEqual({ ttlMs: 2e12, maxBytes: 1e12 });
    set(node, "t", { ttlMs: 0 });
    node = viaBase(node, topic);

    expect(ruleOf(node, "t")).toEqual({ ttlMs: 0, maxBytes: 1e12 });
  });

  test("of the narrowest level that sets a field holds, field by field", () => {
    const node = SimNode.ready(simDisk());
    node.topic("t", 2);
    set(node, "*", { ttlMs: 10, maxBytes: 100 });
    set(node, "t", { ttlMs: 20 });
    set(node, "t", { maxBytes: 300, partition: 1 });

    expect(ruleOf(node, "t", 0)).toEqual({ ttlMs: 20, maxBytes: 100 });
    expect(ruleOf(node, "t", 1)).toEqual({ ttlMs: 20, maxBytes: 300 });
    set(node, "t", { maxBytes: 0, partition: 1 });
    expect(ruleOf(node, "t", 1)).toEqual({ ttlMs: 20, maxBytes: 100 });
  });

  test("of unknown topics and partitions, or of a partition of all topics, is refused", () => {
    const node = SimNode.ready(simDisk());
    node.topic("t");
    const refusal = (topic: string, partition?: number) =>
      node.refusal(node.broker.setRetention({ topic, partition, ttlMs: 1, maxBytes: undefined }));

    expect(refusal("none")).toBe("topic_not_found");
    expect(refusal("t", 1)).toBe("partition_not_found");
    expect(refusal("*", 0)).toBe("invalid_parameter");
  });

  test("by age takes whole chunks of that age, never the newest, whatever the uptime", () => {
    let node = SimNode.ready(simDisk(), SMALL);
    const topic = node.topic("t");
    for (let i = 0; i < 5; i++) node.produce(topic, `old ${i}`);
    node.rest();
    node.clock.pass(100_000);
    // A process that has just started: its own clock knows no time before.
    node.clock.monotonic = 5;
    node = node.restarted(SMALL);
    for (let i = 0; i < 3; i++) node.produce(topic, `new ${i}`);
    const pass = (maxAgeMs: number, maxBytes = 0): string[] => {
      node.good(node.broker.collect({ maxAgeMs, maxBytes }));
      return node.texts(topic);
    };

    expect(pass(Number.MAX_SAFE_INTEGER)).toHaveLength(8);
    expect(pass(1e14)).toHaveLength(8);
    expect(pass(200_000)).toHaveLength(8);
    expect(pass(50_000)).toEqual(["new 0", "new 1", "new 2"]);
    node.clock.pass(1e9);
    expect(pass(1)).toEqual(["new 2"]);
  });

  test("by size keeps no more than so many bytes, but for the newest chunk", () => {
    const node = SimNode.ready(simDisk(), SMALL);
    const topic = node.topic("t");
    for (let i = 0; i < 40; i++) node.produce(topic, new Uint8Array(4000));
    const total = node.broker.partition(topic, 0).bytes;
    const pass = (maxBytes: number): number => {
      node.good(node.broker.collect({ maxAgeMs: 0, maxBytes }));
      return node.broker.partition(topic, 0).bytes;
    };

    expect(pass(total)).toBe(total);
    expect(pass(total - 1)).toBe(total - total / 40);
    expect(pass(20_000)).toBe((total / 40) * 4);
    expect(pass(1)).toBe(total / 40);
    expect(node.values(topic)).toHaveLength(1);
  });

  test("by size is obeyed whenever the log begins another file, however little time has passed", () => {
    const node = SimNode.ready(simDisk(), SMALL);
    const topic = node.topic("t");
    const { retentionPass } = node.broker;
    const add = (): void => {
      node.produce(topic, new Uint8Array(4000));
      retentionPass.tick(0);
      node.rest();
    };
    set(node, "t", { maxBytes: 10_000 });
    retentionPass.tick(0);
    const files = node.replica.log.counts.segments;
    for (let i = 0; i < 5; i++) add();
    expect(node.broker.partition(topic, 0).bytes).toBeGreaterThan(10_000);
    while (node.replica.log.counts.segments === files) add();

    expect(node.broker.partition(topic, 0).bytes).toBeLessThanOrEqual(10_000);
  });

  test("set for a topic is obeyed each second by itself", () => {
    const node = SimNode.ready(simDisk(), SMALL);
    const topic = node.topic("t");
    for (let i = 0; i < 5; i++) node.produce(topic, `${i}`);
    set(node, "t", { ttlMs: 1000 });
    node.broker.retentionPass.tick(0);
    node.rest();
    node.clock.pass(5000);
    node.broker.retentionPass.tick(999);
    node.rest();
    expect(node.texts(topic)).toHaveLength(5);
    node.broker.retentionPass.tick(1000);
    node.rest();

    expect(node.texts(topic)).toEqual(["4"]);
  });
});

test("what a clean stop leaves is bit for bit what the next start finds", () => {
  let node = SimNode.ready(simDisk(), SMALL);
  const topics = [node.topic("a", 2), node.topic("b")];
  for (let i = 0; i < 60; i++) {
    node.produce(topics[i % 2] ?? 0, new Uint8Array(3000 + i), { idempotencyKey: `k${i}` });
  }
  node.good(node.broker.commit({ topic: "a", group: "g", partition: 0, offset: 7 }));
  node.good(node.broker.deleteBefore({ topic: "b", partition: 0, beforeOffset: 5 }));
  const stateOf = (): unknown =>
    [...node.replica.state.topics()].map((topic) => [
      topic.name,
      [...topic.startOffset],
      [...topic.nextOffset],
      [...topic.bytesTotal],
      [...topic.bytesBelow],
      [...node.broker.groups(topic.id)],
    ]);
  node.rest();
  node.replica.stop();
  node.rest();
  const before = stateOf();
  const keys = node.replica.state.keys.size;
  node.replica.log.close();
  node = node.restarted(SMALL);

  expect(stateOf()).toEqual(before);
  expect(node.replica.state.keys.size).toBe(keys);
});

describe("limits", () => {
  test("of groups refuse another one, and let those that are there go on", () => {
    const node = SimNode.ready(simDisk());
    const topic = node.topic("t");
    for (let i = 0; i < 3; i++) node.produce(topic, `${i}`);
    const commit = (group: string, offset: number) =>
      node.broker.commit({ topic: "t", group, partition: 0, offset });
    for (let i = 0; i < 1000; i++) node.good(commit(`g${i}`, 0));

    expect(node.refusal(commit("one-more", 0))).toBe("overloaded");
    node.good(commit("g0", 2));
    expect(node.broker.committedOffset(topic, 0, "g0")).toBe(2);
  });

  test("of waiting requests refuse what comes on top, and all that were taken are answered", async () => {
    const node = SimNode.ready(simDisk());
    const asked = Array.from({ length: 1200 }, (_, i) =>
      node.broker.createTopic(shape(`t${i % 3}`, 1)),
    );
    for (let i = 0; i < 50; i++) {
      node.rest();
      await Promise.resolve();
    }
    const answers = await Promise.all(asked);

    const refused = answers.filter((answer) => !answer.ok);
    // One is under way, a thousand wait for it.
    expect(refused.length).toBe(199);
    expect(answers.slice(0, 1001).every((answer) => answer.ok)).toBe(true);
    expect(node.replica.state.topicCount).toBe(3);
  });
});
