// Who gets past each route: nobody without a token but where the table says so, nobody with less than it asks, and no way of
// writing a path or a method that goes round it.

import { describe, expect, test } from "bun:test";
import { sendRaw } from "../../suites/http/raw.ts";
import { type FakeServer, startFake } from "../../support/fake-server.ts";

const SETTINGS = { RF_BEARER_TOKENS: "all,reader@read,writer@write,narrow@admin=mine.*" };

/** What each route asks for. A route that is not here has no say: the test fails until it is. */
const ASKED: Readonly<Record<string, "open" | "pages" | "read" | "write" | "full">> = {
  "GET /health": "open",
  "GET /ready": "open",
  "GET /metrics": "pages",
  "GET /metrics_ha": "pages",
  "GET /swagger": "pages",
  "GET /swagger/swagger-ui.css": "pages",
  "GET /swagger/swagger-ui-bundle.js": "pages",
  "GET /openapi.json": "pages",
  "GET /docs": "pages",
  "GET /docs/{section}/{page}": "pages",
  "GET /broker/topics": "read",
  "GET /broker/topics/{topic}": "read",
  "GET /broker/consume/{topic}/{group}/{partition}": "read",
  "GET /broker/tail/{topic}/{partition}": "read",
  "POST /broker/query": "read",
  "POST /broker/join": "read",
  "GET /kv/{namespace}": "read",
  "GET /kv/{namespace}/{key}": "read",
  "GET /kv/{namespace}/{key}/meta": "read",
  "GET /admin/sealed/status": "read",
  "GET /admin/state-hash": "read",
  "GET /ha/membership": "read",
  "POST /broker/topics/{topic}/produce": "write",
  "POST /broker/topics/{topic}/produce-ndjson": "write",
  "POST /broker/commit": "write",
  "POST /broker/txn": "write",
  "PUT /kv/{namespace}/{key}": "write",
  "POST /kv/{namespace}/{key}": "write",
  "DELETE /kv/{namespace}/{key}": "write",
  "POST /broker/topics": "full",
  "DELETE /broker/topics/{topic}": "full",
  "POST /broker/delete-before": "full",
  "POST /broker/retention": "full",
  "POST /admin/compact": "full",
  "POST /admin/sealed/gc": "full",
  "GET /admin/backup": "full",
  "POST /ha/membership/add": "full",
  "POST /ha/membership/promote": "full",
  "POST /ha/membership/remove": "full",
  "POST /ha/transfer": "full",
};

const concrete = (path: string): string =>
  path.replace("{partition}", "0").replace(/\{\w+\}/g, "mine");

/** The status of a request that is written exactly so. */
async function statusOf(url: string, head: string, token?: string): Promise<number> {
  const auth = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
  const text = `${head} HTTP/1.1\r\nHost: node\r\n${auth}Content-Length: 0\r\nConnection: close\r\n\r\n`;
  const { text: reply } = await sendRaw(url, [text], (seen) => seen.includes("\r\n\r\n"));
  return Number(reply.slice(9, 12));
}

/** `METHOD path` of every route, as the server's own document lists them. */
async function routesOf({ url }: FakeServer): Promise<readonly string[]> {
  const reply = await fetch(`${url}/openapi.json`, { headers: { authorization: "Bearer all" } });
  const { paths } = (await reply.json()) as { paths: Record<string, Record<string, unknown>> };
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
}

/** Other ways to write a path, which some server in front of this one, or a careless router, takes for the same. */
const tricks = (path: string): readonly string[] => [
  `${path}/`,
  `/${path}`,
  `${path}//`,
  `//node${path}`,
  `/.${path}`,
  `/x/..${path}`,
  `/health/..${path}`,
  `/health/%2e%2e${path}`,
  `/docs/a/..%2f..%2f..${path}`,
  `/swagger/.%2e${path}`,
  `/health;${path}`,
  `/health%00${path}`,
  `/health?${path}`,
  `/health#${path}`,
  `/health%23/..${path}`,
  `http://node${path}`,
  `http://health@node${path}`,
  path.toUpperCase(),
  path.replaceAll("/", "%2f"),
  path.replaceAll("/", "\\"),
  `${path}%20`,
  `${path}%00`,
  `${path};x=/health`,
  `${path}?access=open`,
  path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
];

