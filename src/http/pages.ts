// The documentation that the node carries with it, as plain pages: what errors point at works with no internet.

import keysText from "../../docs/concepts/keys.md" with { type: "text" };
import streamsText from "../../docs/concepts/streams.md" with { type: "text" };
import transactionsText from "../../docs/concepts/transactions.md" with { type: "text" };
import backupText from "../../docs/operating/backup.md" with { type: "text" };
import clusterText from "../../docs/operating/cluster.md" with { type: "text" };
import proveText from "../../docs/operating/prove.md" with { type: "text" };
import spaceText from "../../docs/operating/space.md" with { type: "text" };
import configurationText from "../../docs/reference/configuration.md" with { type: "text" };
import errorsText from "../../docs/reference/errors.md" with { type: "text" };
import httpText from "../../docs/reference/http.md" with { type: "text" };
import metricsText from "../../docs/reference/metrics.md" with { type: "text" };

/** Markdown of each page, by its path under `/docs`. */
const PAGES: Readonly<Record<string, string>> = {
  "reference/http": httpText,
  "reference/errors": errorsText,
  "reference/configuration": configurationText,
  "reference/metrics": metricsText,
  "operating/cluster": clusterText,
  "concepts/keys": keysText,
  "concepts/transactions": transactionsText,
  "concepts/streams": streamsText,
  "operating/backup": backupText,
  "operating/prove": proveText,
  "operating/space": spaceText,
  // What the published error example points at.
  "api/produce": httpText,
};

const STYLE =
  "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}pre{overflow:auto;background:#f4f4f4;padding:.8rem}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left}";

/** Paths of all pages. */
export const pagePaths: readonly string[] = Object.keys(PAGES);

/** A page as HTML; undefined when there is none. */
export function page(path: string): string | undefined {
  const markdown = Object.hasOwn(PAGES, path) ? PAGES[path] : undefined;
  return markdown === undefined ? undefined : render(markdown);
}

/** The list of pages. */
export function indexPage(): string {
  const lines = pagePaths.map((path) => `- [${path}](/docs/${path})`);
  return render(`# Ayder\n\n${lines.join("\n")}\n\n- [API](/swagger)\n`);
}

function render(markdown: string): string {
  const title = /^# (.*)$/m.exec(markdown)?.[1] ?? "Ayder";
  const content = Bun.markdown
    .html(markdown)
    .replace(/<h([1-6])>(.*?)<\/h\1>/g, (_, level: string, text: string) => {
      return `<h${level} id="${anchor(text)}">${text}</h${level}>`;
    });
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${Bun.escapeHTML(title)}</title><style>${STYLE}</style>${content}</html>`;
}

/** What comes after `#` in a link to a heading: spelled as GitHub does, underscores kept. */
export const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/<[^>]*>/g, "")
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
