// `ayder sandbox`: a web page on which anybody can prove and try a node, until it is told to stop.

import { parseArgs } from "node:util";
import { EXIT_CODES } from "../lib/fatal.ts";
import { openSandbox } from "../sandbox/mod.ts";
import { nodeEnvironment, ownProgram, type Surroundings } from "./prove.ts";

const USAGE = "Usage: ayder sandbox [--port 1120] [--host 127.0.0.1] [--json]";
const HOST_DEFAULT = "127.0.0.1";
const PORT_DEFAULT = 1120;
const PORT_MAX = 65_535;

/** Serves the sandbox until a signal comes. Returns the exit status. */
export async function sandbox(
  argv: readonly string[],
  surroundings: Surroundings,
  print: (line: string) => void,
): Promise<number> {
  const wanted = wantedOf(argv);
  if (typeof wanted === "string") {
    print(wanted);
    return EXIT_CODES.invalid_configuration;
  }
  const stopped = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => stopped.resolve());
  try {
    await using open = openSandbox({
      ...wanted,
      program: ownProgram(),
      env: nodeEnvironment(surroundings),
      version: surroundings.version,
      complain: (message) => console.error(message),
    });
    print(
      argv.includes("--json")
        ? JSON.stringify({ ok: true, url: open.url })
        : `Sandbox: ${open.url}`,
    );
    await stopped.promise;
  } catch (error) {
    print(error instanceof Error ? error.message : String(error));
    return EXIT_CODES.address_in_use;
  }
  return EXIT_CODES.ok;
}

/** Reads the arguments; a text is what is wrong with them. */
function wantedOf(argv: readonly string[]) {
  const text = { type: "string" } as const;
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { json: { type: "boolean" }, port: text, host: text },
    });
    const port = Number(values.port ?? PORT_DEFAULT);
    if (!Number.isInteger(port) || port < 0 || port > PORT_MAX)
      return `A port is a whole number from 0 to ${PORT_MAX}\n${USAGE}`;
    return { host: values.host ?? HOST_DEFAULT, port };
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\n${USAGE}`;
  }
}
