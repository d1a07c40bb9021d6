// Keys and values over HTTP: compare-and-set, time to live, listing, watching.

import { describe, expect, test } from "bun:test";
import { waitUntil } from "../../support/node-process.ts";
import { type ContractClient, freshName } from "./client.ts";

const text = (base64: string): string => Buffer.from(base64, "base64").toString();

/** Tests of `/kv`. */
export function keyTests(client: () => ContractClient): void {
  const put = (path: string, body: string | Uint8Array, token?: string) =>
    client().call("PUT", `/kv/${path}`, { body, ...(token !== undefined && { token }) });
  const get = (path: string) => client().call("GET", `/kv/${path}`);

  describe("keys", () => {
    test("a put is read back byte for byte, and counted by cas", async () => {
      const ns = freshName("ns");
      const value = new Uint8Array(300).map((_, i) => i);

      const first = await put(`${ns}/a`, value);
      const second = await client().call("POST", `/kv/${ns}/a`, { body: "next" });

      expect(first.status).toBe(200);
      expect(first.json).toMatchObject({
        ok: true,
        cas: 1,
        sealed: true,
        durable: true,
        mode: "sealed",
        synced: true,
      });
      expect(first.json.batch_id).toBeGreaterThan(0);
      expect(second.json.cas).toBe(2);
      expect(second.json.batch_id).toBeGreaterThan(first.json.batch_id);
      expect((await get(`${ns}/a`)).json).toEqual({
        value: Buffer.from("next").toString("base64"),
        cas: 2,
      });
      await put(`${ns}/b`, value);
      expect((await get(`${ns}/b`)).json.value).toBe(Buffer.from(value).toString("base64"));
      await put(`${ns}/empty`, "");
      expect((await get(`${ns}/empty`)).json).toEqual({ value: "", cas: 1 });
    });

    test("a key may contain slashes and any text, and is decoded once", async () => {
      const ns = freshName("ns");
      await put(`${ns}/a/b/c`, "deep");
      await put(`${ns}/a%2Fb`, "slash");
      await put(`${ns}/100%2525`, "percent");
      await put(`${ns}/a+b`, "plus");
      await put(`${ns}/%C3%A9%20x`, "é");

      expect(text((await get(`${ns}/a/b/c`)).json.value)).toBe("deep");
      expect(text((await get(`${ns}/a/b`)).json.value)).toBe("slash");
      expect(text((await get(`${ns}/100%2525`)).json.value)).toBe("percent");
      expect((await client().call("GET", `/kv/${ns}`)).json.keys.map(keyOf)).toEqual([
        "100%25",
        "a+b",
        "a/b",
        "a/b/c",
        "é x",
      ]);
    });

    test("a key that was never written has no value, however like another it is", async () => {
      const ns = freshName("ns");
      await put(`${ns}/${"k".repeat(1000)}a`, "a");

      const other = await get(`${ns}/${"k".repeat(1000)}b`);

      expect(other.status).toBe(404);
      expect(other.json.error).toBe("not_found");
      expect((await get(`${freshName("none")}/x`)).json.error).toBe("not_found");
    });

    test.each([
      ["no key", ""],
      ["a key of 1025 bytes", "k".repeat(1025)],
      ["a key that is not UTF-8", "%FF"],
      ["broken percent-encoding", "%2"],
      ["a key that is called meta", "meta"],
      ["a key that ends like its metadata", "a/meta"],
      ["a key that hides it", "a%2Fmeta"],
    ])("%s is refused", async (_name, key) => {
      const reply = await put(`${freshName("ns")}/${key}`, "x");

      expect([reply.status, reply.json.error]).toEqual(
        key === "" ? [reply.status, reply.json.error] : [400, "invalid_parameter"],
      );
      expect(reply.status).toBeGreaterThanOrEqual(400);
    });

    test("cas changes a key only from what is expected, and says what there is", async () => {
      const path = `${freshName("ns")}/k`;

      const made = await put(`${path}?cas=0`, "1");
      const again = await put(`${path}?cas=0`, "2");
      const next = await put(`${path}?cas=1`, "3");
      const stale = await put(`${path}?cas=1`, "4");
      const missing = await put(`${freshName("ns")}/k?cas=3`, "5");

      expect(made.json.cas).toBe(1);
      expect([again.status, again.json.error]).toEqual([409, "cas_mismatch"]);
      expect(again.json).toMatchObject({ expected: 0, current: 1 });
      expect(next.json.cas).toBe(2);
      expect(stale.json).toMatchObject({ error: "cas_mismatch", expected: 1, current: 2 });
      expect(missing.json).toMatchObject({ error: "cas_mismatch", expected: 3, current: 0 });
      expect(text((await get(path)).json.value)).toBe("3");
    });

    test("of many that increment at once by cas none is lost", async () => {
      const path = `${freshName("ns")}/counter`;
      await put(path, "0");
      const increment = async (): Promise<void> => {
        for (;;) {
          const { value, cas } = (await get(path)).json;
          const reply = await put(`${path}?cas=${cas}`, String(Number(text(value)) + 1));
          if (reply.status === 200) return;
          expect(reply.json.error).toBe("cas_mismatch");
        }
      };

      await Promise.all(Array.from({ length: 20 }, increment));

      expect(text((await get(path)).json.value)).toBe("20");
    });

    test("a deletion ends a key, and the next life goes on above it", async () => {
      const path = `${freshName("ns")}/k`;
      await put(path, "1");

      const wrong = await client().call("DELETE", `/kv/${path}?cas=7`);
      const deleted = await client().call("DELETE", `/kv/${path}?cas=1`);
      const nothing = await client().call("DELETE", `/kv/${path}`);
      const made = await put(`${path}?cas=0`, "2");

      expect(wrong.json).toMatchObject({ error: "cas_mismatch", expected: 7, current: 1 });
      expect(deleted.json).toMatchObject({ ok: true, deleted: true, synced: true });
      expect(nothing.json).toEqual({ ok: true, deleted: false });
      expect(made.json.cas).toBe(3);
    });

    test("an idempotency key gives the first outcome back, and refuses another request", async () => {
      const path = `${freshName("ns")}/k`;

      const first = await put(`${path}?idempotency_key=i1`, "1");
      await put(path, "2");
      const again = await put(`${path}?idempotency_key=i1`, "1");
      const other = await put(`${path}?idempotency_key=i1`, "9");
      const deleted = await client().call("DELETE", `/kv/${path}?idempotency_key=i2`);
      await put(path, "3");
      const deletedAgain = await client().call("DELETE", `/kv/${path}?idempotency_key=i2`);

      expect(first.json).toMatchObject({ cas: 1, duplicate: false });
      expect(again.json).toMatchObject({ ok: true, cas: 1, duplicate: true, synced: null });
      expect([other.status, other.json.error]).toEqual([422, "idempotency_key_reused"]);
      expect(deleted.json).toMatchObject({ deleted: true, duplicate: false });
      expect(deletedAgain.json).toMatchObject({ deleted: true, duplicate: true });
      expect(text((await get(path)).json.value)).toBe("3");
    });

    test("the same idempotency key sent many times at once changes a key once", async () => {
      const path = `${freshName("ns")}/k`;

      const replies = await Promise.all(
        Array.from({ length: 12 }, () => put(`${path}?idempotency_key=i`, "1")),
      );

      expect(new Set(replies.map(({ json }) => json.cas))).toEqual(new Set([1]));
      expect(replies.filter(({ json }) => json.duplicate === false)).toHaveLength(1);
      expect((await get(path)).json.cas).toBe(1);
    });

    test("a key with a time to live ends, counts as gone, and may be made again", async () => {
      const path = `${freshName("ns")}/k`;
      await put(`${path}?ttl_ms=150`, "1");
      await put(`${path}2?ttl_ms=150`, "1");
      const meta = await get(`${path}/meta`);
      await put(`${path}3?ttl_ms=150`, "1");
      await put(`${path}3`, "2");

      await waitUntil("the key has ended", async () => (await get(path)).status === 404);
      const made = await waitUntil("the second has ended", async () => {
        const reply = await put(`${path}2?cas=0`, "2");
        return reply.status === 200 ? reply : undefined;
      });

      expect(meta.json.cas).toBe(1);
      expect(meta.json.ttl_ms).toBeWithin(1, 151);
      expect((await get(`${path}/meta`)).json.error).toBe("not_found");
      // The removal counted too.
      expect(made.json.cas).toBe(3);
      expect((await get(`${path}3/meta`)).json).toEqual({ cas: 2, ttl_ms: 0 });
    });

    test("metadata of a key with slashes is at its address too", async () => {
      const ns = freshName("ns");
      await put(`${ns}/a/b`, "1");

      expect((await get(`${ns}/a/b/meta`)).json).toEqual({ cas: 1, ttl_ms: 0 });
    });

    test("a list is sorted, narrowed by prefix, and paged without gaps", async () => {
      const ns = freshName("ns");
      const names = Array.from({ length: 25 }, (_, i) => `job/${String(i).padStart(2, "0")}`);
      await Promise.all([...names, "a", "z"].map((name) => put(`${ns}/${name}`, name)));
      await client().call("DELETE", `/kv/${ns}/job/07`);

      const found: string[] = [];
      let after: string | null = null;
      do {
        const from: string = after === null ? "" : `&after=${encodeURIComponent(after)}`;
        const page = await client().call("GET", `/kv/${ns}?prefix=job/&limit=7${from}`);
        found.push(...page.json.keys.map(keyOf));
        after = page.json.next_after;
      } while (after !== null);

      expect(found).toEqual(names.filter((name) => name !== "job/07"));
      const one = await client().call("GET", `/kv/${ns}?prefix=job/03&values=1`);
      expect(one.json).toEqual({
        ok: true,
        keys: [
          { key: "job/03", cas: 1, ttl_ms: 0, value: Buffer.from("job/03").toString("base64") },
        ],
        count: 1,
        next_after: null,
      });
      expect((await client().call("GET", `/kv/${freshName("none")}`)).json.keys).toEqual([]);
    });

    test.each([
      ["limit=0"],
      ["limit=1001"],
      ["limit=x"],
      ["values=2"],
      ["consistency=strong"],
      ["watch=1&from=-1"],
    ])("a list with %s is refused", async (query) => {
      const reply = await client().call("GET", `/kv/${freshName("ns")}?${query}`);

      expect([reply.status, reply.json.error]).toEqual([400, "invalid_parameter"]);
    });

    test.each([["cas=-1"], ["cas=x"], ["ttl_ms=-1"], ["ack=some"], ["timeout_ms=0"]])(
      "a put with %s is refused",
      async (query) => {
        const reply = await put(`${freshName("ns")}/k?${query}`, "x");

        expect([reply.status, reply.json.error]).toEqual([400, "invalid_parameter"]);
      },
    );

    test("a value over the limit is refused and nothing is stored", async () => {
      const path = `${freshName("ns")}/k`;

      const reply = await put(path, new Uint8Array(1_048_577));
      const largest = await put(`${path}2`, new Uint8Array(1_048_576));

      expect([reply.status, reply.json.error]).toEqual([413, "payload_too_large"]);
      expect(largest.status).toBe(200);
      expect((await get(path)).status).toBe(404);
      expect((await get(`${path}2`)).json.value.length).toBe(Math.ceil(1_048_576 / 3) * 4);
    });

    test("tokens are held to their scope and their namespaces", async () => {
      const ns = freshName("narrow");
      const other = freshName("ns");

      expect((await put(`${other}/k`, "x", "narrow")).json.error).toBe("forbidden");
      expect((await put(`${ns}/k`, "x", "narrow")).status).toBe(200);
      expect((await put(`${ns}/k`, "x", "reader")).json.error).toBe("forbidden");
      expect((await put(`${ns}/k`, "x", "nobody")).json.error).toBe("unauthorized");
      const read = (path: string) => client().call("GET", path, { token: "narrow" });
      expect((await read(`/kv/${ns}/k`)).status).toBe(200);
      expect((await read(`/kv/${other}`)).json.error).toBe("forbidden");
      expect((await read(`/kv/${other}?watch=1`)).json.error).toBe("forbidden");
    });

    test("a watch shows every change in order, and resumes behind the last that it showed", async () => {
      const ns = freshName("ns");
      const before = await put(`${ns}/old`, "0");
      const from = before.json.batch_id + 1;
      await put(`${ns}/a`, "1");
      await client().call("DELETE", `/kv/${ns}/a`);
      await put(`${freshName("other")}/a`, "elsewhere");

      const events: WatchEvent[] = [];
      await using watch = await openWatch(client().url, `/kv/${ns}?watch=1&from=${from}`, events);
      await waitUntil("two events", () => events.length === 2);
      await put(`${ns}/b?ttl_ms=60`, "2");
      await waitUntil("the key is gone", async () => (await get(`${ns}/b`)).status === 404);
      await waitUntil("the key has ended", () => events.some(({ event }) => event === "expired"));
      await watch[Symbol.asyncDispose]();

      expect(events.map(({ event, data }) => [event, data.key, data.cas])).toEqual([
        ["put", "a", 1],
        ["deleted", "a", 2],
        ["put", "b", 1],
        ["expired", "b", 2],
      ]);
      expect(text(events[0]?.data.value ?? "")).toBe("1");
      const again: WatchEvent[] = [];
      const lastEventId = events[1]?.id ?? "";
      await using resumed = await openWatch(client().url, `/kv/${ns}?watch=1`, again, lastEventId);
      await waitUntil("two more", () => again.length === 2);
      await resumed[Symbol.asyncDispose]();
      expect(again.map(({ event }) => event)).toEqual(["put", "expired"]);
    });

    test("a watch waits for a namespace that is not there yet", async () => {
      const ns = freshName("ns");
      const events: WatchEvent[] = [];
      await using watch = await openWatch(client().url, `/kv/${ns}?watch=1&prefix=a`, events);

      await put(`${ns}/b`, "hidden");
      await put(`${ns}/a`, "shown");

      await waitUntil("an event", () => events.length > 0);
      await watch[Symbol.asyncDispose]();
      expect(events.map(({ data }) => data.key)).toEqual(["a"]);
    });
  });
}

