// The visitor's node as it is now: asked once a second while somebody looks, shown when something has changed.

import { call, Refused, wordsOf } from "./api.ts";
import { find, make, makeTable } from "./dom.ts";

interface View {
  readonly state: "starting" | "ready" | "ended";
  readonly left_ms: number;
  readonly topics: readonly Topic[];
  readonly nodes: readonly { readonly node_id: string; readonly is_voter: boolean }[];
}

interface Topic {
  readonly topic: string;
  readonly partition_details: readonly {
    readonly partition: number;
    readonly start_offset: number;
    readonly next_offset: number;
    readonly bytes: number;
  }[];
  readonly groups: readonly {
    readonly group: string;
    readonly partition: number;
    readonly committed_offset: number;
    readonly lag: number;
  }[];
}

const POLL_MS = 1000;
/** A topic to begin with. */
const FIRST_TOPIC = { topic: "orders", partitions: 2 };

let shown = "";
let isFirstMade = false;

/** Asks for a node and shows it from then on. */
export async function watchNode(): Promise<void> {
  try {
    await call("/api/visit");
  } catch (error) {
    tell(wordsOf(error));
    find("state", HTMLParagraphElement).textContent = "No node";
    return;
  }
  const poll = async (): Promise<void> => {
    if (!document.hidden) await refresh();
    setTimeout(() => poll(), POLL_MS);
  };
  document.addEventListener("visibilitychange", () => refresh());
  await poll();
}

/** Shows the node as it is now. */
export async function refresh(): Promise<void> {
  try {
    const view = await call<View>("/api/view");
    tell("");
    if (view.state === "ready" && view.topics.length === 0 && !isFirstMade) {
      isFirstMade = true;
      await call("/api/topics", FIRST_TOPIC);
      await refresh();
      return;
    }
    show(view);
  } catch (error) {
    tell(wordsOf(error));
    if (error instanceof Refused && error.code === "no_visit")
      find("state", HTMLParagraphElement).textContent = "No node: press Start over";
  }
}

/** Says something that stands in the way of everything. An empty text takes it back. */
export function tell(text: string): void {
  const notice = find("notice", HTMLParagraphElement);
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = text === "";
}

function show(view: View): void {
  const minutes = Math.max(1, Math.round(view.left_ms / 60_000));
  find("left", HTMLParagraphElement).textContent =
    `Your node is yours alone, keeps little, and is gone when you leave, or in ${minutes} min if you do nothing.`;
  const { left_ms: _, ...lasting } = view;
  const text = JSON.stringify(lasting);
  if (text === shown) return;
  shown = text;
  const members = view.nodes.map(
    ({ node_id: id, is_voter: isVoter }) => `${id} ${isVoter ? "votes" : "learns"}`,
  );
  find("state", HTMLParagraphElement).textContent =
    view.state === "ready"
      ? `Ready. A cluster of ${view.nodes.length}: ${members.join(", ")}.`
      : { starting: "Starting a node for you", ended: "Your node has ended: press Start over" }[
          view.state
        ];
  find("topics", HTMLDivElement).replaceChildren(...(view.topics.length > 0 ? [table(view)] : []));
  for (const id of ["produce-form", "consume-form"]) offer(find(id, HTMLFormElement), view.topics);
}

function table({ topics }: View): HTMLElement {
  const rows = topics.flatMap(({ topic, partition_details: partitions, groups }) =>
    partitions.map(({ partition, start_offset: start, next_offset: next, bytes }) => [
      topic,
      partition,
      next - start,
      next,
      bytes,
      groups
        .filter((group) => group.partition === partition)
        .map(({ group, committed_offset: at, lag }) => `${group} at ${at}, ${lag} behind`)
        .join("; ") || "none",
    ]),
  );
  return makeTable(
    "Topics, partition by partition, once a second",
    ["topic", "partition", "records", "next offset", "bytes", "groups"],
    rows,
  );
}

/** Puts the topics into a form's list and leaves what is chosen. */
function offer(form: HTMLFormElement, topics: readonly Topic[]): void {
  const list = form.querySelector("select");
  if (list === null) return;
  const chosen = list.value;
  list.replaceChildren(...topics.map(({ topic }) => make("option", topic)));
  if (topics.some(({ topic }) => topic === chosen)) list.value = chosen;
}
