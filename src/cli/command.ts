// Which command an argument list asks for.

/** Commands that this version has; `serve` is the one without a name. */
export const COMMANDS = {
  serve: "Run a node (the default)",
  prove:
    "Kill nodes of its own in the middle of writes, twice, and say whether anything acknowledged was lost: ayder prove [--cluster 3] [--json] [--keep] [--binary 'COMMAND']",
  sandbox:
    "Serve a web page on which anybody can run that proof and try a node of their own: ayder sandbox [--port 1120] [--host 127.0.0.1]",
  inspect: "Show the segments, entries and checksums of a data directory: ayder inspect <dir>",
  "check-config":
    "Check flags, environment and configuration file, and say everything that is wrong",
  healthcheck: "Ask a running node on this machine whether it is ready; for containers",
  backup: "Take a backup of a running node: ayder backup <url> <file> [--token TOKEN] [--json]",
  restore:
    "Make a data directory of a backup, for a new cluster of one: ayder restore <file> <data-dir> [--node-id node1] [--json]",
  certs:
    "Make an authority and a certificate per node, for a trial cluster: ayder certs --out DIR --nodes node1,node2,node3 [--days 365] [--hosts HOST,…]",
  docs: "Print the configuration reference",
  version: "Print the version",
  help: "Print this",
} as const;

/** What to do, and the arguments behind the command's name. */
export interface Command {
  readonly name: keyof typeof COMMANDS;
  readonly argv: readonly string[];
  /** The help of that command is asked for, not the command. */
  readonly isHelp: boolean;
}

/** Reads an argument list; a text is what is wrong with it. */
export function parseCommand(argv: readonly string[]): Command | string {
  const [first = "serve", ...rest] = argv;
  const isHelp = argv.includes("--help") || argv.includes("-h");
  if (first.startsWith("-")) {
    if (first === "--version") return { name: "version", argv: rest, isHelp: false };
    return { name: isHelp ? "help" : "serve", argv, isHelp };
  }
  if (!Object.hasOwn(COMMANDS, first)) return `Unknown command ${first}; try: ayder help`;
  return { name: first as Command["name"], argv: rest, isHelp };
}
