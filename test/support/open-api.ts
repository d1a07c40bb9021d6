// Holds replies to the OpenAPI document that the server itself serves.

import { type JsonSchema, schemaProblems } from "./json-schema.ts";

interface Operation {
  readonly responses: Readonly<Record<string, JsonSchema>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

/** The document of a running server. */
export class OpenApi {
  readonly #document: Document;

  constructor(document: unknown) {
    this.#document = document as Document;
  }

  /** Finds the operation of a request; undefined when the document has none. */
  #operation(method: string, pathname: string): Operation | undefined {
    const segments = pathname.split("/");
    for (const [path, operations] of Object.entries(this.#document.paths)) {
      const pattern = path.split("/");
      const isMatch =
        pattern.length === segments.length &&
        pattern.every((segment, i) => segment.startsWith("{") || segment === segments[i]);
      const operation = operations[method.toLowerCase()];
      if (isMatch && operation !== undefined) return operation;
    }
    return undefined;
  }

  /** What is wrong with a reply; empty when the document describes it. */
  problems(
    method: string,
    pathname: string,
    status: number,
    contentType: string,
    body: unknown,
  ): string[] {
    const operation = this.#operation(method, keyAsOnePart(pathname));
    // Unknown routes and wrong methods answer in the form of every error.
    const responses = operation?.responses ?? { "4XX": { $ref: "#/components/responses/Refused" } };
    const named = responses[String(status)] ?? responses[`${String(status)[0]}XX`];
    if (named === undefined) return [`${method} ${pathname}: ${status} is not documented`];
    const { content: described } = this.#resolved(named);
    const content = described as Readonly<Record<string, { schema: JsonSchema }>> | undefined;
    const media = content?.[contentType.split(";")[0] ?? ""];
    if (media === undefined)
      return [`${method} ${pathname}: ${status} ${contentType} is not documented`];
    return schemaProblems(media.schema, body, (reference) => this.#resolve(reference));
  }

  #resolved(schema: JsonSchema): JsonSchema {
    const { $ref: reference } = schema;
    return typeof reference === "string" ? this.#resolve(reference) : schema;
  }

  #resolve(reference: string): JsonSchema {
    let place: unknown = this.#document;
    for (const key of reference.split("/").slice(1))
      place = (place as Record<string, unknown>)[key];
    return place as JsonSchema;
  }
}

/** The document shows a key as one part of its path; a real one may have slashes. */
function keyAsOnePart(pathname: string): string {
  const match = /^\/kv\/([^/]+)\/(.+?)(\/meta)?$/.exec(pathname);
  if (match === null) return pathname;
  const [, namespace = "", key = "", meta = ""] = match;
  return `/kv/${namespace}/${key.replaceAll("/", "%2F")}${meta}`;
}
