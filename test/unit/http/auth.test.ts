// Grants and rate limits, with a clock in hand.

import { expect, test } from "bun:test";
import { Authority, RateLimiter } from "../../../src/http/auth.ts";

const token = (secret: string) =>
  ({ secret, access: "full", scope: undefined, rate: undefined }) as const;

test("only the whole token is known", () => {
  const authority = new Authority([token("secret"), token("other")]);

  for (const header of ["Bearer secret", "bearer secret", "BEARER   other", "Bearer other "]) {
    expect(authority.grant(header)).toBeDefined();
  }
  for (const header of [
    null,
    "",
    "Bearer",
    "Bearer ",
    "Bearer secre",
    "Bearer secrets",
    "secret",
    "Basic secret",
    "Bearer secret other",
  ]) {
    expect(authority.grant(header)).toBeUndefined();
  }
});

test("a bucket lets its burst pass, then its rate", () => {
  const limiter = new RateLimiter({ perSecond: 2, burst: 3, perDay: 0 });
  const start = 1_700_000_000_000;

  expect([0, 0, 0, 0].map(() => limiter.take(start))).toEqual([0, 0, 0, 1]);
  expect([0, 0].map(() => limiter.take(start + 500))).toEqual([0, 1]);
  expect([0, 0, 0, 0].map(() => limiter.take(start + 60_000))).toEqual([0, 0, 0, 1]);
});

test("a clock that goes back fills nothing and breaks nothing", () => {
  const limiter = new RateLimiter({ perSecond: 1, burst: 1, perDay: 0 });

  expect(limiter.take(1_700_000_010_000)).toBe(0);
  expect(limiter.take(1_700_000_000_000)).toBe(1);
});

test("a day's number starts over at midnight", () => {
  const limiter = new RateLimiter({ perSecond: 0, burst: 0, perDay: 2 });
  const evening = Date.UTC(2026, 0, 1, 23, 59, 30);

  expect([0, 0, 0].map(() => limiter.take(evening))).toEqual([0, 0, 30]);
  expect(limiter.take(evening + 30_000)).toBe(0);
});

test("zeros are no limit", () => {
  const limiter = new RateLimiter({ perSecond: 0, burst: 0, perDay: 0 });

  for (let i = 0; i < 1000; i++) expect(limiter.take(0)).toBe(0);
});

test("tokens are known among many, and what only begins or ends like one is not", () => {
  const secrets = Array.from({ length: 500 }, (_, i) => `secret-${i}`);
  const authority = new Authority(secrets.map(token));

  for (const secret of secrets) {
    expect(authority.grant(`Bearer ${secret}`)).toBeDefined();
    for (const guess of [
      secret.slice(0, -1),
      `${secret}x`,
      `x${secret.slice(1)}`,
      ` ${secret}\0`,
    ]) {
      if (!secrets.includes(guess)) expect(authority.grant(`Bearer ${guess}`)).toBeUndefined();
    }
  }
});

test("tokens are asked about in one place, and compared in no way that ends early", async () => {
  const sources = await Array.fromAsync(new Bun.Glob("src/http/**/*.ts").scan("."));
  const asking: string[] = [];
  for (const path of sources.sort()) {
    const text = await Bun.file(path).text();
    const isAsking = /get\("authorization"\)/.test(text);
    if (isAsking) asking.push(path);
    for (const [call] of text.matchAll(/[^\n]*get\("authorization"\)[^\n]*/g))
      expect(call).toContain("authority.grant(");
    expect({
      path,
      comparison: /secret\)?\s*[!=]==|[!=]==[^\n;]*\.secret/.exec(text)?.[0],
    }).toEqual({
      path,
      comparison: undefined,
    });
  }

  expect(asking).toEqual(["src/http/route.ts", "src/http/write-route.ts"]);
});
