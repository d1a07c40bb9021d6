// The calls that fault tests make of a node, with the default token. Each throws when the connection breaks.

import { expect } from "bun:test";

const HEADERS = { authorization: "Bearer dev" };
const PAGE_RECORDS = 1000;
const PAGE_BYTES = 16_777_216;

/** A reply to a write, and its status. */
export interface WriteReply {
  readonly status: number;
  readonly offset: number;
  readonly count: number;
  readonly partition: number;
  readonly batchId: number;
  readonly isDuplicate: boolean;
  /** Name of the error, empty when it went well. */
  readonly error: string;
}

/** A reply to a write as it comes. */
interface WriteFields {
  readonly offset?: number;
  readonly first_offset?: number;
  readonly count?: number;
  readonly partition?: number;
  readonly batch_id?: number;
  readonly duplicate?: boolean;
  readonly error?: string;
}

/** Where a record goes. */
export interface WriteTarget {
  readonly topic: string;
  /** Left out: the node chooses. */
  readonly partition?: number | undefined;
  readonly idempotencyKey?: string | undefined;
  readonly timeoutMs?: number;
}

/** One record as it was read. */
export interface ReadRecord {
  readonly offset: number;
  readonly value: string;
}

/** Sends a request with the token. */
export const call = (url: string, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${url}${path}`, { ...init, headers: HEADERS });

const post = (url: string, path: string, body: unknown): Promise<Response> =>
  call(url, path, { method: "POST", body: JSON.stringify(body) });

/** Creates a topic, or finds it there with this shape. */
export async function createTopic(url: string, name: string, partitions: number): Promise<void> {
  const reply = await post(url, "/broker/topics", { name, partitions });
  expect(reply.status, await reply.text()).toBe(200);
}

/** Produces one record. */
export const produce = (
  url: string,
  target: WriteTarget,
  value: string | Uint8Array,
): Promise<WriteReply> => write(url, target, "produce", value);

/** Produces a batch of one record per value; values hold no newline and are no JSON strings. */
export const produceBatch = (
  url: string,
  target: WriteTarget,
  values: readonly string[],
): Promise<WriteReply> => write(url, target, "produce-ndjson", values.join("\n"));

async function write(
  url: string,
  target: WriteTarget,
  route: string,
  body: string | Uint8Array,
): Promise<WriteReply> {
  const query = new URLSearchParams();
  if (target.partition !== undefined) query.set("partition", String(target.partition));
  if (target.idempotencyKey !== undefined) query.set("idempotency_key", target.idempotencyKey);
  if (target.timeoutMs !== undefined) query.set("timeout_ms", String(target.timeoutMs));
  const path = `/broker/topics/${target.topic}/${route}?${query}`;
  const reply = await call(url, path, { method: "POST", body: body as string });
  const fields = (await reply.json()) as WriteFields;
  return {
    status: reply.status,
    offset: fields.offset ?? fields.first_offset ?? -1,
    count: fields.count ?? 1,
    partition: fields.partition ?? -1,
    batchId: fields.batch_id ?? 0,
    isDuplicate: fields.duplicate === true,
    error: fields.error ?? "",
  };
}

/** Reads a partition from `offset` to its end, page by page; each page follows the one before it without a gap. */
export async function* readFrom(
  url: string,
  topic: string,
  partition: number,
  offset: number,
): AsyncGenerator<readonly ReadRecord[]> {
  for (let next = offset; ; ) {
    const query = `offset=${next}&limit=${PAGE_RECORDS}&max_bytes=${PAGE_BYTES}&encoding=b64`;
    const reply = await call(url, `/broker/consume/${topic}/reader/${partition}?${query}`);
    expect(reply.status).toBe(200);
    const page = (await reply.json()) as {
      readonly messages: readonly { readonly offset: number; readonly value_b64: string }[];
      readonly next_offset: number;
      readonly truncated: boolean;
    };
    yield page.messages.map((message) => ({
      offset: message.offset,
      value: Buffer.from(message.value_b64, "base64").toString("latin1"),
    }));
    if (!page.truncated) return;
    next = page.next_offset;
  }
}

/** Reads everything of a partition. */
export async function readAll(
  url: string,
  topic: string,
  partition: number,
): Promise<readonly ReadRecord[]> {
  const records: ReadRecord[] = [];
  for await (const page of readFrom(url, topic, partition, 0)) records.push(...page);
  return records;
}

/** Commits a group's offset; the status says how it went. */
export async function commit(
  url: string,
  topic: string,
  group: string,
  partition: number,
  offset: number,
): Promise<number> {
  const reply = await post(url, "/broker/commit", { topic, group, partition, offset });
  await reply.text();
  return reply.status;
}

/** What a group has committed; -1 for nothing. */
export async function committedOffset(
  url: string,
  topic: string,
  group: string,
  partition: number,
): Promise<number> {
  const reply = await call(url, `/broker/consume/${topic}/${group}/${partition}?limit=1`);
  const { committed_offset } = (await reply.json()) as { readonly committed_offset: number | null };
  return committed_offset ?? -1;
}

/** `last_synced_batch_id`. */
export async function lastSyncedBatchId(url: string): Promise<number> {
  const reply = await call(url, "/admin/sealed/status");
  const fields = (await reply.json()) as { readonly last_synced_batch_id: number };
  return fields.last_synced_batch_id;
}

/** Numbers of `/metrics`, all of one moment; a name with several label sets gives their sum. */
export async function metrics(url: string, names: readonly string[]): Promise<readonly number[]> {
  const lines = (await (await call(url, "/metrics")).text()).split("\n");
  return names.map((name) =>
    lines
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0),
  );
}
