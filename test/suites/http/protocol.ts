// HTTP itself: methods, framing, sizes, pipelines, HTTP/2. Nothing hangs, nothing gets another's bytes.

import { describe, expect, test } from "bun:test";
import { connect } from "node:http2";
import type { ContractClient } from "./client.ts";
import { countReplies, sendRaw } from "./raw.ts";

const AUTH = "Host: a\r\nAuthorization: Bearer dev\r\n";

/** Tests of the protocol. */
export function protocolTests(client: () => ContractClient): void {
  describe("protocol", () => {
    test("OPTIONS answers 204 with the methods, without a token", async () => {
      const topics = await client().call("OPTIONS", "/broker/topics", { token: null });
      const produce = await client().call("OPTIONS", "/broker/topics/x/produce", { token: null });

      expect(topics.status).toBe(204);
      expect(topics.headers.get("allow")).toBe("GET, HEAD, OPTIONS, POST");
      expect(produce.headers.get("allow")).toBe("OPTIONS, POST");
    });

    test("a wrong method is method_not_allowed with the right ones", async () => {
      for (const [method, path] of [
        ["PUT", "/broker/topics"],
        ["DELETE", "/health"],
        ["GET", "/broker/commit"],
        ["PATCH", "/broker/topics/x/produce"],
      ] as const) {
        const reply = await client().call(method, path);

        expect(reply.status).toBe(405);
        expect(reply.json.error).toBe("method_not_allowed");
        expect(reply.headers.get("allow")).toContain("OPTIONS");
      }
    });

    test("an unknown path is route_not_found", async () => {
      for (const path of ["/", "/nothing", "/broker", "/broker/topics/a/b/c", "/%00", "/kv"]) {
        await client().refused(client().get(path), 404, "route_not_found");
      }
    });

    test.each([
      ["POST", "/broker/topics//produce", "missing_topic"],
      ["POST", "/broker/topics//produce-ndjson", "missing_topic"],
      ["GET", "/broker/topics//", "missing_topic"],
      ["DELETE", "/broker/topics//", "missing_topic"],
      ["GET", "/broker/consume//g/0", "missing_topic"],
      ["GET", "/broker/tail//0", "missing_topic"],
      ["GET", "/broker/consume/c//0", "invalid_parameter"],
      ["GET", "/broker/tail/c//", "invalid_parameter"],
      ["GET", "/kv//", "invalid_parameter"],
      ["GET", "/kv//a", "invalid_parameter"],
      ["GET", "/kv//a/meta", "invalid_parameter"],
      ["PUT", "/kv//a", "invalid_parameter"],
      ["DELETE", "/kv//a", "invalid_parameter"],
    ])("%s %s leaves a part of its path empty: %s", async (method, path, code) => {
      await client().refused(client().call(method, path), 400, code);
    });

    test("a path with an empty part takes the methods of its route, and needs its token", async () => {
      const path = "/broker/topics//produce";
      const wrong = await client().call("PATCH", path);

      expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "OPTIONS, POST"]);
      expect((await client().call("HEAD", "/broker/consume//g/0")).status).toBe(400);
      await client().refused(client().post(path, "x", { token: null }), 401, "unauthorized");
      await client().refused(client().post(path, "x", { token: "reader" }), 403, "forbidden");
    });

    test("HEAD answers as GET does, without a body", async () => {
      const reply = await client().call("HEAD", "/health", { token: null });

      expect(reply.status).toBe(200);
      expect(reply.text).toBe("");
    });

    test("an error says its own length", async () => {
      const { text } = await sendRaw(
        client().url,
        [`POST /broker/topics HTTP/1.1\r\n${AUTH}Content-Length: 1\r\nConnection: close\r\n\r\n{`],
        undefined,
        1000,
      );
      const [head = "", body = ""] = text.split("\r\n\r\n");

      expect(head).toStartWith("HTTP/1.1 400");
      expect(Number(/content-length: (\d+)/i.exec(head)?.[1])).toBe(body.length);
    });

    test("a chunked body in one packet is answered", async () => {
      const topic = await client().topic();
      const { text } = await sendRaw(
        client().url,
        [
          `POST /broker/topics/${topic}/produce?partition=0 HTTP/1.1\r\n${AUTH}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
        ],
        (seen) => seen.includes("}"),
      );

      expect(text).toContain('"offset":0');
    });

    test("a chunked body in many pieces is kept whole", async () => {
      const topic = await client().topic();
      await sendRaw(
        client().url,
        [
          `POST /broker/topics/${topic}/produce?partition=0 HTTP/1.1\r\n${AUTH}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`,
          "lo\r\n1\r\n",
          "!\r\n",
          "0\r\n\r\n",
        ],
        (seen) => seen.includes("}"),
      );

      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(read.json.messages).toMatchObject([{ value: "hello!" }]);
    });

    test("pipelined writes are answered or cut off at once, and what is stored is whole", async () => {
      const topic = await client().topic();
      const request = (value: string) =>
        `POST /broker/topics/${topic}/produce?partition=0 HTTP/1.1\r\n${AUTH}Content-Length: 1\r\n\r\n${value}`;
      const started = performance.now();

      const { text, wasClosed } = await sendRaw(
        client().url,
        [request("a") + request("b")],
        (seen) => countReplies(seen) === 2,
        4000,
      );
      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(performance.now() - started).toBeLessThan(3500);
      expect(wasClosed || countReplies(text) === 2).toBe(true);
      for (const { value } of read.json.messages) expect(["a", "b"]).toContain(value);
    });

    test("a body cut off in the middle stores nothing", async () => {
      const topic = await client().topic();

      await sendRaw(
        client().url,
        [
          `POST /broker/topics/${topic}/produce?partition=0 HTTP/1.1\r\n${AUTH}Content-Length: 100\r\n\r\nhalf`,
        ],
        undefined,
        50,
      );
      await Bun.sleep(50);
      const read = await client().get(`/broker/consume/${topic}/g/0`);

      expect(read.json.count).toBe(0);
    });

    test("between the limit and twice the limit the refusal is in the documented form", async () => {
      const topic = await client().topic();
      const large = new Uint8Array(17_000_000).fill(10);

      const path = `/broker/topics/${topic}/produce-ndjson`;
      const refusal = await client().refused(client().post(path, large), 413, "payload_too_large");

      expect(refusal).toMatchObject({ max_bytes: 16_777_216, got_bytes: 17_000_000 });
      await client().refused(client().post("/broker/commit", large), 413, "payload_too_large");
    });

    test("over twice the limit it is a bare 413, or the connection is cut", async () => {
      const head = `POST /broker/commit HTTP/1.1\r\n${AUTH}Content-Length: 99999999999\r\n\r\n`;
      const { text, wasClosed } = await sendRaw(client().url, [head], (seen) =>
        seen.includes("\r\n\r\n"),
      );

      expect(text.startsWith("HTTP/1.1 413") || wasClosed).toBe(true);
    });

    test("a header of 10 MB is refused and the node lives", async () => {
      const large = Buffer.alloc(10_000_000, "a");
      const { text, wasClosed } = await sendRaw(
        client().url,
        ["GET /health HTTP/1.1\r\nHost: a\r\nX-Large: ", large, "\r\n\r\n"],
        (seen) => seen.includes("\r\n\r\n"),
        4000,
      );

      expect(text.startsWith("HTTP/1.1 431") || wasClosed).toBe(true);
      expect((await client().get("/health")).status).toBe(200);
    });

    test.each([
      ["two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n\r\na"],
      ["a length and chunks", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
      ["a length that is no number", "Content-Length: x\r\n\r\na"],
      ["a negative length", "Content-Length: -1\r\n\r\na"],
    ])("%s: refused, connection closed", async (_, rest) => {
      const topic = await client().topic();
      const head = `POST /broker/topics/${topic}/produce?partition=0 HTTP/1.1\r\n${AUTH}`;
      const { text } = await sendRaw(client().url, [head + rest], (seen) =>
        seen.includes("\r\n\r\n"),
      );

      expect(text === "" || text.startsWith("HTTP/1.1 400")).toBe(true);
      expect((await client().get(`/broker/consume/${topic}/g/0`)).json.count).toBe(0);
    });

    test("cleartext HTTP/2 answers on the same port, many at once", async () => {
      const topic = await client().topic(1);
      const session = connect(client().url);
      const produce = (value: string) =>
        new Promise<string>((resolve, reject) => {
          const stream = session.request({
            ":method": "POST",
            ":path": `/broker/topics/${topic}/produce?partition=0`,
            authorization: "Bearer dev",
          });
          let text = "";
          stream.setEncoding("utf8");
          stream.on("data", (piece: string) => {
            text += piece;
          });
          stream.on("end", () => resolve(text));
          stream.on("error", reject);
          stream.end(value);
        });

      const replies = await Promise.all(
        Array.from({ length: 50 }, (_, i) => produce(`value ${i}`)),
      );
      session.close();
      const offsets = replies.map((text) => (JSON.parse(text) as { offset: number }).offset);

      expect(offsets.sort((one, other) => one - other)).toEqual(
        Array.from({ length: 50 }, (_, i) => i),
      );
    });
  });
}
