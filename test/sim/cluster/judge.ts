// The end of a world: everybody is well and at rest. Everything that was promised must be there, once, in its place, the same
// at every node, and what clients saw must have an order.

import { checkHistory, type Operation } from "../../support/history.ts";
import { recordsOf } from "../settle.ts";
import { claim } from "../shadow.ts";
import type { LedgerPartition } from "./ledger.ts";
import type { ClusterNode } from "./node.ts";
import type { Produce } from "./operations.ts";
import type { ClusterWorld } from "./world.ts";

/** Looks at the promises and the history. */
export function judge(world: ClusterWorld): void {
  for (const produce of world.clients.produces) produce.checkStored();
  const { seen, produces } = world.clients;
  const history: Operation[] = [...seen, ...world.clients.keys.history()];
  for (const produce of produces) {
    const append = appendOf(produce);
    if (append !== undefined) history.push(append);
  }
  const [fault, ...others] = checkHistory(history);
  claim(fault === undefined, `${fault} (and ${others.length} more)`);
}

/** A produce as history has it; undefined when nobody knows to which partition it was to go. */
function appendOf(produce: Produce): Operation | undefined {
  const { id, said, stored, asked, topicId, fate, sizes, calledAt, returnedAt } = produce;
  const partition = said?.partition ?? stored?.partition ?? asked;
  if (partition < 0) return undefined;
  return {
    kind: "append",
    partition: `${topicId}/${partition}`,
    id: String(id),
    count: sizes.length,
    calledAt,
    returnedAt,
    key: produce.idempotencyKey,
    ...(produce.expectedOffset >= 0 && { expectedOffset: produce.expectedOffset }),
    ...(fate === "stored"
      ? { outcome: "stored", offset: said?.firstOffset ?? -1 }
      : { outcome: fate === "refused" ? "refused" : "unknown" }),
  };
}

/**
 * Checks that a node, which is in step, has the state that the log makes, and every record of it on its disk. False: it met
 * damage or something changed, and it has to be looked at again.
 */
export function checkNode(world: ClusterWorld, node: ClusterNode): boolean {
  const { ledger } = world;
  const { broker } = node;
  const found = broker?.stateHash();
  // Nobody brings nodes up to date that do not belong.
  if (broker === undefined || !world.members.has(node)) return true;
  if (found?.appliedIndex !== ledger.lastIndex) return false;
  claim(found.hash === ledger.hash(), `${node.id} has another state than the log makes`);
  for (const topic of ledger.topics.values()) {
    if (!topic.isAlive) continue;
    const { lastIndex } = ledger;
    for (const [partition, known] of topic.partitions.entries())
      if (!readWhole(world, node, topic.id, partition, known) || ledger.lastIndex !== lastIndex)
        return false;
  }
  return true;
}

/** Reads a partition from its floor to its end. False: the node ended over it. */
function readWhole(
  world: ClusterWorld,
  node: ClusterNode,
  topicId: number,
  partition: number,
  known: LedgerPartition,
): boolean {
  const where = `${topicId}/${partition} at ${node.id}`;
  // Something that was asked for long ago may still be carried out.
  const { lastIndex } = world.ledger;
  for (let offset = known.floor; offset < known.records.length; ) {
    const { broker } = node;
    if (broker === undefined || world.ledger.lastIndex !== lastIndex) return false;
    const request = { topicId, partition, offset, maxRecords: 1000, maxBytes: 1 << 18 };
    const from = offset;
    const reading = broker.read(request);
    const take = (found: Awaited<typeof reading>) => {
      if (world.ledger.lastIndex !== lastIndex) return undefined;
      claim(
        found.startOffset === known.floor && found.nextOffset === known.records.length,
        `${where} is ${found.startOffset}-${found.nextOffset}, not ${known.floor}-${known.records.length}`,
      );
      return recordsOf(found.slices, from);
    };
    const records = world.wait(
      node,
      reading instanceof Promise ? reading.then(take) : take(reading),
    );
    if (records === undefined) return false;
    claim(records.length > 0, `${where} ends at ${offset} of ${known.records.length}`);
    for (const { offset: at, value, key } of records) {
      const agreed = known.records[at];
      const cursor = {
        bytes: key ?? value,
        keyStart: key === undefined ? -1 : 0,
        keyEnd: key?.length ?? -1,
      };
      claim(
        agreed?.produce.isRecord(agreed.place, value, cursor) === true,
        `${where} has at ${at} not what produce ${agreed?.produce.id} put there`,
      );
    }
    offset += records.length;
  }
  return true;
}
