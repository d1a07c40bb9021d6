// The double proof: the button, what happens meanwhile, the verdict, and the JSON it follows from.

import { lines, wordsOf } from "./api.ts";
import { find, make, makeTable } from "./dom.ts";

interface Step {
  readonly step: string;
  readonly round: number;
  readonly text: string;
  readonly elapsed_ms: number;
}

interface Report {
  readonly ok: boolean;
  readonly nodes: number;
  readonly rounds: readonly {
    readonly round: number;
    readonly killed: string;
    readonly unanswered_writes: number;
    readonly ready_ms: number;
    readonly next_write_ms: number;
    readonly partitions: readonly {
      readonly partition: number;
      readonly last_committed_offset: number | null;
      readonly commit_in_doubt: number | null;
      readonly first_consumed_offset: number;
    }[];
  }[];
  readonly records_checked: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly fault_details: readonly string[];
  readonly state_hashes: readonly { readonly node: string; readonly hash: string }[];
  readonly elapsed_ms: number;
  readonly message?: string;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** Makes the button work. */
export function connectProof(): void {
  const form = find("proof-form", HTMLFormElement);
  const button = find("run", HTMLButtonElement);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const nodes = Number(new FormData(form).get("nodes"));
    // Not disabled: that would take the focus from whoever has just pressed it.
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Proving";
    const rest = (): void => {
      button.removeAttribute("aria-disabled");
      button.textContent = "Run double proof";
    };
    run(nodes).then(rest, rest);
  });
}

async function run(nodes: number): Promise<void> {
  const steps = find("steps", HTMLOListElement);
  const verdict = find("verdict", HTMLDivElement);
  steps.replaceChildren();
  steps.ariaBusy = "true";
  verdict.replaceChildren();
  find("findings", HTMLDivElement).replaceChildren();
  try {
    let isTold = false;
    for await (const line of lines("/api/proof", { nodes })) {
      const { step, report } = line as { readonly step?: Step; readonly report?: Report };
      if (step !== undefined) steps.append(showStep(step));
      if (report === undefined) continue;
      isTold = true;
      showReport(report);
    }
    if (!isTold) throw new Error("The proof was cut off");
  } catch (error) {
    verdict.className = "is-bad";
    verdict.replaceChildren(make("strong", "No proof"), wordsOf(error));
  } finally {
    steps.ariaBusy = "false";
  }
}

function showStep({ step, round, text, elapsed_ms: elapsedMs }: Step): HTMLElement {
  return make(
    "li",
    [
      make("span", seconds(elapsedMs), "time"),
      make("span", round === 0 ? text : `round ${round}: ${text}`, "text"),
    ],
    step,
  );
}

function showReport(report: Report): void {
  const verdict = find("verdict", HTMLDivElement);
  verdict.className = report.ok ? "is-good" : "is-bad";
  verdict.replaceChildren(
    make("strong", report.ok ? "Nothing was lost" : "A promise was broken"),
    report.ok
      ? `${report.records_checked.toLocaleString()} acknowledged records looked for and found, each once and where it was said to be, in ${seconds(report.elapsed_ms)}.`
      : (report.message ?? `${faultsOf(report)}.`),
  );
  if (report.fault_details.length > 0)
    verdict.append(
      make(
        "ul",
        report.fault_details.slice(0, 5).map((fault) => make("li", fault)),
      ),
    );
  const findings = report.rounds.map((round) =>
    makeTable(
      `Kill ${round.round}: ${round.killed}, ${round.unanswered_writes} requests cut off, ready ${seconds(round.ready_ms)} after its new start, next write taken ${seconds(round.next_write_ms)} after the kill`,
      ["partition", "last committed", "in doubt", "first consumed"],
      round.partitions.map((one) => [
        one.partition,
        one.last_committed_offset ?? "none",
        one.commit_in_doubt ?? "",
        one.first_consumed_offset,
      ]),
    ),
  );
  const json = make("pre", JSON.stringify(report, undefined, 2));
  json.tabIndex = 0;
  json.ariaLabel = "The proof as JSON";
  find("findings", HTMLDivElement).replaceChildren(
    ...findings,
    make("details", [make("summary", "The proof as JSON"), json]),
  );
}

function faultsOf({ faults }: Report): string {
  return Object.entries(faults)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${kind.replace("_", " ")}: ${count}`)
    .join(", ");
}
