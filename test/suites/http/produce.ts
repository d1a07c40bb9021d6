// Produce: bytes kept exactly, the documented replies, and every refusal of its parameters.

import { describe, expect, test } from "bun:test";
import type { ContractClient } from "./client.ts";

/** Tests of the produce route. */
export function produceTests(client: () => ContractClient): void {
  const at = (topic: string, query = "partition=0") => `/broker/topics/${topic}/produce?${query}`;

  describe("produce", () => {
    test("the first example comes back byte for byte, though curl calls it a form", async () => {
      const topic = await client().topic();

      const reply = await client().post(at(topic), '{"item":"widget"}');
      const read = await client().get(`/broker/consume/${topic}/g1/0?encoding=b64`);

      expect(reply.text).toMatch(
        /^\{"ok":true,"offset":0,"partition":0,"batch_id":[1-9]\d*,"sealed":true,"durable":true,"mode":"sealed","synced":true\}$/,
      );
      expect(Buffer.from(read.json.messages[0].value_b64, "base64").toString()).toBe(
        '{"item":"widget"}',
      );
    });

    test.each(["multipart/form-data; boundary=x", "application/json", "text/plain", "nonsense"])(
      "a content type of %s changes nothing",
      async (type) => {
        const topic = await client().topic();
        const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);

        await client().post(at(topic), bytes, { headers: { "content-type": type } });
        const read = await client().get(`/broker/consume/${topic}/g/0?encoding=b64`);

        expect(read.json.messages[0].value_b64).toBe(Buffer.from(bytes).toString("base64"));
      },
    );

    test("an empty body is a record of no bytes", async () => {
      const topic = await client().topic();

      const reply = await client().call("POST", at(topic));
      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(reply.json).toMatchObject({ ok: true, offset: 0 });
      expect(read.json.messages).toMatchObject([{ offset: 0, value: "" }]);
    });

    test("offsets are dense and batch ids grow", async () => {
      const topic = await client().topic();

      const first = await client().post(at(topic), "a");
      const later = await client().post(at(topic), "b");

      expect([first.json.offset, later.json.offset]).toEqual([0, 1]);
      expect(later.json.batch_id).toBeGreaterThan(first.json.batch_id);
    });

    test("a repeated idempotency key gives the first offset back", async () => {
      const topic = await client().topic();
      const path = at(topic, "partition=0&idempotency_key=order%2D1");

      const first = await client().post(path, "x");
      const again = await client().post(path, "x");
      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(first.text).toEndWith(`"synced":true,"duplicate":false}`);
      expect(again.text).toBe(
        `{"ok":true,"offset":0,"partition":0,"sealed":true,"synced":null,"duplicate":true}`,
      );
      expect(read.json.count).toBe(1);
    });

    test("an idempotency key with other bytes is refused", async () => {
      const topic = await client().topic();
      await client().post(at(topic, "partition=0&idempotency_key=k"), "x");

      const other = client().post(at(topic, "partition=0&idempotency_key=k"), "y");

      await client().refused(other, 422, "idempotency_key_reused");
    });

    test("a long idempotency key is told from one that begins alike", async () => {
      const topic = await client().topic();
      const key = "k".repeat(255);

      const first = await client().post(at(topic, `partition=0&idempotency_key=${key}1`), "x");
      const other = await client().post(at(topic, `partition=0&idempotency_key=${key}2`), "x");

      expect([first.json.offset, other.json.offset]).toEqual([0, 1]);
    });

    test("without a partition records are spread, and each reply says where", async () => {
      const topic = await client().topic(4);
      const seen = new Set<number>();

      for (let i = 0; i < 12; i++) {
        const { json } = await client().post(`/broker/topics/${topic}/produce`, "x");
        seen.add(json.partition);
      }

      expect([...seen].sort()).toEqual([0, 1, 2, 3]);
    });

    test("a key chooses the partition by xxHash32 and comes back", async () => {
      const topic = await client().topic(8);

      for (const key of ["a", "b", "customer 42", "ключ"]) {
        const path = `/broker/topics/${topic}/produce?key=${encodeURIComponent(key)}`;
        const { json } = await client().post(path, "x");
        const read = await client().get(
          `/broker/consume/${topic}/g/${json.partition}?offset=${json.offset}`,
        );

        expect(json.partition).toBe(Bun.hash.xxHash32(key, 0) % 8);
        expect(read.json.messages[0].key).toBe(key);
      }
    });

    test("a key may be any bytes, percent-encoded", async () => {
      const topic = await client().topic();

      await client().post(at(topic, "partition=0&key=%FF%00+%2B"), "x");
      const read = await client().get(`/broker/consume/${topic}/g/0?encoding=b64`);

      expect(Buffer.from(read.json.messages[0].key_b64, "base64")).toEqual(
        Buffer.from([255, 0, 32, 43]),
      );
    });

    test.each([
      "partition=-1",
      "partition=1.5",
      "partition=",
      "partition=x",
      "partition=%ZZ",
      "partition=9007199254740993",
      "partition=0&partition=1",
      "timeout_ms=0",
      "timeout_ms=-5",
      "timeout_ms=120001",
      "timeout_ms=99999999999999999999",
      "idempotency_key=",
      "idempotency_key=%Z1",
      `idempotency_key=${"k".repeat(257)}`,
      "key=%",
      "key=%2",
      `key=${"k".repeat(1025)}`,
      "timing=2",
      "ack=none",
      "expected_offset=-1",
      "expected_offset=1e3",
    ])("the query %s is refused", async (query) => {
      const topic = await client().topic();

      await client().refused(client().post(at(topic, query), "x"), 400, "invalid_parameter");
    });

    test("unknown parameters are ignored", async () => {
      const topic = await client().topic();

      const reply = await client().post(at(topic, "partition=0&color=%ZZ&color=red&&"), "x");

      expect(reply.status).toBe(200);
    });

    test("an unknown topic or partition is named", async () => {
      const topic = await client().topic(2);

      await client().refused(client().post(at("unknown"), "x"), 404, "topic_not_found");
      await client().refused(
        client().post(at(topic, "partition=2"), "x"),
        404,
        "partition_not_found",
      );
      await client().refused(client().post(at("a%2Fb"), "x"), 400, "invalid_parameter");
      await client().refused(client().post(at("a%ZZb"), "x"), 400, "invalid_parameter");
    });

    test("timing says where the time went", async () => {
      const topic = await client().topic();

      const { json } = await client().post(at(topic, "partition=0&timing=1"), "x");

      for (const field of [
        "queue_us",
        "recv_parse_us",
        "server_us",
        "produce_us",
        "sync_wait_us",
      ]) {
        expect(json[field]).toBeGreaterThanOrEqual(0);
      }
      expect(json.server_us).toBeGreaterThanOrEqual(json.sync_wait_us);
    });

    test("an expected offset holds, or the reply says the one that would be given", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a");

      const wrong = await client().refused(
        client().post(at(topic, "partition=0&expected_offset=0"), "x"),
        409,
        "offset_mismatch",
      );
      const right = await client().post(at(topic, "partition=0&expected_offset=1"), "x");

      expect(wrong.next_offset).toBe(1);
      expect(right.json.offset).toBe(1);
    });

    test("a record over the limit is refused with both numbers, declared or not", async () => {
      const topic = await client().topic();
      const large = new Uint8Array(1_048_577);
      const pieces = new ReadableStream({
        start(controller) {
          controller.enqueue(large);
          controller.close();
        },
      });

      const declared = await client().refused(
        client().post(at(topic), large),
        413,
        "payload_too_large",
      );
      const undeclared = await fetch(`${client().url}${at(topic)}`, {
        method: "POST",
        headers: { authorization: "Bearer dev" },
        body: pieces,
      });
      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(declared).toMatchObject({ max_bytes: 1_048_576, got_bytes: 1_048_577 });
      expect(undeclared.status).toBe(413);
      expect(read.json.count).toBe(0);
    });

    test("a record of exactly the limit is kept whole", async () => {
      const topic = await client().topic();
      const largest = new Uint8Array(1_048_576).map((_, i) => i * 31);

      await client().post(at(topic), largest);
      const read = await client().get(`/broker/consume/${topic}/g/0?encoding=b64`);

      expect(Buffer.from(read.json.messages[0].value_b64, "base64").equals(largest)).toBe(true);
    });

    test("the headers of a CloudEvent come back", async () => {
      const topic = await client().topic();
      const headers = { "ce-id": "1", "ce-type": "made", "ce-source": "/shop", "x-other": "no" };

      await client().post(at(topic), "{}", { headers });
      await client().post(at(topic), "{}", { headers: { "ce-type": "no id, no event" } });
      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(read.json.messages[0].headers).toEqual({
        "ce-id": "1",
        "ce-type": "made",
        "ce-source": "/shop",
      });
      expect(read.json.messages[1].headers).toBeUndefined();
    });
  });
}
