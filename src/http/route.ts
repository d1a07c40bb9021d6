// A route: what the OpenAPI document says of it, and the function that serves it, behind one guard.

import type { GenericSchema } from "valibot";
import type { Access } from "../config/mod.ts";
import { InvariantError } from "../lib/assert.ts";
import { DiskFailure, FatalError } from "../lib/fatal.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { readBody } from "./admission.ts";
import type { Grant } from "./auth.ts";
import type { HttpRooms } from "./rooms.ts";
import { checkJson, type ParameterSchema } from "./schemas/check.ts";

/** A header that a request may have, as the OpenAPI document shows it. */
export interface HeaderDoc {
  readonly name: string;
  readonly description: string;
  readonly schema: Readonly<Record<string, unknown>>;
}

/** What a route says of itself. */
export interface RouteDoc {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** With `:name` for parameters. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  readonly tag:
    | "topics"
    | "records"
    | "groups"
    | "retention"
    | "streams"
    | "keys"
    | "cluster"
    | "node"
    | "docs";
  /** `open` needs no token. */
  readonly access: Access | "open";
  /** What it does concerns all topics: a token of some is not enough. */
  readonly isForWholeNode?: boolean;
  /** Served where it arrives although it is no GET. Every other route that is no GET is a write: it goes to the leader. */
  readonly isLocal?: boolean;
  /** It is no write, and yet some of its requests go to the leader. */
  readonly mayRedirect?: boolean;
  readonly params?: ParameterSchema;
  readonly query?: ParameterSchema;
  /** Those that it reads beside the token. Not `Accept`: the document tells that one by the forms of the reply. */
  readonly headers?: readonly HeaderDoc[];
  /** `bytes`: the body is taken as it is. */
  readonly body?: GenericSchema | "bytes";
  /** The schema of a JSON reply, or the content type of another. */
  readonly reply: GenericSchema | string;
  /** Content types that the reply has when it is asked for in another form. */
  readonly otherForms?: readonly string[];
  /** Other replies than the usual ones, by status. */
  readonly otherReplies?: Readonly<Record<number, GenericSchema>>;
}

/** Whether requests of a route go to the leader. */
export const isWrite = (doc: RouteDoc): boolean => doc.method !== "GET" && doc.isLocal !== true;

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
  /** Why this node cannot take the request; undefined when it can, as always with what is no write. */
  readonly gate: () => Refusal | undefined;
}

/** What a handler answers. */
export type Outcome = Result<Response, Refusal>;

/** Serves one request: answers or refuses, and never rejects for a cause a client can meet. */
export type Handler = (call: Call) => Outcome | Promise<Outcome>;

/** What the token of a request allows; undefined when it has none that is known. */
export const grantOf = ({ authority }: HttpRooms, { headers }: Request): Grant | undefined =>
  authority.grant(headers.get("authorization"));

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

/** Checks a token against the namespace of a request; undefined when it may pass. */
export function namespaceRefusal(grant: Grant | undefined, namespace: string): Refusal | undefined {
  if (grant === undefined || grant.covers(namespace)) return undefined;
  return refuse("forbidden", `Token does not cover the namespace ${namespace}`);
}

/** Checks what a token covers against what a route and its path are about; undefined when it may pass. */
function scopeRefusal(
  doc: RouteDoc,
  grant: Grant | undefined,
  params: Params,
): Refusal | undefined {
  if (doc.isForWholeNode === true && grant?.isUnscoped !== true) return notWholeNode();
  const { topic, namespace } = params;
  if (namespace !== undefined) return namespaceRefusal(grant, namespace);
  return topic === undefined ? undefined : topicRefusal(grant, topic);
}

/** The refusal of a token of some topics for what concerns all of them. */
export const notWholeNode = (): Refusal => refuse("forbidden", "Token does not cover all topics");

