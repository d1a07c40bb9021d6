// Retention, health, metrics, documents and administration.

import { describe, expect, test } from "bun:test";
import { ERRORS } from "../../../src/http/mod.ts";
import type { ContractClient } from "./client.ts";

/** Tests of what operators use. */
export function adminTests(client: () => ContractClient): void {
  describe("retention", () => {
    test("delete-before removes at once, and never what comes later", async () => {
      const topic = await client().topic();
      await client().produce(topic, "a", "b", "c");

      const { json } = await client().post("/broker/delete-before", {
        topic,
        partition: 0,
        before_offset: 99,
      });
      const removed = await client().get(`/broker/consume/${topic}/g/0`);
      await client().produce(topic, "later");
      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(json).toMatchObject({ ok: true, deleted_count: 3 });
      expect(json.freed_bytes).toBeGreaterThan(2);
      expect(removed.json).toMatchObject({ count: 0, next_offset: 3 });
      expect(read.json.messages).toMatchObject([{ offset: 3, value: "later" }]);
    });

    test("rules are taken for a topic, a partition and all", async () => {
      const topic = await client().topic();

      const both = await client().post("/broker/retention", {
        topic,
        partition: 0,
        ttl_ms: 60_000,
        max_bytes: 104_857_600,
      });
      const all = await client().post("/broker/retention", { topic: "*", ttl_ms: 0 });

      expect(both.json).toMatchObject({ ok: true, ttl_applied: true, size_applied: true });
      expect(both.json.sealed_bytes_after).toBeGreaterThanOrEqual(0);
      expect(all.json.ok).toBe(true);
    });

    test("what is missing or wrong is named", async () => {
      const topic = await client().topic(1);
      const retention = "/broker/retention";

      await client().refused(client().post(retention, { ttl_ms: 1 }), 400, "missing_topic");
      await client().refused(client().post(retention, { topic }), 400, "missing_fields");
      await client().refused(
        client().post(retention, { topic, ttl_ms: -1 }),
        400,
        "invalid_parameter",
      );
      await client().refused(
        client().post(retention, { topic: "a*", ttl_ms: 1 }),
        400,
        "invalid_parameter",
      );
      await client().refused(
        client().post(retention, { topic: "unknown", ttl_ms: 1 }),
        404,
        "topic_not_found",
      );
      const beyond = { topic, partition: 1, ttl_ms: 1 };
      await client().refused(client().post(retention, beyond), 404, "partition_not_found");
      const remove = "/broker/delete-before";
      await client().refused(client().post(remove, { topic, partition: 0 }), 400, "missing_fields");
      const far = { topic, partition: 1, before_offset: 1 };
      await client().refused(client().post(remove, far), 404, "partition_not_found");
    });
  });

  describe("node", () => {
    test("health and readiness need no token", async () => {
      expect((await client().get("/health", { token: null })).text).toBe('{"ok":true}');
      expect((await client().get("/ready", { token: null })).text).toBe('{"ready":true}');
    });

    test("a batch id is synced when the status has reached it", async () => {
      const topic = await client().topic();
      const { json } = await client().post(`/broker/topics/${topic}/produce?partition=0`, "a");

      const status = await client().get("/admin/sealed/status");

      expect(status.json.ok).toBe(true);
      expect(status.json.last_synced_batch_id).toBeGreaterThanOrEqual(json.batch_id);
    });

    test("compaction starts in the background", async () => {
      const reply = await client().call("POST", "/admin/compact");

      expect(reply.text).toBe('{"result":"compaction_started","async":true}');
    });

    test("one retention pass says what is left", async () => {
      const { json } = await client().post("/admin/sealed/gc", { max_age_ms: 31_536_000_000 });

      expect(json.ok).toBe(true);
      expect(json.sealed_bytes_after).toBeGreaterThanOrEqual(0);
      await client().refused(client().post("/admin/sealed/gc", {}), 400, "missing_fields");
      await client().refused(
        client().post("/admin/sealed/gc", { max_bytes: -1 }),
        400,
        "invalid_parameter",
      );
    });

    test("metrics are Prometheus text", async () => {
      const { status, headers, text } = await client().get("/metrics", { token: null });

      expect(status).toBe(200);
      expect(headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
      expect(text).toContain("ayder_http_requests_total");
    });
  });

  describe("documents", () => {
    test("Swagger UI comes from the node itself", async () => {
      const { text } = await client().get("/swagger", { token: null });
      const sources = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(
        ([, source]) => source ?? "",
      );

      expect(sources.length).toBeGreaterThan(1);
      for (const source of sources) {
        expect(source).toStartWith("/");
        expect((await client().get(source, { token: null })).status).toBe(200);
      }
    });

    test("every error points at a heading that the node serves", async () => {
      for (const [code, { docs }] of Object.entries(ERRORS)) {
        const [page, heading] = docs.split("#");
        const { status, text } = await client().get(`/docs/${page}`, { token: null });

        expect({ code, status }).toEqual({ code, status: 200 });
        if (heading !== undefined) expect(text).toContain(`id="${heading}"`);
      }
    });

    test("a page that is not there is not_found", async () => {
      await client().refused(client().get("/docs/reference/nothing"), 404, "not_found");
      await client().refused(client().get("/docs/reference/__proto__"), 404, "not_found");
    });

    test("the document describes every route with its errors", async () => {
      const { json } = await client().get("/openapi.json", { token: null });

      expect(json.openapi).toStartWith("3.0");
      expect(Object.keys(json.paths)).toContain("/broker/topics/{topic}/produce-ndjson");
      expect(json.info.description).toContain("`topic_not_found` (404)");
    });

    test("the document has every form of a reply, and the headers that are read", async () => {
      const { paths } = (await client().get("/openapi.json", { token: null })).json;
      const forms = (method: string, path: string): string[] =>
        Object.keys(paths[path][method].responses["200"].content);
      const headers = (method: string, path: string): string[] =>
        paths[path][method].parameters
          .filter((parameter: { readonly in: string }) => parameter.in === "header")
          .map(({ name }: { readonly name: string }) => name);
      const tail = "/broker/tail/{topic}/{partition}";
      const [events, lines] = ["text/event-stream", "application/x-ndjson"];
      const cloudEvent = ["ce-id", "ce-source", "ce-specversion", "ce-type"];

      expect(forms("get", tail)).toEqual([events, lines, "application/octet-stream"]);
      expect(forms("get", "/kv/{namespace}")).toEqual(["application/json", events]);
      expect(forms("post", "/broker/query")).toEqual(["application/json", lines]);
      expect(forms("post", "/broker/join")).toEqual(["application/json", lines]);
      expect(headers("get", tail)).toEqual(["Last-Event-ID"]);
      expect(headers("get", "/kv/{namespace}")).toEqual(["Last-Event-ID"]);
      for (const route of ["produce", "produce-ndjson"])
        expect(headers("post", `/broker/topics/{topic}/${route}`)).toEqual(cloudEvent);
    });

    test("the document bounds the integers of bodies", async () => {
      const { paths } = (await client().get("/openapi.json", { token: null })).json;
      const bodies = JSON.stringify(
        Object.values<Record<string, { readonly requestBody?: object }>>(paths).flatMap((path) =>
          Object.values(path).map(({ requestBody }) => requestBody),
        ),
      );
      const create = paths["/broker/topics"].post.requestBody.content["application/json"].schema;

      expect(create.properties.partitions).toMatchObject({
        type: "integer",
        minimum: 1,
        maximum: 256,
      });
      expect(bodies).not.toContain('"type":"number"');
    });
  });
}
