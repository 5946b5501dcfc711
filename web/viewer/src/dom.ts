/** Small helpers around the page's elements. */

/** The element with this id; the page has it. */
export function el(id: string): HTMLElement;
export function el<T extends HTMLElement>(id: string, kind: new () => T): T;
export function el(id: string, kind: new () => HTMLElement = HTMLElement): HTMLElement {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no #${id}`);
  return element;
}

export function show(element: HTMLElement, visible: boolean): void {
  if (element.hidden === visible) element.hidden = !visible;
}

export interface Item {
  readonly label: string;
  readonly note?: string;
  readonly checked?: boolean;
  choose(): void;
}

/** Longer lists get a field that narrows them. */
const FILTER_FROM = 10;

/** The one menu that may be open. */
export class Menu {
  #opener: HTMLElement | undefined;

  constructor(readonly element: HTMLElement) {
    element.addEventListener("focusout", (event) => {
      // Focus moved out of the menu, not to nothing (a click on the picture closes it by itself).
      const to = event.relatedTarget;
      if (to instanceof Node && !element.contains(to) && to !== this.#opener) this.close();
    });
  }

  toggle(opener: HTMLElement, items: () => readonly Item[] | Promise<readonly Item[]>): void {
    const again = this.#opener === opener;
    this.close();
    if (again) return;
    this.#opener = opener;
    opener.setAttribute("aria-expanded", "true");
    const content = items();
    if (Array.isArray(content)) return this.#fill(content);
    void (content as Promise<readonly Item[]>).then(
      (items) => this.#opener === opener && this.#fill(items),
      (error: unknown) => this.#opener === opener && this.#say(error instanceof Error ? error.message : String(error)),
    );
  }

  close(): void {
    this.#opener?.setAttribute("aria-expanded", "false");
    this.#opener = undefined;
    show(this.element, false);
    this.element.replaceChildren();
  }

  /** Returns whether the key was for the menu. */
  keyDown(event: KeyboardEvent): boolean {
    const opener = this.#opener;
    if (!opener) return false;
    if (event.key === "Escape") {
      this.close();
      opener.focus();
      return true;
    }
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return false;
    const buttons = [...this.element.querySelectorAll<HTMLElement>("button:not([hidden])")];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    buttons[(at + step + buttons.length) % buttons.length]?.focus();
    return true;
  }

  #fill(items: readonly Item[]): void {
    if (items.length === 0) return this.#say("Nothing to choose from.");
    const rows = items.map((item) => {
      const row = document.createElement("button");
      row.setAttribute("role", item.checked === undefined ? "menuitem" : "menuitemradio");
      if (item.checked !== undefined) row.setAttribute("aria-checked", String(item.checked));
      const label = document.createElement("b");
      label.textContent = item.label;
      row.append(label);
      if (item.note) {
        const note = document.createElement("small");
        note.textContent = item.note;
        row.append(note);
      }
      row.onclick = () => {
        const opener = this.#opener;
        this.close();
        opener?.focus({ preventScroll: true });
        item.choose();
      };
      return row;
    });
    this.element.replaceChildren(...rows);
    if (items.length >= FILTER_FROM) this.element.prepend(this.#filter(rows));
    this.#place();
    this.element.querySelector("[aria-checked='true']")?.scrollIntoView({ block: "center" });
    const first = this.element.querySelector<HTMLElement>("input, [aria-checked='true']") ?? rows[0];
    first?.focus({ preventScroll: true });
  }

  #filter(rows: readonly HTMLElement[]): HTMLInputElement {
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "Find";
    input.setAttribute("aria-label", "Find in the list");
    input.oninput = () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of rows) show(row, (row.textContent ?? "").toLowerCase().includes(wanted));
    };
    input.onkeydown = (event) => {
      if (event.key === "Enter") rows.find((row) => !row.hidden)?.click();
      else if (this.keyDown(event)) event.preventDefault();
    };
    return input;
  }

  #say(text: string): void {
    const line = document.createElement("p");
    line.textContent = text;
    this.element.replaceChildren(line);
    this.#place();
  }

  /** Beside its opener: below one in the upper half of the window, above one in the lower. */
  #place(): void {
    const opener = this.#opener?.getBoundingClientRect();
    if (!opener) return;
    show(this.element, true);
    const { style } = this.element;
    const { offsetWidth } = this.element;
    const left = Math.max(12, Math.min(opener.left + opener.width / 2 - offsetWidth / 2, innerWidth - offsetWidth - 12));
    style.left = `${Math.round(left)}px`;
    const below = opener.top < innerHeight / 2;
    style.top = below ? `${Math.round(opener.bottom + 8)}px` : "";
    style.bottom = below ? "" : `${Math.round(innerHeight - opener.top + 14)}px`;
  }
}
