// Clusters of real processes: started, killed, stopped and let go on, wiped, damaged, cut off from each other, watched.

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type CertificateAuthority, makeAuthority } from "./certificates.ts";
import type { Reply, ReplyFields } from "./cluster-client.ts";
import {
  type ClusterNetwork,
  canCut,
  freePorts,
  loopbackNetwork,
  namespaceNetwork,
} from "./cluster-network.ts";
import { call } from "./node-client.ts";
import { type Exit, type LogLine, type NodeProcess, spawnNode, waitUntil } from "./node-process.ts";
import { temporaryDirectory } from "./real-disk.ts";

/** Longest wait for the cluster to come to something. */
export const CLUSTER_MS_MAX = 60_000;
/** One question to one node: a node that stands still must not hold who asks. */
const ASK_MS_MAX = 1000;
/** Lines of each node that a report shows. */
const REPORT_LINES = 25;

/** How a cluster is made. */
export interface ClusterOptions {
  /** Nodes of the list; 3 when left out. */
  readonly nodes?: number;
  /** Nodes more that have an address and are not in the list of the others. */
  readonly spares?: number;
  /** Namespaces can be cut off from each other. Loopback when left out. */
  readonly network?: "loopback" | "namespaces";
  /** Mutual TLS between nodes. Left out: `TLS=1` in the environment says so. */
  readonly isTls?: boolean;
  /** Settings of every node. */
  readonly env?: Readonly<Record<string, string>>;
  /** Settings of one node. */
  readonly envOf?: (node: number) => Readonly<Record<string, string>>;
  /** Hosts of the list in place of addresses. */
  readonly hostName?: string;
  /** Priority of each node; 100 for all when left out, so that the lead stays where it is. */
  readonly priorities?: readonly number[];
  /** Where a node keeps its data, in place of a temporary directory. */
  readonly dataDirOf?: (node: number) => string | undefined;
}

/** A line of a node's log, as far as clusters are concerned. */
export interface ClusterLine extends LogLine {
  readonly node?: string;
  readonly why?: string;
  readonly peer?: string;
  readonly index?: number;
  readonly entries?: number;
  readonly cluster_id?: string;
}

/** The state of a node in one number, and where in the log it was taken. */
interface StateHash {
  readonly index: number;
  readonly hash: string;
}

/** One node of a cluster, running or not. */
export class ClusterNode {
  readonly number: number;
  readonly id: string;
  readonly dataDir: string;
  /** Base of its HTTP address. */
  readonly url: string;
  /** `host:port` for its peers. */
  readonly raftAddress: string;
  readonly raftHost: string;
  readonly raftPort: number;
  /** Lines of all its lives but the present one. */
  readonly #past: LogLine[] = [];
  readonly #start: (node: ClusterNode, env: Readonly<Record<string, string>>) => NodeProcess;
  #process: NodeProcess | undefined;
  #isPaused = false;

  constructor(
    number: number,
    place: { readonly host: string; readonly httpHost: string; readonly ports: readonly number[] },
    dataDir: string,
    start: (node: ClusterNode, env: Readonly<Record<string, string>>) => NodeProcess,
  ) {
    this.number = number;
    this.id = `node${number + 1}`;
    this.dataDir = dataDir;
    this.raftHost = place.host;
    this.raftPort = place.ports[0] as number;
    this.url = `http://${place.httpHost}:${place.ports[1]}`;
    this.raftAddress = `${place.host}:${this.raftPort}`;
    this.#start = start;
  }

