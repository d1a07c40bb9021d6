// A cluster's node with a defect, to be proved: as leader it says that a majority has a write while nobody but itself has
// it. Run in the place of `src/main.ts`. The product has no switch for it: with this write concern it says `synced:false`.

import { ClusterTransport } from "../../src/cluster/transport.ts";
import { Waiters } from "../../src/http/waiters.ts";

/** Milliseconds from the acknowledgement to what the others are sent. */
const LATE_MS = 30;

process.env["RF_HA_WRITE_CONCERN"] = "1";

const { produced } = Waiters.prototype;
Waiters.prototype.produced = function (waiter, offset, count, partition, index, synced, again) {
  produced.call(this, waiter, offset, count, partition, index, synced === 0 ? 1 : synced, again);
};

const { send } = ClusterTransport.prototype;
ClusterTransport.prototype.send = function (to, priority, parts) {
  if (priority === "urgent") return send.call(this, to, priority, parts);
  const kept = parts.map((part) => part.slice());
  setTimeout(() => send.call(this, to, priority, kept), LATE_MS);
  return true;
};

await import("../../src/main.ts");
