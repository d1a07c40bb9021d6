// The calls that are passed on to a visitor's node: what each takes is read field by field, and nothing else goes through.

import {
  CONSUME_RECORDS_MAX,
  PARTITION_BYTES_MAX,
  PARTITIONS_MAX,
  TOPICS_MAX,
  VALUE_BYTES_MAX,
  VISITOR_BYTES_MAX,
} from "./bounds.ts";
import { json, refusal } from "./replies.ts";
import type { NodeReply, Visitor } from "./visitor.ts";

const NAME = /^[A-Za-z0-9._-]{1,120}$/;
const KEY_CHARS_MAX = 200;

/** What the page sends. */
export type Fields = Readonly<Record<string, unknown>>;

/** A call: its fields were sent as JSON. */
export type Call = (visitor: Visitor, fields: Fields) => Promise<Response>;

const isName = (value: unknown): value is string => typeof value === "string" && NAME.test(value);
const isWhole = (value: unknown, max: number): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;

const wrong = (message: string): Response => refusal("bad_request", message);
const WRONG_TOPIC = "A topic has 1 to 120 of the characters A-Z a-z 0-9 . _ -";
const WRONG_PARTITION = `A partition is a number from 0 to ${PARTITIONS_MAX - 1}`;

/** What the node said, as it said it. */
const passed = (reply: NodeReply | undefined): Response =>
  reply === undefined
    ? refusal("node_not_ready", "Your node does not answer at the moment")
    : json(reply.fields, reply.status);

const createTopic: Call = async (visitor, { topic, partitions }) => {
  if (!isName(topic)) return wrong(WRONG_TOPIC);
  if (!isWhole(partitions, PARTITIONS_MAX) || partitions === 0)
    return wrong(`A topic has 1 to ${PARTITIONS_MAX} partitions here`);
  const listed = await visitor.call("GET", "/broker/topics");
  const topics = (listed?.fields["topics"] ?? []) as readonly { readonly topic: string }[];
  if (topics.length >= TOPICS_MAX && !topics.some((known) => known.topic === topic))
    return refusal("too_many_topics", `Your node has ${TOPICS_MAX} topics, and gets no more here`);
  const retention = { max_bytes: PARTITION_BYTES_MAX };
  const body = JSON.stringify({ name: topic, partitions, retention });
  return passed(await visitor.call("POST", "/broker/topics", body));
};

const produce: Call = async (visitor, { topic, partition, key, value }) => {
  if (!isName(topic)) return wrong(WRONG_TOPIC);
  if (partition !== undefined && !isWhole(partition, PARTITIONS_MAX - 1))
    return wrong(WRONG_PARTITION);
  if (key !== undefined && (typeof key !== "string" || key.length > KEY_CHARS_MAX))
    return wrong(`A key is text of up to ${KEY_CHARS_MAX} characters here`);
  if (typeof value !== "string") return wrong("A value is text here");
  const bytes = Buffer.byteLength(value);
  if (bytes > VALUE_BYTES_MAX) return wrong(`A value has up to ${VALUE_BYTES_MAX} bytes here`);
  if (visitor.writtenBytes + bytes > VISITOR_BYTES_MAX)
    return refusal(
      "written_enough",
      "Your node has taken all that a visitor may write: start over",
    );
  // An empty value counts, too: its record is not free.
  visitor.writtenBytes += bytes + KEY_CHARS_MAX;
  const query = new URLSearchParams();
  if (partition !== undefined) query.set("partition", String(partition));
  if (key !== undefined && key !== "") query.set("key", key);
  return passed(await visitor.call("POST", `/broker/topics/${topic}/produce?${query}`, value));
};

const consume: Call = async (visitor, { topic, group, partition }) => {
  if (!isName(topic)) return wrong(WRONG_TOPIC);
  if (!isName(group)) return wrong("A group has a name like a topic");
  if (!isWhole(partition, PARTITIONS_MAX - 1)) return wrong(WRONG_PARTITION);
  const path = `/broker/consume/${topic}/${group}/${partition}?limit=${CONSUME_RECORDS_MAX}`;
  return passed(await visitor.call("GET", path));
};

const commit: Call = async (visitor, { topic, group, partition, offset }) => {
  if (!isName(topic)) return wrong(WRONG_TOPIC);
  if (!isName(group)) return wrong("A group has a name like a topic");
  if (!isWhole(partition, PARTITIONS_MAX - 1)) return wrong(WRONG_PARTITION);
  if (!isWhole(offset, Number.MAX_SAFE_INTEGER)) return wrong("An offset is a number from 0");
  const body = JSON.stringify({ topic, group, partition, offset });
  return passed(await visitor.call("POST", "/broker/commit", body));
};

/** Topics, partitions, groups and members, without anything that says where the node is. */
const view: Call = async (visitor) => {
  const [topics, members] = await Promise.all([
    visitor.call("GET", "/broker/topics"),
    visitor.call("GET", "/ha/membership"),
  ]);
  const membership = members?.fields["membership"] as
    | { readonly nodes: readonly Readonly<Record<string, unknown>>[] }
    | undefined;
  return json({
    ok: true,
    state: visitor.state,
    left_ms: Math.round(visitor.leftMs(performance.now())),
    written_bytes: visitor.writtenBytes,
    written_bytes_max: VISITOR_BYTES_MAX,
    topics: topics?.fields["topics"] ?? [],
    nodes: (membership?.nodes ?? []).map((node) => ({
      node_id: node["node_id"],
      is_voter: node["is_voter"],
      is_learner: node["is_learner"],
    })),
  });
};

/** All calls, by path; each is a POST with a JSON object. */
export const CALLS: Readonly<Record<string, Call>> = {
  "/api/view": view,
  "/api/topics": createTopic,
  "/api/produce": produce,
  "/api/consume": consume,
  "/api/commit": commit,
};