describe("every route", () => {
  test("asks for what the table says, and is in it", async () => {
    await using server = await startFake(SETTINGS);
    expect([...(await routesOf(server))].sort()).toEqual(Object.keys(ASKED).sort());

    for (const [route, asked] of Object.entries(ASKED)) {
      const [method = "", path = ""] = route.split(" ");
      const head = `${method} ${concrete(path)}`;
      const seen = {
        none: await statusOf(server.url, head),
        wrong: await statusOf(server.url, head, "wrong"),
        reader: await statusOf(server.url, head, "reader"),
        writer: await statusOf(server.url, head, "writer"),
      };
      const isOpen = asked === "open" || asked === "pages";
      expect({ route, none: seen.none === 401, wrong: seen.wrong === 401 }).toEqual({
        route,
        none: !isOpen,
        wrong: !isOpen,
      });
      // What is let through is refused for what it lacks, or served.
      expect({ route, reader: seen.reader === 403 }).toEqual({
        route,
        reader: asked === "write" || asked === "full",
      });
      expect({ route, writer: seen.writer === 403 }).toEqual({ route, writer: asked === "full" });
    }
  }, 60_000);

  test("but /health and /ready wants a token once the configuration closes its pages", async () => {
    await using server = await startFake({
      ...SETTINGS,
      RF_METRICS_OPEN: "0",
      RF_DOCS_OPEN: "0",
    });
    for (const [route, asked] of Object.entries(ASKED)) {
      const status = await statusOf(server.url, concrete(route));
      expect({ route, isOpen: status !== 401 }).toEqual({ route, isOpen: asked === "open" });
    }
  }, 60_000);

  test("is behind its guard however its path is written", async () => {
    await using server = await startFake(SETTINGS);
    const guarded = Object.entries(ASKED).filter(
      ([, asked]) => asked !== "open" && asked !== "pages",
    );
    for (const [route] of guarded) {
      const [method = "", path = ""] = route.split(" ");
      for (const trick of tricks(concrete(path))) {
        const status = await statusOf(server.url, `${method} ${trick}`);
        // `/health?…` is `/health`.
        const isHealth = method === "GET" && trick.startsWith("/health?");
        expect({ method, trick, isRefused: status >= 400 }).toEqual({
          method,
          trick,
          isRefused: !isHealth,
        });
      }
    }
  }, 120_000);

  test("is behind its guard whatever the method is called", async () => {
    await using server = await startFake(SETTINGS);
    for (const route of Object.keys(ASKED).filter((one) => ASKED[one] === "full")) {
      const [, path = ""] = route.split(" ");
      for (const method of [
        "HEAD",
        "get",
        "Post",
        "PATCH",
        "TRACE",
        "CONNECT",
        "PROPFIND",
        "GET\t",
      ]) {
        const status = await statusOf(server.url, `${method} ${concrete(path)}`);
        const isServed = status >= 200 && status < 400;
        expect({ method, path, isServed }).toEqual({ method, path, isServed: false });
      }
    }
  }, 60_000);
});

test("a token of some topics and namespaces reaches no other, however the path is written", async () => {
  await using server = await startFake(SETTINGS);
  const headers = { authorization: "Bearer all" };
  const post = (path: string, body: string) =>
    fetch(`${server.url}${path}`, { method: "POST", headers, body });
  for (const name of ["mine.a", "theirs"]) {
    await post("/broker/topics", `{"name":"${name}","partitions":1}`);
    await post(`/broker/topics/${name}/produce?partition=0`, `value of ${name}`);
    await fetch(`${server.url}/kv/${name}/key`, { method: "PUT", headers, body: `of ${name}` });
  }
  const secrets = ["value of theirs", btoa("of theirs")];
  const paths = [
    "theirs",
    "mine.a/../theirs",
    "mine.a%2f..%2ftheirs",
    "mine.a/%2e%2e/theirs",
    "%74heirs",
    "./theirs",
    "mine.a%00/../theirs",
    "mine.*",
    "THEIRS",
  ];

  for (const name of paths) {
    for (const path of [
      `/broker/consume/${name}/g/0?offset=0`,
      `/broker/topics/${name}`,
      `/kv/${name}/key`,
      `/kv/${name}/key/meta`,
      `/kv/${name}?values=1`,
      `/kv/mine.a/../${name}/key`,
      `/kv/mine.a/%2e%2e/${name}/key`,
    ]) {
      const text = `GET ${path} HTTP/1.1\r\nHost: /kv/mine.a/\r\nAuthorization: Bearer narrow\r\nConnection: close\r\n\r\n`;
      const { text: reply } = await sendRaw(server.url, [text], (seen) => /\}$/.test(seen));
      for (const secret of secrets)
        expect({ path, reply }).not.toEqual({ path, reply: expect.stringContaining(secret) });
    }
  }
  const read = async (token: string, path: string): Promise<string> =>
    await (
      await fetch(`${server.url}${path}`, { headers: { authorization: `Bearer ${token}` } })
    ).text();
  // There is something to be seen, and the token is good for something.
  expect(await read("all", "/broker/consume/theirs/g/0?offset=0")).toContain(secrets[0] ?? "");
  expect(await read("all", "/kv/theirs/key")).toContain(secrets[1] ?? "");
  expect(await read("narrow", "/kv/mine.a/key")).toContain(btoa("of mine.a"));
}, 60_000);
