// More keys than there is room for: the refusal names its limit, nothing that was stored is lost by it or by a kill, and room
// that comes back is used. Limits that no memory can hold are refused before anything starts.

import { expect, test } from "bun:test";
import { call } from "../support/node-client.ts";
import { refusedStart, startNode } from "../support/node-process.ts";
import { temporaryDirectory } from "../support/real-disk.ts";

const CONFIG = 64;

interface Reply {
  readonly status: number;
  readonly body: { readonly error?: string; readonly message?: string; readonly value?: string };
}

async function reply(url: string, path: string, init: RequestInit = {}): Promise<Reply> {
  const answer = await call(url, path, init);
  return { status: answer.status, body: (await answer.json()) as Reply["body"] };
}

const put = (url: string, key: string, value: string): Promise<Reply> =>
  reply(url, `/kv/app/${key}`, { method: "POST", body: value });

/** Puts keys until one is refused; gives what was stored. */
async function fill(url: string, value: (i: number) => string, most: number) {
  const stored = new Map<string, string>();
  for (let i = 0; i <= most; i++) {
    const key = `key${i}`;
    const answer = await put(url, key, value(i));
    if (answer.status !== 200) return { stored, refusal: answer };
    stored.set(key, value(i));
  }
  throw new Error(`${most} keys were stored, and no limit was met`);
}

async function expectStored(url: string, stored: ReadonlyMap<string, string>): Promise<void> {
  for (const [key, value] of stored)
    expect((await reply(url, `/kv/app/${key}`)).body.value, key).toBe(btoa(value));
}

for (const { variable, limit, value, least } of [
  { variable: "RF_SHARED_ENTRIES", limit: "50", value: (i: number) => `value ${i}`, least: 50 },
  {
    variable: "RF_KV_BYTES",
    limit: String(1 << 20),
    value: (i: number) => `${i} `.padEnd(20_000, "v"),
    least: 40,
  },
])
  test(`over ${variable} a put is refused by name, and what is stored survives it and a kill`, async () => {
    const { path: dataDir, clean } = temporaryDirectory();
    const env = { [variable]: limit };
    const { stored, refusal } = await (async () => {
      await using node = await startNode({ dataDir, env });
      const filled = await fill(node.url, value, 100);
      await node.kill("SIGKILL");
      return filled;
    })();

    expect(refusal.status).toBe(503);
    expect(refusal.body.error).toBe("overloaded");
    expect(refusal.body.message).toContain(variable);
    expect(stored.size).toBeGreaterThanOrEqual(least);

    await using node = await startNode({ dataDir, env });
    await expectStored(node.url, stored);
    expect((await put(node.url, "another", value(0))).status).toBe(503);
    // One that is there may change, and one that goes makes room.
    expect(await put(node.url, "key0", value(1))).toMatchObject({ status: 200 });
    const gone = await reply(node.url, "/kv/app/key1", { method: "DELETE" });
    expect(gone.status).toBe(200);
    expect((await put(node.url, "another", value(0))).status).toBe(200);
    stored.delete("key1");
    stored.set("key0", value(1)).set("another", value(0));
    await expectStored(node.url, stored);
    await node.kill("SIGKILL");
    clean();
  });

test("a limit of keys that no memory here can hold is refused before the start, with what would do", async () => {
  const { path: dataDir, clean } = temporaryDirectory();
  // Two terabytes and more, within what the settings allow: no machine that runs this has as much.
  for (const [variable, value] of [
    ["RF_SHARED_ENTRIES", "4000000000"],
    ["RF_KV_BYTES", String(2 ** 40)],
  ] as const) {
    const { code, signal, lines } = await refusedStart({ dataDir, env: { [variable]: value } });
    expect({ code, signal }).toEqual({ code: CONFIG, signal: null });
    const said = JSON.stringify(lines);
    expect(said).toContain(variable);
    expect(said).toContain("at most");
    expect(said).toContain("memory");
  }
  clean();
});
