// Writes on a node that does not lead: none is executed, whatever its URL looks like, and reads go on.

import { describe, expect, test } from "bun:test";
import { connect } from "node:http2";
import { ErrorReplies } from "../../../src/http/errors.ts";
import { refuse } from "../../../src/model/errors.ts";
import { ContractClient, type Reply } from "../../suites/http/client.ts";
import { sendRaw } from "../../suites/http/raw.ts";
import { type FakeServer, startFake } from "../../support/fake-server.ts";

const LEADER = "https://leader.example:1109";

/** Routes that are no GET and are served where they arrive. Whatever else is no GET must go to the leader. */
const LOCAL = ["POST /admin/compact", "POST /broker/join", "POST /broker/query"];
/** Reads by their nature, which go to the leader for a rocket topic alone. */
const READS = ["POST /broker/join", "POST /broker/query"];

interface Operation {
  readonly responses: Readonly<Record<string, unknown>>;
}

/** Every route of the served document that is no GET, with values for its parameters. */
async function writesOf(server: FakeServer) {
  const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  };
  return Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method]) => method !== "get")
      .map(([method, { responses }]) => ({
        method: method.toUpperCase(),
        // A topic that this node does not have: it is the leader who knows.
        path: path.replaceAll("{partition}", "0").replace(/\{\w+\}/g, "elsewhere"),
        route: `${method.toUpperCase()} ${path}`,
        responses,
      })),
  );
}

/** A server that follows, and the client that asks it. */
async function follower(settings: Readonly<Record<string, string>> = {}) {
  const server = await startFake(settings);
  const client = await ContractClient.connect(server.url);
  server.broker.isLeader = false;
  server.broker.leaderUrl = LEADER;
  return { server, client, [Symbol.asyncDispose]: () => server.stop() };
}

function expectRedirect(reply: Reply, location: string): void {
  expect({ status: reply.status, location: reply.headers.get("location") }).toEqual({
    status: 307,
    location,
  });
  expect(reply.headers.get("retry-after")).toBe("1");
  expect(reply.json).toEqual({
    ok: false,
    error: "redirect_to_leader",
    message: "Writes go to the leader",
    docs: "https://ayder.dev/docs/reference/errors#redirect_to_leader",
    leader_url: LEADER,
    retry_after: 1,
    redirect: { status: 307, location },
  });
}

describe("every write route", () => {
  test("is known to this test, and documents its redirect", async () => {
    await using server = await startFake();
    const routes = await writesOf(server);

    expect(routes.map(({ route }) => route).sort()).toEqual([
      "DELETE /broker/topics/{topic}",
      "DELETE /kv/{namespace}/{key}",
      "POST /admin/compact",
      "POST /admin/sealed/gc",
      "POST /broker/commit",
      "POST /broker/delete-before",
      "POST /broker/join",
      "POST /broker/query",
      "POST /broker/retention",
      "POST /broker/topics",
      "POST /broker/topics/{topic}/produce",
      "POST /broker/topics/{topic}/produce-ndjson",
      "POST /broker/txn",
      "POST /ha/membership/add",
      "POST /ha/membership/promote",
      "POST /ha/membership/remove",
      "POST /ha/transfer",
      "POST /kv/{namespace}/{key}",
      "PUT /kv/{namespace}/{key}",
    ]);
    for (const { route, responses } of routes) {
      const redirects = Object.keys(responses).filter((status) => status.startsWith("3"));
      expect([route, redirects]).toEqual([
        route,
        route === "POST /admin/compact" ? [] : ["307", "308"],
      ]);
    }
  });

  test.each(["", "?partition=0&key=%41+b&idempotency_key=a%2Fb", "?a=b?c=d&&x", "?"])(
    "redirects a follower's client, with the query %p as it came",
    async (query) => {
      await using node = await follower();
      for (const { method, path, route } of await writesOf(node.server)) {
        if (LOCAL.includes(route)) continue;
        // Not even JSON: who cannot take a write does not read it.
        const reply = await node.client.call(method, path + query, { body: "{" });

        expectRedirect(reply, LEADER + path + query);
      }
      expect(node.server.http.probe.inflightBytes).toBe(0);
    },
  );

  test("is not_leader where no leader is known, and not_ready on a node that is not", async () => {
    await using node = await follower();
    const routes = (await writesOf(node.server)).filter(({ route }) => !LOCAL.includes(route));
    for (const [prepare, code] of [
      [() => (node.server.broker.leaderUrl = ""), "not_leader"],
      [() => (node.server.broker.isReady = false), "not_ready"],
    ] as const) {
      prepare();
      for (const { method, path } of routes) {
        const reply = await node.client.call(method, path, { body: "{}" });

        expect({ path, status: reply.status, error: reply.json.error }).toEqual({
          path,
          status: 503,
          error: code,
        });
        expect(reply.headers.get("retry-after")).toBe("1");
        expect(reply.headers.get("location")).toBeNull();
      }
    }
  });

  test("asks for the token first", async () => {
    await using node = await follower({
      RF_BEARER_TOKENS: "dev,reader@read,local@admin=narrow.*",
      RF_HTTP_ADDR: "127.0.0.1:0",
    });
    for (const { method, path, route } of await writesOf(node.server)) {
      const status = async (token: string | null) =>
        (await node.client.call(method, path, { body: "{}", token })).status;

      const readerMay = READS.includes(route) ? 400 : 403;
      expect([route, await status(null), await status("reader")]).toEqual([route, 401, readerMay]);
      if (READS.includes(route)) continue;
      // What the path or the route itself says is judged here; what the body says, by the leader.
      const isJudgedHere = /elsewhere|^\/ha|^\/admin/.test(path);
      expect([route, await status("local")]).toEqual([route, isJudgedHere ? 403 : 307]);
    }
  });
});

