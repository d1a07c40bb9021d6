// The HTTP room on a bad day: no confirmation, no room, no leader, no disk, and faults of our own.

import { expect, test } from "bun:test";
import { createLogger } from "../../../src/lib/logger.ts";
import { fail, succeed } from "../../../src/lib/result.ts";
import { type ErrorCode, refuse } from "../../../src/model/errors.ts";
import { ContractClient } from "../../suites/http/client.ts";
import { sendRaw } from "../../suites/http/raw.ts";
import { startFake } from "../../support/fake-server.ts";

const AUTH = "Host: a\r\nAuthorization: Bearer dev\r\n";

test("a write that is not confirmed in time is a timeout with an unknown outcome", async () => {
  await using server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  server.broker.isSilent = true;

  const path = `/broker/topics/${topic}/produce?partition=0&timeout_ms=60`;
  const refusal = await client.refused(client.post(path, "x"), 504, "timeout");

  expect(refusal.outcome).toBe("unknown");
  // The broker still owes a completion, so the slot stays taken.
  expect(server.http.probe.waitingWrites).toBe(1);
  expect(server.http.probe.inflightBytes).toBe(1);
});

test("the configured timeout holds when the request has none", async () => {
  await using server = await startFake({ RF_WRITE_TIMEOUT_MS: "80" });
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  server.broker.isSilent = true;

  await client.refused(client.post(`/broker/topics/${topic}/produce`, "x"), 504, "timeout");
});

test("bytes in flight are bounded, and refused before the body is read", async () => {
  await using server = await startFake({
    RF_INFLIGHT_BYTES: "1048576",
    RF_BODY_BYTES_MAX: "1048576",
  });
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  const head = (bytes: number) =>
    `POST /broker/topics/${topic}/produce?partition=0 HTTP/1.1\r\n${AUTH}Content-Length: ${bytes}\r\n\r\n`;

  // Half of the room is promised to a body that does not come.
  const slow = sendRaw(server.url, [`${head(700_000)}x`], undefined, 400);
  await Bun.sleep(50);
  const { text } = await sendRaw(server.url, [head(500_000)], (seen) => seen.includes("}"));
  await slow;
  await Bun.sleep(50);

  expect(text).toStartWith("HTTP/1.1 503");
  expect(text).toContain('"error":"overloaded"');
  expect(text.toLowerCase()).toContain("retry-after: 1");
  // The slow client went away: what it held is free again.
  expect(server.http.probe.inflightBytes).toBe(0);
  expect(server.http.probe.waitingWrites).toBe(0);
});

test("bodies without a length are counted as they come", async () => {
  await using server = await startFake({
    RF_INFLIGHT_BYTES: "1048576",
    RF_BODY_BYTES_MAX: "1048576",
  });
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  server.broker.isSilent = true;
  const held = client.post(
    `/broker/topics/${topic}/produce?timeout_ms=200`,
    new Uint8Array(1_000_000),
  );
  await Bun.sleep(50);

  const chunk = "x".repeat(100_000);
  const { text } = await sendRaw(
    server.url,
    [
      `POST /broker/topics/${topic}/produce HTTP/1.1\r\n${AUTH}Transfer-Encoding: chunked\r\n\r\n`,
      `${(100_000).toString(16)}\r\n${chunk}\r\n0\r\n\r\n`,
    ],
    (seen) => seen.includes("}"),
  );
  await held;

  expect(text).toContain('"error":"overloaded"');
});

test.each([
  ["not_leader", 503],
  ["no_quorum", 503],
  ["disk_full", 507],
  ["overloaded", 503],
  ["topic_not_found", 404],
] as const)("a refusal of the broker, %s, is answered with %p", async (code: ErrorCode, status) => {
  await using server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  server.broker.refuseWith = refuse(code);

  const reply = await client.post(`/broker/topics/${topic}/produce`, "x");

  expect(reply.status).toBe(status);
  expect(reply.json.error).toBe(code);
  expect(reply.headers.get("retry-after")).toBe(status === 503 ? "1" : null);
});

