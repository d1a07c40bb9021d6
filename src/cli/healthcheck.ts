// `ayder healthcheck`: asks the node that this environment describes whether it is ready. Exit status 0 or 1.

import { type Config, type ConfigInput, loadConfig } from "../config/mod.ts";
import { EXIT_CODES, FatalError } from "../lib/fatal.ts";
import { problemLines } from "./failure.ts";
import { readAuthorities, unavailable } from "./node-client.ts";
import type { Given } from "./parse.ts";
import type { Voice } from "./terminal.ts";

const ACT = "find a node that is ready";
/** A container's runtime gives a health check a few seconds; answer within them. */
const TIMEOUT_MS = 3000;

/** Asks `/ready`. Returns the exit status; throws why the node is not to be had. */
export async function healthcheck(
  { values }: Given<"healthcheck">,
  input: ConfigInput,
  { print }: Voice,
): Promise<number> {
  const ca = readAuthorities(values.ca);
  const loaded = loadConfig(input);
  if (!loaded.ok)
    throw new FatalError("invalid_configuration", problemLines(loaded.error.problems));
  const url = readyUrl(loaded.value.config);
  const reply = await fetch(url, {
    signal: AbortSignal.timeout(TIMEOUT_MS),
    // The certificate names the public host, not loopback; nothing secret is sent.
    tls: ca === undefined ? { rejectUnauthorized: false } : { ca, checkServerIdentity: anyHost },
  }).catch((error: unknown) => {
    throw unavailable(url, ACT, error);
  });
  const text = await reply.text();
  if (!reply.ok) throw unavailable(url, ACT, text);
  print(text);
  return EXIT_CODES.ok;
}

const anyHost = (): undefined => undefined;

function readyUrl({ httpHost, httpPort, tls }: Config): URL {
  // What listens everywhere answers on loopback too.
  const host =
    httpHost === "0.0.0.0"
      ? "127.0.0.1"
      : httpHost === "::"
        ? "[::1]"
        : httpHost.includes(":")
          ? `[${httpHost}]`
          : httpHost;
  return new URL(`${tls === undefined ? "http" : "https"}://${host}:${httpPort}/ready`);
}
