// How commands talk to a running node, and what they say when it does not answer as it should.

import { readFileSync } from "node:fs";
import { certificatesIn } from "../config/mod.ts";
import { attempt } from "../io/mod.ts";
import { InvariantError } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";

/** What is asked, and in whose name. */
export interface Question {
  /** What the command is about to do, for its complaint: `take a backup`. */
  readonly act: string;
  readonly token: string;
  /** What `--ca` gave: the authorities that are believed in place of the system's. */
  readonly ca: string | undefined;
  readonly body?: string;
}

/** Reads the file of `--ca`. Throws `FileError` or `FatalError` when there is no certificate in it. */
export function readAuthorities(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const text = attempt(`read ${path}`, () => readFileSync(path, "utf8"));
  try {
    certificatesIn(text);
  } catch (error) {
    throw new FatalError("data_unusable", `Cannot use ${path}: it holds no certificates in PEM`, {
      cause: error,
    });
  }
  return text;
}

/** Asks a node; a body makes it a `POST`. Throws `FatalError` when nobody answers, or not with success. */
export async function ask(url: URL, { act, token, ca, body }: Question): Promise<Response> {
  const reply = await fetch(url, {
    headers: { authorization: `Bearer ${token}` },
    ...(body !== undefined && { method: "POST", body }),
    ...(ca !== undefined && { tls: { ca } }),
  }).catch((error: unknown) => {
    throw unavailable(url, act, error);
  });
  if (reply.ok) return reply;
  const { error, message } = (await reply.json().catch(() => ({}))) as Record<string, unknown>;
  throw unavailable(url, act, [reply.status, error, message].filter(Boolean).join(" "));
}

/** What a command throws when a node did not let it do something; what only we can cause stays what it is. */
export function unavailable({ origin }: URL, act: string, why: unknown): Error {
  if (why instanceof InvariantError) return why;
  const said = why instanceof Error ? why.message : String(why);
  return new FatalError("node_unavailable", `Cannot ${act} at ${origin}: ${said}`);
}
