// Topics: made, made again, listed, shown, deleted.

import { describe, expect, test } from "bun:test";
import { type ContractClient, freshName } from "./client.ts";

/** Tests of the topic routes. */
export function topicTests(client: () => ContractClient): void {
  describe("topics", () => {
    test("the documented example works as it is pasted", async () => {
      const name = freshName("events");

      const reply = await client().post("/broker/topics", `{"name":"${name}","partitions":8}`);

      expect(reply.status).toBe(200);
      expect(reply.text).toBe(`{"ok":true,"topic":"${name}","partitions":8}`);
    });

    test("a topic has 8 partitions unless it says otherwise", async () => {
      const name = freshName();

      const reply = await client().post("/broker/topics", { name });

      expect(reply.json.partitions).toBe(8);
    });

    test("the same shape again is 200, another is topic_exists", async () => {
      const name = await client().topic(3);

      const again = await client().post("/broker/topics", { name, partitions: 3 });
      const other = client().post("/broker/topics", { name, partitions: 4 });

      expect(again.json).toEqual({ ok: true, topic: name, partitions: 3 });
      await client().refused(other, 409, "topic_exists");
    });

    test.each([
      "a/b",
      "../x",
      ".",
      "..",
      "a\u0000b",
      "a b",
      "ä",
      "*",
      "x".repeat(121),
      7,
      null,
      {},
    ])("the name %p is refused", async (name) => {
      await client().refused(client().post("/broker/topics", { name }), 400, "invalid_parameter");
    });

    test("a name of 120 characters is taken", async () => {
      const name = freshName().padEnd(120, "x");

      expect((await client().post("/broker/topics", { name, partitions: 1 })).status).toBe(200);
    });

    test.each(["0", "-1", "257", "1.5", '"8"', "9007199254740993", "1e400", "true"])(
      "%s partitions are refused, not clamped",
      async (partitions) => {
        const body = `{"name":"${freshName()}","partitions":${partitions}}`;

        await client().refused(client().post("/broker/topics", body), 400, "invalid_parameter");
      },
    );

    test("with another mode it is topic_exists", async () => {
      const body = { name: freshName(), mode: "rocket" };

      expect((await client().post("/broker/topics", body)).status).toBe(200);
      expect((await client().post("/broker/topics", body)).status).toBe(200);
      const sealed = client().post("/broker/topics", { ...body, mode: "sealed" });
      await client().refused(sealed, 409, "topic_exists");
      await client().refused(
        client().post("/broker/topics", { ...body, mode: "fast" }),
        400,
        "invalid_parameter",
      );
    });

    test("with other retention it is topic_exists, which says what differs", async () => {
      const body = { name: freshName(), partitions: 1 };
      const create = (retention: object | undefined) =>
        client().post("/broker/topics", { ...body, ...(retention && { retention }) });

      expect((await create({ ttl_ms: 60_000 })).status).toBe(200);
      for (const same of [undefined, {}, { ttl_ms: 60_000 }, { ttl_ms: 60_000, max_bytes: 0 }])
        expect({ same, status: (await create(same)).status }).toEqual({ same, status: 200 });
      const refusal = await client().refused(
        create({ ttl_ms: 1, max_bytes: 1000 }),
        409,
        "topic_exists",
      );
      expect(refusal).toMatchObject({
        message: `Topic ${body.name} exists with retention.ttl_ms 60000, not 1; retention.max_bytes 0, not 1000`,
        differs: "retention.ttl_ms,retention.max_bytes",
      });
      const other = client().post("/broker/topics", { name: body.name, partitions: 2 });
      expect(await client().refused(other, 409, "topic_exists")).toMatchObject({
        differs: "partitions",
      });
    });

    test.each([{}, { name: "" }])(
      "the body %j is missing_topic, with the documented reply",
      async (body) => {
        const refusal = await client().refused(
          client().post("/broker/topics", body),
          400,
          "missing_topic",
        );

        expect(refusal).toEqual({
          ok: false,
          error: "missing_topic",
          message: "Topic name is required",
          docs: "https://ayder.dev/docs/api/produce",
        });
      },
    );

    test.each([
      ["/broker/commit", { topic: "", group: "g", partition: 0, offset: 0 }],
      ["/broker/delete-before", { topic: "", partition: 0, before_offset: 0 }],
      ["/broker/retention", { topic: "", ttl_ms: 1 }],
      ["/broker/query", { source: { topic: "" } }],
    ])("%s with an empty topic is missing_topic", async (path, body) => {
      await client().refused(client().post(path, body), 400, "missing_topic");
    });

    test.each(["", "{", "[]", '"x"', "null", "\xff\xfe", '{"name":"a"} x'])(
      "the body %p is invalid_json",
      async (body) => {
        const bytes = Uint8Array.from(body, (character) => character.charCodeAt(0));

        await client().refused(client().post("/broker/topics", bytes), 400, "invalid_json");
      },
    );

    test("one is shown with its partitions and groups", async () => {
      const name = await client().topic(2);
      await client().produce(name, "a", "b", "c");
      await client().post("/broker/commit", { topic: name, group: "g", partition: 0, offset: 0 });

      const { json } = await client().get(`/broker/topics/${name}`);

      expect(json).toMatchObject({ ok: true, topic: name, partitions: 2, mode: "sealed" });
      expect(json.partition_details[0]).toMatchObject({
        partition: 0,
        start_offset: 0,
        next_offset: 3,
      });
      expect(json.partition_details[0].bytes).toBeGreaterThan(2);
      expect(json.partition_details[1]).toMatchObject({
        partition: 1,
        start_offset: 0,
        next_offset: 0,
        bytes: 0,
      });
      expect(json.groups).toEqual([{ group: "g", partition: 0, committed_offset: 0, lag: 2 }]);
    });

    test("the list is sorted and goes on after a name", async () => {
      const first = await client().topic(1, freshName("list-a"));
      const second = await client().topic(1, freshName("list-b"));

      const page = await client().get(`/broker/topics?after=${first}&limit=1`);

      expect(page.json.topics.map(({ topic }: { topic: string }) => topic)).toEqual([second]);
    });

    test("a deleted one is gone, and a new one of its name starts empty", async () => {
      const name = await client().topic(1);
      await client().produce(name, "old");

      const deleted = await client().call("DELETE", `/broker/topics/${name}`);
      await client().refused(client().get(`/broker/topics/${name}`), 404, "topic_not_found");
      await client().topic(1, name);
      const read = await client().get(`/broker/consume/${name}/g/0`);

      expect(deleted.json).toEqual({ ok: true, deleted: true, deleted_count: 1 });
      expect(read.json).toMatchObject({ messages: [], next_offset: 0 });
    });

    test("an unknown one is topic_not_found", async () => {
      await client().refused(
        client().call("DELETE", "/broker/topics/unknown"),
        404,
        "topic_not_found",
      );
      await client().refused(client().get("/broker/topics/unknown"), 404, "topic_not_found");
    });
  });
}