test("until the node is ready reads are refused and say why", async () => {
  await using server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  server.broker.isReady = false;

  const ready = await client.get("/ready");

  expect(ready.status).toBe(503);
  expect(ready.json).toEqual({ ready: false, reason: "replaying" });
  await client.refused(client.get(`/broker/consume/${topic}/g/0`), 503, "not_ready");
  await client.refused(client.get(`/broker/tail/${topic}/0`), 503, "not_ready");
  await client.refused(client.get("/broker/topics"), 503, "not_ready");
  await client.refused(client.get(`/broker/topics/${topic}`), 503, "not_ready");
});

test("a linearizable read without a majority is refused", async () => {
  await using server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  server.broker.barrier = fail(refuse("no_quorum"));

  const path = `/broker/consume/${topic}/g/0?consistency=linearizable`;
  await client.refused(client.get(path), 503, "no_quorum");
});

test("what a write does not find is missing only where leadership is confirmed", async () => {
  await using server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic(1);
  const commit = { topic: "missing", group: "g", partition: 0, offset: 0 };
  const writes = [
    () => client.post("/broker/topics/missing/produce", "x"),
    () => client.post(`/broker/topics/${topic}/produce?partition=1`, "x"),
    () => client.post("/broker/commit", commit),
    () => client.post("/broker/delete-before", { topic, partition: 1, before_offset: 1 }),
    () => client.call("DELETE", "/broker/topics/missing"),
  ];

  for (const write of writes) expect((await write()).status).toBe(404);
  server.broker.barrier = fail(refuse("no_quorum"));
  for (const write of writes) await client.refused(write(), 503, "no_quorum");
  // The round was answered by another leader meanwhile.
  server.broker.readBarrier = async () => {
    server.broker.isLeader = false;
    server.broker.leaderUrl = "http://leader:1";
    return succeed(undefined);
  };
  for (const write of writes) {
    server.broker.isLeader = true;
    expect((await write()).status).toBe(307);
  }
  expect(server.http.probe.waitingWrites).toBe(0);
});

test("a fault of our own shows nothing of the inside, and all of it is logged", async () => {
  const lines: string[] = [];
  const logger = createLogger({
    level: "error",
    room: "t",
    write: (line) => lines.push(line),
    now: () => 0,
  });
  await using server = await startFake({}, logger);
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  const broken = () => {
    throw new Error("secret of the inside");
  };
  server.broker.produce = broken;
  server.broker.committedOffset = broken;
  server.broker.commit = () => Promise.reject(new Error("secret of the inside"));
  const commit = { topic, group: "g", partition: 0, offset: 0 };

  const produced = await client.refused(
    client.post(`/broker/topics/${topic}/produce`, "x"),
    500,
    "internal_error",
  );
  const consumed = await client.refused(
    client.get(`/broker/consume/${topic}/g/0`),
    500,
    "internal_error",
  );
  server.broker.partition = () => ({ startOffset: 0, nextOffset: 1, bytes: 0 });
  const committed = await client.refused(
    client.post("/broker/commit", commit),
    500,
    "internal_error",
  );

  expect(JSON.stringify([produced, consumed, committed])).not.toContain("secret");
  expect(lines.filter((line) => line.includes("secret of the inside"))).toHaveLength(3);
});

test("a topic is created by its first record when the configuration says so", async () => {
  await using server = await startFake({ RF_AUTO_CREATE_TOPICS: "1" });
  const client = await ContractClient.connect(server.url);
  const produce = () => client.post("/broker/topics/made.by.itself/produce?partition=7", "x");

  const replies = await Promise.all([produce(), produce(), produce()]);

  expect(replies.map(({ json }) => json.offset).sort()).toEqual([0, 1, 2]);
  await client.refused(client.post("/broker/topics/a%2Fb/produce", "x"), 400, "invalid_parameter");
});

