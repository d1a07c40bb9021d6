// The sandbox as a server: the page, the visit, the calls. Everything that is refused is refused here, before it costs.

import { REQUEST_BYTES_MAX } from "./bounds.ts";
import { CALLS, type Fields } from "./calls.ts";
import { Proofs } from "./proofs.ts";
import { readAssets } from "./read-assets.ts" with { type: "macro" };
import { HEADERS, json, refusal } from "./replies.ts";
import type { Visitor } from "./visitor.ts";
import { Visitors } from "./visitors.ts";

const ASSETS = readAssets();
const COOKIE = "ayder_sandbox";
/** Seconds without a byte after which a connection is closed. A proof says something more often than that. */
const CONNECTION_IDLE_S = 120;
const LOOPBACK_HOST = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/;

/** Where a sandbox listens and what it starts. */
export interface SandboxOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** The executable of the nodes, and its first arguments. */
  readonly program: readonly string[];
  /** What the environment of nodes has besides their settings. */
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
  readonly complain: (message: string) => void;
}

/** A sandbox that is open. Disposing of it ends every visit and every proof. */
export interface OpenSandbox extends AsyncDisposable {
  readonly url: string;
}

/** Opens a sandbox. Throws when it cannot listen. */
export function openSandbox(options: SandboxOptions): OpenSandbox {
  const visitors = new Visitors(options);
  const proofs = new Proofs(options);
  const isLoopback = LOOPBACK_HOST.test(
    options.host.includes(":") ? `[${options.host}]` : options.host,
  );
  const server = Bun.serve({
    hostname: options.host,
    port: options.port,
    idleTimeout: CONNECTION_IDLE_S,
    maxRequestBodySize: REQUEST_BYTES_MAX,
    fetch: (request) => answer(request, { visitors, proofs, isLoopback }),
    error: (error) => {
      options.complain(error.stack ?? error.message);
      return json({ ok: false, error: "internal_error", message: "Something went wrong" }, 500);
    },
  });
  return {
    url: `http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${server.port}`,
    [Symbol.asyncDispose]: async () => {
      await server.stop(true);
      await proofs[Symbol.asyncDispose]();
      await visitors[Symbol.asyncDispose]();
    },
  };
}

interface Rooms {
  readonly visitors: Visitors;
  readonly proofs: Proofs;
  readonly isLoopback: boolean;
}

async function answer(request: Request, rooms: Rooms): Promise<Response> {
  const { method } = request;
  const { pathname } = new URL(request.url);
  const host = request.headers.get("host") ?? "";
  // A name that leads here and is not ours: a page of somebody else, by way of the resolver.
  if (rooms.isLoopback && !LOOPBACK_HOST.test(host))
    return refusal("wrong_origin", "This sandbox is for this machine alone");
  if (method === "GET" || method === "HEAD") {
    const asset = Object.hasOwn(ASSETS, pathname) ? ASSETS[pathname] : undefined;
    if (asset === undefined) return refusal("not_found", "There is no such page");
    return new Response(asset.text, { headers: { ...HEADERS, "content-type": asset.type } });
  }
  if (method !== "POST") return refusal("not_found", "There is no such call");
  const origin = request.headers.get("origin");
  if (origin !== null && URL.parse(origin)?.host !== host)
    return refusal("wrong_origin", "A call comes from the page itself");
  const id = cookieOf(request);
  const visitor = rooms.visitors.find(id);
  if (pathname === "/api/visit") return visit(rooms, visitor);
  if (visitor === undefined || id === undefined)
    return refusal("no_visit", "Your visit is over, and your node is gone: start a new one");
  return await call(request, rooms, { visitor, id, pathname });
}

/** Lets a visitor in, or finds that they are in. */
function visit({ visitors }: Rooms, visitor: Visitor | undefined): Response {
  if (visitor !== undefined) return json({ ok: true, isNew: false });
  const id = visitors.enter();
  if (id === undefined)
    return refusal("sandbox_full", "All places are taken: try again in a few minutes");
  return json({ ok: true, isNew: true }, 200, {
    "set-cookie": `${COOKIE}=${id}; Path=/; HttpOnly; SameSite=Strict`,
  });
}

async function call(
  request: Request,
  { visitors, proofs }: Rooms,
  by: { readonly visitor: Visitor; readonly id: string; readonly pathname: string },
): Promise<Response> {
  const { visitor, id, pathname } = by;
  const nowMs = performance.now();
  if (!visitor.calls.take(nowMs))
    return refusal("too_many_calls", "That was too fast: try again in a moment");
  visitor.seen(nowMs);
  if (pathname === "/api/leave") {
    await visitors.leave(id);
    return json({ ok: true }, 200, {
      "set-cookie": `${COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`,
    });
  }
  const fields = await fieldsOf(request);
  if (fields === undefined) return refusal("bad_request", "The body is a JSON object");
  if (pathname === "/api/proof") return proofs.start(visitor, fields);
  const handle = Object.hasOwn(CALLS, pathname) ? CALLS[pathname] : undefined;
  if (handle === undefined) return refusal("not_found", "There is no such call");
  return await handle(visitor, fields);
}

async function fieldsOf(request: Request): Promise<Fields | undefined> {
  try {
    const value: unknown = JSON.parse(await request.text());
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Fields)
      : undefined;
  } catch {
    return undefined;
  }
}

function cookieOf(request: Request): string | undefined {
  const cookies = request.headers.get("cookie") ?? "";
  return new RegExp(`(?:^|; )${COOKIE}=([0-9a-f]{64})(?:;|$)`).exec(cookies)?.[1];
}
