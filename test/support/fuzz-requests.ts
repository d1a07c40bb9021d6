// Requests after the served OpenAPI document: every route, with parameters, bodies and headers that are valid, at an edge, or
// spoiled. Each carries a marker of its own, and says where its reply must show it.

import { gzipSync } from "node:zlib";
import type { Prng } from "../../src/lib/prng.ts";
import {
  type FuzzSchema,
  looseJson,
  NASTY_TEXTS,
  nastyValue,
  oneOf,
  spoilBytes,
  spoilValue,
  validValue,
} from "./fuzz-values.ts";

/** A route of the document. */
export interface FuzzRoute {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: "path" | "query";
    readonly schema: FuzzSchema;
  }[];
  /** `bytes`: taken as they are. */
  readonly body: FuzzSchema | "bytes" | undefined;
  readonly isOpen: boolean;
}

/** A request, ready to be sent. */
export interface FuzzRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly bytes: Uint8Array;
  /** What no reply to another request may show. */
  readonly marker: string;
  /** Its reply shows the marker when it is one of these errors. */
  readonly echoes: readonly string[];
}

interface Document {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<
        Record<
          string,
          {
            readonly parameters?: FuzzRoute["parameters"];
            readonly requestBody?: {
              readonly content: Readonly<Record<string, { readonly schema: FuzzSchema }>>;
            };
            readonly security?: readonly unknown[];
          }
        >
      >
    >
  >;
}

/** Every route of a document. */
export function routesOf(document: unknown): readonly FuzzRoute[] {
  return Object.entries((document as Document).paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => {
      const content = operation.requestBody?.content;
      const body = content?.["application/json"]?.schema;
      return {
        method: method.toUpperCase(),
        path,
        parameters: operation.parameters ?? [],
        body: body ?? (content === undefined ? undefined : ("bytes" as const)),
        isOpen: operation.security !== undefined,
      };
    }),
  );
}

/** What a reply may show of the request that it belongs to. */
export const MARKER = /q\d+q\d+q/g;

/** Routes whose requests must not reach what is not the fuzzer's: they get the token of the fuzzer's topics, which cannot. */
const WHOLE_NODE = /^\/(admin\/(?!sealed\/gc)|ha\/)/;
/** Pages of a megabyte, which take time and are the same each time. */
const LARGE = /^\/(swagger|openapi|docs|admin\/backup)/;
/** The one member of the node, and what would take records of everyone. */
const FORBIDDEN = /"node1"|node1|"\*"/;

/** Draws requests. */
export class Requests {
  readonly #random: Prng;
  readonly #routes: readonly FuzzRoute[];
  readonly #seed: number;
  #count = 0;

  constructor(random: Prng, routes: readonly FuzzRoute[], seed: number) {
    this.#random = random;
    this.#routes = routes;
    this.#seed = seed;
  }

  /** A marker that was never used. */
  marker(): string {
    return `q${this.#seed}q${++this.#count}q`;
  }