const keyOf = ({ key }: { readonly key: string }): string => key;

interface WatchEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: { readonly key: string; readonly cas: number; readonly value?: string };
}

/** Reads events into `into` until it is disposed of. */
async function openWatch(
  url: string,
  path: string,
  into: WatchEvent[],
  lastEventId?: string,
): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const headers: Record<string, string> = { authorization: "Bearer dev" };
  if (lastEventId !== undefined) headers["last-event-id"] = lastEventId;
  const reply = await fetch(`${url}${path}`, { headers, signal: stop.signal });
  expect(reply.status).toBe(200);
  expect(reply.headers.get("content-type")).toBe("text/event-stream");
  const reading = (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    try {
      for await (const piece of reply.body ?? []) {
        const blocks = `${rest}${decoder.decode(piece, { stream: true })}`.split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) if (!block.startsWith(":")) into.push(eventOf(block));
      }
    } catch {
      // It was stopped.
    }
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await reading;
    },
  };
}

function eventOf(block: string): WatchEvent {
  const fields = new Map(
    block.split("\n").map((line) => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon), line.slice(colon + 2)] as const;
    }),
  );
  return {
    event: fields.get("event") ?? "",
    id: fields.get("id"),
    data: JSON.parse(fields.get("data") ?? "{}"),
  };
}
