// `ayder sandbox` from outside, without a browser: whom it lets in, what it passes on, what it keeps to itself, and that
// nothing of it is left, however it ends.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { waitUntil } from "../support/node-process.ts";
import { processesOf } from "../support/processes-of.ts";
import { type RunningSandbox, startSandbox } from "../support/sandbox-process.ts";

const VISITORS_MAX = 8;
const ASK_PAUSE_MS = 100;
const TEST_MS_MAX = 60_000;

/** One visitor. */
class Guest {
  readonly #url: string;
  cookie = "";

  constructor({ url }: RunningSandbox) {
    this.#url = url;
  }

  async call(path: string, fields: unknown = {}, headers: Record<string, string> = {}) {
    const reply = await fetch(`${this.#url}${path}`, {
      method: "POST",
      headers: { cookie: this.cookie, ...headers },
      body: typeof fields === "string" ? fields : JSON.stringify(fields),
    });
    const set = reply.headers.get("set-cookie");
    if (set !== null) this.cookie = set.split(";")[0] as string;
    const body = (await reply.json()) as Record<string, unknown>;
    return { status: reply.status, body, set, text: JSON.stringify(body), headers: reply.headers };
  }

  async enter(): Promise<this> {
    expect((await this.call("/api/visit")).status).toBe(200);
    const isReady = async (): Promise<boolean> => {
      // As the page does: whoever asks too often is told to wait.
      await Bun.sleep(ASK_PAUSE_MS);
      return (await this.call("/api/view")).body["state"] === "ready";
    };
    await waitUntil("the node is ready", isReady);
    return this;
  }
}

test(
  "a visitor makes a topic, produces, consumes and commits on a node of their own, and sees no other's",
  async () => {
    await using sandbox = await startSandbox();
    const [one, other] = [await new Guest(sandbox).enter(), await new Guest(sandbox).enter()];
    const topic = "orders";
    const at = { topic, group: "g1", partition: 0 };

    expect(await one.call("/api/topics", { topic, partitions: 1 })).toMatchObject({ status: 200 });
    expect((await one.call("/api/produce", { topic, value: "first" })).body).toMatchObject({
      offset: 0,
      synced: true,
    });
    expect((await one.call("/api/consume", at)).body).toMatchObject({
      messages: [{ offset: 0, value: "first" }],
    });
    expect((await one.call("/api/commit", { ...at, offset: 0 })).status).toBe(200);

    expect((await one.call("/api/view")).body).toMatchObject({
      state: "ready",
      topics: [{ topic, groups: [{ group: "g1", committed_offset: 0, lag: 0 }] }],
      nodes: [{ node_id: "node1", is_voter: true }],
    });
    expect((await other.call("/api/view")).body).toMatchObject({ topics: [] });
    expect(await other.call("/api/produce", { topic, value: "x" })).toMatchObject({
      status: 404,
      body: { error: "topic_not_found" },
    });
  },
  TEST_MS_MAX,
);

test(
  "nothing that a visitor gets names a path, a token or the address of a node",
  async () => {
    await using sandbox = await startSandbox();
    const guest = await new Guest(sandbox).enter();
    const proof = await fetch(`${sandbox.url}/api/proof`, {
      method: "POST",
      headers: { cookie: guest.cookie },
      body: '{"nodes":1}',
    });

    const said = [
      (await guest.call("/api/view")).text,
      (await guest.call("/api/topics", { topic: "orders", partitions: 1 })).text,
      (await guest.call("/api/consume", { topic: "a", group: "g", partition: 0 })).text,
      await proof.text(),
    ].join("\n");

    expect(said).toContain('"ok":true');
    expect(said).not.toMatch(
      /\/(tmp|proc|root|home|work)\b|127\.\d+\.|ayder-sandbox|ayder-prove|\.log\b/,
    );
    expect(said).not.toMatch(/[0-9a-f]{40}/);
    expect(said).not.toContain(sandbox.scratch);
  },
  TEST_MS_MAX,
);

test(
  "only the calls of the page are passed on, and of those only what they take",
  async () => {
    await using sandbox = await startSandbox();
    const guest = await new Guest(sandbox).enter();

    for (const [path, fields, status] of [
      ["/api/kv", {}, 404],
      ["/broker/topics", {}, 404],
      ["/admin/backup", {}, 404],
      ["/api/topics", { topic: "../x", partitions: 1 }, 400],
      ["/api/topics", { topic: "a", partitions: 0 }, 400],
      ["/api/topics", { topic: "a", partitions: 9 }, 400],
      ["/api/produce", { topic: "a/../../admin/compact?", value: "x" }, 400],
      ["/api/produce", { topic: "a", value: 5 }, 400],
      ["/api/produce", { topic: "a", value: "x".repeat(8193) }, 400],
      ["/api/produce", { topic: "a", value: "x", partition: "0&key=y" }, 400],
      ["/api/consume", { topic: "a", group: "g/../..", partition: 0 }, 400],
      ["/api/commit", { topic: "a", group: "g", partition: 0, offset: -1 }, 400],
      ["/api/proof", { nodes: 50 }, 400],
      ["/api/view", "[]", 400],
      ["/api/view", "no JSON", 400],
    ] as const)
      expect({ path, fields, ...(await guest.call(path, fields)) }).toMatchObject({
        path,
        status,
        body: { ok: false },
      });
    for (const path of ["/..%2f..%2fetc/passwd", "/page/../server.ts", "/server.ts", "/.env"])
      expect((await fetch(`${sandbox.url}${path}`)).status).toBe(404);
    const large = await guest.call("/api/produce", "x".repeat(70_000)).catch(() => undefined);
    expect(large?.status ?? 413).toBe(413);
  },
  TEST_MS_MAX,
);

