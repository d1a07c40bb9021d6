// The calls of the HTTP API that a proof makes, and what each reply means: done, surely not done, or nobody knows.

import type { RequestShape } from "../load/mod.ts";
import { type Answer, Connection, NoAnswer } from "./connection.ts";
import { type Placement, type ReadRecord, recordValues, type WriteRequest } from "./ledger.ts";

const PAGE_RECORDS = 1000;
const ENCODER = new TextEncoder();

/** What became of a write. */
export type Outcome<T> =
  | { readonly kind: "done"; readonly value: T }
  /** Nothing was stored. `leaderUrl`: who would take it. */
  | { readonly kind: "refused"; readonly leaderUrl: string | undefined }
  /** It may have been stored. */
  | { readonly kind: "unknown" };

/** What a consumer gets. */
export interface Page {
  readonly records: readonly ReadRecord[];
  readonly nextOffset: number;
  readonly isTruncated: boolean;
}

/** What replies have, as far as a proof looks at it. */
interface ReplyFields {
  readonly partition?: number;
  readonly offset?: number;
  readonly first_offset?: number;
  readonly count?: number;
  readonly duplicate?: boolean;
  readonly synced?: boolean | null;
  readonly leader_url?: string;
  readonly applied_index?: number;
  readonly hash?: string;
  readonly messages?: readonly ReadRecord[];
  readonly next_offset?: number;
  readonly truncated?: boolean;
}

/** A reply that no promise of the API allows for. */
export class WrongReply extends Error {
  override readonly name = "WrongReply";
}

/** A connection that speaks the API, as the holder of a token. */
export class Client implements Disposable {
  readonly url: string;
  readonly #connection: Connection;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(url: string, token: string) {
    this.url = url;
    this.#connection = new Connection(url);
    this.#headers = { authorization: `Bearer ${token}` };
  }

  /** Creates a topic, or finds it there. */
  async createTopic(name: string, partitions: number): Promise<Outcome<true>> {
    return await this.#write("/broker/topics", JSON.stringify({ name, partitions }), () => true);
  }

  /** Sends a write. A reply that says `synced:false` is no acknowledgement. */
  async produce(topic: string, request: WriteRequest): Promise<Outcome<Placement>> {
    const { partition, count, idempotencyKey } = request;
    const query = new URLSearchParams();
    if (partition !== undefined) query.set("partition", String(partition));
    if (idempotencyKey !== undefined) query.set("idempotency_key", idempotencyKey);
    const route = count === 1 ? "produce" : "produce-ndjson";
    const path = `/broker/topics/${topic}/${route}?${query}`;
    return await this.#write(path, recordValues(request).join("\n"), (fields) => {
      const isDuplicate = fields.duplicate === true;
      if (!isDuplicate && fields.synced !== true) return undefined;
      return {
        partition: Number(fields.partition),
        offset: Number(fields.first_offset ?? fields.offset),
        count: Number(fields.count ?? 1),
        isDuplicate,
      };
    });
  }

  /** Commits a group's offset. */
  async commit(
    topic: string,
    group: string,
    partition: number,
    offset: number,
  ): Promise<Outcome<true>> {
    const body = JSON.stringify({ topic, group, partition, offset });
    return await this.#write("/broker/commit", body, () => true);
  }

  /** Reads from where the group stands, or from `offset`. Undefined: this node cannot tell at the moment. */
  async consume(
    topic: string,
    group: string,
    partition: number,
    options: { readonly offset?: number; readonly waitMs?: number; readonly limit?: number } = {},
  ): Promise<Page | undefined> {
    const { offset, waitMs, limit = PAGE_RECORDS } = options;
    // Linearizable: what is acknowledged must be there, on whichever node is asked.
    const query = new URLSearchParams({ consistency: "linearizable", limit: String(limit) });
    if (offset !== undefined) query.set("offset", String(offset));
    if (waitMs !== undefined) query.set("wait_ms", String(waitMs));
    const path = `/broker/consume/${topic}/${group}/${partition}?${query}`;
    const answer = await this.#ask({ method: "GET", path, headers: this.#headers });
    if (answer === undefined || answer.status >= 500) return undefined;
    if (answer.status !== 200) throw wrong("GET", path, answer);
    const { messages = [], next_offset: nextOffset = 0, truncated = false } = fieldsOf(answer);
    return {
      records: messages.map(({ offset: place, value }) => ({ offset: place, value })),
      nextOffset,
      isTruncated: truncated,
    };
  }

  /** The state of the node in one number, and where in the log it was taken. */
  async stateHash(): Promise<{ readonly index: number; readonly hash: string } | undefined> {
    const answer = await this.#ask({
      method: "GET",
      path: "/admin/state-hash",
      headers: this.#headers,
    });
    if (answer?.status !== 200) return undefined;
    const fields = fieldsOf(answer);
    return { index: Number(fields.applied_index), hash: String(fields.hash) };
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }

  async #ask(shape: RequestShape): Promise<Answer | undefined> {
    try {
      return await this.#connection.request(shape);
    } catch (error) {
      if (error instanceof NoAnswer) return undefined;
      throw error;
    }
  }

  async #write<T>(
    path: string,
    body: string,
    read: (fields: ReplyFields) => T | undefined,
  ): Promise<Outcome<T>> {
    let answer: Answer;
    try {
      answer = await this.#connection.request({
        method: "POST",
        path,
        headers: this.#headers,
        body: ENCODER.encode(body),
      });
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      return error.wasSent ? { kind: "unknown" } : { kind: "refused", leaderUrl: undefined };
    }
    switch (answer.status) {
      case 200: {
        const value = read(fieldsOf(answer));
        return value === undefined ? { kind: "unknown" } : { kind: "done", value };
      }
      case 307:
      case 308: {
        const { leader_url: leaderUrl } = fieldsOf(answer);
        return { kind: "refused", leaderUrl };
      }
      case 503:
        return { kind: "refused", leaderUrl: undefined };
      case 504:
        return { kind: "unknown" };
      default:
        throw wrong("POST", path, answer);
    }
  }
}

const wrong = (method: string, path: string, { status, body }: Answer): WrongReply =>
  new WrongReply(`${method} ${path} was answered with ${status}: ${body.slice(0, 200)}`);

function fieldsOf({ status, body }: Answer): ReplyFields {
  try {
    return JSON.parse(body) as ReplyFields;
  } catch {
    throw new WrongReply(`A reply with status ${status} is no JSON: ${body.slice(0, 200)}`);
  }
}
