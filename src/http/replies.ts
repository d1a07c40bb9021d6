// Replies in the spelling of the wire. The hot ones are templates: no object is made to be printed.

import { decodeText } from "../lib/bytes.ts";
import type { Transaction, TransactionOutcome } from "../model/transaction.ts";

/** Shared by every JSON reply: one instance is cheaper than a literal per reply. */
export const JSON_HEADERS = { headers: new Headers({ "content-type": "application/json" }) };

/** A JSON reply with status 200. */
export const jsonReply = (body: unknown): Response =>
  new Response(JSON.stringify(body), JSON_HEADERS);

/** A reply whose JSON text is ready. */
export const textReply = (json: string): Response => new Response(json, JSON_HEADERS);

/**
 * Makes the reply to a write of its outcome.
 * @param firstOffset Of a produce; the `cas` of a key.
 * @param raftIndex 0: nothing of it is in the log.
 * @param synced 1, 0, or -1 for null.
 * @param duplicate 1: stored before; 0: first write under a key; -1: no key.
 * @param timing More fields, each after a comma, or nothing.
 */
export type ReplyMaker = (
  firstOffset: number,
  count: number,
  partition: number,
  raftIndex: number,
  synced: number,
  duplicate: number,
  timing: string,
) => Response;

const confirmedOf = (synced: number): string =>
  synced === 1 ? "true" : synced === 0 ? "false" : "null";

/** What a write became, as fields, with the documented order. @param place What it is about, as fields. */
function writeReply(
  place: string,
  raftIndex: number,
  synced: number,
  duplicate: number,
  timing: string,
): Response {
  if (duplicate === 1) {
    return new Response(
      `{"ok":true,${place},"sealed":true,"synced":null,"duplicate":true${timing}}`,
      JSON_HEADERS,
    );
  }
  const fate =
    raftIndex === 0
      ? `"batch_id":0,"sealed":false,"durable":false,"mode":"rocket"`
      : `"batch_id":${raftIndex},"sealed":true,"durable":true,"mode":"sealed"`;
  const first = duplicate === 0 ? `,"duplicate":false` : "";
  return new Response(
    `{"ok":true,${place},${fate},"synced":${confirmedOf(synced)}${first}${timing}}`,
    JSON_HEADERS,
  );
}

/** Of one record. */
export const singleReply: ReplyMaker = (
  firstOffset,
  _count,
  partition,
  raftIndex,
  synced,
  duplicate,
  timing,
) =>
  writeReply(
    `"offset":${firstOffset},"partition":${partition}`,
    raftIndex,
    synced,
    duplicate,
    timing,
  );

/** Of an NDJSON batch. */
export const batchReply: ReplyMaker = (
  firstOffset,
  count,
  partition,
  raftIndex,
  synced,
  duplicate,
  timing,
) =>
  writeReply(
    `"first_offset":${firstOffset},"count":${count},"partition":${partition}`,
    raftIndex,
    synced,
    duplicate,
    timing,
  );

/** What a change of a key became, with the documented order of fields. */
function keyReply(
  what: string,
  raftIndex: number,
  synced: number,
  duplicate: number,
  timing: string,
): Response {
  const again = duplicate === -1 ? "" : `,"duplicate":${duplicate === 1}`;
  const batch = raftIndex === 0 ? "" : `,"batch_id":${raftIndex}`;
  return new Response(
    `{"ok":true,${what},"sealed":true,"durable":true,"mode":"sealed","synced":${confirmedOf(synced)}${batch}${again}${timing}}`,
    JSON_HEADERS,
  );
}

/** Of a key that was put. */
export const keyPutReply: ReplyMaker = (
  cas,
  _count,
  _partition,
  raftIndex,
  synced,
  duplicate,
  timing,
) => keyReply(`"cas":${cas}`, raftIndex, synced, duplicate, timing);

/** Of a key that was deleted, or was not there. */
export const keyDeletedReply: ReplyMaker = (
  _cas,
  count,
  _partition,
  raftIndex,
  synced,
  duplicate,
  timing,
) => {
  if (count > 0) return keyReply(`"deleted":true`, raftIndex, synced, duplicate, timing);
  const again = duplicate === 1 ? `,"duplicate":true` : "";
  return new Response(`{"ok":true,"deleted":false${again}${timing}}`, JSON_HEADERS);
};

/** Of a transaction: each part with what it came to. */
export function transactionReply(
  { produce, kv }: Transaction,
  { raftIndex, produced, cas }: TransactionOutcome,
  synced: number,
  isDuplicate: boolean,
  timing: string,
): Response {
  const records = produced.map(({ partition, offset }, i) => ({
    topic: produce[i]?.topic,
    partition,
    offset,
  }));
  const keys = kv.map(({ namespace, key, value }, i) => {
    const now = cas[i] ?? 0;
    const shown = { key: `${namespace}/${decodeText(key)}`, cas: now };
    return value === undefined ? { ...shown, deleted: now > 0 } : shown;
  });
  const parts = `"produced":${JSON.stringify(records)},"kv":${JSON.stringify(keys)}`;
  return new Response(
    `{"ok":true,"batch_id":${raftIndex},${parts},"synced":${confirmedOf(synced)},"duplicate":${isDuplicate}${timing}}`,
    JSON_HEADERS,
  );
}
