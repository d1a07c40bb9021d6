// One visitor: a node of their own on a directory of its own, what they have done with it, and when it ends.

import { makeScratch, type NodeProcess, type Scratch, startNode } from "../proof/mod.ts";
import { Allowance } from "./allowance.ts";
import {
  CALL_MS_MAX,
  CALLS_BURST,
  CALLS_PER_SECOND,
  IDLE_MS_MAX,
  NODE_SETTINGS,
  VISIT_MS_MAX,
} from "./bounds.ts";

const TOKEN_BYTES = 24;

/** What visitors' nodes are started with. */
export interface NodeOptions {
  readonly program: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What a visitor's node answered. */
export interface NodeReply {
  readonly status: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A visitor and their node. Disposing of them ends the node and removes its directory. */
export class Visitor implements AsyncDisposable {
  readonly calls: Allowance;
  readonly #scratch: Scratch;
  readonly #node: NodeProcess;
  readonly #token = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES)).toHex();
  readonly #leaving = new AbortController();
  readonly #bornMs: number;
  #seenMs: number;
  #url: string | undefined;
  /** Bytes of values written so far. */
  writtenBytes = 0;
  /** When their last proof began, or ended. */
  provedMs = Number.NEGATIVE_INFINITY;
  isProving = false;

  constructor({ program, env }: NodeOptions, nowMs: number) {
    this.calls = new Allowance(CALLS_BURST, CALLS_PER_SECOND, nowMs);
    this.#bornMs = nowMs;
    this.#seenMs = nowMs;
    this.#scratch = makeScratch("sandbox");
    this.#node = startNode({
      program,
      env: { ...env, ...NODE_SETTINGS, RF_BEARER_TOKENS: this.#token },
      dataDir: this.#scratch.directory("node1"),
    });
    this.#node.ready(this.#leaving.signal).then(
      (url) => {
        this.#url = url;
      },
      () => undefined, // It shows as ended, or it was told to end.
    );
  }

  /** How the node is. */
  get state(): "starting" | "ready" | "ended" {
    if (!this.#node.isAlive) return "ended";
    return this.#url === undefined ? "starting" : "ready";
  }

  /** The visitor is there. */
  seen(nowMs: number): void {
    this.#seenMs = nowMs;
  }

  /** Milliseconds until the visit ends if the visitor does nothing any more; 0: it is over. */
  leftMs(nowMs: number): number {
    // Who watches a proof is there.
    const idleMs = this.isProving ? 0 : nowMs - this.#seenMs;
    return Math.max(0, Math.min(IDLE_MS_MAX - idleMs, VISIT_MS_MAX - (nowMs - this.#bornMs)));
  }

  /** Calls the node as its only holder of a token. Undefined: it does not answer. */
  async call(method: "GET" | "POST", path: string, body?: string): Promise<NodeReply | undefined> {
    if (this.#url === undefined) return undefined;
    try {
      const reply = await fetch(`${this.#url}${path}`, {
        method,
        headers: { authorization: `Bearer ${this.#token}` },
        // A kept connection that breaks makes fetch send a request twice.
        keepalive: false,
        redirect: "error",
        signal: AbortSignal.timeout(CALL_MS_MAX),
        ...(body !== undefined && { body }),
      });
      return { status: reply.status, fields: (await reply.json()) as NodeReply["fields"] };
    } catch {
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving.abort(new Error("The visit is over"));
    await this.#node[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}