/** What to answer when our own code failed: nothing of the inside is shown, all of it is logged. */
export function failed(rooms: HttpRooms, route: string, error: unknown): Refusal {
  rooms.logger.error("request_failed", {
    route,
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  });
  if (error instanceof FatalError && error.reason === "log_corrupt")
    return refuse(
      "not_ready",
      "The records that were asked for are damaged here and being repaired",
    );
  if (error instanceof DiskFailure)
    return refuse("not_ready", "The disk failed to read what was asked for");
  if (error instanceof InvariantError) {
    // A broken invariant must stop the node: it goes on to the process's own handler.
    queueMicrotask(() => {
      throw error;
    });
  }
  return refuse("internal_error");
}

/** Refusals of a write that say what is not there: they are true only of a node that leads. */
export const revealsState = ({ code }: Refusal): boolean =>
  code === "topic_not_found" || code === "partition_not_found";

/**
 * What to refuse a write with that found something missing: a leader that was deposed and does not know it yet may lack
 * what others have. Nothing of such a write has entered the log, so it may still be sent elsewhere.
 */
export async function confirmedRefusal(rooms: HttpRooms, refusal: Refusal): Promise<Refusal> {
  const confirmed = await rooms.broker.readBarrier(rooms.config.writeTimeoutMs);
  if (!confirmed.ok) return confirmed.error;
  return rooms.broker.writeGate() ?? refusal;
}

const noGate = (): undefined => undefined;

/**
 * Puts the guard before a handler: token, scope, rate, and for a write whether this node may take it.
 * Counts the reply; turns failures into `internal_error`.
 */
export function guarded(rooms: HttpRooms, doc: RouteDoc, handler: Handler): Route {
  const stats = rooms.stats.route(doc.method, doc.path);
  const name = `${doc.method} ${doc.path}`;
  const isGated = isWrite(doc);
  const gate = isGated ? () => rooms.broker.writeGate() : noGate;
  const confirmed = (outcome: Outcome | Promise<Outcome>): Outcome | Promise<Outcome> => {
    if (outcome instanceof Promise) return outcome.then(confirmed);
    if (outcome.ok || !revealsState(outcome.error)) return outcome;
    return confirmedRefusal(rooms, outcome.error).then(fail);
  };
  const admit = (request: Request, params: Params): Result<Grant | undefined, Refusal> => {
    if (doc.access === "open") return succeed(undefined);
    const grant = grantOf(rooms, request);
    const refusal = refusalOf(grant, doc.access) ?? scopeRefusal(doc, grant, params) ?? gate();
    return refusal === undefined ? succeed(grant) : fail(refusal);
  };
  const finish = (outcome: Outcome, request: Request, startedNs: number): Response => {
    const reply = outcome.ok ? outcome.value : rooms.errors.reply(outcome.error, request);
    stats.count(reply.status, startedNs);
    return reply;
  };
  const serve = (request: Request, params: Params): Response | Promise<Response> => {
    const startedNs = Bun.nanoseconds();
    try {
      const admitted = admit(request, params);
      if (!admitted.ok) return finish(admitted, request, startedNs);
      const outcome = handler({ request, params, grant: admitted.value, gate });
      const answer = isGated ? confirmed(outcome) : outcome;
      if (!(answer instanceof Promise)) return finish(answer, request, startedNs);
      return answer.then(
        (settled) => finish(settled, request, startedNs),
        (error: unknown) => finish(fail(failed(rooms, name, error)), request, startedNs),
      );
    } catch (error) {
      return finish(fail(failed(rooms, name, error)), request, startedNs);
    }
  };
  return { ...doc, serve };
}

/**
 * Reads and checks a JSON body, then hands it to `handle`. A write is asked about once more before that: leadership may have
 * moved while the body came, and what it names must not be looked up on a node that lags.
 */
export async function withJson<Body>(
  rooms: HttpRooms,
  call: Call,
  schema: GenericSchema<unknown, Body>,
  handle: (body: Body) => Outcome | Promise<Outcome>,
  parse?: (text: string) => unknown,
): Promise<Outcome> {
  const held = await readBody(
    call.request,
    rooms.admission,
    rooms.alarms,
    rooms.config.bodyBytesMax,
  );
  if (!held.ok) return held;
  const body = checkJson(schema, held.value.bytes, parse);
  rooms.admission.release(held.value.reserved);
  const refusal = call.gate();
  if (refusal !== undefined) return fail(refusal);
  return body.ok ? handle(body.value) : body;
}
