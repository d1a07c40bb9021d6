// Consume and commit: where a read starts, what ends it, and how bytes are shown.

import { describe, expect, test } from "bun:test";
import type { ContractClient } from "./client.ts";

/** Tests of consume and commit. */
export function consumeTests(client: () => ContractClient): void {
  const read = async (topic: string, query = "", group = "g") =>
    (await client().get(`/broker/consume/${topic}/${group}/0?${query}`)).json;
  const offsets = ({ messages }: { messages: { offset: number }[] }) =>
    messages.map(({ offset }) => offset);
  const commit = (topic: string, offset: number, group = "g") =>
    client().post("/broker/commit", { topic, group, partition: 0, offset });

  describe("consume", () => {
    test("the reply has the documented fields in their order", async () => {
      const topic = await client().topic();
      await client().post(`/broker/topics/${topic}/produce?partition=0&key=key`, "hello");

      const { text } = await client().get(`/broker/consume/${topic}/g/0?encoding=b64`);

      expect(text).toMatch(
        /^\{"messages":\[\{"offset":0,"partition":0,"timestamp_ms":\d{13},"value_b64":"aGVsbG8=","key_b64":"a2V5"\}\],"count":1,"next_offset":1,"committed_offset":null,"truncated":false\}$/,
      );
    });

    test("offset 0 or less starts at the first readable record, also after retention", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");
      await client().post("/broker/delete-before", { topic, partition: 0, before_offset: 2 });

      for (const offset of [0, -1, -9_007_199_254_740_991, 1]) {
        expect(offsets(await read(topic, `offset=${offset}`))).toEqual([2]);
      }
    });

    test("without an offset a group goes on after its commit", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");

      const before = await read(topic);
      await commit(topic, 0);
      const after = await read(topic);

      expect(before).toMatchObject({ count: 3, committed_offset: null });
      expect(after).toMatchObject({ count: 2, committed_offset: 0 });
      expect(offsets(after)).toEqual([1, 2]);
    });

    test("beyond the end it is empty, with the same offset to ask next", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a");

      expect(await read(topic, "offset=7")).toEqual({
        messages: [],
        count: 0,
        next_offset: 7,
        committed_offset: null,
        truncated: false,
      });
    });

    test("limit ends the list, and truncated says so only when more follows", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");

      expect(await read(topic, "limit=2")).toMatchObject({
        count: 2,
        next_offset: 2,
        truncated: true,
      });
      expect(await read(topic, "limit=3")).toMatchObject({
        count: 3,
        next_offset: 3,
        truncated: false,
      });
    });

    test("max_bytes ends the list, but the first record always comes", async () => {
      const topic = await client().topic();
      await client().produce(topic, "12345", "12345", "12345");

      expect(await read(topic, "max_bytes=10")).toMatchObject({ count: 2, truncated: true });
      expect(await read(topic, "max_bytes=14")).toMatchObject({ count: 2, truncated: true });
      expect(await read(topic, "max_bytes=1")).toMatchObject({
        count: 1,
        next_offset: 1,
        truncated: true,
      });
      expect(await read(topic, "max_bytes=15")).toMatchObject({ count: 3, truncated: false });
    });

    test.each([
      "limit=0",
      "limit=1001",
      "limit=-1",
      "limit=x",
      "offset=1.5",
      "offset=9007199254740993",
      "offset=%ZZ",
      "wait_ms=60001",
      "wait_ms=-1",
      "max_bytes=0",
      "max_bytes=16777217",
      "encoding=hex",
      "consistency=strong",
      "strict=yes",
      "limit=1&limit=2",
    ])("the query %s is refused", async (query) => {
      const topic = await client().topic();

      await client().refused(
        client().get(`/broker/consume/${topic}/g/0?${query}`),
        400,
        "invalid_parameter",
      );
    });

    test("what the path names is checked", async () => {
      const topic = await client().topic(2);

      await client().refused(client().get("/broker/consume/unknown/g/0"), 404, "topic_not_found");
      await client().refused(
        client().get(`/broker/consume/${topic}/g/2`),
        404,
        "partition_not_found",
      );
      await client().refused(
        client().get(`/broker/consume/${topic}/g/x`),
        400,
        "invalid_parameter",
      );
      await client().refused(
        client().get(`/broker/consume/${topic}/g%2Fh/0`),
        400,
        "invalid_parameter",
      );
      await client().refused(
        client().get(`/broker/consume/${topic}/%ZZ/0`),
        400,
        "invalid_parameter",
      );
      await client().refused(
        client().get(`/broker/consume/${topic}/${"g".repeat(121)}/0`),
        400,
        "invalid_parameter",
      );
    });

    test("strict refuses what retention removed, and says what is first", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");
      await client().post("/broker/delete-before", { topic, partition: 0, before_offset: 2 });

      const path = `/broker/consume/${topic}/g/0?strict=1`;
      const refusal = await client().refused(
        client().get(`${path}&offset=1`),
        410,
        "offset_out_of_range",
      );

      expect(refusal.first_offset).toBe(2);
      await client().refused(client().get(`${path}&offset=0`), 410, "offset_out_of_range");
      expect((await client().get(`${path}&offset=2`)).json.count).toBe(1);
      expect((await client().get(`${path}&offset=-1`)).json.count).toBe(1);
    });

    test("text is JSON whatever the bytes are", async () => {
      const topic = await client().topic();
      const values = [
        'quote " backslash \\ slash /',
        "line\nbreak\ttab\rreturn\b\f\u0000\u001f\u007f",
        "häßlich 漢字 🎉 \u2028",
        "",
      ];
      await client().produce(
        topic,
        ...values,
        Uint8Array.of(97, 255, 34, 98),
        Uint8Array.of(0xe6, 0xbc),
      );

      const { messages } = await read(topic);

      expect(messages.map(({ value }: { value: string }) => value)).toEqual([
        ...values,
        'a\ufffd"b',
        "\ufffd",
      ]);
    });

    test("a reply of many large records is well-formed and skips none", async () => {
      const topic = await client().topic();
      const value = "0123456789".repeat(3000);
      await client().produce(topic, ...Array.from({ length: 20 }, () => value));

      const reply = await read(topic);

      expect(reply).toMatchObject({ count: 20, next_offset: 20, truncated: false });
      expect(reply.messages.every((message: { value: string }) => message.value === value)).toBe(
        true,
      );
    });

    test("a long poll answers as soon as there is a record", async () => {
      const topic = await client().topic();
      const started = performance.now();

      const waiting = read(topic, "wait_ms=20000");
      await Bun.sleep(100);
      await client().produce(topic, "now");
      const reply = await waiting;

      expect(reply).toMatchObject({ count: 1, next_offset: 1 });
      expect(performance.now() - started).toBeLessThan(5000);
    });

    test("a long poll ends empty when its time is over", async () => {
      const topic = await client().topic();
      const started = performance.now();

      const reply = await read(topic, "wait_ms=150");

      expect(reply).toMatchObject({ count: 0, next_offset: 0 });
      expect(performance.now() - started).toBeGreaterThan(140);
    });

    test("a long poll ends when its topic is deleted", async () => {
      const topic = await client().topic();

      const waiting = client().get(`/broker/consume/${topic}/g/0?wait_ms=20000`);
      await Bun.sleep(50);
      await client().call("DELETE", `/broker/topics/${topic}`);

      await client().refused(waiting, 404, "topic_not_found");
    });

    test("a linearizable read sees what was confirmed before it", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a");

      expect(await read(topic, "consistency=linearizable")).toMatchObject({ count: 1 });
    });
  });

  describe("commit", () => {
    test("the documented example works as it is pasted", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a");

      const reply = await client().post(
        "/broker/commit",
        `{"topic":"${topic}","group":"g1","partition":0,"offset":0}`,
      );

      expect(reply.text).toBe('{"ok":true}');
    });

    test("going back is ignored", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");
      await commit(topic, 2);

      const back = await commit(topic, 0);

      expect(back.json).toEqual({ ok: true });
      expect((await read(topic)).committed_offset).toBe(2);
    });

    test("past the end is refused", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a");

      await client().refused(commit(topic, 1), 400, "invalid_parameter");
    });

    test("groups do not know of each other", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b");
      await commit(topic, 1, "one");

      expect((await read(topic, "", "one")).count).toBe(0);
      expect((await read(topic, "", "other")).count).toBe(2);
    });

    test("missing fields are listed", async () => {
      const refusal = await client().refused(
        client().post("/broker/commit", { topic: "t", offset: 1 }),
        400,
        "missing_fields",
      );

      expect(refusal.missing).toBe("group,partition");
      await client().refused(client().post("/broker/commit", {}), 400, "missing_fields");
      const noTopic = { group: "g", partition: 0, offset: 0 };
      await client().refused(client().post("/broker/commit", noTopic), 400, "missing_topic");
    });

    test.each([
      ["offset", "9007199254740993"],
      ["offset", "-1"],
      ["offset", "0.5"],
      ["offset", '"0"'],
      ["offset", "null"],
      ["partition", "-1"],
      ["group", '"a/b"'],
      ["group", '""'],
    ])("a %s of %s is refused, not rounded", async (field, value) => {
      const topic = await client().topic();
      const fields = {
        topic: `"${topic}"`,
        group: '"g"',
        partition: "0",
        offset: "0",
        [field]: value,
      };
      const body = `{${Object.entries(fields).map(([name, text]) => `"${name}":${text}`)}}`;

      await client().refused(client().post("/broker/commit", body), 400, "invalid_parameter");
    });

    test("numbers over 2^31 and dots later in the body are no trouble", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a");
      const body = `{"topic":"${topic}","group":"g","partition":0,"offset":0,"note":1.5,"big":4294967296,"text":"1.2.3"}`;

      expect((await client().post("/broker/commit", body)).json).toEqual({ ok: true });
    });

    test("an unknown topic or partition is named", async () => {
      const topic = await client().topic(1);
      const body = { topic, group: "g", partition: 1, offset: 0 };

      await client().refused(client().post("/broker/commit", body), 404, "partition_not_found");
      await client().refused(
        client().post("/broker/commit", { ...body, topic: "unknown" }),
        404,
        "topic_not_found",
      );
    });
  });
}