describe("a follower", () => {
  test("answers reads, and compacts itself", async () => {
    await using node = await follower();
    node.server.broker.isLeader = true;
    const topic = await node.client.topic();
    await node.client.produce(topic, "a");
    node.server.broker.isLeader = false;

    for (const path of [
      `/broker/consume/${topic}/g/0`,
      `/broker/consume/${topic}/g/0?consistency=linearizable`,
      "/broker/topics",
      `/broker/topics/${topic}`,
      "/ha/membership",
      "/admin/state-hash",
      "/admin/sealed/status",
      "/health",
      "/ready",
      "/metrics",
      "/metrics_ha",
    ]) {
      expect([path, (await node.client.get(path)).status]).toEqual([path, 200]);
      expect([path, (await node.client.call("HEAD", path)).status]).toEqual([path, 200]);
    }
    expect((await node.client.call("HEAD", `/broker/tail/${topic}/0`)).status).toBe(200);
    expect((await node.client.call("POST", "/admin/compact?x=1")).status).toBe(200);
    const options = await node.client.call("OPTIONS", "/broker/commit", { token: null });
    expect(options.status).toBe(204);
  });

  test("sends a redirect over HTTP/1.1 that curl follows with the token it was given", async () => {
    await using leader = await startFake();
    const made = await ContractClient.connect(leader.url);
    const topic = await made.topic();
    await using node = await follower();
    node.server.broker.leaderUrl = leader.url;
    const post = (...flags: string[]) => {
      const path = `/broker/topics/${topic}/produce?partition=0&key=%41`;
      const header = ["-H", "Authorization: Bearer dev"];
      const url = node.server.url + path;
      return Bun.spawn([
        "curl",
        "-sS",
        ...flags,
        "-X",
        "POST",
        url,
        ...header,
        "-d",
        "x",
      ]).stdout.json();
    };
    if (Bun.which("curl") === null) return;

    expect(await post("--location-trusted")).toMatchObject({ ok: true, offset: 0 });
    // Another port is another host to curl: it keeps the token to itself.
    expect(await post("-L")).toMatchObject({ error: "unauthorized" });
  });

  test("redirects over HTTP/2 as well, and to https where the leader says so", async () => {
    await using node = await follower();
    const session = connect(node.server.url);
    const path = "/broker/topics/t/produce?partition=0&key=%41+b";
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      authorization: "Bearer dev",
    });
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    stream.on("response", ({ ":status": status, location }) => resolve(`${status} ${location}`));
    stream.on("error", reject);
    stream.end("x");

    expect(await promise).toBe(`307 ${LEADER}${path}`);
    session.close();
  });

  test("redirects what comes without a usable Host, and cannot be led elsewhere by one", async () => {
    await using node = await follower();
    for (const [target, host, path] of [
      ["/broker/commit?x=1", "evil.example/broker", "/broker/commit?x=1"],
      ["/broker/commit?x=1", "user@evil.example", "/broker/commit?x=1"],
      ["http://evil.example/broker/commit?x=1", "a", "/broker/commit?x=1"],
      [
        "/broker/commit?x=http://evil.example/y",
        "[::1]:9",
        "/broker/commit?x=http://evil.example/y",
      ],
    ] as const) {
      const { text } = await sendRaw(
        node.server.url,
        [
          `POST ${target} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer dev\r\nContent-Length: 0\r\n\r\n`,
        ],
        (seen) => seen.includes("}}"),
      );

      expect(text).toStartWith("HTTP/1.1 307");
      expect(/^location: (.*)\r$/im.exec(text)?.[1]).toBe(LEADER + path);
    }
  });
});

