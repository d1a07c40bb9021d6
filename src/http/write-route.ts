// A write with a body: guard, room for the body, a slot that waits for the broker. What is done with the body is the route's.
// Part of the hot path: one header, one URL and one body are read, and little is made beyond the promise of the reply.

import { limits } from "../config/mod.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import { bodyCutOff, declaredLength, readPieces, tooLarge } from "./admission.ts";
import type { Grant } from "./auth.ts";
import type { HttpRooms } from "./rooms.ts";
import {
  failed,
  type Params,
  type Route,
  type RouteDoc,
  refusalOf,
  revealsState,
} from "./route.ts";
import type { RouteStats } from "./stats.ts";

/** A request whose body is here. */
export interface WriteCall {
  readonly request: Request;
  readonly params: Params;
  readonly body: Uint8Array;
  /** Undefined only before it is admitted. */
  readonly grant: Grant | undefined;
  /** Does it once more, for what had to wait for something else. */
  readonly again: () => void;
}

/** What a route does with a body. */
export interface WriteHandler {
  readonly bodyBytesMax: number;
  /** What the body is, when it is too large. */
  readonly bodyName: string;
  /** Why the token does not cover what the path names; undefined when it does. */
  refusalOf(grant: Grant | undefined, params: Params): Refusal | undefined;
  /**
   * Hands the request to the broker. Undefined: it has it, and its outcome comes to the slot. `later`: the handler ends the
   * slot, or calls `again`.
   */
  take(slot: number, call: WriteCall): Refusal | "later" | undefined;
}

/** Makes the route. */
export function writeRoute(rooms: HttpRooms, doc: RouteDoc, handler: WriteHandler): Route {
  const writes = new Writes(rooms, rooms.stats.route(doc.method, doc.path), handler);
  return { ...doc, serve: (request, params) => writes.serve(request, params) };
}

/** Serves one route. */
class Writes {
  readonly #rooms: HttpRooms;
  readonly #stats: RouteStats;
  readonly #handler: WriteHandler;

  constructor(rooms: HttpRooms, stats: RouteStats, handler: WriteHandler) {
    this.#rooms = rooms;
    this.#stats = stats;
    this.#handler = handler;
  }

  serve(request: Request, params: Params): Response | Promise<Response> {
    const { admission, authority, broker, waiters } = this.#rooms;
    const { bodyBytesMax, bodyName } = this.#handler;
    const startedNs = Bun.nanoseconds();
    const headers = request.headers;
    const grant = authority.grant(headers.get("authorization"));
    const refusal =
      refusalOf(grant, "write") ?? this.#handler.refusalOf(grant, params) ?? broker.writeGate();
    if (refusal !== undefined) return this.#refuse(refusal, request, startedNs);

    const declared = declaredLength(headers.get("content-length"));
    if (declared > bodyBytesMax)
      return this.#refuse(tooLarge(bodyName, declared, bodyBytesMax), request, startedNs);
    if (!waiters.hasRoom) {
      return this.#refuse(
        refuse("overloaded", `More than ${limits.WAITERS_MAX} writes wait`),
        request,
        startedNs,
      );
    }
    const reserved = Math.max(declared, 0);
    if (!admission.reserve(reserved)) {
      return this.#refuse(admission.overloaded(), request, startedNs);
    }
    const slot = waiters.open(request, this.#stats, startedNs, reserved, limits.BODY_DEADLINE_MS);
    const reply = waiters.reply(slot);
    const gone = (error: unknown): void => this.#gone(slot, error);
    if (declared < 0) this.#readUndeclared(slot, request, params, grant);
    else request.bytes().then((body) => this.#take(slot, request, params, grant, body), gone);
    return reply;
  }

  #refuse(refusal: Refusal, request: Request, startedNs: number): Response {
    const reply = this.#rooms.errors.reply(refusal, request);
    this.#stats.count(reply.status, startedNs);
    return reply;
  }

  #readUndeclared(slot: number, request: Request, params: Params, grant: Grant | undefined): void {
    const { admission, waiters } = this.#rooms;
    readPieces(request, admission, this.#handler.bodyBytesMax).then(
      (held) => {
        if (!held.ok) {
          waiters.refuse(slot, held.error);
          return;
        }
        waiters.hold(slot, held.value.reserved);
        this.#take(slot, request, params, grant, held.value.bytes);
      },
      (error: unknown) => this.#gone(slot, error),
    );
  }

  /** The client went away in the middle of its body: nobody is there to be told. */
  #gone(slot: number, error: unknown): void {
    this.#rooms.logger.debug("body_not_received", { error: String(error) });
    this.#rooms.waiters.refuse(slot, bodyCutOff());
  }

  /**
   * The body is here: the rest happens in this turn.
   * @param isSettled Whatever another node may have shown when the request came is applied here.
   */
  #take(
    slot: number,
    request: Request,
    params: Params,
    grant: Grant | undefined,
    body: Uint8Array,
    isSettled = false,
  ): void {
    const { broker, waiters } = this.#rooms;
    try {
      // It took longer than it may: it has been answered, and nothing of it is to be stored.
      // Leadership may have moved while the body came: what is looked up on a node that lags may be there already.
      const gate = waiters.isWaiting(slot) ? broker.writeGate() : refuse("timeout");
      const again = (): void => this.#take(slot, request, params, grant, body);
      const refusal = gate ?? this.#handler.take(slot, { request, params, body, grant, again });
      if (refusal === "later") return;
      if (refusal === undefined) waiters.copied(slot);
      else if (revealsState(refusal) && !isSettled)
        this.#settle(slot, () => this.#take(slot, request, params, grant, body, true));
      else waiters.refuse(slot, refusal);
    } catch (error) {
      waiters.refuse(slot, failed(this.#rooms, this.#stats.route, error));
    }
  }

  /** Something is not there: a node that lags, or leads no more, must not say so. Looks again once that is certain. */
  #settle(slot: number, again: () => void): void {
    const { broker, config, waiters } = this.#rooms;
    waiters.suspend(slot);
    broker.readBarrier(config.writeTimeoutMs).then(
      (settled) => {
        if (settled.ok) again();
        else waiters.refuse(slot, settled.error);
      },
      (error: unknown) => waiters.refuse(slot, failed(this.#rooms, this.#stats.route, error)),
    );
  }
}
