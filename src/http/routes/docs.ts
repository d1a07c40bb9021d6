// Routes that explain the node: the OpenAPI document, Swagger UI from the node's own files, and the pages.

import uiStyle from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import uiScript from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import * as v from "valibot";
import { fail, succeed } from "../../lib/result.ts";
import { refuse } from "../../model/errors.ts";
import { indexPage, page } from "../pages.ts";
import { JSON_HEADERS } from "../replies.ts";
import type { HttpRooms } from "../rooms.ts";
import { guarded, type Handler, type Route, type RouteDoc } from "../route.ts";
import { checkPath } from "../schemas/check.ts";
import { nameInPath } from "../schemas/parameters.ts";

// `validatorUrl: null`, or the page would call another host.
const SWAGGER_PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Ayder API</title>
<link rel="stylesheet" href="/swagger/swagger-ui.css"><div id="swagger-ui"></div>
<script src="/swagger/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null });</script></html>`;

const HTML = { headers: new Headers({ "content-type": "text/html; charset=utf-8" }) };

const html = (text: string) => succeed(new Response(text, HTML));

const asset = (path: string, type: string) => () =>
  succeed(
    new Response(Bun.file(path), {
      headers: { "content-type": type, "cache-control": "max-age=3600" },
    }),
  );

const PagePath = v.object({
  section: nameInPath("Section of the docs.", "reference"),
  page: nameInPath("Page of the section.", "errors"),
});

/** The documentation routes. @param api The routes that the document describes, besides these. */
export function docsRoutes(rooms: HttpRooms, api: readonly RouteDoc[]): readonly Route[] {
  const access = rooms.config.isDocsOpen ? "open" : "read";
  const doc = (path: string, id: string, summary: string, reply: RouteDoc["reply"]): RouteDoc => ({
    method: "GET",
    path,
    id,
    summary,
    tag: "docs",
    access,
    reply,
  });
  const docs: (readonly [RouteDoc, Handler])[] = [
    [doc("/swagger", "swagger", "Browse the API", "text/html"), () => html(SWAGGER_PAGE)],
    [
      doc("/swagger/swagger-ui.css", "swaggerStyle", "The style of the API browser", "text/css"),
      asset(uiStyle, "text/css"),
    ],
    [
      doc(
        "/swagger/swagger-ui-bundle.js",
        "swaggerScript",
        "The script of the API browser",
        "text/javascript",
      ),
      asset(uiScript, "text/javascript"),
    ],
    [doc("/docs", "docs", "List the pages of the docs", "text/html"), () => html(indexPage())],
    [
      {
        ...doc("/docs/:section/:page", "docsPage", "Show a page of the docs", "text/html"),
        params: PagePath,
      },
      (call) => {
        const path = checkPath(PagePath, call.params);
        const text = path.ok
          ? page(`${path.value.section}/${path.value.page.replace(/\.md$/, "")}`)
          : undefined;
        return text === undefined
          ? fail(refuse("not_found", "No page of the docs has this path"))
          : html(text);
      },
    ],
  ];
  const openApi = doc(
    "/openapi.json",
    "openapi",
    "The OpenAPI document of this node",
    v.looseObject({}),
  );
  // Made when first asked for, and what makes it is loaded then: a node that starts has better things to do.
  let text: Promise<string> | undefined;
  docs.push([
    openApi,
    async () => {
      text ??= import("../openapi.ts").then(({ openApiText }) =>
        openApiText(rooms.version, [...api, ...docs.map(([described]) => described)]),
      );
      return succeed(new Response(await text, JSON_HEADERS));
    },
  ]);
  return docs.map(([described, handler]) => guarded(rooms, described, handler));
}
