// Where the nodes of a cluster under test live: each on a loopback address of its own, or each in a network namespace of its
// own, where packets between two of them can be made to vanish, in one direction or both, without anybody being told.

import { existsSync } from "node:fs";

/** The network of one cluster. */
export interface ClusterNetwork extends Disposable {
  /** Addresses of the nodes. */
  readonly hosts: readonly string[];
  /** What goes in front of the program of a node. */
  readonly wrapper: (node: number) => readonly string[];
  /** Lets packets of one node to another vanish. Only where `canCut`. */
  readonly cut: (from: number, to: number) => void;
  /** Lets all packets through again. */
  readonly heal: () => void;
}

/** Nobody has this Ethernet address: what is sent there is dropped in silence. */
const NOWHERE = "02:ff:ff:ff:ff:fe";
/** Of a name: it begins with the process that made it, and an interface has 15 characters at most. */
const PID_CHARS = 5;
const RANDOM_CHARS = 3;
const QUIET = { stdout: "ignore", stderr: "ignore" } as const;
/** The place of this machine in the network of a cluster. */
const OWN_HOST = 254;

const anyByte = (): number => 1 + Math.floor(Math.random() * 253);

/** Each node on an address of 127.0.0.0/8. */
export function loopbackNetwork(nodes: number): ClusterNetwork {
  const [second, third] = [anyByte(), anyByte()];
  return {
    hosts: Array.from({ length: nodes }, (_, node) => `127.${second}.${third}.${node + 1}`),
    wrapper: () => [],
    cut: () => {
      throw new Error("Cannot cut a connection on loopback");
    },
    heal: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
}

/** Runs `ip` with one command per line. */
function ip(args: readonly string[], lines: readonly string[]): void {
  const child = Bun.spawnSync(["ip", ...args, "-batch", "-"], {
    stdin: Buffer.from(`${lines.join("\n")}\n`),
    stdout: "ignore",
    stderr: "pipe",
  });
  if (child.exitCode === 0) return;
  throw new Error(`Cannot run ip ${args.join(" ")}: ${child.stderr.toString()}${lines.join("; ")}`);
}

const nameOf = (pid: number): string => `ay${pid.toString(36).padStart(PID_CHARS, "0")}`;

/** A block of addresses that no other cluster on this machine has. */
function freeBlock(): string {
  const shown = Bun.spawnSync(["ip", "-o", "-4", "addr"]).stdout.toString();
  for (;;) {
    // Of those that are set aside for measurements between networks (RFC 2544): no real network is behind them.
    const block = `198.${anyByte() % 2 === 0 ? 18 : 19}.${anyByte()}`;
    if (!shown.includes(` ${block}.`)) return block;
  }
}

/** Takes away what test runs left behind that were ended before they could do it. */
function sweep(): void {
  const list = (...what: string[]): string[] =>
    Bun.spawnSync(["ip", ...what], { stdout: "pipe", stderr: "ignore" })
      .stdout.toString()
      .match(/\bay[0-9a-z]{8}(n\d+)?\b/g) ?? [];
  const isLeft = (name: string): boolean =>
    !existsSync(`/proc/${Number.parseInt(name.slice(2, 2 + PID_CHARS), 36)}`);
  for (const name of new Set(list("netns", "list").filter(isLeft)))
    Bun.spawnSync(["ip", "netns", "delete", name], QUIET);
  for (const name of new Set(list("-o", "link", "show", "type", "bridge").filter(isLeft)))
    Bun.spawnSync(["ip", "link", "delete", name], QUIET);
}

/** Each node in a namespace, all on one bridge that this machine is on, too. */
export function namespaceNetwork(nodes: number): ClusterNetwork {
  sweep();
  const chance = Math.floor(Math.random() * 36 ** RANDOM_CHARS);
  const name = nameOf(process.pid) + chance.toString(36).padStart(RANDOM_CHARS, "0");
  const block = freeBlock();
  const host = (place: number): string => `${block}.${place}`;
  const macOf = (node: number): string =>
    `02:00:00:00:00:${(node + 1).toString(16).padStart(2, "0")}`;
  const space = (node: number): string => `${name}n${node}`;
  const all = Array.from({ length: nodes }, (_, node) => node);
  const neighbour = (to: number, mac: string): string =>
    `neigh replace ${host(to + 1)} lladdr ${mac} dev eth0 nud permanent`;

  const remove = (): void => {
    process.off("exit", remove);
    for (const node of all) Bun.spawnSync(["ip", "netns", "delete", space(node)], QUIET);
    Bun.spawnSync(["ip", "link", "delete", name], QUIET);
  };
  // A test run that is ended early must not leave namespaces behind.
  process.on("exit", remove);
  try {
    ip(
      [],
      [
        `link add ${name} type bridge`,
        `addr add ${host(OWN_HOST)}/24 dev ${name}`,
        `link set ${name} up`,
        ...all.flatMap((node) => [
          `netns add ${space(node)}`,
          `link add ${name}v${node} type veth peer name eth0 address ${macOf(node)} netns ${space(node)}`,
          `link set ${name}v${node} master ${name} up`,
        ]),
      ],
    );
    for (const node of all) {
      ip(
        ["-n", space(node)],
        [
          "link set lo up",
          `addr add ${host(node + 1)}/24 dev eth0`,
          "link set eth0 up",
          // Addresses stand fast from the beginning: nobody asks for them, and a cut is one of them changed.
          ...all.filter((to) => to !== node).map((to) => neighbour(to, macOf(to))),
        ],
      );
    }
  } catch (error) {
    remove();
    throw error;
  }

  const cuts = new Map<string, readonly [from: number, to: number]>();
  return {
    hosts: all.map((node) => host(node + 1)),
    wrapper: (node) => ["ip", "netns", "exec", space(node)],
    cut: (from, to) => {
      ip(["-n", space(from)], [neighbour(to, NOWHERE)]);
      cuts.set(`${from} ${to}`, [from, to]);
    },
    heal: () => {
      for (const [from, to] of cuts.values()) ip(["-n", space(from)], [neighbour(to, macOf(to))]);
      cuts.clear();
    },
    [Symbol.dispose]: remove,
  };
}

/** Whether namespaces can be made here: root, iproute2, and a kernel that lets them. */
export const canCut: boolean = ((): boolean => {
  if (process.getuid?.() !== 0 || Bun.which("ip") === null) return false;
  try {
    namespaceNetwork(1)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
})();

/** Ports on which nobody listens, outside of those that the kernel gives to outgoing connections. */
export function freePorts(host: string, count: number): readonly number[] {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    try {
      Bun.listen({ hostname: host, port, socket: { data: () => undefined } }).stop(true);
      ports.add(port);
    } catch {
      // Somebody listens there.
    }
  }
  return [...ports];
}
