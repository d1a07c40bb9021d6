// Speaks HTTP/1.1 byte by byte, for requests that no client library would send.

/** What came back on a connection. */
export interface RawOutcome {
  readonly text: string;
  readonly wasClosed: boolean;
}

/**
 * Sends pieces on one connection, a turn apart, and collects what comes back.
 * @param isDone Ends the wait early, when what came is enough.
 */
export async function sendRaw(
  url: string,
  pieces: readonly (string | Uint8Array)[],
  isDone: (text: string) => boolean = () => false,
  waitMs = 1500,
): Promise<RawOutcome> {
  const { hostname, port } = new URL(url);
  const closed = Promise.withResolvers<void>();
  const enough = Promise.withResolvers<void>();
  let text = "";
  let wasClosed = false;
  const pending: Uint8Array[] = [];
  const flush = (socket: { write(bytes: Uint8Array): number }): void => {
    for (let next = pending[0]; next !== undefined; next = pending[0]) {
      const written = socket.write(next);
      if (written < next.length) {
        pending[0] = next.subarray(Math.max(written, 0));
        return;
      }
      pending.shift();
    }
  };
  const socket = await Bun.connect({
    hostname: hostname.replace(/[[\]]/g, ""),
    port: Number(port),
    socket: {
      data: (_, bytes) => {
        text += Buffer.from(bytes).toString("latin1");
        if (isDone(text)) enough.resolve();
      },
      drain: flush,
      close: () => {
        wasClosed = true;
        closed.resolve();
      },
      error: () => closed.resolve(),
    },
  });
  for (const piece of pieces) {
    pending.push(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece);
    flush(socket);
    await Bun.sleep(5);
  }
  await Promise.race([closed.promise, enough.promise, Bun.sleep(waitMs)]);
  socket.end();
  return { text, wasClosed };
}

/** How many replies are in what came back. */
export const countReplies = (text: string): number => text.match(/HTTP\/1\.1 \d{3}/g)?.length ?? 0;