  /** Its process, when there is one. */
  get process(): NodeProcess {
    if (this.#process === undefined) throw new Error(`${this.id} was never started`);
    return this.#process;
  }

  /** Whether there is a process. */
  get isAlive(): boolean {
    return this.#process?.isAlive() === true;
  }

  /** Whether it has a process that is not stopped. */
  get isRunning(): boolean {
    return this.isAlive && !this.#isPaused;
  }

  /** Lines of its log, of all its lives. */
  get lines(): readonly ClusterLine[] {
    return [...this.#past, ...(this.#process?.lines ?? [])] as readonly ClusterLine[];
  }

  /** Lines of its present life. */
  get newLines(): readonly ClusterLine[] {
    return (this.#process?.lines ?? []) as readonly ClusterLine[];
  }

  /** Starts it on what it has. */
  start(env: Readonly<Record<string, string>> = {}): void {
    if (this.isAlive) throw new Error(`${this.id} runs already`);
    this.#past.push(...(this.#process?.lines ?? []));
    this.#isPaused = false;
    this.#process = this.#start(this, env);
  }

  /** Ends it and waits for the end. */
  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<Exit> {
    return await this.process.kill(signal);
  }

  /** Stops it where it stands, connections and all. */
  pause(): void {
    this.#isPaused = true;
    process.kill(this.process.pid, "SIGSTOP");
  }

  /** Lets it go on. */
  resume(): void {
    if (this.isAlive) process.kill(this.process.pid, "SIGCONT");
    this.#isPaused = false;
  }

  /** Takes away everything it has. It must have ended. */
  wipe(): void {
    if (this.isAlive) throw new Error(`${this.id} is alive`);
    rmSync(this.dataDir, { recursive: true, force: true });
    mkdirSync(this.dataDir);
  }

  /** Waits for a line of its present life. */
  line(event: string): Promise<ClusterLine> {
    return waitUntil(
      `${this.id} says ${event}`,
      () => this.newLines.find((line) => line.event === event),
      CLUSTER_MS_MAX,
    );
  }

  /** Sends a request with the token, and never waits for long. */
  ask(path: string, init: RequestInit = {}): Promise<Response> {
    return call(this.url, path, {
      redirect: "manual",
      // A connection of its own: one that was kept may be to a process that is gone.
      keepalive: false,
      signal: AbortSignal.timeout(ASK_MS_MAX),
      ...init,
    });
  }

  /** Whether it says that it is ready. */
  async isReady(): Promise<boolean> {
    if (!this.isRunning) return false;
    const reply = await this.ask("/ready").catch(() => undefined);
    return reply?.status === 200;
  }

  /** Whether it takes writes now. Stores nothing: a refusal that speaks of what is stored comes from the leader alone. */
  async takesWrites(): Promise<boolean> {
    const body = JSON.stringify({ topic: "of.nobody", group: "g", partition: 0, offset: 0 });
    const reply = await this.ask("/broker/commit", { method: "POST", body }).catch(() => undefined);
    return reply?.status === 404;
  }

  /** Numbers of `/metrics_ha`, by name with labels. */
  async haMetrics(): Promise<ReadonlyMap<string, number>> {
    const text = await (await this.ask("/metrics_ha")).text();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      lines.map((line) => {
        const end = line.lastIndexOf(" ");
        return [line.slice(0, end), Number(line.slice(end + 1))];
      }),
    );
  }

  /** What it has applied; undefined when it does not say. */
  async stateHash(): Promise<StateHash | undefined> {
    const reply = await this.ask("/admin/state-hash").catch(() => undefined);
    if (reply?.status !== 200) return undefined;
    const fields = (await reply.json()) as {
      readonly applied_index: number;
      readonly hash: string;
    };
    return { index: fields.applied_index, hash: fields.hash };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A stopped process takes no signal but this one.
    await this.#process?.[Symbol.asyncDispose]();
  }
}

/** A member as `/ha/membership` shows it. */
export interface ShownMember {
  readonly node_id: string;
  readonly advertise_addr: string;
  readonly http_addr: string;
  readonly is_voter: boolean;
  readonly is_learner: boolean;
}

/** Some nodes and the network between them. */
export class Cluster implements AsyncDisposable {
  readonly nodes: readonly ClusterNode[];
  readonly #network: ClusterNetwork;
  readonly #stack: AsyncDisposableStack;
  /** Hashes by where they were taken: two nodes must show the same. */
  readonly #hashes = new Map<number, string>();

  constructor(nodes: readonly ClusterNode[], network: ClusterNetwork, stack: AsyncDisposableStack) {
    this.nodes = nodes;
    this.#network = network;
    this.#stack = stack;
  }

  /** The node `number`, from 0. */
  node(number: number): ClusterNode {
    const node = this.nodes[number];
    if (node === undefined) throw new Error(`There is no node ${number}`);
    return node;
  }

  /** Nodes with a process that is not stopped. */
  get running(): readonly ClusterNode[] {
    return this.nodes.filter((node) => node.isRunning);
  }

  /** Lets packets vanish between two nodes, in one direction. */
  cut(from: ClusterNode, to: ClusterNode): void {
    this.#network.cut(from.number, to.number);
  }

  /** Cuts one node off from all others: what it sends, what it is sent, or both. */
  isolate(node: ClusterNode, direction: "sends" | "receives" | "both"): void {
    for (const other of this.nodes) {
      if (other === node) continue;
      if (direction !== "receives") this.cut(node, other);
      if (direction !== "sends") this.cut(other, node);
    }
  }

  /** Ends all cuts. */
  heal(): void {
    this.#network.heal();
  }

  /** Waits until all these nodes are ready; those that run when left out. */
  async ready(nodes: readonly ClusterNode[] = this.running): Promise<void> {
    for (const node of nodes)
      await this.until(`${node.id} is ready`, async () => {
        if (!node.isAlive) throw new Error(`${node.id} has ended`);
        return await node.isReady();
      });
  }

  /** The node that leads, as it and nobody of a higher term says; undefined for none at the moment. */
  async leaderNow(): Promise<ClusterNode | undefined> {
    const seen = await Promise.all(
      this.running.map(async (node) => ({
        node,
        metrics: await node.haMetrics().catch(() => undefined),
      })),
    );
    const leaders = seen.flatMap(({ node, metrics }) =>
      metrics?.get("ramforge_ha_role") === 0
        ? [{ node, term: metrics.get("ramforge_ha_term") ?? 0 }]
        : [],
    );
    return leaders.sort((left, right) => right.term - left.term)[0]?.node;
  }

  /** Waits for a node that leads and takes writes: a majority has just confirmed it. */
  leader(among: readonly ClusterNode[] = this.nodes): Promise<ClusterNode> {
    return this.until("a node leads", async () => {
      const leader = await this.leaderNow();
      if (leader === undefined || !among.includes(leader)) return undefined;
      return (await leader.takesWrites()) ? leader : undefined;
    });
  }

  /** Nodes that run and do not lead. */
  async followers(): Promise<readonly ClusterNode[]> {
    const leader = await this.leader();
    return this.running.filter((node) => node !== leader);
  }

  /** The membership as a node shows it. */
  async members(by: ClusterNode): Promise<readonly ShownMember[]> {
    const reply = await by.ask("/ha/membership");
    const { membership } = (await reply.json()) as {
      readonly membership: { readonly nodes: readonly ShownMember[] };
    };
    return membership.nodes;
  }

  /** Changes the membership, at the leader, once it is not changing it by itself. */
  change(
    action: "membership/add" | "membership/promote" | "membership/remove" | "transfer",
    body: unknown,
  ): Promise<Pick<Reply, "status" | "fields">> {
    return this.until(`${action} is answered`, async () => {
      const leader = await this.leader();
      const reply = await leader.ask(`/ha/${action}`, {
        method: "POST",
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(CLUSTER_MS_MAX),
      });
      const fields = (await reply.json()) as ReplyFields;
      if (fields.error === "change_in_progress") return undefined;
      return { status: reply.status, fields };
    });
  }

  /** Waits until these nodes have applied the same and show the same state. Nobody may be writing. */
  async same(nodes: readonly ClusterNode[] = this.running): Promise<StateHash> {
    return await this.until("all nodes have applied the same", async () => {
      const hashes = await Promise.all(nodes.map((node) => node.stateHash()));
      for (const [i, shown] of hashes.entries()) {
        if (shown === undefined) continue;
        const known = this.#hashes.get(shown.index);
        if (known !== undefined && known !== shown.hash)
          throw new Error(`${nodes[i]?.id} has another state at index ${shown.index}`);
        this.#hashes.set(shown.index, shown.hash);
      }
      const [first] = hashes;
      return hashes.every((shown) => shown !== undefined && shown.index === first?.index)
        ? first
        : undefined;
    });
  }

  /** Waits, bounded; says what the nodes said when it was in vain. */
  async until<T>(
    what: string,
    ask: () => T | undefined | Promise<T | undefined>,
    boundMs = CLUSTER_MS_MAX,
  ): Promise<T> {
    try {
      return await waitUntil(what, ask, boundMs);
    } catch (error) {
      console.error(this.report());
      throw error;
    }
  }

  /** The last lines of every node. */
  report(): string {
    return this.nodes
      .map((node) => {
        const lines = node.lines.slice(-REPORT_LINES).map((line) => JSON.stringify(line));
        return `--- ${node.id} ${node.isRunning ? "runs" : "does not run"}\n${lines.join("\n")}`;
      })
      .join("\n");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Whether `network: "namespaces"` is possible here. */
export { canCut };

/** Makes a cluster and starts none of its nodes. */
export async function makeCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { nodes: count = 3, spares = 0, hostName, priorities, env, envOf } = options;
  await using stack = new AsyncDisposableStack();
  const total = count + spares;
  const network = stack.use(
    options.network === "namespaces" ? namespaceNetwork(total) : loopbackNetwork(total),
  );
  const { path, clean } = temporaryDirectory();
  stack.defer(clean);
  const ids = Array.from({ length: total }, (_, number) => `node${number + 1}`);
  const authority: CertificateAuthority | undefined =
    (options.isTls ?? process.env["TLS"] === "1") ? await makeAuthority(ids) : undefined;
  if (authority !== undefined) stack.defer(authority.clean);
  const isElsewhere = options.network === "namespaces";
  const nodes = ids.map((id, number) => {
    const address = network.hosts[number] as string;
    const host = hostName ?? address;
    const ports = freePorts(isElsewhere ? "127.0.0.1" : address, 2);
    const dataDir = options.dataDirOf?.(number) ?? join(path, id);
    mkdirSync(dataDir, { recursive: true });
    const place = { host, httpHost: hostName ?? address, ports };
    return new ClusterNode(number, place, dataDir, start);
  });
  const entry = (node: ClusterNode): string =>
    `${node.id}:${node.raftAddress}:${priorities?.[node.number] ?? 100}`;

  function start(node: ClusterNode, own: Readonly<Record<string, string>>): NodeProcess {
    const listed = nodes.filter((other) => other.number < count || other === node);
    const tls = authority?.pathsOf(node.id);
    return spawnNode({
      dataDir: node.dataDir,
      env: {
        RF_HA_ENABLED: "1",
        RF_HA_NODES: listed.map(entry).join(","),
        RF_HA_NODE_ID: node.id,
        RF_HTTP_ADDR: new URL(node.url).host,
        ...(isElsewhere && { RF_HA_SECRET: "what the nodes of a test know" }),
        ...(tls !== undefined && {
          RF_HA_TLS: "1",
          RF_HA_TLS_CA: tls.caPath,
          RF_HA_TLS_CERT: tls.certPath,
          RF_HA_TLS_KEY: tls.keyPath,
        }),
        ...env,
        ...envOf?.(node.number),
        ...own,
      },
      args: ["--port", new URL(node.url).port],
      wrapper: network.wrapper(node.number),
    });
  }

  for (const node of nodes) stack.use(node);
  return new Cluster(nodes, network, stack.move());
}

/** Makes a cluster, starts the nodes of its list, and waits until all are ready. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await makeCluster(options);
  try {
    const listed = cluster.nodes.slice(0, options.nodes ?? 3);
    for (const node of listed) node.start();
    await cluster.ready(listed);
    return cluster;
  } catch (error) {
    console.error(cluster.report());
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}
