// Who may lead, and what a change of the lead costs: nobody leads who lacks what was acknowledged, nothing that was acknowledged
// goes with a leader, and whoever is left serves at once.

import { expect, test } from "bun:test";
import { makeTopic, names, send, store, valuesOf, write } from "../support/cluster-client.ts";
import { type ClusterNode, canCut, startCluster } from "../support/cluster-process.ts";

const TEST_MS_MAX = 90_000;
const TOPIC = "failover";

const termOf = async (node: ClusterNode): Promise<number> =>
  (await node.haMetrics()).get("ayder_ha_term") ?? -1;

test(
  "a node that missed acknowledged records is not elected, however high its priority, and gets them",
  async () => {
    await using cluster = await startCluster({ priorities: [100, 100, 1000] });
    await makeTopic(cluster, TOPIC);
    const preferred = cluster.node(2);
    await preferred.kill("SIGKILL");
    await store(cluster, TOPIC, names("missed", 50));
    const leader = await cluster.leader();
    const other = cluster.running.find((node) => node !== leader) as ClusterNode;

    // The one that lacks them is up before the one that has them notices anything.
    await leader.kill("SIGKILL");
    preferred.start();
    await cluster.until("somebody leads", () => cluster.leaderNow());
    await store(cluster, TOPIC, ["after"]);

    await cluster.ready();
    const first = [...preferred.newLines].find(({ event }) => event === "became_leader");
    const elected = other.lines.find(({ event }) => event === "became_leader");
    expect(elected).toBeDefined();
    // It may be handed the lead once it has everything, and not before.
    if (first !== undefined) expect(first.index).toBeGreaterThanOrEqual(50);
    await cluster.same();
    for (const node of cluster.running)
      expect(await valuesOf(node, TOPIC)).toEqual([...names("missed", 50), "after"]);
  },
  TEST_MS_MAX,
);

test(
  "each of five leaders in a row is killed right after it acknowledged: nothing is lost, offsets go on, readers and writers are served at once",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    const expected: string[] = [];
    for (let lead = 0; lead < 5; lead++) {
      const values = names(`lead ${lead}`, 10);
      const offsets = await store(cluster, TOPIC, values);
      expected.push(...values);
      expect(offsets.at(-1)).toBe(expected.length - 1);
      const leader = await cluster.leader();
      await leader.kill("SIGKILL");

      await cluster.until("somebody leads", () => cluster.leaderNow());
      for (const node of cluster.running) {
        const path = `/broker/consume/${TOPIC}/g/0?offset=0&limit=1000&consistency=linearizable`;
        expect((await send(node, "GET", path)).fields.count).toBe(expected.length);
      }
      leader.start();
      await cluster.ready();
    }
    await cluster.same();
    for (const node of cluster.nodes) expect(await valuesOf(node, TOPIC)).toEqual(expected);
  },
  TEST_MS_MAX,
);

test.if(canCut)(
  "the majority of a partition takes every write, the minority none; healed, both have the same",
  async () => {
    await using cluster = await startCluster({ network: "namespaces" });
    await makeTopic(cluster, TOPIC);
    const cutOff = await cluster.leader();
    const others = cluster.nodes.filter((node) => node !== cutOff);
    cluster.isolate(cutOff, "both");

    const leader = await cluster.leader(others);
    for (const value of names("majority", 30))
      expect((await write(leader, TOPIC, value)).fields).toMatchObject({ ok: true, synced: true });
    const refused = await write(cutOff, TOPIC, "minority", { timeoutMs: 500 });
    expect([503, 504]).toContain(refused.status);
    // It goes on showing what it had.
    expect(await valuesOf(cutOff, TOPIC)).toEqual([]);

    cluster.heal();
    await cluster.same(cluster.nodes);
    for (const node of cluster.nodes)
      expect(await valuesOf(node, TOPIC)).toEqual(names("majority", 30));
  },
  TEST_MS_MAX,
);

test.if(canCut)(
  "what a leader took and no majority had is unknown to its writer, and gone or everywhere once the partition ends",
  async () => {
    await using cluster = await startCluster({ network: "namespaces" });
    await makeTopic(cluster, TOPIC);
    const cutOff = await cluster.leader();
    const others = cluster.nodes.filter((node) => node !== cutOff);
    cluster.isolate(cutOff, "both");

    const lost = await write(cutOff, TOPIC, "taken alone", { timeoutMs: 5000 });
    expect(lost.fields).toMatchObject({ error: "timeout", outcome: "unknown" });
    await cluster.leader(others);
    cluster.heal();
    await store(cluster, TOPIC, ["after"]);
    await cluster.same(cluster.nodes);

    // The others never had it, so that it cannot come back.
    for (const node of cluster.nodes) expect(await valuesOf(node, TOPIC)).toEqual(["after"]);
    expect(cutOff.lines.some(({ event }) => event === "log_truncated")).toBe(true);
  },
  TEST_MS_MAX,
);

