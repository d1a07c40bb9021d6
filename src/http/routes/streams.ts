// The two routes of stream processing: what they share before either looks at records.

import type { GenericSchema } from "valibot";
import { limits } from "../../config/mod.ts";
import { parseJson } from "../../lib/json.ts";
import { fail } from "../../lib/result.ts";
import { refuse } from "../../model/errors.ts";
import { type Decoders, loadDecoders } from "../../streams/mod.ts";
import { inflate } from "../inflate.ts";
import type { HttpRooms } from "../rooms.ts";
import { type Call, guarded, type Outcome, type Route, withJson } from "../route.ts";
import { checkQuery } from "../schemas/check.ts";
import { JoinBody, QueryBody, StreamQuery } from "../schemas/streams.ts";
import { TurnQueue, Turns } from "../stream-turns.ts";
import { JOIN_DOC, serveJoin } from "./join.ts";
import { QUERY_DOC, serveQuery } from "./query.ts";

type Serve<Body> = (
  rooms: HttpRooms,
  call: Call,
  decoders: Decoders,
  body: Body,
  turns: Turns,
) => Outcome | Promise<Outcome>;

/** The query and join routes. */
export function streamRoutes(rooms: HttpRooms): readonly Route[] {
  const shared = {
    decoders: decodersLater(),
    queue: new TurnQueue(() => rooms.waiters.size > 0),
  };
  return [
    guarded(rooms, QUERY_DOC, (call) => serve(rooms, call, shared, QueryBody, serveQuery)),
    guarded(rooms, JOIN_DOC, (call) => serve(rooms, call, shared, JoinBody, serveJoin)),
  ];
}

/** All requests share one set of decoders, made for the first of them. */
function decodersLater(): () => Promise<Decoders> {
  let made: Promise<Decoders> | undefined;
  return () => {
    made ??= loadDecoders().then(({ Decoders }) => new Decoders(inflate));
    return made;
  };
}

function serve<Body>(
  rooms: HttpRooms,
  call: Call,
  { decoders, queue }: { readonly decoders: () => Promise<Decoders>; readonly queue: TurnQueue },
  schema: GenericSchema<unknown, Body>,
  handle: Serve<Body>,
): Outcome | Promise<Outcome> {
  const query = checkQuery(StreamQuery, call.request.url);
  if (!query.ok) return query;
  const { consistency, timeout_ms: timeMs = limits.STREAM_TIME_MS_DEFAULT } = query.value;
  const run = async (body: Body): Promise<Outcome> => {
    const { stats, broker } = rooms;
    if (stats.streams >= limits.STREAM_REQUESTS_MAX)
      return fail(
        refuse("overloaded", `More than ${limits.STREAM_REQUESTS_MAX} queries and joins run`),
      );
    stats.streams += 1;
    const turns = new Turns(rooms, queue, call.request.signal, timeMs, () => {
      stats.streams -= 1;
    });
    let isHandedOn = false;
    try {
      if (consistency === "linearizable") {
        const confirmed = await broker.readBarrier(timeMs);
        if (!confirmed.ok) return confirmed;
      }
      const outcome = await handle(rooms, call, await decoders(), body, turns);
      isHandedOn = turns.isHandedOn;
      return outcome;
    } finally {
      if (!isHandedOn) turns.end();
    }
  };
  // Integers of the body keep their value as those of records do.
  return withJson(rooms, call, schema, run, parseJson);
}
