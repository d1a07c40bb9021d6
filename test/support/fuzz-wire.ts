// HTTP/1.1 byte by byte, for requests that no client would send: one connection, what came back on it reply by reply, and
// when it was closed.

/** One reply as it came. */
export interface WireReply {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** It has no end yet: a stream. */
  readonly isOpen: boolean;
}

const CONNECT_MS_MAX = 30_000;
const CLOSE_MS_MAX = 1000;

type Socket = Awaited<ReturnType<typeof Bun.connect>>;

/** A connection. */
export class Wire {
  readonly replies: WireReply[] = [];
  isClosed = false;
  /** Bytes that are no reply. */
  garbage = "";
  readonly #methods: string[] = [];
  #received = Buffer.alloc(0);
  /** Not yet joined to what was received: joining each would make large replies quadratic. */
  #pieces: Uint8Array[] = [];
  #pieceBytes = 0;
  /** Bytes in all without which there is no point in looking. */
  #needed = 0;
  #unsent: Uint8Array[] = [];
  #socket: Socket | undefined;
  #wake = Promise.withResolvers<void>();

  /** Connects. Never rejects: a connection that is refused is a closed one. */
  static async open(port: number): Promise<Wire> {
    const wire = new Wire();
    const opening = Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_, bytes) => wire.#take(bytes),
        drain: () => wire.#flush(),
        close: () => wire.#end(),
        end: (socket) => {
          socket.end();
          wire.#end();
        },
        error: () => wire.#end(),
      },
    });
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), CONNECT_MS_MAX);
    const socket = await Promise.race([opening.catch(() => undefined), late.promise]);
    clearTimeout(timer);
    wire.#socket = socket;
    if (socket === undefined) {
      wire.#end();
      // It may still come.
      opening.then((opened) => opened.terminate()).catch(() => undefined);
    }
    return wire;
  }

  /**
   * Sends bytes.
   * @param methods Of the requests in it, in order: a reply to HEAD has a length and no body.
   */
  send(bytes: Uint8Array, methods: readonly string[] = []): void {
    this.#methods.push(...methods);
    this.#unsent.push(bytes);
    this.#flush();
  }

  /** Waits until there are `count` replies or the connection is closed; false when neither came in time. */
  async settled(count: number, boundMs: number): Promise<boolean> {
    const deadline = performance.now() + boundMs;
    while (this.replies.length < count && !this.isClosed) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return false;
      this.#wake = Promise.withResolvers();
      const { promise, resolve } = this.#wake;
      const timer = setTimeout(resolve, leftMs);
      await promise;
      clearTimeout(timer);
    }
    return true;
  }

  /** Ends it politely, and for certain: one that does not read would not notice that the other side has ended, too. */
  close(): void {
    const socket = this.#socket;
    this.#end();
    socket?.end();
    setTimeout(() => socket?.terminate(), CLOSE_MS_MAX);
  }

  /** Ends it with a reset, whatever is on its way. */
  reset(): void {
    this.#socket?.terminate();
    this.#end();
  }

  /** Sends no more, and still listens. */
  halfClose(): void {
    this.#socket?.shutdown(true);
  }

  /** Takes nothing any more. */
  stopReading(): void {
    this.#socket?.pause();
  }

  #take(bytes: Uint8Array): void {
    this.#pieces.push(bytes.slice());
    this.#pieceBytes += bytes.length;
    if (this.#received.length + this.#pieceBytes < this.#needed) return;
    this.#received = Buffer.concat([this.#received, ...this.#pieces]);
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#needed = 0;
    this.#parse();
    this.#awake();
  }

  #flush(): void {
    while (this.#socket !== undefined && !this.isClosed) {
      const next = this.#unsent.shift();
      if (next === undefined) return;
      const written = Math.max(0, this.#socket.write(next));
      if (written < next.length) {
        this.#unsent.unshift(next.subarray(written));
        return;
      }
    }
  }

  #awake(): void {
    this.#wake.resolve();
  }

  #end(): void {
    this.isClosed = true;
    this.#awake();
  }

  #parse(): void {
    for (;;) {
      const bytes = this.#received;
      const headEnd = bytes.indexOf("\r\n\r\n");
      if (headEnd < 0) return;
      const [first = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n");
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1] ?? Number.NaN);
      if (Number.isNaN(status)) {
        this.garbage += bytes.toString("latin1", 0, 200);
        this.#received = Buffer.alloc(0);
        return;
      }
      const headers = new Map(
        lines.map((line) => {
          const colon = line.indexOf(":");
          return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
        }),
      );
      const at = headEnd + 4;
      if (status === 100) {
        this.#received = bytes.subarray(at);
        continue;
      }
      const found = bodyOf(bytes, at, headers, status, this.#methods[0]);
      if (found === undefined) {
        this.#needed = at + Number(headers.get("content-length") ?? 2 * (bytes.length - at));
        return;
      }
      this.#methods.shift();
      this.replies.push({ status, headers, body: found.body, isOpen: found.isOpen });
      this.#received = bytes.subarray(found.end);
      if (found.isOpen) return;
    }
  }
}

const STREAMS = ["text/event-stream", "application/x-ndjson", "application/octet-stream"];

function bodyOf(
  bytes: Buffer,
  at: number,
  headers: ReadonlyMap<string, string>,
  status: number,
  method: string | undefined,
): { readonly body: string; readonly end: number; readonly isOpen: boolean } | undefined {
  if (method === "HEAD" || status === 204 || status === 304)
    return { body: "", end: at, isOpen: false };
  const length = headers.get("content-length");
  if (length !== undefined) {
    const end = at + Number(length);
    if (bytes.length < end) return undefined;
    return { body: bytes.toString("utf8", at, end), end, isOpen: false };
  }
  if (headers.get("transfer-encoding")?.includes("chunked") !== true)
    return { body: bytes.toString("utf8", at), end: bytes.length, isOpen: false };
  const isStream = STREAMS.some((type) => headers.get("content-type")?.startsWith(type));
  let body = "";
  let next = at;
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", next);
    if (lineEnd < 0) break;
    const size = Number.parseInt(bytes.toString("latin1", next, lineEnd), 16);
    // Nobody knows what spoiled bytes asked for: after a HEAD there are no chunks, and another reply stands in their place.
    if (!(size >= 0)) return { body, end: bytes.length, isOpen: false };
    const end = lineEnd + 2 + size + 2;
    if (bytes.length < end) break;
    if (size === 0) return { body, end, isOpen: false };
    body += bytes.toString("utf8", lineEnd + 2, end - 2);
    next = end;
  }
  return isStream ? { body, end: bytes.length, isOpen: true } : undefined;
}
