// Streams a backup while the node serves. The client pulls: a piece is read when the last one has left, and between two of
// them others have their turn. One that stops reading is cut off; what it has then has no end mark, and is refused.

import { limits } from "../../config/mod.ts";
import { fail, succeed } from "../../lib/result.ts";
import { readGate } from "../lookup.ts";
import type { BackupStream } from "../ports.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Route, type RouteDoc } from "../route.ts";

const DOC: RouteDoc = {
  method: "GET",
  path: "/admin/backup",
  id: "backup",
  summary: "Stream a backup",
  description:
    "Everything that this node has applied at this moment, checksummed, for `ayder restore`; best taken by `ayder backup`, which verifies it. Two at a time. A stream without its end mark is no backup.",
  tag: "node",
  access: "full",
  isForWholeNode: true,
  reply: "application/octet-stream",
};

/** The backup route. */
export const backupRoutes = (rooms: HttpRooms): readonly Route[] => [
  guarded(rooms, DOC, (call) => {
    const refusal = readGate(rooms);
    if (refusal !== undefined) return fail(refusal);
    const headers = { "content-type": "application/octet-stream", "cache-control": "no-store" };
    if (call.request.method === "HEAD") return succeed(new Response(null, { headers }));
    const backup = rooms.broker.backup();
    if (!backup.ok) return backup;
    rooms.lifecycle.keepOpen(call.request);
    return succeed(new Response(streamOf(rooms, backup.value), { headers }));
  }),
];

function streamOf(rooms: HttpRooms, backup: BackupStream): ReadableStream<Uint8Array> {
  let cancelStall = (): void => undefined;
  let endStop = (): void => undefined;
  const close = (): void => {
    cancelStall();
    endStop();
    backup.close();
  };
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        endStop = rooms.lifecycle.onStop(() => {
          close();
          controller.error(new Error("The node stops"));
        });
      },
      pull: async (controller) => {
        cancelStall();
        try {
          await Bun.sleep(limits.BACKUP_PAUSE_MS);
          const piece = await backup.next();
          if (piece === undefined) {
            close();
            controller.close();
            return;
          }
          controller.enqueue(piece);
        } catch (error) {
          rooms.logger.warn("backup_failed", { error: String(error) });
          close();
          controller.error(error);
          return;
        }
        cancelStall = rooms.alarms.after(limits.BACKUP_STALL_MS, () => {
          rooms.logger.warn("backup_cut_off", { index: backup.appliedIndex });
          close();
          controller.error(new Error("The reader took nothing for too long"));
        });
      },
      cancel: close,
    },
    // Nothing ahead of the client.
    { highWaterMark: 0 },
  );
}
