// Requests that no client library sends: answered in the documented form, without a word in the log.

import { expect, test } from "bun:test";
import { createLogger } from "../../../src/lib/logger.ts";
import { sendRaw } from "../../suites/http/raw.ts";
import { startFake } from "../../support/fake-server.ts";

const SETTINGS = { RF_BEARER_TOKENS: "dev,narrow@admin=fuzz.*" };

function recordingLogger(lines: string[]) {
  const write = (line: string) => lines.push(line);
  return createLogger({ level: "warn", room: "test", write, now: () => 0 });
}

test.each([
  ["no host, as HTTP/1.0 allows", "GET /nothing HTTP/1.0\r\n"],
  ["an empty host", "GET /nothing HTTP/1.1\r\nHost: \r\nConnection: close\r\n"],
  ["a host that is none", "GET /nothing HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n"],
  ["half an address as target", "GET http://[/nothing HTTP/1.0\r\nHost: a\r\n"],
])("%s: a path that is not there is not found, and not a failure of the node", async (_, head) => {
  const text = `${head}Authorization: Bearer dev\r\n\r\n`;
  const lines: string[] = [];
  await using server = await startFake(SETTINGS, recordingLogger(lines));

  const { text: reply } = await sendRaw(server.url, [text], (seen) => seen.includes("}"));

  expect(reply.slice(0, 12)).toBe("HTTP/1.1 404");
  expect(reply).toContain("route_not_found");
  expect(lines).toEqual([]);
});

test.each(["GET", "PUT", "POST", "DELETE"])(
  "%s of a namespace that is no percent-encoded UTF-8 is refused, also to a token of some",
  async (method) => {
    const lines: string[] = [];
    await using server = await startFake(SETTINGS, recordingLogger(lines));
    const ask = async (token: string, namespace: string): Promise<number> => {
      const head = `${method} /kv/${namespace}/key HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n`;
      const { text } = await sendRaw(
        server.url,
        [`${head}Content-Length: 0\r\nConnection: close\r\n\r\n`],
        (seen) => seen.includes("}"),
      );
      return Number(text.slice(9, 12));
    };

    for (const namespace of ["%", "%zz", "%ff", "%ED%A0%80"]) {
      expect({ namespace, status: await ask("narrow", namespace) }).toEqual({
        namespace,
        status: 403,
      });
      expect({ namespace, status: await ask("dev", namespace) }).toEqual({
        namespace,
        status: 400,
      });
    }
    expect(lines).toEqual([]);
  },
);

test("a path that is found once its dots are gone is answered like any other", async () => {
  const lines: string[] = [];
  await using server = await startFake(SETTINGS, recordingLogger(lines));

  for (const path of [
    "/kv/./%",
    "/broker/topics/./%",
    "/broker/./topics/%ff",
    "/broker/tail/./%/0",
  ]) {
    const text = `GET ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer dev\r\nConnection: close\r\n\r\n`;
    const { text: reply } = await sendRaw(server.url, [text], (seen) => seen.includes("}"));
    expect({ path, status: reply.slice(9, 12) }).toEqual({ path, status: "400" });
  }
  expect(lines).toEqual([]);
});

test.each([
  ["/broker/query", { source: { topic: "t", offset: "BIG" } }],
  ["/broker/query", { source: { topic: "t", partition: ["BIG"] } }],
  ["/broker/query", { source: { topic: "t" }, filter: "BIG" }],
  [
    "/broker/join",
    {
      left: { topic: "t" },
      right: { topic: "t" },
      on: { left_key: "BIG", right_key: "k" },
      window: { size_ms: 1 },
    },
  ],
])("an integer beyond 2^53 where %s wants another is refused: %j", async (path, body) => {
  const lines: string[] = [];
  await using server = await startFake(SETTINGS, recordingLogger(lines));
  const text = JSON.stringify(body).replaceAll('"BIG"', "123456789012345678901234567890");

  const reply = await fetch(`${server.url}${path}`, {
    method: "POST",
    headers: { authorization: "Bearer dev" },
    body: text,
  });

  expect(reply.status).toBe(400);
  expect(await reply.json()).toMatchObject({ ok: false, error: "invalid_parameter" });
  expect(lines).toEqual([]);
});
