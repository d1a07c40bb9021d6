// Puts the routes on an Elysia app, and answers what no route takes: unknown paths, wrong methods, OPTIONS.

import { Elysia } from "elysia";
import { refuse } from "../model/errors.ts";
import type { HttpRooms } from "./rooms.ts";
import { failed, type Params, type Route } from "./route.ts";
import { pathOf } from "./target.ts";

/** Methods of every path, by segments; `:name` stands for one segment of any content, `*` at the end for one or more. */
class RouteTable {
  readonly #paths: { readonly segments: readonly string[]; readonly methods: Set<string> }[] = [];

  constructor(routes: readonly Route[]) {
    const byPath = Map.groupBy(routes, (route) => route.path);
    for (const [path, atPath] of byPath) {
      const methods = new Set<string>(atPath.map((route) => route.method));
      if (methods.has("GET")) methods.add("HEAD");
      methods.add("OPTIONS");
      this.#paths.push({ segments: path.split("/"), methods });
    }
  }

  /** What a path takes; undefined when there is no such path. */
  allow(pathname: string): string | undefined {
    const segments = pathname.replace(/\/$/, "").split("/");
    const found = this.#paths.filter(
      (path) =>
        (path.segments.length === segments.length ||
          (path.segments.at(-1) === "*" && path.segments.length < segments.length)) &&
        path.segments.every(
          (segment, i) => segment.startsWith(":") || segment === "*" || segment === segments[i],
        ),
    );
    if (found.length === 0) return undefined;
    return [...new Set(found.flatMap((path) => [...path.methods]))].sort().join(", ");
  }
}

/** Makes the app: every route, then what is left over. */
export function createApp(rooms: HttpRooms, routes: readonly Route[]) {
  // Elysia reads the source of handlers to see what they use: naming only these two keeps it out of the way. It compiles
  // each when it is first asked for: all of them at once took a third of a start.
  const app = new Elysia({ handler: { standardHostname: false } });
  for (const route of routes) {
    app.route(
      route.method,
      route.path,
      ({ request, params }) => route.serve(request, readable(params ?? {})),
      {
        parse: "none",
      },
    );
  }
  const table = new RouteTable(routes);
  const stats = rooms.stats.route("ANY", "unmatched");
  const leftOver = (request: Request): Response => {
    const startedNs = Bun.nanoseconds();
    const reply = answerLeftOver(rooms, table, request);
    stats.count(reply.status, startedNs);
    return reply;
  };
  app.onError(({ request, error, code }) =>
    code === "NOT_FOUND"
      ? leftOver(request)
      : rooms.errors.reply(failed(rooms, "framework", error)),
  );
  app.all("/*", ({ request }) => leftOver(request), { parse: "none" });
  return app;
}

/**
 * Parameters as Bun's router gives them, with the replacement character in place of what is no percent-encoded UTF-8. Elysia's
 * own, which serves paths that end in `*` and those that are found once `/./` is gone, makes null of it.
 */
function readable(params: Readonly<Record<string, string | null>>): Params {
  for (const name in params) {
    if (params[name] !== null) continue;
    const entries = Object.entries(params);
    return Object.fromEntries(entries.map(([key, value]) => [key, value ?? "\ufffd"]));
  }
  return params as Params;
}

function answerLeftOver(rooms: HttpRooms, table: RouteTable, request: Request): Response {
  const pathname = pathOf(request.url);
  const allow = table.allow(pathname);
  if (allow === undefined) {
    return rooms.errors.reply(
      refuse("route_not_found", `No route has the path ${pathname.slice(0, 200)}`),
    );
  }
  if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
  return rooms.errors.reply(
    refuse("method_not_allowed", `Route takes ${allow}, not ${request.method}`),
    request,
    { allow },
  );
}
