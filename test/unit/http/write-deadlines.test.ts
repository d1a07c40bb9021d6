// Writes without a slot: none waits for ever, in the room alone and through the API.

import { expect, test } from "bun:test";
import { Alarms } from "../../../src/http/alarms.ts";
import { WriteDeadlines } from "../../../src/http/write-deadlines.ts";
import { fail, type Result, succeed } from "../../../src/lib/result.ts";
import { type Refusal, refuse } from "../../../src/model/errors.ts";
import { ContractClient } from "../../suites/http/client.ts";
import { startFake } from "../../support/fake-server.ts";

const UNKNOWN = {
  ok: false,
  error: { code: "timeout", fields: { outcome: "unknown" } },
} as const;

test("an outcome that comes in time is handed on, refusals and faults included", async () => {
  const deadlines = new WriteDeadlines(new Alarms(), 60_000);
  const refusal = fail(refuse("change_in_progress"));

  expect(await deadlines.bound(Promise.resolve(succeed(7)))).toEqual(succeed(7));
  expect(await deadlines.bound(Promise.resolve(refusal))).toEqual(refusal);
  await expect(deadlines.bound(Promise.reject(new Error("ours")))).rejects.toThrow("ours");
  expect(deadlines.size).toBe(0);
});

test("an outcome that does not come is unknown, and one that comes late changes nothing", async () => {
  const deadlines = new WriteDeadlines(new Alarms(), 60);
  const write = Promise.withResolvers<Result<number, Refusal>>();
  const started = performance.now();

  const outcome = await deadlines.bound(write.promise);
  const elapsedMs = performance.now() - started;
  write.reject(new Error("late"));
  await Bun.sleep(0);

  expect(outcome).toMatchObject(UNKNOWN);
  expect(elapsedMs).toBeGreaterThan(55);
  expect(elapsedMs).toBeLessThan(1000);
  expect(deadlines.size).toBe(0);
});

test("all waits end at once when the node stops", async () => {
  const deadlines = new WriteDeadlines(new Alarms(), 60_000);
  const never = new Promise<Result<number, Refusal>>(() => undefined);
  const waits = [deadlines.bound(never), deadlines.bound(never)];

  deadlines.endAll();

  for (const outcome of await Promise.all(waits)) expect(outcome).toMatchObject(UNKNOWN);
});

test("without a majority every write that is no produce is a timeout with an unknown outcome", async () => {
  await using server = await startFake({ RF_WRITE_TIMEOUT_MS: "60" });
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  await client.produce(topic, "a");
  server.broker.isStuck = true;
  const node = { node_id: "node2" };

  for (const [method, path, body] of [
    ["POST", "/broker/topics", { name: "new" }],
    ["DELETE", `/broker/topics/${topic}`, undefined],
    ["POST", "/broker/commit", { topic, group: "g", partition: 0, offset: 0 }],
    ["POST", "/broker/delete-before", { topic, partition: 0, before_offset: 1 }],
    ["POST", "/broker/retention", { topic, ttl_ms: 1000 }],
    ["POST", "/admin/sealed/gc", { max_bytes: 1 }],
    ["POST", "/ha/membership/add", { ...node, advertise_addr: "host:7000" }],
    ["POST", "/ha/membership/promote", node],
    ["POST", "/ha/membership/remove", node],
    ["POST", "/ha/transfer", node],
  ] as const) {
    const reply = client.call(method, path, body === undefined ? {} : { body });
    const refusal = await client.refused(reply, 504, "timeout");
    expect([path, refusal.outcome]).toEqual([path, "unknown"]);
  }
  expect(server.http.probe.waitingWrites).toBe(0);
});

test("a record whose topic cannot be made in time is known not to be stored", async () => {
  await using server = await startFake({ RF_AUTO_CREATE_TOPICS: "1" });
  const client = await ContractClient.connect(server.url);
  server.broker.isStuck = true;

  const reply = client.post("/broker/topics/new/produce?timeout_ms=60", "x");

  const refusal = await client.refused(reply, 504, "timeout");
  expect(refusal.outcome).toBe("not_written");
  expect(server.http.probe.waitingWrites).toBe(0);
  expect(server.http.probe.inflightBytes).toBe(0);
});

test("a produce whose concern is not reached in time is stored, and says so", async () => {
  await using server = await startFake();
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  server.broker.isBehind = true;
  const path = `/broker/topics/${topic}/produce?partition=0&ack=all`;

  const late = await client.post(`${path}&timeout_ms=60`, "x");
  const synced = client.post(path, "x");
  while (server.http.probe.waitingWrites === 0) await Bun.sleep(5);
  await Bun.sleep(20);
  server.broker.syncEverywhere();

  expect(late.status).toBe(200);
  expect(late.json).toMatchObject({ offset: 0, synced: false });
  expect((await synced).json).toMatchObject({ offset: 1, synced: true });
  expect(server.http.probe.waitingWrites).toBe(0);
});

test("a linearizable read is given the time that it asks for", async () => {
  await using server = await startFake({ RF_WRITE_TIMEOUT_MS: "1234" });
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  const path = `/broker/consume/${topic}/g/0?consistency=linearizable`;

  await client.get(path);
  const configured = server.broker.barrierMs;
  await client.get(`${path}&timeout_ms=77`);

  expect([configured, server.broker.barrierMs]).toEqual([1234, 77]);
});

test("a node that stops tells those whose writes wait, before it closes their connections", async () => {
  const server = await startFake({ RF_WRITE_TIMEOUT_MS: "60000" });
  const client = await ContractClient.connect(server.url);
  const topic = await client.topic();
  await client.produce(topic, "a");
  server.broker.isStuck = true;
  server.broker.isSilent = true;
  const commit = client.post("/broker/commit", { topic, group: "g", partition: 0, offset: 0 });
  const produce = client.post(`/broker/topics/${topic}/produce`, "x");
  while (server.http.probe.waitingWrites < 2) await Bun.sleep(5);

  await server.stop();

  for (const reply of [await commit, await produce]) {
    expect(reply.status).toBe(504);
    expect(reply.json.outcome).toBe("unknown");
  }
}, 15_000);
