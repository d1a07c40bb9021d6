// The stage of a story: its nodes, what is on its way between them, and the directives that move them.

import type { Directive } from "./data-file.ts";
import {
  describeMessage,
  describeProgress,
  describeRole,
  type StoryMessage,
  typeOf,
} from "./describe.ts";
import { NOBODY } from "./driver.ts";
import { StoryNode, type StoryOptions } from "./story-node.ts";

/** Plays directives. */
export class Story {
  readonly nodes = new Map<string, StoryNode>();
  #messages: StoryMessage[] = [];
  #output = "";
  /** Reads by the clock, which ours never are; here it only means that nobody forgets a leader. */
  #isLeaseBased = false;

  /** Plays one directive and returns what it prints. */
  play(directive: Directive): string {
    this.#output = "";
    this.#dispatch(directive);
    return this.#output.trimEnd();
  }

  #dispatch(directive: Directive): void {
    const { name, words, values } = directive;
    const nodes = words.map((word) => this.nodes.get(word)).filter((node) => node !== undefined);
    const [node] = nodes;
    switch (name) {
      case "log-level":
        break;
      case "add-nodes":
        this.#addNodes(Number(words[0]), values);
        break;
      case "campaign":
        node?.step({ kind: "campaign" });
        break;
      case "propose":
        this.#propose(node as StoryNode, "EntryNormal", words[1] ?? "", undefined);
        break;
      case "propose-conf-change": {
        const type = values.get("v1")?.[0] === "true" ? "EntryConfChange" : "EntryConfChangeV2";
        const transition = values.get("transition")?.[0];
        this.#propose(node as StoryNode, type, directive.input.join(" "), transition);
        break;
      }
      case "tick-heartbeat":
        node?.step({ kind: "tick", random: 0 });
        break;
      case "tick-election":
        for (let i = 0; i < 3; i += 1) node?.step({ kind: "tick", random: 0 });
        break;
      case "set-randomized-election-timeout":
        if (node !== undefined)
          node.state.electionTimeoutTicks = Number(values.get("timeout")?.[0]);
        break;
      case "forget-leader":
        this.#forgetLeader(node as StoryNode);
        break;
      case "report-unreachable":
        node?.step({ kind: "unreachable", nodeId: words[1] ?? "" });
        break;
      case "transfer-leadership":
        this.nodes
          .get(values.get("from")?.[0] ?? "")
          ?.step({ kind: "transfer", to: values.get("to")?.[0] ?? "" });
        break;
      case "send-snapshot":
        this.#sendSnapshot(node as StoryNode, words[1] ?? "");
        break;
      case "compact":
        node?.compact(Number(words[1]));
        this.#output += node?.describeLog();
        break;
      case "raft-log":
        this.#output += node?.describeLog();
        break;
      case "raft-state":
        for (const each of this.nodes.values()) this.#output += `${describeState(each)}\n`;
        break;
      case "status":
        this.#describeStatus(node as StoryNode);
        break;
      case "deliver-msgs":
        this.#deliverAll(directive);
        break;
      case "stabilize":
        this.#stabilize(nodes.length > 0 ? nodes : [...this.nodes.values()]);
        break;
      case "process-ready":
        this.#each(nodes, "handling Ready", (each) => this.#processReady(each));
        break;
      case "process-append-thread":
        this.#each(nodes, "processing append thread", (each) =>
          each.processAppendWork((parcel) => this.#messages.push(parcel)),
        );
        break;
      case "process-apply-thread":
        this.#each(nodes, "processing apply thread", (each) =>
          each.processApplyWork((parcel) => this.#messages.push(parcel)),
        );
        break;
      default:
        throw new Error(`Unknown directive ${name}`);
    }
  }

  #addNodes(count: number, values: ReadonlyMap<string, readonly string[]>): void {
    this.#isLeaseBased ||= values.get("read-only")?.[0] === "lease-based";
    const is = (key: string): boolean => values.get(key)?.[0] === "true";
    const options: StoryOptions = {
      configuration: {
        ...NOBODY,
        voters: values.get("voters") ?? [],
        learners: values.get("learners") ?? [],
      },
      index: Number(values.get("index")?.[0] ?? 0),
      inflightMessagesMax: Number(values.get("inflight")?.[0] ?? 1 << 20),
      isPreVote: is("prevote"),
      isCheckQuorum: is("checkquorum"),
      isStepDownOnRemoval: is("step-down-on-removal"),
      isAsync: is("async-storage-writes"),
      isOneByOne: values.has("max-committed-size-per-ready"),
      isUnchecked: is("disable-conf-change-validation"),
    };
    for (let i = 0; i < count; i += 1) {
      const id = String(this.nodes.size + 1);
      this.nodes.set(id, new StoryNode(id, options));
    }
  }

  #propose(
    node: StoryNode,
    type: "EntryNormal" | "EntryConfChange" | "EntryConfChangeV2",
    text: string,
    transition: string | undefined,
  ): void {
    const entry = { type, text, ...(transition === undefined ? {} : { transition }) };
    if (node.propose(entry)) return;
    // Proposals are not passed on by our nodes. Here the story does it, so that it can go on.
    const leaderId = node.state.leaderId;
    if (node.state.role === "leader" || leaderId === undefined)
      this.#output += "raft proposal dropped\n";
    else node.passOn({ from: node.id, to: leaderId, entries: [{ ...entry, term: 0, index: 0 }] });
  }

  /** Our nodes never do this by themselves; what the others make of it is theirs all the same. */
  #forgetLeader({ state }: StoryNode): void {
    if (state.role === "follower" && !this.#isLeaseBased) state.leaderId = undefined;
  }

  #sendSnapshot({ id: from, state, lastSnapshot: snapshot }: StoryNode, to: string): void {
    const { index, term: indexTerm } = snapshot;
    const message = { kind: "snapshot", from, to, term: state.term, index, indexTerm } as const;
    const parcel = { from, to, message, entries: [], snapshot };
    this.#messages.push(parcel);
    this.#output += `${describeMessage(parcel)}\n`;
  }

  #describeStatus({ state }: StoryNode): void {
    for (const [id, progress] of state.progress) {
      const isLearner = state.configuration.learners.includes(id);
      this.#output += `${id}: ${describeProgress(progress, isLearner)}\n`;
    }
  }

  #processReady(node: StoryNode): void {
    this.#output += node.processReady((parcel) => this.#messages.push(parcel));
  }

  #each(nodes: readonly StoryNode[], act: string, run: (node: StoryNode) => void): void {
    if (nodes.length === 1) {
      run(nodes[0] as StoryNode);
      return;
    }
    for (const node of nodes) {
      this.#output += `> ${node.id} ${act}\n`;
      this.#indent(() => run(node));
    }
  }

  #deliverAll({ words, values }: Directive): void {
    const type = values.get("type")?.[0];
    for (const id of words) this.#deliver(id, type, false);
    for (const id of values.get("drop") ?? []) this.#deliver(id, type, true);
  }

  #deliver(id: string, type: string | undefined, isDropped: boolean): void {
    const isMeant = (parcel: StoryMessage): boolean =>
      parcel.to === id && (type === undefined || typeOf(parcel) === type);
    const parcels = this.#messages.filter(isMeant);
    this.#messages = this.#messages.filter((parcel) => !isMeant(parcel));
    const node = this.nodes.get(id);
    for (const parcel of parcels) {
      if (parcel.own !== undefined) {
        if (!isDropped) parcel.own();
        continue;
      }
      this.#output += `${isDropped ? "dropped: " : ""}${describeMessage(parcel)}\n`;
      if (isDropped || node === undefined) continue;
      if (parcel.message === undefined) for (const entry of parcel.entries) node.propose(entry);
      else {
        const isStranger =
          parcel.message.kind === "appendReply" &&
          node.state.role === "leader" &&
          !node.state.progress.has(parcel.from);
        if (isStranger) this.#output += "raft: cannot step as peer not found\n";
        node.step({ kind: "received", message: parcel.message }, parcel);
      }
    }
  }

  #stabilize(nodes: readonly StoryNode[]): void {
    for (let isDone = false; !isDone; ) {
      isDone = true;
      const act = (node: StoryNode, what: string, run: () => void): void => {
        isDone = false;
        this.#output += `> ${node.id} ${what}\n`;
        this.#indent(run);
      };
      for (const node of nodes)
        if (node.hasReady) act(node, "handling Ready", () => this.#processReady(node));
      for (const node of nodes)
        if (this.#messages.some(({ to }) => to === node.id))
          act(node, "receiving messages", () => this.#deliver(node.id, undefined, false));
      for (const node of nodes) {
        if (node.appendWork.length === 0) continue;
        act(node, "processing append thread", () => {
          while (node.appendWork.length > 0)
            node.processAppendWork((parcel) => this.#messages.push(parcel));
        });
      }
      for (const node of nodes) {
        if (node.applyWork.length === 0) continue;
        act(node, "processing apply thread", () => {
          while (node.applyWork.length > 0)
            node.processApplyWork((parcel) => this.#messages.push(parcel));
        });
      }
    }
  }

  #indent(run: () => void): void {
    const before = this.#output;
    this.#output = "";
    run();
    this.#output = before + this.#output.replace(/^(?=.)/gm, "  ");
  }
}

function describeState({ id, state }: StoryNode): string {
  const { voters, outgoing } = state.configuration;
  const part = voters.includes(id) || outgoing.includes(id) ? "Voter" : "Non-Voter";
  return `${id}: ${describeRole(state)} (${part}) Term:${state.term} Lead:${state.leaderId ?? 0}`;
}
