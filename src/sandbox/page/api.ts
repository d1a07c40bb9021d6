// The calls of the page to the sandbox it came from.

/** A refusal, in words for people. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

async function post(path: string, fields: unknown): Promise<Response> {
  try {
    return await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(fields),
    });
  } catch {
    throw new Refused("unreachable", "The sandbox does not answer");
  }
}

async function refusalOf(reply: Response): Promise<Refused> {
  const { error = "", message = "" } = (await reply.json().catch(() => ({}))) as {
    readonly error?: string;
    readonly message?: string;
  };
  return new Refused(error, message === "" ? `The sandbox answers ${reply.status}` : message);
}

/** Makes a call. @throws Refused with what the sandbox, or the node, has against it. */
export async function call<T>(path: string, fields: unknown = {}): Promise<T> {
  const reply = await post(path, fields);
  if (!reply.ok) throw await refusalOf(reply);
  return (await reply.json()) as T;
}

/** Makes a call that is answered line by line. */
export async function* lines(path: string, fields: unknown): AsyncGenerator<unknown> {
  const reply = await post(path, fields);
  if (!reply.ok || reply.body === null) throw await refusalOf(reply);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) yield JSON.parse(part);
  }
}

/** What somebody should read of an error. */
export const wordsOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
