// Replies of the sandbox: everything it says is of its own origin, and nothing of it is to be kept or framed by others.

/** What the page may do: its own files and calls, and nothing else. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Headers of every reply. */
export const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

const RETRY_SECONDS = "5";

/** Why the sandbox does not do what it is asked, and the status of each reason. */
const REFUSALS = {
  bad_request: 400,
  no_visit: 401,
  wrong_origin: 403,
  not_found: 404,
  too_many_topics: 409,
  too_many_calls: 429,
  written_enough: 429,
  sandbox_full: 503,
  node_not_ready: 503,
  proof_running: 503,
} as const;

/** A reason. */
export type RefusalCode = keyof typeof REFUSALS;

/** Refuses, in the form that errors of a node have. */
export function refusal(code: RefusalCode, message: string): Response {
  const status = REFUSALS[code];
  return json({ ok: false, error: code, message }, status, {
    ...((status === 503 || status === 429) && { "retry-after": RETRY_SECONDS }),
  });
}

/** Says something as JSON. */
export function json(
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(`${JSON.stringify(value)}\n`, {
    status,
    headers: { ...HEADERS, "content-type": "application/json", ...headers },
  });
}
