// A route: what the OpenAPI document says of it, and the function that serves it, behind one guard.

import type { GenericSchema } from "valibot";
import type { Access } from "../config/mod.ts";
import { InvariantError } from "../lib/assert.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { readBody } from "./admission.ts";
import type { Grant } from "./auth.ts";
import type { HttpRooms } from "./rooms.ts";
import { checkJson, type ParameterSchema } from "./schemas/check.ts";

/** What a route says of itself. */
export interface RouteDoc {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** With `:name` for parameters. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  readonly tag: "topics" | "records" | "groups" | "retention" | "node" | "docs";
  /** `open` needs no token. */
  readonly access: Access | "open";
  readonly params?: ParameterSchema;
  readonly query?: ParameterSchema;
  /** `bytes`: the body is taken as it is. */
  readonly body?: GenericSchema | "bytes";
  /** The schema of a JSON reply, or the content type of another. */
  readonly reply: GenericSchema | string;
  /** Other replies than the usual ones, by status. */
  readonly otherReplies?: Readonly<Record<number, GenericSchema>>;
}

/** Parameters of a path, as Elysia decodes them. */
export type Params = Readonly<Record<string, string>>;

/** A route that can be registered. */
export interface Route extends RouteDoc {
  serve(request: Request, params: Params): Response | Promise<Response>;
}

/** One request of a route that is not on the hot path. */
export interface Call {
  readonly request: Request;
  readonly params: Params;
  /** Undefined on an open route. */
  readonly grant: Grant | undefined;
}

/** What a handler answers. */
export type Outcome = Result<Response, Refusal>;

/** Serves one request: answers or refuses, and never rejects for a cause a client can meet. */
export type Handler = (call: Call) => Outcome | Promise<Outcome>;

/** Checks a token against what a route asks; undefined when it may pass. */
export function refusalOf(grant: Grant | undefined, access: Access): Refusal | undefined {
  if (grant === undefined) return refuse("unauthorized");
  if (!grant.allows(access)) {
    return refuse(
      "forbidden",
      `Token does not allow this: it needs the scope ${access === "full" ? "admin" : access}`,
    );
  }
  if (grant.limiter === undefined) return undefined;
  const seconds = grant.limiter.take(Date.now());
  if (seconds === 0) return undefined;
  return refuse("rate_limited", `Token is over its rate limit: try again in ${seconds} s`, {
    retry_after: seconds,
  });
}

/** Checks a token against the topic of a request; undefined when it may pass. */
export function topicRefusal(grant: Grant | undefined, topic: string): Refusal | undefined {
  if (grant === undefined || grant.covers(topic)) return undefined;
  return refuse("forbidden", `Token does not cover the topic ${topic}`);
}

/** What to answer when our own code failed: nothing of the inside is shown, all of it is logged. */
export function failed(rooms: HttpRooms, route: string, error: unknown): Refusal {
  rooms.logger.error("request_failed", {
    route,
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  });
  if (error instanceof InvariantError) {
    // A broken invariant must stop the node: it goes on to the process's own handler.
    queueMicrotask(() => {
      throw error;
    });
  }
  return refuse("internal_error");
}

/** Puts the guard before a handler: token, scope, rate; counts the reply; turns failures into `internal_error`. */
export function guarded(rooms: HttpRooms, doc: RouteDoc, handler: Handler): Route {
  const stats = rooms.stats.route(doc.method, doc.path);
  const name = `${doc.method} ${doc.path}`;
  const admit = (request: Request): Result<Grant | undefined, Refusal> => {
    if (doc.access === "open") return succeed(undefined);
    const grant = rooms.authority.grant(request.headers.get("authorization"));
    const refusal = refusalOf(grant, doc.access);
    return refusal === undefined ? succeed(grant) : fail(refusal);
  };
  const finish = (outcome: Outcome, startedNs: number): Response => {
    const reply = outcome.ok ? outcome.value : rooms.errors.reply(outcome.error);
    stats.count(reply.status, startedNs);
    return reply;
  };
  const serve = (request: Request, params: Params): Response | Promise<Response> => {
    const startedNs = Bun.nanoseconds();
    try {
      const admitted = admit(request);
      if (!admitted.ok) return finish(admitted, startedNs);
      const outcome = handler({ request, params, grant: admitted.value });
      if (!(outcome instanceof Promise)) return finish(outcome, startedNs);
      return outcome.then(
        (settled) => finish(settled, startedNs),
        (error: unknown) => finish(fail(failed(rooms, name, error)), startedNs),
      );
    } catch (error) {
      return finish(fail(failed(rooms, name, error)), startedNs);
    }
  };
  return { ...doc, serve };
}

/** Reads and checks a JSON body, then hands it to `handle`. */
export async function withJson<Body>(
  rooms: HttpRooms,
  call: Call,
  schema: GenericSchema<unknown, Body>,
  handle: (body: Body) => Outcome | Promise<Outcome>,
): Promise<Outcome> {
  const held = await readBody(
    call.request,
    rooms.admission,
    rooms.alarms,
    rooms.config.bodyBytesMax,
  );
  if (!held.ok) return held;
  const body = checkJson(schema, held.value.bytes);
  rooms.admission.release(held.value.reserved);
  return body.ok ? handle(body.value) : body;
}
