// The one table of commands and options. Parsing, help, completion and the reference page come from it.

import type { CommandFacts, Option } from "./option.ts";

const JSON_OPTION = { summary: "Print JSON." } as const satisfies Option;
const TOKEN_OPTION = {
  summary: "The bearer token.",
  value: "TOKEN",
  fallback: "dev",
} as const satisfies Option;
const CA_OPTION = {
  summary:
    "Certificates in PEM, one of which the node's must come from, in place of those of the system.",
  value: "FILE",
  completes: "file",
} as const satisfies Option;
const URL_ARGUMENT = {
  name: "url",
  summary: "Where a node answers: http://127.0.0.1:1109.",
  isUrl: true,
} as const;

/** Shells that completion is written for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
/** What `ayder bench` does. */
export const BENCH_MODES = ["produce", "batch", "consume", "tail"] as const;

/** Every command by name; `serve` is the one without a name. */
export const COMMANDS = {
  serve: {
    summary: "Run a node (the default).",
    details:
      "Settings come from flags, environment variables and a TOML file: ayder docs prints all of them. Diagnostics are JSON lines on standard error.",
    arguments: [],
    options: {},
    takesSettings: true,
    examples: [
      { line: "ayder --port 1109 --data ./data", isLong: true },
      { line: "RF_BEARER_TOKENS='s3cret:reader@read' ayder", isLong: true },
    ],
  },
  bench: {
    summary: "Drive a running node, and say how fast it answers and how late.",
    details:
      "Writes to a topic of its own, ayder.bench, of one partition, which keeps its newest 64 MiB and stays when the run is over. With --rate, latency counts from when a request was due, so that a stall cannot hide (coordinated omission corrected).",
    arguments: [URL_ARGUMENT],
    options: {
      mode: {
        summary: "What a request does: write a record, write a batch, read, or follow a stream.",
        value: "MODE",
        fallback: "produce",
        choices: BENCH_MODES,
      },
      connections: { summary: "Connections.", value: "N", fallback: "64", range: [1, 10_000] },
      seconds: { summary: "How long to measure.", value: "N", fallback: "10", range: [1, 86_400] },
      warmup: {
        summary: "Seconds before anything is counted.",
        value: "N",
        fallback: "1",
        range: [0, 3600],
      },
      rate: {
        summary: "Requests a second, all connections together; left out: as many as come back.",
        value: "N",
        range: [1, 10_000_000],
      },
      bytes: { summary: "Bytes of a record.", value: "N", fallback: "64", range: [1, 1_000_000] },
      batch: {
        summary: "Records of a batch, or of a read.",
        value: "N",
        fallback: "100",
        range: [1, 1000],
      },
      token: TOKEN_OPTION,
      ca: CA_OPTION,
      json: JSON_OPTION,
    },
    examples: [
      { line: "ayder bench http://localhost:1109 --seconds 1" },
      { line: "ayder bench http://localhost:1109 --seconds 1 --rate 500 --connections 8 --json" },
      {
        line: "ayder bench http://localhost:1109 --mode batch --batch 1000 --connections 8",
        isLong: true,
      },
    ],
  },
  prove: {
    summary:
      "Kill nodes of its own in the middle of writes, twice, and say whether anything acknowledged was lost.",
    arguments: [],
    options: {
      cluster: {
        summary: "Prove a cluster of so many nodes, whose leader is killed.",
        value: "N",
        choices: ["3", "5"],
      },
      keep: { summary: "Leave the data directories where they are." },
      binary: {
        summary: "Prove another program; words are separated by spaces.",
        value: "COMMAND",
        completes: "file",
      },
      json: JSON_OPTION,
    },
    examples: [
      { line: "ayder prove", isLong: true },
      { line: "ayder prove --cluster 3 --json", isLong: true },
    ],
  },
  sandbox: {
    summary: "Serve a web page on which anybody can run that proof and try a node of their own.",
    arguments: [],
    options: {
      port: {
        summary: "Where to listen; 0 takes a free one.",
        value: "N",
        fallback: "1120",
        range: [0, 65_535],
      },
      host: { summary: "On which address.", value: "HOST", fallback: "127.0.0.1" },
      json: JSON_OPTION,
    },
    examples: [{ line: "ayder sandbox --port 1120", isLong: true }],
  },
  inspect: {
    summary: "Show the segments, entries, checksums and topics of a data directory.",
    details:
      "Reads everything and changes nothing; also beside a running node, and where a node refuses to start. Exit status 3: something durable is damaged or missing; 10: it is no data directory, or cannot be read.",
    arguments: [{ name: "dir", summary: "The data directory.", completes: "directory" }],
    options: { json: JSON_OPTION },
    examples: [{ line: "ayder inspect ./data" }, { line: "ayder inspect ./data --json" }],
  },
  backup: {
    summary: "Take a backup of a running node.",
    arguments: [URL_ARGUMENT, { name: "file", summary: "Where to put it.", completes: "file" }],
    options: { token: TOKEN_OPTION, ca: CA_OPTION, json: JSON_OPTION },
    examples: [
      { line: "ayder backup http://localhost:1109 ./node.backup" },
      {
        line: "ayder backup https://node1:1109 ./node.backup --ca ./certs/ca.pem",
        isLong: true,
      },
    ],
  },
  restore: {
    summary: "Make a data directory of a backup, for a new cluster of one.",
    arguments: [
      { name: "file", summary: "The backup.", completes: "file" },
      {
        name: "data-dir",
        summary: "A directory that is empty or not there.",
        completes: "directory",
      },
    ],
    options: {
      "node-id": { summary: "The id of the node.", value: "ID", fallback: "node1" },
      json: JSON_OPTION,
    },
    examples: [{ line: "ayder restore ./node.backup ./restored --json" }],
  },
  certs: {
    summary: "Make an authority and a certificate per node, for a trial cluster.",
    arguments: [],
    options: {
      out: {
        summary: "The directory for the files.",
        value: "DIR",
        isRequired: true,
        completes: "directory",
      },
      nodes: { summary: "Ids of the nodes, separated by commas.", value: "IDS", isRequired: true },
      days: { summary: "How long they are valid.", value: "N", fallback: "365", range: [1, 3650] },
      hosts: {
        summary: "Names and addresses that every certificate has besides, separated by commas.",
        value: "HOSTS",
        fallback: "",
      },
      json: JSON_OPTION,
    },
    examples: [{ line: "ayder certs --out ./certs --nodes node1,node2,node3 --hosts localhost" }],
  },
  "check-config": {
    summary: "Check flags, environment and configuration file, and say everything that is wrong.",
    details:
      "Says what a node would warn of, too, such as a variable that it does not know, whether the configuration is valid or not; with --json both are lists, problems and notices.",
    arguments: [],
    options: { json: JSON_OPTION },
    takesSettings: true,
    examples: [{ line: "RF_SEGMENT_BYTES=67108864 ayder check-config --json" }],
  },
  healthcheck: {
    summary: "Ask a running node on this machine whether it is ready; for containers.",
    details:
      "Finds the node by the same settings as the node itself. Exit status 0: it is ready. Under HTTPS any certificate will do, since nothing secret is sent; with --ca it must come from there, whatever host it names.",
    arguments: [],
    options: { ca: CA_OPTION, json: JSON_OPTION },
    takesSettings: true,
    examples: [{ line: "RF_HTTP_ADDR=localhost:1109 ayder healthcheck" }],
  },
  docs: {
    summary: "Print the configuration reference, or this one.",
    arguments: [
      {
        name: "page",
        summary: "Which one.",
        isOptional: true,
        choices: ["configuration", "command-line"],
      },
    ],
    options: { json: JSON_OPTION },
    examples: [{ line: "ayder docs" }, { line: "ayder docs command-line" }],
  },
  completion: {
    summary: "Print a script that teaches a shell the commands and options.",
    arguments: [{ name: "shell", summary: "For which shell.", choices: SHELLS }],
    options: { json: JSON_OPTION },
    examples: [
      { line: "source <(ayder completion bash)" },
      { line: "ayder completion zsh > _ayder" },
      { line: "ayder completion fish > ayder.fish" },
    ],
  },
  version: {
    summary: "Print the version.",
    arguments: [],
    options: {
      verbose: {
        summary:
          "Also commit, Bun, target, disk, liburing and kernel, as a node would find them here.",
      },
      json: JSON_OPTION,
    },
    examples: [{ line: "ayder version" }, { line: "ayder version --verbose" }],
  },
  help: {
    summary: "Print this, or the help of a command.",
    arguments: [{ name: "command", summary: "Which command.", isOptional: true }],
    options: { json: JSON_OPTION },
    examples: [{ line: "ayder help" }, { line: "ayder help bench" }],
  },
} as const satisfies Readonly<Record<string, CommandFacts>>;

/** The name of a command. */
export type CommandName = keyof typeof COMMANDS;

/** The commands in the order of the table, for those who do not care which is which. */
export const COMMAND_LIST = Object.entries(COMMANDS) as readonly [CommandName, CommandFacts][];
