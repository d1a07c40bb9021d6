// Tails: streams of records that go on, end and resume.

import { describe, expect, test } from "bun:test";
import type { ContractClient } from "./client.ts";

const NDJSON = { accept: "application/x-ndjson" };

/** Reads a stream until it has what is wanted. */
async function readUntil(response: Response, isEnough: (text: string) => boolean): Promise<string> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (!isEnough(text)) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return text;
}

/** Tests of tail. */
export function tailTests(client: () => ContractClient): void {
  const open = (topic: string, query = "", headers: Record<string, string> = {}) =>
    fetch(`${client().url}/broker/tail/${topic}/0?${query}`, {
      headers: { authorization: "Bearer dev", ...headers },
    });

  describe("tail", () => {
    test("events carry the offset as id and the record as data", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b\nc");

      const response = await open(topic, "offset=0");
      const text = await readUntil(response, (seen) => seen.includes("id: 1"));

      expect(response.headers.get("content-type")).toBe("text/event-stream");
      expect(text).toMatch(
        /^id: 0\ndata: \{"offset":0,"partition":0,"timestamp_ms":\d+,"value":"a"\}\n\n/m,
      );
      expect(text).toMatch(/^id: 1\ndata: \{.*"value":"b\\nc"\}\n\n/m);
    });

    test("it goes on with what is appended later", async () => {
      const topic = await client().topic();
      await client().produce(topic, "before");

      const response = await open(topic);
      const reading = readUntil(response, (seen) => seen.includes("later"));
      await client().produce(topic, "later");
      const text = await reading;

      expect(text).toContain("id: 1\n");
      expect(text).not.toContain("before");
    });

    test("Last-Event-ID resumes after that record, whatever the query says", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");

      const response = await open(topic, "offset=0", { "last-event-id": "1" });
      const text = await readUntil(response, (seen) => seen.includes("id: 2"));

      expect(text).not.toContain("id: 1\n");
    });

    test("lines are one record each", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b");

      const response = await open(topic, "offset=-1&encoding=b64", NDJSON);
      const text = await readUntil(response, (seen) => seen.split("\n").length > 2);
      const records = text
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line));

      expect(response.headers.get("content-type")).toBe("application/x-ndjson");
      expect(records).toMatchObject([
        { offset: 0, value_b64: "YQ==" },
        { offset: 1, value_b64: "Yg==" },
      ]);
    });

    test("raw lines are the bare values", async () => {
      const topic = await client().topic();
      await client().produce(topic, '{"a":1}', "x".repeat(100));

      const text = await readUntil(await open(topic, "offset=0&encoding=raw", NDJSON), (seen) =>
        seen.includes("x\n"),
      );

      expect(text).toBe(`{"a":1}\n${"x".repeat(100)}\n`);
      await client().refused(
        client().get(`/broker/tail/${topic}/0?encoding=raw`),
        400,
        "invalid_parameter",
      );
    });

    test("many records come whole and in order", async () => {
      const topic = await client().topic();
      const body = Array.from(
        { length: 20_000 },
        (_, i) => `record ${i} ${"x".repeat(i % 50)}`,
      ).join("\n");
      await client().post(`/broker/topics/${topic}/produce-ndjson?partition=0`, body);

      const text = await readUntil(await open(topic, "offset=0&encoding=raw", NDJSON), (seen) =>
        seen.includes("record 19999"),
      );

      expect(text.trimEnd()).toBe(body);
    });

    test("an offset that retention removed is refused", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");
      await client().post("/broker/delete-before", { topic, partition: 0, before_offset: 2 });

      const path = `/broker/tail/${topic}/0?offset=1`;
      const refusal = await client().refused(client().get(path), 410, "offset_out_of_range");

      expect(refusal.first_offset).toBe(2);
      const response = await open(topic, "offset=-1");
      expect(await readUntil(response, (seen) => seen.includes("id: "))).toContain("id: 2\n");
    });

    test("it ends with an event when the topic is deleted", async () => {
      const topic = await client().topic();

      const response = await open(topic);
      const reading = readUntil(response, () => false);
      await client().call("DELETE", `/broker/topics/${topic}`);

      expect(await reading).toContain("event: end\n");
    });

    test("what it names is checked", async () => {
      const topic = await client().topic(1);

      await client().refused(client().get("/broker/tail/unknown/0"), 404, "topic_not_found");
      await client().refused(client().get(`/broker/tail/${topic}/1`), 404, "partition_not_found");
      await client().refused(
        client().get(`/broker/tail/${topic}/0?offset=x`),
        400,
        "invalid_parameter",
      );
      const path = `/broker/tail/${topic}/0`;
      const headers = { "last-event-id": "x" };
      await client().refused(client().get(path, { headers }), 400, "invalid_parameter");
    });
  });
}
