// The client of the contract tests: sends what a test says, and holds every JSON reply to the served document.

import { expect } from "bun:test";
import { OpenApi } from "../../support/open-api.ts";

/** The server under test. */
export interface ContractServer {
  /** Without a slash at its end. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Settings that every server of the suite runs with. */
export const CONTRACT_SETTINGS = {
  RF_BEARER_TOKENS:
    "dev,reader@read,writer@write,narrow@write=narrow.*,exact@read=exact,local@admin=narrow.*,slow@1:2:1000,daily@1000:1000:1",
  RF_HTTP_ADDR: "127.0.0.1:0",
  RF_LOG_LEVEL: "error",
} as const;

/** What a call sends beside its path. */
export interface CallOptions {
  readonly body?: string | Uint8Array | object;
  readonly headers?: Readonly<Record<string, string>>;
  /** Null: no `Authorization` header at all. */
  readonly token?: string | null;
}

/** A reply, read whole. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: a test says by its assertions what is in there.
  readonly json: any;
}

let topics = 0;

/** A name that no other test uses. */
export const freshName = (prefix = "t"): string => `${prefix}.${process.pid}.${++topics}`;

/** Calls one server. */
export class ContractClient {
  readonly url: string;
  readonly #openApi: OpenApi;

  private constructor(url: string, openApi: OpenApi) {
    this.url = url;
    this.#openApi = openApi;
  }

  /** Reads the document of the server at `url`. */
  static async connect(url: string): Promise<ContractClient> {
    return new ContractClient(url, new OpenApi(await (await fetch(`${url}/openapi.json`)).json()));
  }

  /** Sends one request and checks its reply against the document. */
  async call(method: string, path: string, options: CallOptions = {}): Promise<Reply> {
    const { body, headers, token = "dev" } = options;
    const response = await fetch(`${this.url}${path}`, {
      method,
      redirect: "manual",
      headers: {
        // What `curl -d` sends, whatever the body is.
        ...(body !== undefined && { "content-type": "application/x-www-form-urlencoded" }),
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(body !== undefined && {
        body:
          typeof body === "string" || body instanceof Uint8Array
            ? (body as string)
            : JSON.stringify(body),
      }),
    });
    const text = await response.text();
    const type = response.headers.get("content-type") ?? "";
    const json: unknown =
      type === "application/json" && method !== "HEAD" ? JSON.parse(text) : undefined;
    if (json !== undefined) {
      const { pathname } = new URL(`${this.url}${path}`);
      expect(this.#openApi.problems(method, pathname, response.status, type, json)).toEqual([]);
    }
    return { status: response.status, headers: response.headers, text, json };
  }

  get(path: string, options?: CallOptions): Promise<Reply> {
    return this.call("GET", path, options);
  }

  post(path: string, body: CallOptions["body"], options?: CallOptions): Promise<Reply> {
    return this.call("POST", path, { ...options, ...(body !== undefined && { body }) });
  }

  /** Makes a topic of its own for a test. */
  async topic(partitions = 2, name = freshName()): Promise<string> {
    const made = await this.post("/broker/topics", { name, partitions });
    expect(made.json).toEqual({ ok: true, topic: name, partitions });
    return name;
  }

  /** Appends records to partition 0, one by one. */
  async produce(topic: string, ...values: readonly (string | Uint8Array)[]): Promise<void> {
    for (const value of values) {
      const reply = await this.post(`/broker/topics/${topic}/produce?partition=0`, value);
      expect(reply.status).toBe(200);
    }
  }

  /** Sends a request that must be refused, and answers its body. */
  async refused(reply: Promise<Reply>, status: number, code: string): Promise<Reply["json"]> {
    const { status: seen, json } = await reply;
    expect({ status: seen, ok: json?.ok, error: json?.error }).toEqual({
      status,
      ok: false,
      error: code,
    });
    return json;
  }
}
