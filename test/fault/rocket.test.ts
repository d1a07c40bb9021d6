// Rocket topics on the running program: an offset is never given twice, whatever kills a node or moves the lead, and reads go
// where the records are.

import { expect, test } from "bun:test";
import { Prng } from "../../src/lib/prng.ts";
import { producePath, send, write } from "../support/cluster-client.ts";
import { type ClusterNode, startCluster } from "../support/cluster-process.ts";
import { call, produce, produceBatch } from "../support/node-client.ts";
import { SMALL_SEGMENTS, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const TEST_MS_MAX = 60_000;
const TOPIC = "rockets";
const { ROCKET_ROUNDS = "12" } = process.env;
const ROUNDS = Number(ROCKET_ROUNDS);
const PARTITIONS = 3;

const shape = { name: TOPIC, partitions: PARTITIONS, mode: "rocket" };

test(
  `${ROUNDS} kills during writes never give an offset twice, and groups stay where they were`,
  async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const random = new Prng(1);
    const ends = new Array<number>(PARTITIONS).fill(0);
    const committed = new Array<number>(PARTITIONS).fill(-1);
    let answered = 0;
    for (let round = 0; round < ROUNDS; round++) {
      await using node = await startNode({ dataDir, env: SMALL_SEGMENTS });
      const { url } = node;
      const made = await call(url, "/broker/topics", {
        method: "POST",
        body: JSON.stringify(shape),
      });
      expect(made.status).toBe(200);
      const listed = (await (await call(url, `/broker/topics/${TOPIC}`)).json()) as {
        readonly partition_details: readonly {
          readonly start_offset: number;
          readonly next_offset: number;
        }[];
      };
      for (const [partition, range] of listed.partition_details.entries()) {
        expect(range.next_offset).toBe(range.start_offset);
        expect(range.next_offset).toBeGreaterThanOrEqual(ends[partition] ?? 0);
        const path = `/broker/consume/${TOPIC}/g/${partition}`;
        const page = (await (await call(url, path)).json()) as {
          readonly committed_offset: number | null;
        };
        expect(page.committed_offset ?? -1).toBeGreaterThanOrEqual(committed[partition] ?? -1);
      }
      let isOver = false;
      /** Writes one after the other; offsets of one partition only grow. */
      const writer = async (partition: number): Promise<void> => {
        while (!isOver) {
          const target = { topic: TOPIC, partition };
          const values = Array.from({ length: 1 + random.below(5000) }, (_, i) => `v${i}`);
          const reply = await (random.below(2) === 0
            ? produceBatch(url, target, values)
            : produce(url, target, "one"));
          expect(reply).toMatchObject({ status: 200, partition, batchId: 0 });
          expect(reply.offset).toBeGreaterThanOrEqual(ends[partition] ?? 0);
          ends[partition] = reply.offset + reply.count;
          answered += reply.count;
          const offset = reply.offset + reply.count - 1;
          const commit = { topic: TOPIC, group: "g", partition, offset };
          const body = JSON.stringify(commit);
          if (random.below(10) > 0) continue;
          const said = await call(url, "/broker/commit", { method: "POST", body });
          if (said.status === 200) committed[partition] = offset;
        }
      };
      const writers = Array.from({ length: PARTITIONS }, (_, partition) =>
        writer(partition).catch((error: unknown) => {
          if (!isOver) throw error;
        }),
      );
      await Bun.sleep(100 + random.below(500));
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const page = (await (
          await call(url, `/broker/consume/${TOPIC}/r/${partition}?offset=0&limit=1000`)
        ).json()) as { readonly messages: readonly { readonly offset: number }[] };
        const offsets = page.messages.map(({ offset }) => offset);
        expect(offsets).toEqual(offsets.map((_, i) => (offsets[0] ?? 0) + i));
      }
      isOver = true;
      await node.kill("SIGKILL");
      await Promise.all(writers);
    }
    expect(answered).toBeGreaterThan(ROUNDS * 1000);
    clean();
  },
  TEST_MS_MAX,
);

test(
  "in a cluster reads and writes go to the leader, and offsets never go back when others lead",
  async () => {
    await using cluster = await startCluster();
    const first = await cluster.leader();
    expect((await send(first, "POST", "/broker/topics", { ...shape, partitions: 1 })).status).toBe(
      200,
    );
    let end = 0;
    for (let lead = 0; lead < 4; lead++) {
      const leader = await cluster.leader();
      const offsets: number[] = [];
      await cluster.until("records are taken", async () => {
        const reply = await write(leader, TOPIC, `lead ${lead}`);
        if (reply.status === 200) offsets.push(reply.fields.offset ?? -1);
        return offsets.length === 20 ? true : undefined;
      });
      expect(offsets[0]).toBeGreaterThanOrEqual(end);
      expect(offsets).toEqual(offsets.map((_, i) => (offsets[0] ?? 0) + i));
      end = (offsets.at(-1) ?? 0) + 1;

      const consume = `/broker/consume/${TOPIC}/g/0?offset=0&limit=100`;
      const page = await send(leader, "GET", consume);
      expect(page.fields.messages?.map(({ offset }) => offset)).toEqual(offsets);
      for (const follower of await cluster.followers()) {
        for (const [method, path] of [
          ["GET", consume],
          ["GET", `/broker/tail/${TOPIC}/0?offset=0`],
          ["POST", producePath(TOPIC)],
        ] as const) {
          const reply = await send(follower, method, path, method === "POST" ? "x" : undefined);
          expect(reply.status).toBe(307);
          expect(reply.headers.get("location")).toBe(`${leader.url}${path}`);
        }
      }
      await next(leader, lead % 2 === 1);
    }

    /** Another node leads: by wish, or because the leader is gone. */
    async function next(leader: ClusterNode, isKilled: boolean): Promise<void> {
      const [to] = await cluster.followers();
      const tail = leader.ask(`/broker/tail/${TOPIC}/0`);
      const ended = tail.then((reply) => reply.text()).catch(() => "");
      await tail;
      if (isKilled) {
        await leader.kill("SIGKILL");
        await cluster.until("another leads", async () => {
          const now = await cluster.leaderNow();
          return now !== undefined && now !== leader ? true : undefined;
        });
        leader.start();
        await cluster.ready();
        return;
      }
      await cluster.change("transfer", { node_id: to?.id });
      expect(await ended).toContain('"reason":"not_leader"');
    }
  },
  TEST_MS_MAX,
);
