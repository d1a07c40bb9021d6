// Makes the OpenAPI document from what routes say of themselves. The plugin prints what it is handed and reads
// no schema by itself: it knows none of valibot's, and would put their inside into the document.

import { swagger } from "@elysiajs/swagger";
import { toJsonSchema } from "@valibot/to-json-schema";
import { Elysia } from "elysia";
import * as v from "valibot";
import { ERRORS } from "./errors.ts";
import { isWrite, type RouteDoc } from "./route.ts";
import type { ParameterSchema } from "./schemas/check.ts";
import type { ParameterFacts } from "./schemas/parameters.ts";
import { ErrorReply, RedirectReply } from "./schemas/replies.ts";

const TAGS: Readonly<Record<RouteDoc["tag"], string>> = {
  topics: "Making, listing and deleting topics",
  records: "Appending and reading records",
  groups: "Where consumer groups stand",
  retention: "Removing records",
  streams: "Queries and joins over records",
  keys: "A key-value store: compare-and-set, time to live, watch",
  cluster: "The nodes, and who of them decides",
  node: "Health, metrics and administration",
  docs: "These documents",
};

/** A schema as the document shows it. The default target is not valid in OpenAPI 3.0. */
function schemaOf(schema: v.GenericSchema): Record<string, unknown> {
  const { $schema: _, ...rest } = toJsonSchema(schema, {
    target: "openapi-3.0",
    typeMode: "input",
    // Checks by a function cannot be shown; their rule stands beside them as a pattern or in words.
    ignoreActions: ["check", "raw_transform"],
  });
  return withoutEmptyLists(rest);
}

/** An empty `required` is not valid in OpenAPI 3.0. */
function withoutEmptyLists(schema: object): Record<string, unknown> {
  const text = JSON.stringify(schema, (key, value: unknown) =>
    key === "required" && Array.isArray(value) && value.length === 0 ? undefined : value,
  );
  return JSON.parse(text) as Record<string, unknown>;
}

function parametersOf(place: "path" | "query", schema: ParameterSchema | undefined): object[] {
  return Object.entries(schema?.entries ?? {}).map(([name, entry]) => {
    const described =
      (entry as { readonly wrapped?: v.GenericSchema }).wrapped ?? (entry as v.GenericSchema);
    const facts = v.getMetadata(described) as unknown as ParameterFacts;
    return {
      name,
      in: place,
      required: place === "path",
      description: v.getDescription(described),
      schema: facts.schema,
      ...(facts.example !== undefined && { example: facts.example }),
    };
  });
}

function requestBodyOf(route: RouteDoc): object {
  if (route.body === undefined) return {};
  const content =
    route.body === "bytes"
      ? { "application/octet-stream": { schema: { type: "string", format: "binary" } } }
      : { "application/json": { schema: schemaOf(route.body) } };
  return { requestBody: { required: true, content } };
}

function replyOf(
  reply: RouteDoc["reply"],
  description: string,
  otherForms: readonly string[] = [],
): object {
  const asText = (type: string) => [type, { schema: { type: "string" } }] as const;
  const form =
    typeof reply === "string"
      ? asText(reply)
      : (["application/json", { schema: schemaOf(reply) }] as const);
  return { description, content: Object.fromEntries([form, ...otherForms.map(asText)]) };
}

/** The `detail` of a route: the only thing the plugin is shown. */
function detailOf(route: RouteDoc): Record<string, unknown> {
  const others = Object.entries(route.otherReplies ?? {}).map(([status, schema]) => [
    status,
    replyOf(schema, "Not now"),
  ]);
  return {
    operationId: route.id,
    summary: route.summary,
    description: route.description ?? `${route.summary}.`,
    tags: [route.tag],
    parameters: [
      ...parametersOf("path", route.params),
      ...parametersOf("query", route.query),
      ...(route.headers ?? []).map((header) => ({ ...header, in: "header", required: false })),
    ],
    ...requestBodyOf(route),
    responses: {
      "200": replyOf(route.reply, "Done", route.otherForms),
      ...Object.fromEntries(others),
      ...((isWrite(route) || route.mayRedirect === true) && {
        "307": { $ref: "#/components/responses/Redirected" },
        "308": { $ref: "#/components/responses/Redirected" },
      }),
      ...(route.access !== "open" && { "401": { $ref: "#/components/responses/Unauthorized" } }),
      "4XX": { $ref: "#/components/responses/Refused" },
      "5XX": { $ref: "#/components/responses/Failed" },
    },
    ...(route.access === "open" && { security: [] }),
  };
}

const errorContent = { "application/json": { schema: { $ref: "#/components/schemas/Error" } } };

/** Makes the document's text. */
export async function openApiText(version: string, routes: readonly RouteDoc[]): Promise<string> {
  const codes = Object.entries(ERRORS).map(([code, { status }]) => `\`${code}\` (${status})`);
  const plugin = swagger({
    provider: "swagger-ui",
    path: "/ui",
    // Not the path of the served document: that one is a route to be described.
    specPath: "/document",
    excludeStaticFile: false,
    documentation: {
      info: {
        title: "Ayder",
        version,
        description: `An HTTP-native durable event log. Errors: ${codes.join(", ")}.`,
        license: { name: "MIT", url: "https://opensource.org/license/mit" },
        contact: { name: "Ayder", url: "https://ayder.dev" },
      },
      servers: [{ url: "/" }],
      security: [{ bearer: [] }],
      tags: Object.entries(TAGS)
        .filter(([name]) => routes.some((route) => route.tag === name))
        .map(([name, description]) => ({ name, description })),
      components: {
        securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
        schemas: { Error: schemaOf(ErrorReply), Redirect: schemaOf(RedirectReply) },
        responses: {
          Redirected: {
            description: "Writes go to the leader; which status it is, is configured",
            headers: {
              Location: {
                description: "The same path and query on the leader",
                schema: { type: "string" },
              },
              "Retry-After": { schema: { type: "integer" } },
            },
            content: {
              "application/json": { schema: { $ref: "#/components/schemas/Redirect" } },
            },
          },
          Unauthorized: {
            description: "The token is missing or unknown",
            headers: { "WWW-Authenticate": { schema: { type: "string" } } },
            content: errorContent,
          },
          Refused: { description: "The request was refused", content: errorContent },
          Failed: {
            description: "The node cannot do it now, or does not know whether it did",
            content: errorContent,
          },
        },
      },
    } as NonNullable<Parameters<typeof swagger>[0]>["documentation"] & object,
  });
  // An app that never listens: it is asked once and forgotten.
  const app = new Elysia().use(plugin);
  for (const route of routes) {
    // The plugin leaves out paths with a wildcard: a key is shown as one part.
    app.route(route.method, route.path.replace("*", ":key"), () => "", {
      detail: detailOf(route) as { operationId: string },
    });
  }
  const reply = await app.handle(new Request("http://localhost/document"));
  return reply.text();
}
