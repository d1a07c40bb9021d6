// `ayder healthcheck`: asks the node that this environment describes whether it is ready. Exit status 0 or 1.

import { type ConfigInput, loadConfig } from "../config/mod.ts";
import { EXIT_CODES } from "../lib/fatal.ts";

/** A container's runtime gives a health check a few seconds; answer within them. */
const TIMEOUT_MS = 3000;

/** Asks `/ready`. */
export async function healthcheck(
  argv: readonly string[],
  input: Omit<ConfigInput, "argv">,
  print: (line: string) => void,
): Promise<number> {
  const loaded = loadConfig({ ...input, argv });
  if (!loaded.ok) return EXIT_CODES.invalid_configuration;
  const { httpHost, httpPort, tls } = loaded.value.config;
  // What listens everywhere answers on loopback too.
  const host =
    httpHost === "0.0.0.0"
      ? "127.0.0.1"
      : httpHost === "::"
        ? "[::1]"
        : httpHost.includes(":")
          ? `[${httpHost}]`
          : httpHost;
  try {
    const reply = await fetch(
      `${tls === undefined ? "http" : "https"}://${host}:${httpPort}/ready`,
      {
        signal: AbortSignal.timeout(TIMEOUT_MS),
        // The certificate names the public host, not loopback; nothing secret is sent.
        tls: { rejectUnauthorized: false },
      },
    );
    print(await reply.text());
    return reply.ok ? EXIT_CODES.ok : EXIT_CODES.unexpected;
  } catch (error) {
    print(error instanceof Error ? error.message : String(error));
    return EXIT_CODES.unexpected;
  }
}
