// Waits for records: until there is one, time is over, the client has gone, or the node stops.

import { limits } from "../config/mod.ts";
import { fail, type Result, succeed } from "../lib/result.ts";
import { type Refusal, refuse } from "../model/errors.ts";
import type { TopicView } from "./ports.ts";
import type { HttpRooms } from "./rooms.ts";

/** The refusal of an offset that retention removed. */
export const offsetRemoved = (offset: number, firstOffset: number): Refusal =>
  refuse(
    "offset_out_of_range",
    `Offset ${offset} was removed by retention: the first is ${firstOffset}`,
    {
      first_offset: firstOffset,
    },
  );

/** The refusal when too many wait already. */
export const tooManyReaders = (): Refusal =>
  refuse("overloaded", `More than ${limits.TAIL_READERS_MAX} readers wait for records`);

/** Resolves when the partition may have a record at `offset`, or when waiting makes no more sense. */
export function waitForRecords(
  rooms: HttpRooms,
  request: Request,
  topic: TopicView,
  partition: number,
  offset: number,
  waitMs: number,
): Promise<Result<undefined, Refusal>> {
  const { alarms, broker, lifecycle, stats } = rooms;
  if (stats.tailReaders + stats.longPolls >= limits.TAIL_READERS_MAX) {
    return Promise.resolve(fail(tooManyReaders()));
  }
  if (lifecycle.isStopping) return Promise.resolve(succeed(undefined));
  const { promise, resolve } = Promise.withResolvers<Result<undefined, Refusal>>();
  stats.longPolls += 1;
  const ends: (() => void)[] = [];
  let isDone = false;
  const wake = (): void => {
    if (isDone) return;
    isDone = true;
    stats.longPolls -= 1;
    for (const end of ends) end();
    resolve(succeed(undefined));
  };
  ends.push(
    alarms.after(waitMs, wake),
    lifecycle.onStop(wake),
    broker.onRecords(topic.id, partition, offset, wake),
  );
  request.signal.addEventListener("abort", wake, { once: true });
  return promise;
}
