// Transactions over HTTP: everything or nothing, once.

import { describe, expect, test } from "bun:test";
import { type ContractClient, freshName } from "./client.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");

/** Tests of `/broker/txn`. */
export function transactionTests(client: () => ContractClient): void {
  const transact = (body: object, token?: string) =>
    client().call("POST", "/broker/txn", { body, ...(token !== undefined && { token }) });
  const topic = async (partitions = 1): Promise<string> => {
    const name = freshName("txn");
    await client().call("POST", "/broker/topics", { body: { name, partitions } });
    return name;
  };
  const consume = async (name: string, group = "g"): Promise<string[]> => {
    const path = `/broker/consume/${name}/${group}/0?offset=0`;
    const { json } = await client().call("GET", path);
    return json.messages.map(({ value }: { readonly value: string }) => value);
  };
  const committed = async (name: string, group: string): Promise<number | null> =>
    (await client().call("GET", `/broker/consume/${name}/${group}/0`)).json.committed_offset;

  describe("transactions", () => {
    test("everything that is asked happens, and is answered part by part", async () => {
      const [input, output] = [await topic(), await topic(2)];
      const ns = freshName("jobs");
      await client().call("POST", `/broker/topics/${input}/produce`, { body: "in" });
      await client().call("PUT", `/kv/${ns}/17`, { body: "waiting" });
      await client().call("PUT", `/kv/${ns}/16`, { body: "old" });

      const reply = await transact({
        idempotency_key: "job-17",
        expect: [
          { kv: `${ns}/17`, cas: 1 },
          { topic: input, group: "g", partition: 0, committed_offset: null },
        ],
        produce: [
          { topic: output, partition: 0, key: "k", value_b64: base64("one") },
          { topic: output, partition: 0, value: "two" },
          { topic: output, partition: 1, value: "" },
        ],
        commit: [{ topic: input, group: "g", partition: 0, offset: 0 }],
        kv: [
          { op: "put", key: `${ns}/17`, value: "done" },
          { op: "delete", key: `${ns}/16` },
          { op: "delete", key: `${ns}/15` },
          { op: "put", key: `${ns}/a/b`, value: "x", ttl_ms: 60_000 },
        ],
      });

      expect(reply.status).toBe(200);
      expect(reply.json).toEqual({
        ok: true,
        batch_id: reply.json.batch_id,
        produced: [
          { topic: output, partition: 0, offset: 0 },
          { topic: output, partition: 0, offset: 1 },
          { topic: output, partition: 1, offset: 0 },
        ],
        kv: [
          { key: `${ns}/17`, cas: 2 },
          { key: `${ns}/16`, cas: 2, deleted: true },
          { key: `${ns}/15`, cas: 0, deleted: false },
          { key: `${ns}/a/b`, cas: 1 },
        ],
        synced: true,
        duplicate: false,
      });
      expect(await consume(output)).toEqual(["one", "two"]);
      expect(await committed(input, "g")).toBe(0);
      expect((await client().call("GET", `/kv/${ns}/17`)).json.value).toBe(base64("done"));
      expect((await client().call("GET", `/kv/${ns}/16`)).status).toBe(404);
    });

    test("an expectation that does not hold undoes nothing, because nothing is done", async () => {
      const name = await topic();
      const ns = freshName("ns");
      await client().call("POST", `/broker/topics/${name}/produce`, { body: "in" });
      const parts = {
        produce: [{ topic: name, partition: 0, value: "out" }],
        kv: [{ op: "put", key: `${ns}/k`, value: "v" }],
      };

      const key = await transact({ expect: [{ kv: `${ns}/k`, cas: 4 }], ...parts });
      const group = await transact({
        expect: [
          { kv: `${ns}/k`, cas: 0 },
          { topic: name, group: "g", partition: 0, committed_offset: 7 },
        ],
        ...parts,
      });

      expect([key.status, key.json.error]).toEqual([409, "cas_mismatch"]);
      expect(key.json).toMatchObject({ failed: { expect: 0 }, expected: 4, current: 0 });
      expect([group.status, group.json.error]).toEqual([409, "offset_mismatch"]);
      expect(group.json).toMatchObject({ failed: { expect: 1 }, expected: 7, current: null });
      expect(await consume(name)).toEqual(["in"]);
      expect((await client().call("GET", `/kv/${ns}/k`)).status).toBe(404);
    });

    test("a commit that would not go forward fails all of it", async () => {
      const name = await topic();
      await client().call("POST", `/broker/topics/${name}/produce-ndjson`, { body: "a\nb\nc" });
      const commit = (offset: number) => ({
        produce: [{ topic: name, partition: 0, value: `after ${offset}` }],
        commit: [{ topic: name, group: "g", partition: 0, offset }],
      });

      const first = await transact(commit(1));
      const again = await transact(commit(1));
      const past = await transact(commit(99));

      expect(first.status).toBe(200);
      expect([again.status, again.json.error]).toEqual([409, "offset_mismatch"]);
      expect(again.json).toMatchObject({ failed: { commit: 0 }, current: 1 });
      expect([past.status, past.json.error]).toEqual([400, "invalid_parameter"]);
      expect(await consume(name)).toEqual(["a", "b", "c", "after 1"]);
      expect(await committed(name, "g")).toBe(1);
    });

    test("of many that take the same input one wins", async () => {
      const [input, output] = [await topic(), await topic()];
      await client().call("POST", `/broker/topics/${input}/produce`, { body: "in" });

      const replies = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          transact({
            produce: [{ topic: output, partition: 0, value: `by ${i}` }],
            commit: [{ topic: input, group: "g", partition: 0, offset: 0 }],
          }),
        ),
      );

      expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(await consume(output)).toHaveLength(1);
    });

    test("the same key answers as the first time did, and refuses another transaction", async () => {
      const name = await topic();
      const ns = freshName("ns");
      const key = freshName("key");
      const body = {
        idempotency_key: key,
        produce: [{ topic: name, partition: 0, value: "out" }],
        kv: [{ op: "put", key: `${ns}/k`, value: "v" }],
      };

      const replies = await Promise.all(Array.from({ length: 6 }, () => transact(body)));
      const again = await transact(body);
      const other = await transact({ ...body, kv: [] });

      const first = replies.find(({ json }) => json.duplicate === false);
      expect(replies.filter(({ json }) => json.duplicate)).toHaveLength(5);
      expect(again.json).toEqual({ ...first?.json, synced: null, duplicate: true });
      expect([other.status, other.json.error]).toEqual([422, "idempotency_key_reused"]);
      expect(await consume(name)).toEqual(["out"]);
      expect((await client().call("GET", `/kv/${ns}/k`)).json.cas).toBe(1);
    });

    test.each([
      ["nothing to do", { expect: [] }, "missing_fields"],
      ["no object", "[]", "invalid_json"],
      ["a value twice", { produce: [{ topic: "t", value: "a", value_b64: "YQ==" }] }, undefined],
      ["no value", { produce: [{ topic: "t" }] }, undefined],
      ["broken base64", { produce: [{ topic: "t", value_b64: "*" }] }, undefined],
      ["a key without namespace", { kv: [{ op: "delete", key: "k" }] }, undefined],
      ["another operation", { kv: [{ op: "increment", key: "n/k" }] }, undefined],
      [
        "the same key twice",
        { kv: ["1", "2"].map((value) => ({ op: "put", key: "n/k", value })) },
        undefined,
      ],
      ["a key that is metadata", { kv: [{ op: "put", key: "n/a/meta", value: "" }] }, undefined],
      ["an expectation of nothing", { expect: [{ topic: "t" }], kv: [] }, undefined],
      [
        "a negative offset",
        { commit: [{ topic: "t", group: "g", partition: 0, offset: -1 }] },
        undefined,
      ],
    ])("%s is refused by name", async (_name, body, code = "invalid_parameter") => {
      const reply = await transact(body as object);

      expect([reply.status, reply.json.error]).toEqual([400, code]);
    });

    test("a topic or partition that is not there is said with its part", async () => {
      const name = await topic();
      const produce = (topicName: string, partition: number) =>
        transact({ produce: [{ topic: topicName, partition, value: "x" }] });

      const noTopic = await produce(freshName("none"), 0);
      const noPartition = await produce(name, 5);

      expect([noTopic.status, noTopic.json.error]).toEqual([404, "topic_not_found"]);
      expect(noTopic.json.failed).toEqual({ produce: 0 });
      expect(noTopic.json).toHaveProperty("topic");
      expect([noPartition.status, noPartition.json.error]).toEqual([404, "partition_not_found"]);
      expect(noPartition.json).toMatchObject({ failed: { produce: 0 }, partitions: 1 });
    });

    test("more parts than one may have are refused, with how many there were", async () => {
      const tooMany = Array.from({ length: 1000 }, () => ({ kv: "n/k", cas: 0 }));
      const reply = await transact({ expect: tooMany, kv: [{ op: "delete", key: "n/k" }] });

      expect([reply.status, reply.json.error]).toEqual([413, "payload_too_large"]);
      expect(reply.json).toMatchObject({ max_parts: 1000, got_parts: 1001 });
    });

    test("a token covers every topic and namespace that is named, or none of it happens", async () => {
      const name = freshName("narrow");
      await client().call("POST", "/broker/topics", { body: { name, partitions: 1 } });
      const record = { topic: name, partition: 0, value: "x" };

      const allowed = await transact({ produce: [record] }, "narrow");
      const key = { op: "put", key: `${freshName("other")}/k`, value: "x" };
      const refused = await transact({ produce: [record], kv: [key] }, "narrow");
      const reader = await transact({ produce: [record] }, "reader");

      expect(allowed.status).toBe(200);
      expect(refused.json.error).toBe("forbidden");
      expect(reader.json.error).toBe("forbidden");
      expect(await consume(name)).toEqual(["x"]);
    });
  });
}
