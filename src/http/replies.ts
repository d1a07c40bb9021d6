// Replies in the spelling of the wire. The hot ones are templates: no object is made to be printed.

/** Shared by every JSON reply: one instance is cheaper than a literal per reply. */
export const JSON_HEADERS = { headers: new Headers({ "content-type": "application/json" }) };

/** A JSON reply with status 200. */
export const jsonReply = (body: unknown): Response =>
  new Response(JSON.stringify(body), JSON_HEADERS);

/** A reply whose JSON text is ready. */
export const textReply = (json: string): Response => new Response(json, JSON_HEADERS);

/**
 * The reply to a produce, with the fields in the documented order.
 * @param raftIndex 0: the record lies in memory only.
 * @param synced 1, 0, or -1 for null.
 * @param duplicate 1: stored before; 0: first write under a key; -1: no key.
 * @param timing More fields, each after a comma, or nothing.
 */
export function produceReply(
  isBatch: boolean,
  firstOffset: number,
  count: number,
  partition: number,
  raftIndex: number,
  synced: number,
  duplicate: number,
  timing: string,
): Response {
  const place = isBatch
    ? `"first_offset":${firstOffset},"count":${count},"partition":${partition}`
    : `"offset":${firstOffset},"partition":${partition}`;
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
  const confirmed = synced === 1 ? "true" : synced === 0 ? "false" : "null";
  const first = duplicate === 0 ? `,"duplicate":false` : "";
  return new Response(
    `{"ok":true,${place},${fate},"synced":${confirmed}${first}${timing}}`,
    JSON_HEADERS,
  );
}