test.each([
  ["produce?partition=8", "x", 404, "partition_not_found"],
  ["produce?expected_offset=1", "x", 404, "topic_not_found"],
  ["produce-ndjson", "\r\n\n", 400, "no_valid_messages"],
  ["produce-ndjson", "x\n".repeat(100_001), 413, "payload_too_large"],
])("a produce that is refused makes no topic: %s", async (route, body, status, code) => {
  await using server = await startFake({ RF_AUTO_CREATE_TOPICS: "1" });
  const client = await ContractClient.connect(server.url);

  await client.refused(client.post(`/broker/topics/new/${route}`, body), status, code);

  expect((await client.get("/broker/topics")).json.topics).toEqual([]);
});

test("a batch that makes its topic is stored as it came", async () => {
  await using server = await startFake({ RF_AUTO_CREATE_TOPICS: "1" });
  const client = await ContractClient.connect(server.url);
  const path = "/broker/topics/new/produce-ndjson?partition=0&expected_offset=0";

  await client.post(path, '"a\\nb"\n{"n":1}\n"\\u0041"');
  const { json } = await client.get("/broker/consume/new/g/0");

  expect(json.messages.map(({ value }: { readonly value: string }) => value)).toEqual([
    "a\nb",
    '{"n":1}',
    "A",
  ]);
});

test("a produce with a key makes no topic where topics are in memory only", async () => {
  await using server = await startFake({ RF_AUTO_CREATE_TOPICS: "1", RF_ROCKET: "1" });
  const client = await ContractClient.connect(server.url);
  const path = "/broker/topics/new/produce?idempotency_key=k";

  await client.refused(client.post(path, "x"), 400, "invalid_parameter");

  expect((await client.get("/broker/topics")).json.topics).toEqual([]);
});

test("metrics and docs want a token when the configuration says so", async () => {
  await using server = await startFake({ RF_METRICS_OPEN: "0", RF_DOCS_OPEN: "0" });
  const status = async (path: string, token?: string) =>
    (
      await fetch(
        server.url + path,
        token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } },
      )
    ).status;

  for (const path of [
    "/metrics",
    "/metrics_ha",
    "/swagger",
    "/openapi.json",
    "/docs",
    "/docs/reference/errors",
  ]) {
    expect([path, await status(path), await status(path, "dev")]).toEqual([path, 401, 200]);
  }
});

test("stopping ends tails and long polls and lets writes finish", async () => {
  const server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  const headers = { authorization: "Bearer dev" };
  const tail = await fetch(`${server.url}/broker/tail/${topic}/0`, { headers });
  const ended = tail.text();
  const poll = client.get(`/broker/consume/${topic}/g/0?wait_ms=30000`);
  await Bun.sleep(50);
  const started = performance.now();

  await server.stop();

  expect(await ended).toContain("event: end");
  expect((await poll).json.count).toBe(0);
  expect(performance.now() - started).toBeLessThan(3000);
  await expect(fetch(`${server.url}/health`)).rejects.toThrow();
});

test("a reader that goes away is forgotten", async () => {
  await using server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  const abort = new AbortController();
  const headers = { authorization: "Bearer dev" };
  const tail = await fetch(`${server.url}/broker/tail/${topic}/0`, {
    headers,
    signal: abort.signal,
  });
  const poll = fetch(`${server.url}/broker/consume/${topic}/g/0?wait_ms=30000`, {
    headers,
    signal: abort.signal,
  });
  await Bun.sleep(50);
  const before = [server.http.probe.tailReaders, server.http.probe.longPolls];

  abort.abort();
  await Promise.allSettled([tail.text(), poll]);
  await Bun.sleep(100);

  expect(before).toEqual([1, 1]);
  expect([server.http.probe.tailReaders, server.http.probe.longPolls]).toEqual([0, 0]);
});

test("an address in use is a reason to stop, by name", async () => {
  await using server = await startFake();

  await expect(startFake({ RF_HTTP_ADDR: new URL(server.url).host })).rejects.toMatchObject({
    reason: "address_in_use",
  });
});

test("an address of another machine is a wrong configuration, not one in use", async () => {
  // 203.0.113.0/24 is for documents (RFC 5737): no machine has it.
  await expect(startFake({ RF_HTTP_ADDR: "203.0.113.9:0" })).rejects.toMatchObject({
    reason: "invalid_configuration",
  });
});