  /** One request to any route. */
  any(): FuzzRequest {
    const route = oneOf(this.#random, this.#routes);
    return LARGE.test(route.path) && this.#random.chance(0.9) ? this.any() : this.to(route);
  }

  /** One request that is answered with its marker and changes nothing. */
  echo(): FuzzRequest {
    const marker = this.marker();
    const kind = this.#random.below(3);
    if (kind === 0) return this.#finish("GET", `/nothing/${marker}`, marker, ["route_not_found"]);
    if (kind === 1) {
      const target = `/broker/topics/fuzz.${marker}`;
      return this.#finish("GET", target, marker, ["topic_not_found"]);
    }
    const target = `/broker/topics/fuzz.${marker}/produce?partition=0`;
    return this.#finish("POST", target, marker, ["topic_not_found"], Buffer.from(marker));
  }

  /** Appends the marker to a topic. */
  produce(topic: string, marker = this.marker()): FuzzRequest {
    const target = `/broker/topics/${topic}/produce?partition=0`;
    return this.#finish("POST", target, marker, [], Buffer.from(marker));
  }

  /** One request to a route. */
  to(route: FuzzRoute): FuzzRequest {
    const random = this.#random;
    const marker = this.marker();
    let isEcho = false;
    const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => {
      const parameter = route.parameters.find((one) => one.name === name);
      if (name === "topic" && random.chance(0.2)) {
        isEcho = true;
        return `fuzz.${marker}`;
      }
      if (random.chance(0.08)) return oneOf(random, NASTY_TEXTS).replace(/[\s?#]/g, "_") || "_";
      return String(validValue(random, parameter?.schema ?? {}, name) || "x").replace(/\s/g, "_");
    });
    const query = route.parameters
      .filter((one) => one.in === "query" && random.chance(0.35))
      .map(({ name, schema }) => {
        if (isLong(name, route.path)) return `${name}=${random.below(40)}`;
        if (random.chance(0.12)) return `${name}=${plain(oneOf(random, NASTY_TEXTS))}`;
        if (random.chance(0.02)) return `${name}=1&${name}=2`;
        return `${name}=${plain(String(validValue(random, schema, name)))}`;
      });
    if (random.chance(0.05)) query.push(`${plain(oneOf(random, NASTY_TEXTS))}=${marker}`);
    const body = this.#body(route, marker);
    const method = random.chance(0.02)
      ? oneOf(random, ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
      : route.method;
    const target = `${path}${query.length > 0 ? `?${query.join("&")}` : ""}`;
    const echoes = isEcho ? ["topic_not_found"] : [];
    return this.#finish(method, target, marker, echoes, body, WHOLE_NODE.test(path));
  }

  #body(route: FuzzRoute, marker: string): Uint8Array | undefined {
    const random = this.#random;
    if (route.body === undefined) return random.chance(0.02) ? Buffer.from(marker) : undefined;
    if (route.body === "bytes") return this.#records(marker);
    const value = validValue(random, route.body);
    const spoiled = random.chance(0.4) ? spoilValue(random, value) : value;
    const text = looseJson(random, spoiled);
    const bytes = Buffer.from(FORBIDDEN.test(text) && WHOLE_NODE.test(route.path) ? "{}" : text);
    if (random.chance(0.02)) return new Uint8Array(gzipSync(bytes));
    return random.chance(0.05) ? spoilBytes(random, bytes) : bytes;
  }

  #records(marker: string): Uint8Array {
    const random = this.#random;
    switch (random.below(6)) {
      case 0:
        return Buffer.alloc(random.below(300), random.below(256));
      case 1: {
        const lines = Array.from({ length: random.below(30) }, () =>
          JSON.stringify(nastyValue(random)),
        );
        return Buffer.from(lines.join(oneOf(random, ["\n", "\r\n", "\n\n", "\r"])));
      }
      case 2:
        return Buffer.from(`{"a":${random.below(100)},"ts":${random.u32()},"id":"${marker}"}`);
      case 3:
        return new Uint8Array(gzipSync(marker));
      default:
        return Buffer.from(marker);
    }
  }

  #finish(
    method: string,
    target: string,
    marker: string,
    echoes: readonly string[],
    body?: Uint8Array,
    isWholeNode = false,
  ): FuzzRequest {
    const random = this.#random;
    const token = isWholeNode && !FORBIDDEN.test(target) ? "whole" : "fuzz";
    const draw = random.below(100);
    const authorization =
      draw < 94 ? `Bearer ${token}` : draw < 97 ? `Bearer ${marker}` : oneOf(random, NASTY_HEADERS);
    const lines = [`${method} ${target} HTTP/1.1`, "Host: node", `Authorization: ${authorization}`];
    if (draw === 99) lines.splice(2, 1);
    if (random.chance(0.1)) lines.push(`Accept: ${oneOf(random, ACCEPTS)}`);
    if (random.chance(0.1)) lines.push(`Content-Type: ${oneOf(random, TYPES)}`);
    if (random.chance(0.02)) lines.push("Content-Encoding: gzip");
    if (random.chance(0.05))
      lines.push(`${oneOf(random, EXTRA_NAMES)}: ${oneOf(random, NASTY_HEADERS)}`);
    const isChunked = body !== undefined && random.chance(0.2);
    if (isChunked) lines.push("Transfer-Encoding: chunked");
    else if (body !== undefined || method === "POST" || method === "PUT")
      lines.push(`Content-Length: ${body?.length ?? 0}`);
    const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
    const content = body === undefined ? [] : isChunked ? chunks(random, body) : [body];
    return {
      method,
      target,
      marker,
      echoes: draw < 94 ? echoes : [],
      bytes: new Uint8Array(Buffer.concat([head, ...content])),
    };
  }
}

const ACCEPTS = ["application/x-ndjson", "text/event-stream", "*/*", "application/json;q=0.1", ","];
const TYPES = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "x"];
const EXTRA_NAMES = [
  "Last-Event-ID",
  "ce-id",
  "ce-source",
  "X-Anything",
  "Range",
  "Expect",
  "Cookie",
  "Origin",
];
const NASTY_HEADERS = [
  "",
  "Bearer",
  "Bearer ",
  "Basic ZGV2OmRldg==",
  "\u00ff\u00fe",
  "x".repeat(3000),
  "-1",
  "bytes=0-",
  'a,b;c="d',
];

/** Waits that would hold the fuzzer up. */
const isLong = (name: string, path: string): boolean =>
  name === "wait_ms" || (name === "timeout_ms" && path.includes("consume"));

const plain = (text: string): string => text.replace(/[\s#]/g, "+");

/** A body in chunks, with or without extensions. */
function chunks(random: Prng, body: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < body.length; ) {
    const size = Math.min(body.length - at, 1 + random.below(body.length));
    const extension = random.chance(0.1) ? ";a=b" : "";
    pieces.push(
      Buffer.from(`${size.toString(16)}${extension}\r\n`),
      body.subarray(at, at + size),
      Buffer.from("\r\n"),
    );
    at += size;
  }
  pieces.push(Buffer.from("0\r\n\r\n"));
  return pieces;
}
