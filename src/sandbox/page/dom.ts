// Elements, found and made. Text is always set as text: nothing that a node says becomes markup.

/** Finds an element that the page has. @throws Error when it has none, or one of another kind. */
export function find<T extends HTMLElement>(id: string, kind: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`The page has no ${id}`);
  return element;
}

/** Makes an element of some class with text or children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  content: string | readonly Node[] = [],
  className = "",
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  if (typeof content === "string") element.textContent = content;
  else element.append(...content);
  return element;
}

/** Makes a table with its title above, in a part of the page that scrolls sideways by itself. */
export function makeTable(
  caption: string,
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): HTMLElement {
  const head = columns.map((name) => {
    const cell = make("th", name);
    cell.scope = "col";
    return cell;
  });
  const body = rows.map((row) =>
    make(
      "tr",
      row.map((value) => make("td", String(value), typeof value === "number" ? "number" : "")),
    ),
  );
  const table = make("table", [make("thead", [make("tr", head)]), make("tbody", body)]);
  table.ariaLabel = caption;
  const place = make("div", [table], "scroll");
  // With a name and a place in the order of the keyboard, or it could be scrolled by mouse alone.
  place.role = "region";
  place.ariaLabel = caption;
  place.tabIndex = 0;
  return make("div", [make("p", caption, "caption"), place]);
}

/** Says in a form's own place how it went. */
export function say(form: HTMLFormElement, text: string, isBad = false): void {
  const place = form.querySelector("output");
  if (place === null) return;
  place.textContent = text;
  place.classList.toggle("is-bad", isBad);
}
