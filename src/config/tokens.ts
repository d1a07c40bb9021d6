// Reads `RF_BEARER_TOKENS`: `token@scope` and `token@rps:burst:daily`, separated by `:` or `,`.
// After `@` a digit means exactly three numbers, anything else a scope; what fits neither is an error.

import { fail, type Result, succeed } from "../lib/result.ts";

/** What a token may do; each includes the one before it. */
export type Access = "read" | "write" | "full";

/** How often a token may ask; 0 means without that limit. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
  readonly perDay: number;
}

/** One configured token. */
export interface Token {
  readonly secret: string;
  readonly access: Access;
  /** Topic names it may touch: those that start so, or, when `isExact`, this one. Undefined: all. */
  readonly scope: { readonly prefix: string; readonly isExact: boolean } | undefined;
  readonly rate: RateLimit | undefined;
}

const ACCESS: Readonly<Record<string, Access>> = {
  scope: "full",
  admin: "full",
  write: "write",
  read: "read",
};

const SECRET = /^[\x21-\x7e]+$/;
const NUMBER = /^\d+(\.\d+)?$/;

/** Numbers of any size are taken; they mean no more than this. */
const capped = (text: string): number => Math.min(Number(text), Number.MAX_SAFE_INTEGER);

/**
 * Reads the list.
 * @returns the tokens, or what is wrong, without naming a secret.
 */
export function parseTokens(text: string): Result<readonly Token[], string> {
  const tokens: Token[] = [];
  // Pieces and the separators before them, in turn: a rate limit joins its three pieces again.
  const pieces = text.split(/([:,])/);
  for (let i = 0; i < pieces.length; i += 2) {
    const place = `token ${tokens.length + 1}`;
    const piece = (pieces[i] ?? "").trim();
    const at = piece.indexOf("@");
    const secret = at < 0 ? piece : piece.slice(0, at);
    const suffix = at < 0 ? undefined : piece.slice(at + 1);
    if (!SECRET.test(secret))
      return fail(`${place} is empty or has characters outside printable ASCII`);
    if (tokens.some((token) => token.secret === secret)) return fail(`${place} is there twice`);

    if (suffix !== undefined && /^\d/.test(suffix)) {
      const burst = pieces[i + 1] === ":" ? (pieces[i + 2] ?? "").trim() : "";
      const daily = pieces[i + 3] === ":" ? (pieces[i + 4] ?? "").trim() : "";
      if (![suffix, burst, daily].every((number) => NUMBER.test(number))) {
        return fail(`${place} has a rate limit that is not three numbers, rps:burst:daily`);
      }
      const rate = { perSecond: capped(suffix), burst: capped(burst), perDay: capped(daily) };
      tokens.push({ secret, access: "full", scope: undefined, rate });
      i += 4;
      continue;
    }

    const scoped = parseScope(suffix);
    if (scoped === undefined) {
      return fail(
        `${place} has a scope that is none of scope, admin, write, read, nor one of them with =prefix.*`,
      );
    }
    tokens.push({ secret, ...scoped, rate: undefined });
  }
  return succeed(tokens);
}

function parseScope(suffix: string | undefined): Pick<Token, "access" | "scope"> | undefined {
  if (suffix === undefined) return { access: "full", scope: undefined };
  const equals = suffix.indexOf("=");
  const access = ACCESS[equals < 0 ? suffix : suffix.slice(0, equals)];
  if (access === undefined) return undefined;
  if (equals < 0) return { access, scope: undefined };
  const pattern = suffix.slice(equals + 1);
  const isExact = !pattern.endsWith("*");
  const prefix = isExact ? pattern : pattern.slice(0, -1);
  if (!/^[A-Za-z0-9._-]*$/.test(prefix) || (isExact && prefix === "")) return undefined;
  return { access, scope: prefix === "" ? undefined : { prefix, isExact } };
}
