// The list of tokens: both published forms, alone and mixed.

import { expect, test } from "bun:test";
import { parseTokens } from "../../../src/config/tokens.ts";

const open = { access: "full", scope: undefined, rate: undefined } as const;

test("tokens are separated by colons or commas, with or without a scope", () => {
  expect(parseTokens("token1@scope:token2:token3")).toEqual({
    ok: true,
    value: [
      { secret: "token1", ...open },
      { secret: "token2", ...open },
      { secret: "token3", ...open },
    ],
  });
  expect(parseTokens(" a , b ")).toMatchObject({
    ok: true,
    value: [{ secret: "a" }, { secret: "b" }],
  });
});

test("three numbers are a rate limit, and the list goes on after them", () => {
  expect(parseTokens("a@10:20:1000,b@read:c@0:0:0:d")).toMatchObject({
    ok: true,
    value: [
      { secret: "a", access: "full", rate: { perSecond: 10, burst: 20, perDay: 1000 } },
      { secret: "b", access: "read", rate: undefined },
      { secret: "c", rate: { perSecond: 0, burst: 0, perDay: 0 } },
      { secret: "d", rate: undefined },
    ],
  });
});

test("numbers of any size are taken, capped", () => {
  expect(parseTokens(`a@${"9".repeat(400)}:1:1`)).toMatchObject({
    ok: true,
    value: [{ rate: { perSecond: Number.MAX_SAFE_INTEGER } }],
  });
});

test("scopes may be narrowed to a prefix or a name", () => {
  expect(parseTokens("a@write=orders.*,b@read=orders,c@admin=*,d@scope")).toMatchObject({
    ok: true,
    value: [
      { access: "write", scope: { prefix: "orders.", isExact: false } },
      { access: "read", scope: { prefix: "orders", isExact: true } },
      { access: "full", scope: undefined },
      { access: "full", scope: undefined },
    ],
  });
});

test.each([
  "",
  ",",
  "a,",
  "a::b",
  "@read",
  "a@",
  "a@10",
  "a@10:20",
  "a@10:20,30",
  "a@10:20:x",
  "a@1x:2:3",
  "a@writer",
  "a@write=",
  "a@write=a b",
  "a@=x",
  "a,a",
  "tökén",
])("%p fits neither form", (text) => {
  expect(parseTokens(text).ok).toBe(false);
});
