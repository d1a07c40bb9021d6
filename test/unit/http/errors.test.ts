// The table of errors, the closed list of codes and the pages of the docs say the same.

import { expect, test } from "bun:test";
import { ERRORS, ErrorReplies } from "../../../src/http/errors.ts";
import { anchor, indexPage, page, pagePaths } from "../../../src/http/pages.ts";
import { ERROR_CODES, refuse } from "../../../src/model/errors.ts";

test("every code has a row, and every row a code", () => {
  expect(Object.keys(ERRORS).sort()).toEqual([...ERROR_CODES].sort());
});

test("every code has a heading in the docs with its status, and every heading a code", async () => {
  const text = await Bun.file("docs/reference/errors.md").text();
  const headings = [...text.matchAll(/^## (\w+)\n\n`(\d+)`/gm)].map(([, code, status]) => [
    code,
    Number(status),
  ]);

  expect(headings.sort()).toEqual(ERROR_CODES.map((code) => [code, ERRORS[code].status]).sort());
});

test("what a row points at is a page with that heading", () => {
  for (const { docs } of Object.values(ERRORS)) {
    const [path = "", heading] = docs.split("#");
    const html = page(path) ?? "";

    expect(html).toContain("<h1");
    if (heading !== undefined) expect(html).toContain(`id="${anchor(heading)}"`);
  }
});

test("every page is there, names itself in the navigation, and links only to pages and headings that are", () => {
  expect(indexPage()).toContain("Ayder");
  for (const path of pagePaths) {
    const html = page(path) ?? "";
    expect(html).toContain('aria-current="page"');
    for (const [, href = ""] of html.matchAll(/href="([^"]*)"/g)) {
      if (!href.startsWith("/docs/") && !href.startsWith("#")) continue;
      const [target = "", heading] = href.split("#");
      const there = target === "" ? html : (page(target.slice("/docs/".length)) ?? "");
      expect(`${path} to ${href}: ${there.includes("<h1")}`).toBe(`${path} to ${href}: true`);
      if (heading !== undefined)
        expect(`${path} to ${href}: ${there.includes(`id="${heading}"`)}`).toBe(
          `${path} to ${href}: true`,
        );
    }
  }
});

test("messages are sentences without a full stop or a contraction", () => {
  for (const { message } of Object.values(ERRORS)) expect(message).toMatch(/^[A-Z][^']*[^.!']$/);
});

test("a reply has the four fields first, then those of the refusal", async () => {
  const replies = new ErrorReplies("https://docs.example");

  const reply = replies.reply(refuse("cas_mismatch", "Changed", { expected: 1, current: 2 }));

  expect(reply.status).toBe(409);
  expect(await reply.text()).toBe(
    '{"ok":false,"error":"cas_mismatch","message":"Changed","docs":"https://docs.example/reference/errors#cas_mismatch","expected":1,"current":2}',
  );
});

test("replies that ask to come back say when", () => {
  const replies = new ErrorReplies("https://docs.example");

  expect(
    replies.reply(refuse("rate_limited", undefined, { retry_after: 7 })).headers.get("retry-after"),
  ).toBe("7");
  for (const code of ["not_leader", "no_quorum", "not_ready", "overloaded"] as const) {
    expect(replies.reply(refuse(code)).headers.get("retry-after")).toBe("1");
  }
});
