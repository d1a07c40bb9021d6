// NDJSON: one record per line, all of them or none.

import { describe, expect, test } from "bun:test";
import type { ContractClient } from "./client.ts";

/** Tests of the NDJSON route. */
export function produceBatchTests(client: () => ContractClient): void {
  const at = (topic: string, query = "partition=0") =>
    `/broker/topics/${topic}/produce-ndjson?${query}`;
  const values = async (topic: string): Promise<string[]> => {
    const { json } = await client().get(`/broker/consume/${topic}/g/0?encoding=b64&limit=1000`);
    return json.messages.map(({ value_b64 }: { value_b64: string }) =>
      Buffer.from(value_b64, "base64").toString("latin1"),
    );
  };

  describe("produce-ndjson", () => {
    test("the reply has the documented fields in their order", async () => {
      const topic = await client().topic();

      const reply = await client().post(at(topic), '{"a":1}\n{"a":2}\n');

      expect(reply.text).toMatch(
        /^\{"ok":true,"first_offset":0,"count":2,"partition":0,"batch_id":[1-9]\d*,"sealed":true,"durable":true,"mode":"sealed","synced":true\}$/,
      );
    });

    test("lines are trimmed, skipped, unwrapped and kept by the rules", async () => {
      const topic = await client().topic();
      const body = [
        '"alpha"\r',
        "",
        "\r",
        '{"keep":  "spaces"}',
        ' "not at the start"',
        '"tab\\tquote\\"\\u00e9"',
        '"two" "strings"',
        '"',
        '""',
        "a\rb",
        '"\\ud800"',
        '"bad \\escape"',
        "last\r",
      ].join("\n");

      await client().post(at(topic), body);

      expect(await values(topic)).toEqual([
        "alpha",
        '{"keep":  "spaces"}',
        ' "not at the start"',
        Buffer.from('tab\tquote"é').toString("latin1"),
        '"two" "strings"',
        '"',
        "",
        "a\rb",
        Buffer.from("\ufffd").toString("latin1"),
        '"bad \\escape"',
        // Nothing follows it: a lone return at the very end belongs to the record.
        "last\r",
      ]);
    });

    test("lines may be any bytes", async () => {
      const topic = await client().topic();

      await client().post(at(topic), Uint8Array.of(255, 0, 10, 34, 255, 34));

      expect(await values(topic)).toEqual(["\xff\0", "\xff"]);
    });

    test("none of many lines is dropped", async () => {
      const topic = await client().topic();
      const body = Array.from({ length: 5000 }, (_, i) => `line ${i}`).join("\n");

      const { json } = await client().post(at(topic), body);
      const last = await client().get(`/broker/consume/${topic}/g/0?offset=4999`);

      expect(json).toMatchObject({ first_offset: 0, count: 5000 });
      expect(last.json.messages[0].value).toBe("line 4999");
    });

    test.each(["", "\n", "\r\n\r\n"])("the body %p has no valid messages", async (body) => {
      const topic = await client().topic();

      await client().refused(client().post(at(topic), body), 400, "no_valid_messages");
    });

    test("one line over the limit refuses the whole batch", async () => {
      const topic = await client().topic();
      const body = `small\n${"x".repeat(1_048_577)}\nsmall`;

      const refusal = await client().refused(
        client().post(at(topic), body),
        413,
        "payload_too_large",
      );

      expect(refusal).toMatchObject({ max_bytes: 1_048_576, got_bytes: 1_048_577 });
      expect(await values(topic)).toEqual([]);
    });

    test("more lines than the limit are refused", async () => {
      const topic = await client().topic();

      const refusal = await client().refused(
        client().post(at(topic), `${"x\n".repeat(100_001)}\r\n\n"y"\nz`),
        413,
        "payload_too_large",
      );

      expect(refusal).toMatchObject({ max_records: 100_000, got_records: 100_003 });
      expect(await values(topic)).toEqual([]);
    });

    test("one idempotency key stands for all of it", async () => {
      const topic = await client().topic();
      const path = at(topic, "partition=0&idempotency_key=batch");

      await client().post(path, "a\nb");
      const again = await client().post(path, "a\nb");

      expect(again.text).toBe(
        `{"ok":true,"first_offset":0,"count":2,"partition":0,"sealed":true,"synced":null,"duplicate":true}`,
      );
    });

    test("without a partition a batch lands in one", async () => {
      const topic = await client().topic(4);

      const { json } = await client().post(`/broker/topics/${topic}/produce-ndjson`, "a\nb\nc");
      const read = await client().get(`/broker/consume/${topic}/g/${json.partition}`);

      expect(read.json.count).toBe(3);
    });
  });
}