test(
  "a call without a visit, from another origin or by another name is refused",
  async () => {
    await using sandbox = await startSandbox();
    const stranger = new Guest(sandbox);

    expect(await stranger.call("/api/view")).toMatchObject({
      status: 401,
      body: { error: "no_visit" },
    });
    stranger.cookie = `ayder_sandbox=${"0".repeat(64)}`;
    expect(await stranger.call("/api/view")).toMatchObject({ status: 401 });
    for (const headers of [
      { origin: "https://example.com" },
      { origin: "null" },
      { host: "example.com" },
    ])
      expect(await stranger.call("/api/visit", {}, headers)).toMatchObject({
        status: 403,
        body: { error: "wrong_origin" },
      });
    expect(processesOf(sandbox.scratch)).toEqual([]);

    const { set, headers } = await stranger.call("/api/visit", {}, { origin: sandbox.url });
    expect(set).toMatch(/^ayder_sandbox=[0-9a-f]{64}; Path=\/; HttpOnly; SameSite=Strict$/);
    expect(headers.get("content-security-policy")).toStartWith("default-src 'none'");
  },
  TEST_MS_MAX,
);

test(
  "places, proofs, topics and calls are bounded, and who leaves makes room",
  async () => {
    await using sandbox = await startSandbox();
    const guests = Array.from({ length: VISITORS_MAX }, () => new Guest(sandbox));
    for (const guest of guests) expect((await guest.call("/api/visit")).status).toBe(200);
    const late = new Guest(sandbox);
    const refused = await late.call("/api/visit");
    expect(refused).toMatchObject({ status: 503, body: { error: "sandbox_full" } });
    expect(refused.headers.get("retry-after")).toBe("5");
    // Who starts a process goes on before the kernel knows its command line.
    await waitUntil(
      "each visitor has a node",
      () => processesOf(sandbox.scratch).length >= VISITORS_MAX,
    );
    expect(processesOf(sandbox.scratch)).toHaveLength(VISITORS_MAX);

    const [first, second, ...rest] = guests as [Guest, Guest, ...Guest[]];
    for (const guest of rest) expect((await guest.call("/api/leave")).status).toBe(200);
    expect(processesOf(sandbox.scratch)).toHaveLength(2);
    expect(readdirSync(sandbox.scratch)).toHaveLength(2);
    await first.enter();
    expect((await late.call("/api/visit")).status).toBe(200);

    for (let topic = 0; topic < 8; topic++)
      expect((await first.call("/api/topics", { topic: `t${topic}`, partitions: 1 })).status).toBe(
        200,
      );
    expect(await first.call("/api/topics", { topic: "more", partitions: 1 })).toMatchObject({
      status: 409,
      body: { error: "too_many_topics" },
    });

    const [proof, another] = await Promise.all(
      [first, second].map((guest) =>
        fetch(`${sandbox.url}/api/proof`, {
          method: "POST",
          headers: { cookie: guest.cookie },
          body: '{"nodes":1}',
        }),
      ),
    );
    expect([proof?.status, another?.status].sort()).toEqual([200, 503]);
    await Promise.all([proof?.text(), another?.text()]);

    const calls = await Promise.all(Array.from({ length: 100 }, () => second.call("/api/view")));
    expect(calls.filter(({ status }) => status === 429).length).toBeGreaterThan(30);
  },
  TEST_MS_MAX,
);

test(
  "who goes away in the middle of a proof ends it",
  async () => {
    await using sandbox = await startSandbox();
    const guest = await new Guest(sandbox).enter();
    const leaving = new AbortController();
    const proof = await fetch(`${sandbox.url}/api/proof`, {
      method: "POST",
      headers: { cookie: guest.cookie },
      body: '{"nodes":3}',
      signal: leaving.signal,
    });
    expect(proof.status).toBe(200);
    await waitUntil("four nodes run", () => processesOf(sandbox.scratch).length === 4);

    leaving.abort();

    await waitUntil("one node is left", () => processesOf(sandbox.scratch).length === 1);
  },
  TEST_MS_MAX,
);

test(
  "no node outlives the sandbox, however it ends",
  async () => {
    for (const signal of ["SIGTERM", "SIGINT", "SIGKILL"] as const) {
      await using sandbox = await startSandbox();
      await new Guest(sandbox).enter();
      expect(processesOf(sandbox.scratch)).toHaveLength(1);

      const code = await sandbox.kill(signal);

      await waitUntil("its node has ended", () => processesOf(sandbox.scratch).length === 0);
      if (signal !== "SIGKILL") {
        expect(code).toBe(0);
        expect(readdirSync(sandbox.scratch)).toEqual([]);
      }
    }
  },
  TEST_MS_MAX,
);
