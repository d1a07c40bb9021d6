// The ceiling that produce is compared with: a lean Elysia route that checks the token, reads the body and answers with
// the same headers and as many bytes as produce does. It keeps nothing. Prints `listening <port>` when it is up.
// `--later` answers all that came in one turn of the loop in a later one, as whoever waits for a disk has to.
// Usage: NODE_ENV=production bun bench/load/noop.ts [--port 0] [--later]

import { parseArgs } from "node:util";
import { Elysia } from "elysia";

const { values } = parseArgs({
  options: { port: { type: "string", default: "0" }, later: { type: "boolean", default: false } },
});

const JSON_HEADERS = { headers: new Headers({ "content-type": "application/json" }) };
const REPLY =
  '{"ok":true,"offset":123456,"partition":0,"batch_id":99912,"sealed":true,"durable":true,"mode":"sealed","synced":true}';
const UNAUTHORIZED = '{"ok":false,"error":"unauthorized","message":"Bearer token is required"}';
const BODY_BYTES_MAX = 32 * 1024 * 1024;
const tokens = new Map([["Bearer dev", true]]);

const reply = (): Response => new Response(REPLY, JSON_HEADERS);
let waiting: ((reply: Response) => void)[] = [];

function answerAll(): void {
  const resolves = waiting;
  waiting = [];
  for (const resolve of resolves) resolve(reply());
}

function answerLater(body: Promise<Uint8Array>): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  body.then(() => {
    if (waiting.length === 0) setImmediate(answerAll);
    waiting.push(resolve);
  }, reject);
  return promise;
}

const app = new Elysia({ precompile: true, handler: { standardHostname: false } })
  .get("/ready", () => new Response('{"ready":true}', JSON_HEADERS))
  .post("/broker/topics", () => new Response('{"ok":true}', JSON_HEADERS))
  .post(
    "/broker/topics/:topic/produce",
    ({ request }) => {
      const authorization = request.headers.get("authorization");
      if (authorization === null || !tokens.has(authorization))
        return new Response(UNAUTHORIZED, { status: 401 });
      return values.later ? answerLater(request.bytes()) : request.bytes().then(reply);
    },
    { parse: "none" },
  )
  .listen({
    port: Number(values.port),
    hostname: "127.0.0.1",
    reusePort: false,
    development: false,
    maxRequestBodySize: BODY_BYTES_MAX,
    idleTimeout: 255,
    http2: true,
  });

console.log(`listening ${app.server?.port}`);
process.on("SIGTERM", () => process.exit(0));
