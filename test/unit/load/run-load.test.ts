// The generator against small servers in the same process: what it sends, and whether it counts what came back.

import { expect, test } from "bun:test";
import {
  batchWork,
  consumeWork,
  type LoadOptions,
  produceWork,
  runLoad,
  tailWork,
  type Work,
} from "../../../src/load/mod.ts";
import { parseProcessStat, readProcessCpu } from "../../../src/load/process-cpu.ts";

const target = { topic: "events", partition: 3, token: "dev" };

function serve(fetch: (request: Request) => Response | Promise<Response>) {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    http2: true,
    development: false,
    fetch,
  });
  return { url: `http://127.0.0.1:${server.port}`, [Symbol.asyncDispose]: () => server.stop(true) };
}

const load = (url: string, work: Work, rest: Partial<LoadOptions> = {}) =>
  runLoad({ url, work, connections: 3, durationMs: 60, warmupMs: 10, protocol: "http1", ...rest });

for (const protocol of ["http1", "http2"] as const) {
  test(`runLoad() over ${protocol} sends the whole request and counts replies by status`, async () => {
    const bodies = new Set<string>();
    await using server = serve(async (request) => {
      const { pathname, search } = new URL(request.url);
      const isRight =
        request.headers.get("authorization") === "Bearer dev" && request.method === "POST";
      bodies.add(`${isRight} ${pathname}${search} ${(await request.bytes()).length}`);
      return new Response("made", { status: 201 });
    });

    const result = await load(server.url, produceWork(target, 64), { protocol, streams: 4 });

    expect([...bodies]).toEqual(["true /broker/topics/events/produce?partition=3 64"]);
    expect(result.errors).toBe(0);
    expect(result.replies).toBeGreaterThan(0);
    expect(result.statuses).toEqual({ "201": result.replies });
    expect(result.records).toBe(result.replies);
    expect(result.latency.count).toBe(result.replies);
  });

  test(`runLoad() over ${protocol} sends bodies larger than any window and counts their records`, async () => {
    const sizes = new Set<number>();
    await using server = serve(async (request) => {
      sizes.add((await request.bytes()).length);
      return Response.json({ ok: true });
    });

    const result = await load(server.url, batchWork(target, 1000, 2000), {
      protocol,
      streams: 2,
      durationMs: 150,
    });

    expect([...sizes]).toEqual([2_002_000]);
    expect(result.errors).toBe(0);
    expect(result.replies).toBeGreaterThan(0);
    expect(result.records).toBe(result.replies * 2000);
  });

  test(`runLoad() over ${protocol} reads on where the last reply ended, and starts over at the end`, async () => {
    const offsets = new Set<string>();
    await using server = serve((request) => {
      const offset = Number(new URL(request.url).searchParams.get("offset"));
      offsets.add(String(offset));
      const count = offset < 200 ? 100 : 50;
      const messages = [{ value_b64: "x".repeat(1000), note: '"count":7' }];
      return Response.json({
        messages,
        count,
        next_offset: offset + count,
        committed_offset: null,
        truncated: false,
      });
    });

    const result = await load(server.url, consumeWork(target, 100), { protocol });

    expect([...offsets].sort()).toEqual(["0", "100", "200"]);
    expect(result.records).toBeGreaterThan(result.replies * 50);
    expect(result.errors).toBe(0);
  });

  test(`runLoad() over ${protocol} counts the lines of a stream`, async () => {
    await using server = serve(() => {
      let lines = 0;
      const pull = (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
        controller.enqueue(new TextEncoder().encode('{"offset":1}\n'.repeat(10)));
        lines += 10;
        return lines === 1000 ? new Promise<void>(() => undefined) : Promise.resolve();
      };
      return new Response(new ReadableStream({ pull }));
    });

    const result = await load(server.url, tailWork(target, "text"), {
      protocol,
      connections: 1,
      warmupMs: 0,
      durationMs: 150,
    });

    expect(result.records).toBe(1000);
    expect(result.replies).toBe(0);
  });

  test(`runLoad() over ${protocol} keeps to a rate and counts a stall against every request it delayed`, async () => {
    let requests = 0;
    await using server = serve(async () => {
      requests += 1;
      if (requests === 20) Bun.sleepSync(50);
      return new Response("ok");
    });

    const result = await load(server.url, produceWork(target, 8), {
      protocol,
      ratePerSecond: 500,
      durationMs: 200,
      warmupMs: 0,
    });

    expect(result.unanswered).toBe(0);
    expect(result.latency.count).toBeGreaterThanOrEqual(99);
    // 50 ms at 500 a second delay some 25 of 100 requests; without the schedule there would be one per connection.
    expect(result.latency.p90).toBeGreaterThan(5);
    expect(requests).toBeLessThanOrEqual(101);
  });
}

test("runLoad() connects again when the server closes, and tells lost requests from announced ends", async () => {
  let requests = 0;
  await using server = serve(() => {
    requests += 1;
    return new Response("bye", { headers: { connection: "close" } });
  });

  const result = await load(server.url, produceWork(target, 8), { durationMs: 150 });

  expect(result.errors).toBe(0);
  expect(requests).toBeGreaterThan(6);
});

test("runLoad() rejects when nobody listens", async () => {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  const url = `http://127.0.0.1:${server.port}`;
  await server.stop(true);

  await expect(load(url, produceWork(target, 8))).rejects.toThrow();
});

test("readProcessCpu() reads this process and knows when there is none", () => {
  const first = readProcessCpu(process.pid)!;

  expect(first.user).toBeGreaterThan(0);
  expect(readProcessCpu(2 ** 30)).toBeUndefined();
});

test("parseProcessStat() is not misled by a program's name", () => {
  const line = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 40 0 0 20";

  expect(parseProcessStat(line)).toEqual({ user: 2_500_000, system: 400_000 });
});
