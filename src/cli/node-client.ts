// How commands talk to a running node, and what they say when it does not answer as it should.

import { InvariantError } from "../lib/assert.ts";
import { FatalError } from "../lib/fatal.ts";

/** What is asked, and in whose name. */
export interface Question {
  /** What the command is about to do, for its complaint: `take a backup`. */
  readonly act: string;
  readonly token: string;
  readonly body?: string;
}

/** Asks a node; a body makes it a `POST`. Throws `FatalError` when nobody answers, or not with success. */
export async function ask(url: URL, { act, token, body }: Question): Promise<Response> {
  const reply = await fetch(url, {
    headers: { authorization: `Bearer ${token}` },
    ...(body !== undefined && { method: "POST", body }),
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
