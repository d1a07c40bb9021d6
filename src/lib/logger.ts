// Diagnostics as JSON lines on standard error: one line per state change, none per request.

/** How much is written. */
export type LogLevel = "debug" | "info" | "warn" | "error";

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Writes one JSON line: `time`, `level`, `room`, a fixed `event` word, and ids. Never prose with values mixed in. */
export interface Logger {
  debug(event: string, fields?: Readonly<Record<string, unknown>>): void;
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
  /** The same writer under another room's name. */
  room(name: string): Logger;
}

/**
 * Makes a logger.
 * @param options.write Gets each finished line, newline included.
 * @param options.now Milliseconds since the epoch.
 */
export function createLogger(options: {
  readonly level: LogLevel;
  readonly room: string;
  readonly write: (line: string) => void;
  readonly now: () => number;
}): Logger {
  const { level, room, write, now } = options;
  const line = (at: LogLevel, event: string, fields?: Readonly<Record<string, unknown>>): void => {
    if (RANK[at] < RANK[level]) return;
    write(
      `${JSON.stringify({ time: new Date(now()).toISOString(), level: at, room, event, ...fields })}\n`,
    );
  };
  return {
    debug: (event, fields) => line("debug", event, fields),
    info: (event, fields) => line("info", event, fields),
    warn: (event, fields) => line("warn", event, fields),
    error: (event, fields) => line("error", event, fields),
    room: (name) => createLogger({ ...options, room: name }),
  };
}

/** A logger that writes nothing, for tests. */
export const silentLogger: Logger = createLogger({
  level: "error",
  room: "silent",
  write: () => undefined,
  now: () => 0,
});