test.if(canCut)(
  "a node that is cut off does not drive up the term, and disturbs nobody when it comes back",
  async () => {
    await using cluster = await startCluster({ network: "namespaces" });
    const leader = await cluster.leader();
    const term = await termOf(leader);
    const [cutOff] = await cluster.followers();
    if (cutOff === undefined) throw new Error("Nobody follows");

    cluster.isolate(cutOff, "both");
    // Several election timeouts go by.
    const until = performance.now() + 2500;
    await cluster.until("the node has stood for election in vain", async () => {
      expect(await termOf(cutOff)).toBe(term);
      return performance.now() > until;
    });
    cluster.heal();
    await cluster.until(
      "it is in touch again",
      async () => (await cutOff.haMetrics()).get("ramforge_ha_fresh_quorum") === 1,
    );

    expect(await cluster.leader()).toBe(leader);
    for (const node of cluster.nodes) expect(await termOf(node)).toBe(term);
  },
  TEST_MS_MAX,
);

test.if(canCut)(
  "a leader that hears nobody steps down though it is heard, and one that nobody hears is replaced",
  async () => {
    await using cluster = await startCluster({ network: "namespaces" });
    await makeTopic(cluster, TOPIC);
    for (const direction of ["receives", "sends"] as const) {
      const leader = await cluster.leader();
      const others = cluster.nodes.filter((node) => node !== leader);

      cluster.isolate(leader, direction);

      const next = await cluster.leader(others);
      expect((await write(next, TOPIC, direction)).status).toBe(200);
      expect((await write(leader, TOPIC, direction, { timeoutMs: 500 })).status).not.toBe(200);
      cluster.heal();
      await cluster.ready(cluster.nodes);
      await cluster.same(cluster.nodes);
    }
    for (const node of cluster.nodes)
      expect(await valuesOf(node, TOPIC)).toEqual(["receives", "sends"]);
  },
  TEST_MS_MAX,
);

test(
  "term and vote outlive the process: a start of all nodes goes on above the last term",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    await store(cluster, TOPIC, names("before", 3));
    const terms = await Promise.all(cluster.nodes.map(termOf));
    await Promise.all(cluster.nodes.map((node) => node.kill("SIGKILL")));

    for (const node of cluster.nodes) node.start();
    await cluster.ready();

    const leader = await cluster.leader();
    expect(await termOf(leader)).toBeGreaterThan(Math.max(...terms));
    expect(await valuesOf(leader, TOPIC)).toEqual(names("before", 3));
  },
  TEST_MS_MAX,
);

test(
  "a majority down: nothing is written, local reads go on; it comes back by itself",
  async () => {
    await using cluster = await startCluster();
    await makeTopic(cluster, TOPIC);
    await store(cluster, TOPIC, names("before", 3));
    const [first, second] = await cluster.followers();
    const leader = await cluster.leader();
    await Promise.all([first?.kill("SIGKILL"), second?.kill("SIGKILL")]);

    const early = await write(leader, TOPIC, "early", { timeoutMs: 500 });
    expect([503, 504]).toContain(early.status);
    await cluster.until("it leads no more", async () => (await cluster.leaderNow()) === undefined);
    const late = await write(leader, TOPIC, "late", { timeoutMs: 500 });
    expect(late.fields).toMatchObject({ error: "not_leader" });
    expect(late.status).toBe(503);
    expect(late.headers.get("retry-after")).not.toBeNull();
    const path = `/broker/consume/${TOPIC}/g/0?offset=0&consistency=linearizable&timeout_ms=300`;
    expect(await send(leader, "GET", path)).toMatchObject({
      status: 503,
      fields: { error: "no_quorum" },
    });
    expect(await valuesOf(leader, TOPIC)).toEqual(names("before", 3));
    expect(await leader.isReady()).toBe(true);

    first?.start();
    await store(cluster, TOPIC, ["after"]);
    second?.start();
    await cluster.ready();
    await cluster.same();
    const values = await valuesOf(leader, TOPIC);
    expect(values.filter((value) => value !== "early")).toEqual([...names("before", 3), "after"]);
  },
  TEST_MS_MAX,
);
