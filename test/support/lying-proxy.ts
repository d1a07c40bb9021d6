// A node that is wrong: a proxy in front of one that is right, which loses, repeats or garbles what goes through it.
// Holds the tests that judge a node from outside to their own promise, which is to see it.

/** What it does wrong. */
export type Lie =
  | "drops_a_record"
  | "repeats_a_record"
  | "swaps_two_records"
  | "ignores_keys"
  | "commits_go_back"
  | "cas_always_wins"
  | "says_synced_false";

/** The names of all lies, those that matter most first. */
export const LIES: readonly Lie[] = [
  "drops_a_record",
  "ignores_keys",
  "repeats_a_record",
  "swaps_two_records",
  "commits_go_back",
  "cas_always_wins",
  "says_synced_false",
];

/** A page of records, as far as it is lied about. */
interface Page {
  readonly messages: unknown[];
}

/** Records that a page must have before one of them is worth lying about. */
const LONG_PAGE = 10;

/** Starts one in front of `url`. */
export function lyingProxy(url: string, lie: Lie): { readonly url: string; stop(): Promise<void> } {
  /** The newest commit by group, as asked: what goes back is shown as if it had. */
  const asked = new Map<string, number>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch: async (request) => {
      const target = new URL(request.url);
      const body = request.method === "GET" ? undefined : await request.bytes();
      if (lie === "ignores_keys") target.searchParams.delete("idempotency_key");
      if (lie === "cas_always_wins") target.searchParams.delete("cas");
      if (lie === "commits_go_back" && target.pathname === "/broker/commit") note(asked, body);
      const reply = await fetch(`${url}${target.pathname}${target.search}`, {
        method: request.method,
        headers: withoutLength(request.headers),
        signal: request.signal,
        ...(body !== undefined && { body }),
      });
      if (reply.headers.get("content-type") !== "application/json") return reply;
      const text = await reply.text();
      return new Response(altered(lie, target, text, asked), {
        status: reply.status,
        headers: { "content-type": "application/json" },
      });
    },
  });
  return { url: server.url.href.replace(/\/$/, ""), stop: () => server.stop(true) };
}

function withoutLength(headers: Headers): Headers {
  const kept = new Headers(headers);
  kept.delete("content-length");
  kept.delete("host");
  return kept;
}

function note(asked: Map<string, number>, body: Uint8Array | undefined): void {
  const fields = JSON.parse(new TextDecoder().decode(body)) as {
    readonly topic: string;
    readonly group: string;
    readonly offset: number;
  };
  asked.set(`${fields.topic}/${fields.group}`, fields.offset);
}

function altered(lie: Lie, { pathname }: URL, text: string, asked: Map<string, number>): string {
  if (lie === "says_synced_false") return text.replace('"synced":true', '"synced":false');
  if (!pathname.startsWith("/broker/consume/")) return text;
  if (lie === "commits_go_back") {
    const [topic = "", group = ""] = pathname.split("/").slice(3);
    const offset = asked.get(`${topic}/${group}`);
    if (offset === undefined) return text;
    return text.replace(/"committed_offset":\d+/, `"committed_offset":${offset}`);
  }
  const page = JSON.parse(text) as Page;
  const { messages } = page;
  if (messages === undefined || messages.length < LONG_PAGE) return text;
  const at = messages.length >> 1;
  if (lie === "drops_a_record") messages.splice(at, 1);
  if (lie === "repeats_a_record") messages.splice(at, 0, messages[at]);
  if (lie === "swaps_two_records")
    [messages[at], messages[at + 1]] = [messages[at + 1], messages[at]];
  return JSON.stringify(page);
}
