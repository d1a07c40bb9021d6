// Requests to nodes of a cluster, one at a time: redirects are followed by hand, with the token.

import type { Cluster, ClusterNode } from "./cluster-process.ts";
import { readAll } from "./node-client.ts";

const REQUEST_MS_MAX = 20_000;

/** The fields of replies that are looked at. */
export interface ReplyFields {
  readonly ok?: boolean;
  readonly error?: string;
  readonly outcome?: string;
  /** Of `/ready`. */
  readonly reason?: string;
  readonly synced?: boolean | null;
  readonly duplicate?: boolean;
  readonly offset?: number;
  readonly first_offset?: number;
  readonly partition?: number;
  readonly batch_id?: number;
  readonly count?: number;
  readonly messages?: readonly { readonly offset: number; readonly value: string }[];
  readonly next_offset?: number;
  readonly committed_offset?: number | null;
  readonly truncated?: boolean;
  readonly leader_url?: string;
  readonly redirect?: { readonly status: number; readonly location: string };
  readonly node_id?: string;
  readonly role?: string;
  readonly removed?: boolean;
}

/** A reply in JSON. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly fields: ReplyFields;
}

/** What a write may say besides. */
export interface WriteOptions {
  readonly partition?: number;
  readonly ack?: "leader" | "majority" | "all";
  readonly timeoutMs?: number;
  readonly key?: string;
}

/** Sends one request to one node and takes what it says. */
export async function send(
  node: ClusterNode,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
): Promise<Reply> {
  const reply = await node.ask(path, {
    method,
    signal: AbortSignal.timeout(REQUEST_MS_MAX),
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const fields = (await reply.json()) as ReplyFields;
  return { status: reply.status, headers: reply.headers, fields };
}

/** Sends one request to a node, and to where that node sends it. */
export async function sendOn(
  cluster: Cluster,
  node: ClusterNode,
  path: string,
  body: unknown,
): Promise<Reply> {
  const reply = await send(node, "POST", path, body);
  if (reply.status !== 307) return reply;
  const leader = cluster.nodes.find(({ url }) => url === reply.fields.leader_url);
  if (leader === undefined) throw new Error(`Nobody is at ${reply.fields.leader_url}`);
  const { location = "" } = reply.fields.redirect ?? {};
  return await send(leader, "POST", location.slice(leader.url.length), body);
}

/** The path of a write. */
export function producePath(topic: string, options: WriteOptions = {}): string {
  const { partition = 0, ack, timeoutMs, key } = options;
  const query = new URLSearchParams({ partition: String(partition) });
  if (ack !== undefined) query.set("ack", ack);
  if (timeoutMs !== undefined) query.set("timeout_ms", String(timeoutMs));
  if (key !== undefined) query.set("idempotency_key", key);
  return `/broker/topics/${topic}/produce?${query}`;
}

/** Writes one record at one node. */
export const write = (
  node: ClusterNode,
  topic: string,
  value: string,
  options: WriteOptions = {},
): Promise<Reply> => send(node, "POST", producePath(topic, options), value);

/** Creates a topic at the leader, once there is one. */
export async function makeTopic(cluster: Cluster, name: string, partitions = 1): Promise<void> {
  await cluster.until(`topic ${name} is made`, async () => {
    const leader = await cluster.leader();
    const reply = await send(leader, "POST", "/broker/topics", { name, partitions });
    return reply.status === 200;
  });
}

/**
 * Writes records one after the other, each until it is stored, at whoever leads. Values are their own keys.
 * @returns their offsets.
 */
export async function store(
  cluster: Cluster,
  topic: string,
  values: readonly string[],
): Promise<readonly number[]> {
  const offsets: number[] = [];
  let target: ClusterNode | undefined;
  for (const value of values) {
    const offset = await cluster.until(`${value.slice(0, 40)} is stored`, async () => {
      target ??= await cluster.leaderNow();
      const reply =
        target &&
        (await write(target, topic, value, { key: Bun.hash.wyhash(value).toString(36) }).catch(
          () => undefined,
        ));
      if (reply?.status === 200) return reply.fields.offset;
      target = undefined;
      return undefined;
    });
    offsets.push(offset);
  }
  return offsets;
}

/** Names of records that are told apart. */
export const names = (prefix: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `${prefix} ${i}`);

/** Values of a partition as one node has them. */
export const valuesOf = async (node: ClusterNode, topic: string): Promise<readonly string[]> =>
  (await readAll(node.url, topic, 0)).map(({ value }) => value);

/** Writes many large records in batches, until the log has grown by about so many bytes. */
export async function fill(cluster: Cluster, topic: string, bytes: number): Promise<void> {
  const leader = await cluster.leader();
  const value = "x".repeat(2000);
  const body = Array.from({ length: 100 }, () => value).join("\n");
  for (let written = 0; written < bytes; written += body.length) {
    const reply = await send(
      leader,
      "POST",
      `/broker/topics/${topic}/produce-ndjson?partition=0`,
      body,
    );
    if (reply.status !== 200) throw new Error(JSON.stringify(reply.fields));
  }
}

/** Whether a request failed because nobody listened: nothing of it can have been stored. */
export const isRefused = (error: unknown): boolean =>
  ["ConnectionRefused", "ECONNREFUSED"].includes(
    String((error as { readonly code?: unknown }).code),
  );
