// Tokens: who may call, what each may do, and how often.

import { describe, expect, test } from "bun:test";
import { type ContractClient, freshName } from "./client.ts";

/** Tests of authentication. */
export function authTests(client: () => ContractClient): void {
  const status = async (method: string, path: string, token: string, body?: string) =>
    (await client().call(method, path, { token, ...(body !== undefined && { body }) })).status;

  describe("authentication", () => {
    test.each([null, "", "wrong", "de", "devv", "dev dev"])(
      "the token %p is unauthorized",
      async (token) => {
        const reply = await client().get("/broker/topics", { token });

        expect(reply.status).toBe(401);
        expect(reply.json.error).toBe("unauthorized");
        expect(reply.headers.get("www-authenticate")).toBe("Bearer");
      },
    );

    test("every route but the open ones wants a token", async () => {
      const { json } = await client().get("/openapi.json");
      for (const [path, operations] of Object.entries<Record<string, object>>(json.paths)) {
        for (const [method, operation] of Object.entries(operations)) {
          if ("security" in operation) continue;
          const concrete = path.replaceAll("{partition}", "0").replace(/\{\w+\}/g, "x");
          const reply = await client().call(method.toUpperCase(), concrete, { token: null });
          expect({ path, method, status: reply.status }).toEqual({ path, method, status: 401 });
        }
      }
    });

    test.each([
      ["GET", "/nothing"],
      ["GET", "/"],
      ["POST", "/broker/topics/a/b/c"],
      ["OPTIONS", "/nothing"],
      ["PUT", "/broker/topics"],
      ["PATCH", "/broker/topics/x/produce"],
      ["GET", "/broker/commit"],
      ["DELETE", "/kv/n"],
    ])("%s %s tells nothing without a token", async (method, path) => {
      for (const token of [null, "wrong"])
        await client().refused(client().call(method, path, { token }), 401, "unauthorized");
    });

    test("an open path says without a token which methods it takes", async () => {
      const reply = await client().call("DELETE", "/health", { token: null });

      expect([reply.status, reply.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
    });

    test("another scheme is no bearer token", async () => {
      const basic = `Basic ${btoa("dev:dev")}`;
      const reply = await client().get("/broker/topics", {
        token: null,
        headers: { authorization: basic },
      });

      expect(reply.status).toBe(401);
    });

    test("the scheme may be written in any case", async () => {
      const headers = { authorization: "bearer dev" };

      expect((await client().get("/broker/topics", { token: null, headers })).status).toBe(200);
    });

    test("read may read and nothing else", async () => {
      const topic = await client().topic();

      expect(await status("GET", `/broker/consume/${topic}/g/0`, "reader")).toBe(200);
      const produce = client().post(`/broker/topics/${topic}/produce`, "x", { token: "reader" });
      await client().refused(produce, 403, "forbidden");
      expect(await status("POST", "/broker/topics", "reader", '{"name":"x"}')).toBe(403);
      expect(await status("POST", "/admin/compact", "reader")).toBe(403);
    });

    test("write may read, produce and commit, and nothing else", async () => {
      const topic = await client().topic();

      expect(
        await status("POST", `/broker/topics/${topic}/produce?partition=0`, "writer", "x"),
      ).toBe(200);
      expect(await status("GET", `/broker/consume/${topic}/g/0`, "writer")).toBe(200);
      const commit = `{"topic":"${topic}","group":"g","partition":0,"offset":0}`;
      expect(await status("POST", "/broker/commit", "writer", commit)).toBe(200);
      expect(await status("DELETE", `/broker/topics/${topic}`, "writer")).toBe(403);
      const remove = `{"topic":"${topic}","partition":0,"before_offset":0}`;
      expect(await status("POST", "/broker/delete-before", "writer", remove)).toBe(403);
    });

    test("a narrowed token covers its topics only", async () => {
      const inside = await client().topic(1, freshName("narrow.orders"));
      const outside = await client().topic(1, freshName("wide"));
      const commit = (topic: string) => `{"topic":"${topic}","group":"g","partition":0,"offset":0}`;

      expect(await status("POST", `/broker/topics/${inside}/produce`, "narrow", "x")).toBe(200);
      expect(await status("POST", `/broker/topics/${outside}/produce`, "narrow", "x")).toBe(403);
      expect(await status("POST", `/broker/topics/${outside}/produce-ndjson`, "narrow", "x")).toBe(
        403,
      );
      expect(await status("GET", `/broker/consume/${outside}/g/0`, "narrow")).toBe(403);
      expect(await status("GET", `/broker/tail/${outside}/0`, "narrow")).toBe(403);
      expect(await status("GET", `/broker/topics/${outside}`, "narrow")).toBe(403);
      expect(await status("POST", "/broker/commit", "narrow", commit(inside))).toBe(200);
      expect(await status("POST", "/broker/commit", "narrow", commit(outside))).toBe(403);
      const list = await client().get("/broker/topics", { token: "narrow" });
      for (const { topic } of list.json.topics) expect(topic).toStartWith("narrow.");
    });

    test("a narrowed admin runs its topics, not the node", async () => {
      const create = (name: string) => `{"name":"${name}","partitions":1}`;

      expect(await status("POST", "/broker/topics", "local", create(freshName("narrow")))).toBe(
        200,
      );
      expect(await status("POST", "/broker/topics", "local", create(freshName("wide")))).toBe(403);
      expect(await status("POST", "/broker/retention", "local", '{"topic":"*","ttl_ms":1}')).toBe(
        403,
      );
      expect(await status("POST", "/admin/compact", "local")).toBe(403);
      expect(await status("POST", "/admin/sealed/gc", "local", '{"max_bytes":1}')).toBe(403);
    });

    test("a name without a star is one topic, not a prefix", async () => {
      await client().post("/broker/topics", { name: "exact", partitions: 1 });
      const longer = await client().topic(1, freshName("exact"));

      expect(await status("GET", "/broker/topics/exact", "exact")).toBe(200);
      expect(await status("GET", `/broker/topics/${longer}`, "exact")).toBe(403);
    });

    test("over the rate it is rate_limited, with the seconds to wait", async () => {
      const calls = await Promise.all(
        Array.from({ length: 6 }, () => client().get("/broker/topics", { token: "slow" })),
      );
      const limited = calls.filter((reply) => reply.status === 429);
      const elsewhere = await Promise.all(
        Array.from({ length: 3 }, () => client().get("/nothing", { token: "slow" })),
      );

      expect(calls.filter((reply) => reply.status === 200).length).toBeGreaterThanOrEqual(2);
      expect(limited.length).toBeGreaterThanOrEqual(3);
      expect(limited[0]?.json.error).toBe("rate_limited");
      expect(limited[0]?.headers.get("retry-after")).toBe("1");
      expect(elsewhere.map(({ status }) => status)).toContain(429);
    });

    test("over the day's number it is rate_limited until midnight", async () => {
      const first = await client().get("/broker/topics", { token: "daily" });
      const later = await client().get("/broker/topics", { token: "daily" });

      expect([first.status, later.status]).toEqual([200, 429]);
      expect(Number(later.headers.get("retry-after"))).toBeLessThanOrEqual(86_400);
    });
  });
}
