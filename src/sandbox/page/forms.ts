// The forms: make a topic, produce, consume, commit, start over. Each says below itself how it went.

import { call, wordsOf } from "./api.ts";
import { find, make, say } from "./dom.ts";
import { refresh, tell } from "./node-view.ts";

interface Consumed {
  readonly messages: readonly {
    readonly offset: number;
    readonly key?: string;
    readonly value: string;
  }[];
  readonly committed_offset: number | null;
}

/** Makes all forms work. */
export function connectForms(): void {
  onSubmit("topic-form", async (fields) => {
    const topic = String(fields.get("topic"));
    await call("/api/topics", { topic, partitions: Number(fields.get("partitions")) });
    return `${topic} is there.`;
  });
  onSubmit("produce-form", async (fields) => {
    const key = String(fields.get("key"));
    const { offset, partition } = await call<{
      readonly offset: number;
      readonly partition: number;
    }>("/api/produce", {
      topic: fields.get("topic"),
      value: fields.get("value"),
      ...(key !== "" && { key }),
    });
    return `On disk at offset ${offset} of partition ${partition}.`;
  });
  connectConsume();
  find("leave", HTMLButtonElement).addEventListener("click", () => {
    call("/api/leave")
      .catch(() => undefined)
      .finally(() => location.reload());
  });
}

function connectConsume(): void {
  const button = find("commit", HTMLButtonElement);
  const list = find("records", HTMLOListElement);
  let place: Readonly<Record<string, unknown>> | undefined;
  onSubmit("consume-form", async (fields) => {
    const asked = {
      topic: fields.get("topic"),
      group: fields.get("group"),
      partition: Number(fields.get("partition")),
    };
    const { messages, committed_offset: committed } = await call<Consumed>("/api/consume", asked);
    list.replaceChildren(
      ...messages.map(({ offset, value }) =>
        make("li", [make("span", String(offset), "offset"), make("span", value)], "record"),
      ),
    );
    const last = messages.at(-1);
    place = last === undefined ? undefined : { ...asked, offset: last.offset };
    button.disabled = last === undefined;
    button.textContent = last === undefined ? "Commit" : `Commit ${last.offset}`;
    const stands = committed === null ? "has committed nothing" : `stands at ${committed}`;
    return `${messages.length} ${messages.length === 1 ? "record" : "records"}; ${asked.group} ${stands}.`;
  });
  button.addEventListener("click", () => {
    const form = find("consume-form", HTMLFormElement);
    call("/api/commit", place)
      .then(refresh)
      .then(() => say(form, `Committed ${place?.["offset"]}: the group goes on behind it.`))
      .catch((error: unknown) => say(form, wordsOf(error), true));
  });
}

function onSubmit(id: string, handle: (fields: FormData) => Promise<string>): void {
  const form = find(id, HTMLFormElement);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    handle(new FormData(form))
      .then(async (words) => {
        say(form, words);
        tell("");
        await refresh();
      })
      .catch((error: unknown) => say(form, wordsOf(error), true));
  });
}
