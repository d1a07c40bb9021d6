// Puts the routes on an Elysia app, and answers what no route takes: unknown paths, wrong methods, OPTIONS.

import { Elysia } from "elysia";
import { type Refusal, refuse } from "../model/errors.ts";
import type { HttpRooms } from "./rooms.ts";
import { failed, grantOf, type Params, type Route, refusalOf } from "./route.ts";
import { decodePathText } from "./schemas/parameters.ts";
import { pathOf } from "./target.ts";

/** A path, by segments, and the routes that have it, by method. */
interface Place {
  readonly segments: readonly string[];
  readonly routes: ReadonlyMap<string, Route>;
}

/** Every path; `:name` stands for one segment of any content, `*` at the end for one or more. */
class RouteTable {
  readonly #places: readonly Place[];

  constructor(routes: readonly Route[]) {
    const byPath = Map.groupBy(routes, (route) => route.path);
    this.#places = Array.from(byPath, ([path, atPath]) => ({
      segments: path.split("/"),
      routes: new Map(atPath.map((route) => [route.method, route])),
    }));
  }

  /** The places that a path may mean. */
  at(pathname: string): readonly Place[] {
    const segments = segmentsOf(pathname);
    return this.#places.filter(
      (place) =>
        (place.segments.length === segments.length ||
          (place.segments.at(-1) === "*" && place.segments.length < segments.length)) &&
        place.segments.every(
          (segment, i) => segment.startsWith(":") || segment === "*" || segment === segments[i],
        ),
    );
  }
}

const segmentsOf = (pathname: string): readonly string[] => pathname.replace(/\/$/, "").split("/");

/** What places take, as `Allow` says it. */
function allowed(places: readonly Place[]): string {
  const methods = new Set(places.flatMap(({ routes }) => [...routes.keys()]));
  if (methods.has("GET")) methods.add("HEAD");
  return [...methods.add("OPTIONS")].sort().join(", ");
}

/** Parameters of a path. One that is no percent-encoded UTF-8 has the replacement character, as Bun's router gives it. */
function paramsOf({ segments }: Place, pathname: string): Params {
  const parts = segmentsOf(pathname);
  const named = segments.flatMap((segment, i) =>
    segment.startsWith(":") ? [[segment.slice(1), decodePathText(parts[i] ?? "")]] : [],
  );
  return Object.fromEntries(named);
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
  const leftOver = (request: Request): Response | Promise<Response> => {
    const startedNs = Bun.nanoseconds();
    const pathname = pathOf(request.url);
    const places = table.at(pathname);
    // Routers find nothing where a parameter is empty. Its route says best what is missing.
    const method = request.method === "HEAD" ? "GET" : request.method;
    const place = places.find(({ routes }) => routes.has(method));
    const route = place?.routes.get(method);
    if (place !== undefined && route !== undefined)
      return route.serve(request, paramsOf(place, pathname));
    const reply = answerLeftOver(rooms, places, request);
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

/** Without a token nobody learns which paths there are; the methods of one are no secret. */
function refusalOfPlaces(
  rooms: HttpRooms,
  places: readonly Place[],
  request: Request,
): Refusal | undefined {
  if (request.method === "OPTIONS" && places.length > 0) return undefined;
  const isOpen = places.some(({ routes }) =>
    routes.values().some(({ access }) => access === "open"),
  );
  return isOpen ? undefined : refusalOf(grantOf(rooms, request), "read");
}

function answerLeftOver(rooms: HttpRooms, places: readonly Place[], request: Request): Response {
  const refusal = refusalOfPlaces(rooms, places, request);
  if (refusal !== undefined) return rooms.errors.reply(refusal);
  if (places.length === 0) {
    return rooms.errors.reply(
      refuse("route_not_found", `No route has the path ${pathOf(request.url).slice(0, 200)}`),
    );
  }
  const allow = allowed(places);
  if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
  return rooms.errors.reply(
    refuse("method_not_allowed", `Route takes ${allow}, not ${request.method}`),
    request,
    { allow },
  );
}
