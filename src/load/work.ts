// What a request of the load looks like and how its reply is counted: one function per kind of work.

/** One request, free of the protocol that carries it. Header names are in lower case. */
export interface RequestShape {
  readonly method: "GET" | "POST";
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** A request to repeat, and what a good reply to it is worth. */
export interface Work {
  readonly name: string;
  readonly request: RequestShape;
  /** Records that a 2xx reply stands for, unless `readReply` finds it in the reply or `countLines` does. */
  readonly recordsPerReply: number;
  /** Gets the last bytes of each 2xx reply, as Latin-1; says how many records it held and what to ask next. */
  readonly readReply?: (ending: string, times: ReplyTimes) => ReplyReading;
  /** The reply streams lines without end: each newline is a record. */
  readonly countLines?: boolean;
}

/** When a request should have been sent, was sent, and was answered: milliseconds of `performance.now()`. */
export interface ReplyTimes {
  readonly intended: number;
  readonly sent: number;
  readonly now: number;
}

/** What the end of a reply told. */
export interface ReplyReading {
  readonly records: number;
  /** Left out: the same again. */
  readonly next?: RequestShape;
}

/** Where the work goes and as whom. */
export interface WorkTarget {
  readonly topic: string;
  readonly partition: number;
  readonly token: string;
}

/** One record of `valueBytes` bytes per request. */
export function produceWork(target: WorkTarget, valueBytes: number): Work {
  return {
    name: "produce",
    request: {
      method: "POST",
      path: `/broker/topics/${target.topic}/produce?partition=${target.partition}`,
      headers: authorization(target),
      body: new TextEncoder().encode(value(valueBytes)),
    },
    recordsPerReply: 1,
  };
}

/** `records` lines of `valueBytes` bytes per request, as NDJSON. */
export function batchWork(target: WorkTarget, valueBytes: number, records: number): Work {
  return {
    name: "batch",
    request: {
      method: "POST",
      path: `/broker/topics/${target.topic}/produce-ndjson?partition=${target.partition}`,
      headers: authorization(target),
      body: new TextEncoder().encode(`${value(valueBytes)}\n`.repeat(records)),
    },
    recordsPerReply: records,
  };
}

/**
 * Reads the partition from its first record, `limit` records a call. Each connection goes on where its last reply
 * ended, and starts over at the end, so that a short log can be read for as long as one likes.
 */
export function consumeWork(target: WorkTarget, limit: number): Work {
  const from = (offset: number): RequestShape => ({
    method: "GET",
    path: `/broker/consume/${target.topic}/load/${target.partition}?encoding=b64&limit=${limit}&offset=${offset}`,
    headers: authorization(target),
  });
  return {
    name: "consume",
    request: from(0),
    recordsPerReply: 0,
    readReply: (ending) => {
      const records = numberAfter(ending, '"count":');
      return { records, next: from(records < limit ? 0 : numberAfter(ending, '"next_offset":')) };
    },
  };
}

/** Follows the partition from record `offset` on as a stream of lines: values as they are, or records as JSON. */
export function tailWork(target: WorkTarget, encoding: "raw" | "text", offset = 0): Work {
  return {
    name: encoding === "raw" ? "tail" : "tail-json",
    request: {
      method: "GET",
      path: `/broker/tail/${target.topic}/${target.partition}?offset=${offset}${encoding === "raw" ? "&encoding=raw" : ""}`,
      headers: { ...authorization(target), accept: "application/x-ndjson" },
    },
    recordsPerReply: 0,
    countLines: true,
  };
}

const authorization = (target: WorkTarget): Record<string, string> => ({
  authorization: `Bearer ${target.token}`,
});

/** A JSON object of exactly `bytes` bytes where there is room for one: what an event looks like. */
function value(bytes: number): string {
  const frame = '{"item":""}';
  return bytes < frame.length
    ? "x".repeat(bytes)
    : `{"item":"${"x".repeat(bytes - frame.length)}"}`;
}

/** The number behind the last `name` in `text`; the last, because the records before it may hold anything. */
function numberAfter(text: string, name: string): number {
  const at = text.lastIndexOf(name);
  return at < 0 ? 0 : Number.parseInt(text.slice(at + name.length), 10) || 0;
}