describe("leadership that is lost while a body comes", () => {
  /** Sends a body in two halves, and calls `between` once the first has arrived. */
  async function sendHalves(
    server: FakeServer,
    path: string,
    halves: readonly [string, string],
    between: () => void,
  ): Promise<string> {
    const arrived = Promise.withResolvers<void>();
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode(halves[0]));
        await arrived.promise;
        controller.enqueue(new TextEncoder().encode(halves[1]));
        controller.close();
      },
    });
    const reply = fetch(server.url + path, {
      method: "POST",
      redirect: "manual",
      headers: { authorization: "Bearer dev" },
      body,
    });
    while (server.http.probe.inflightBytes === 0) await Bun.sleep(5);
    between();
    arrived.resolve();
    const { status, headers } = await reply;
    return `${status} ${headers.get("location")}`;
  }

  test.each([
    ["/broker/topics/t/produce?partition=0&key=a%20b", ["half", "half"]],
    ["/broker/topics/gone/produce-ndjson?partition=0", ["half", "half"]],
    ["/broker/commit?x=1", ['{"topic":"gone",', '"group":"g","partition":0,"offset":0}']],
    ["/broker/delete-before", ["{", "not JSON"]],
  ] as const)("redirects %s", async (path, halves) => {
    await using server = await startFake();
    const client = await ContractClient.connect(server.url);
    await client.topic(1, "t");

    const reply = await sendHalves(server, path, halves, () => {
      server.broker.isLeader = false;
      server.broker.leaderUrl = LEADER;
    });

    expect(reply).toBe(`307 ${LEADER}${path}`);
    expect(server.http.probe.inflightBytes).toBe(0);
    expect(server.http.probe.waitingWrites).toBe(0);
    expect((await client.get("/broker/consume/t/g/0")).json.count).toBe(0);
  });

  test("a produce that the broker itself sends on is the same redirect", async () => {
    await using server = await startFake();
    const client = await ContractClient.connect(server.url);
    const topic = await client.topic();
    const redirect = refuse("redirect_to_leader", undefined, { leader_url: LEADER });
    const path = `/broker/topics/${topic}/produce?partition=0&timeout_ms=100`;

    server.broker.refuseWith = redirect;
    const atOnce = await client.post(path, "x");
    server.broker.refuseWith = undefined;
    server.broker.produce = (waiter) => {
      setImmediate(() => server.http.produceSink.refused(waiter, redirect));
      return undefined;
    };
    const later = await client.post(path, "x");

    expectRedirect(atOnce, LEADER + path);
    expectRedirect(later, LEADER + path);
  });
});

test("the status of redirects is configured, and is the same in the body", async () => {
  const replies = new ErrorReplies("https://docs.example", 308);
  const request = new Request("http://follower:1/broker/commit?a=%2F");

  const reply = replies.reply(
    refuse("redirect_to_leader", undefined, { leader_url: "http://leader:2" }),
    request,
  );
  await using node = await follower({
    RF_HA_ENABLED: "1",
    RF_HA_NODE_ID: "node1",
    RF_HA_NODES: "node1:127.0.0.1:7001",
    RF_HA_REDIRECT_STATUS: "308",
  });

  expect((await node.client.post("/broker/commit", {})).status).toBe(308);
  expect(reply.status).toBe(308);
  expect(reply.headers.get("location")).toBe("http://leader:2/broker/commit?a=%2F");
  expect(await reply.json()).toMatchObject({
    redirect: { status: 308, location: "http://leader:2/broker/commit?a=%2F" },
  });
});

test("a leader without a known address is no redirect back to the same node", () => {
  const replies = new ErrorReplies("https://docs.example");
  const request = new Request("http://follower:1/broker/commit");

  for (const fields of [undefined, { leader_url: "" }]) {
    const reply = replies.reply(refuse("redirect_to_leader", undefined, fields), request);

    expect(reply.status).toBe(503);
    expect(reply.headers.get("location")).toBeNull();
    expect(reply.headers.get("retry-after")).toBe("1");
  }
});
