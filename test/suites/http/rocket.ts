// Rocket topics as a client sees them: the same calls, other promises.

import { describe, expect, test } from "bun:test";
import { type ContractClient, freshName } from "./client.ts";

/** The tests of rocket topics. */
export function rocketTests(client: () => ContractClient): void {
  const rocket = async (partitions = 1): Promise<string> => {
    const name = freshName("rocket");
    const made = await client().post("/broker/topics", { name, partitions, mode: "rocket" });
    expect(made.json).toEqual({ ok: true, topic: name, partitions });
    return name;
  };
  const consume = (topic: string, query = ""): Promise<{ json: Record<string, unknown> }> =>
    client().get(`/broker/consume/${topic}/g/0${query}`);

  describe("a rocket topic", () => {
    test("answers a produce with what it is: in memory, and not durable", async () => {
      const topic = await rocket();

      const { json } = await client().post(`/broker/topics/${topic}/produce?partition=0`, "a");

      expect(json).toEqual({
        ok: true,
        offset: 0,
        partition: 0,
        batch_id: 0,
        sealed: false,
        durable: false,
        mode: "rocket",
        synced: null,
      });
    });

    test("gives back what was put in, with keys, in order", async () => {
      const topic = await rocket();
      await client().post(`/broker/topics/${topic}/produce?partition=0&key=k`, "a");
      const batch = await client().post(
        `/broker/topics/${topic}/produce-ndjson?partition=0`,
        '"b"\n"c"\n',
      );

      const { json } = await consume(topic);

      expect(batch.json).toEqual({
        ok: true,
        first_offset: 1,
        count: 2,
        partition: 0,
        batch_id: 0,
        sealed: false,
        durable: false,
        mode: "rocket",
        synced: null,
      });
      expect(json).toMatchObject({
        messages: [
          { offset: 0, key: "k", value: "a" },
          { offset: 1, value: "b" },
          { offset: 2, value: "c" },
        ],
        count: 3,
        next_offset: 3,
        committed_offset: null,
        truncated: false,
      });
    });

    test("is listed with its mode and its range", async () => {
      const topic = await rocket(2);
      await client().produce(topic, "a", "b");

      const { json } = await client().get(`/broker/topics/${topic}`);

      expect(json).toMatchObject({ mode: "rocket", partitions: 2 });
      expect(json.partition_details[0]).toMatchObject({ start_offset: 0, next_offset: 2 });
      expect(json.partition_details[0].bytes).toBeGreaterThan(0);
      expect(json.partition_details[1]).toMatchObject({ start_offset: 0, next_offset: 0 });
    });

    test("takes no idempotency key", async () => {
      const topic = await rocket();
      const path = `/broker/topics/${topic}/produce?partition=0&idempotency_key=k`;

      await client().refused(client().post(path, "a"), 400, "invalid_parameter");
    });

    test("looks at the expected offset", async () => {
      const topic = await rocket();
      const at = (offset: number): string =>
        `/broker/topics/${topic}/produce?partition=0&expected_offset=${offset}`;

      expect((await client().post(at(0), "a")).json.offset).toBe(0);
      const refusal = await client().refused(client().post(at(5), "b"), 409, "offset_mismatch");

      expect(refusal.next_offset).toBe(1);
      expect((await consume(topic)).json).toMatchObject({ count: 1, next_offset: 1 });
    });

    test("has durable groups", async () => {
      const topic = await rocket();
      await client().produce(topic, "a", "b", "c");
      const commit = { topic, group: "g", partition: 0, offset: 1 };

      expect((await client().post("/broker/commit", commit)).json).toEqual({ ok: true });

      expect((await consume(topic)).json).toMatchObject({
        messages: [{ offset: 2, value: "c" }],
        committed_offset: 1,
      });
    });

    test("hides what delete-before removes, at once", async () => {
      const topic = await rocket();
      await client().produce(topic, "a", "b", "c");

      const removed = await client().post("/broker/delete-before", {
        topic,
        partition: 0,
        before_offset: 2,
      });

      expect(removed.json).toMatchObject({ ok: true, deleted_count: 2 });
      expect(removed.json.freed_bytes).toBeGreaterThan(0);
      expect((await consume(topic, "?offset=0")).json).toMatchObject({
        messages: [{ offset: 2, value: "c" }],
      });
    });

    test("answers a long poll when a record comes", async () => {
      const topic = await rocket();
      const waiting = consume(topic, "?wait_ms=20000");
      await Bun.sleep(50);

      await client().produce(topic, "late");

      expect((await waiting).json).toMatchObject({ messages: [{ offset: 0, value: "late" }] });
    });

    test("streams by a tail", async () => {
      const topic = await rocket();
      await client().produce(topic, "a");
      const response = await fetch(`${client().url}/broker/tail/${topic}/0?offset=0`, {
        headers: { authorization: "Bearer dev", accept: "application/x-ndjson" },
      });
      const reader = response.body?.getReader();
      let text = "";
      const until = async (part: string): Promise<void> => {
        while (!text.includes(part)) {
          const piece = await reader?.read();
          text += new TextDecoder().decode(piece?.value);
        }
      };
      await until('"a"');
      await client().produce(topic, "b");
      await until('"b"');
      await reader?.cancel();

      expect(text.match(/"offset":\d+/g)).toEqual(['"offset":0', '"offset":1']);
    });

    test("is gone with its records when it is deleted", async () => {
      const topic = await rocket();
      await client().produce(topic, "a", "b");

      const deleted = await client().call("DELETE", `/broker/topics/${topic}`);

      expect(deleted.json).toEqual({ ok: true, deleted: true, deleted_count: 2 });
      await client().refused(client().get(`/broker/consume/${topic}/g/0`), 404, "topic_not_found");
    });
  });
}
