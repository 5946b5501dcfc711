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
  /** The menu stays open, and what was checked beside it no longer is. */
  readonly stays?: true;
  choose(): void;
}

/** An angle to choose, in whole degrees. */
export interface Slider {
  readonly label: string;
  readonly degrees: number;
  turn(degrees: number): void;
}

/** A line of a menu; text is a heading. */
export type Entry = Item | Slider | string;

/** Longer lists get a field that narrows them. */
const FILTER_FROM = 10;

/** The one menu that may be open. */
export class Menu {
  #opener: HTMLElement | undefined;
  #aside = false;

  constructor(readonly element: HTMLElement) {
    element.addEventListener("focusout", (event) => {
      // Focus moved out of the menu, not to nothing (a click on the picture closes it by itself).
      const to = event.relatedTarget;
      if (to instanceof Node && !element.contains(to) && to !== this.#opener) this.close();
    });
  }

  /** `aside`: at the window's edge, for menus whose effect one wants to see. */
  toggle(opener: HTMLElement, items: () => readonly Entry[] | Promise<readonly Entry[]>, aside = false): void {
    const again = this.#opener === opener;
    this.close();
    if (again) return;
    this.#aside = aside;
    this.#opener = opener;
    opener.setAttribute("aria-expanded", "true");
    const content = items();
    if (Array.isArray(content)) return this.#fill(content);
    void (content as Promise<readonly Entry[]>).then(
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
    const buttons = [...this.element.querySelectorAll<HTMLElement>("button:not([hidden]), input[type=range]")];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    buttons[(at + step + buttons.length) % buttons.length]?.focus();
    return true;
  }

  #fill(entries: readonly Entry[]): void {
    if (entries.length === 0) return this.#say("Nothing to choose from.");
    let group: HTMLElement[] = [];
    const rows = entries.map((item) => {
      if (typeof item === "string") {
        group = [];
        const heading = document.createElement("h3");
        heading.textContent = item;
        return heading;
      }
      if ("turn" in item) return this.#slider(item);
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
      const beside = group;
      beside.push(row);
      row.onclick = () => {
        if (item.stays) {
          for (const other of beside) other.setAttribute("aria-checked", String(other === row));
          return item.choose();
        }
        const opener = this.#opener;
        this.close();
        opener?.focus({ preventScroll: true });
        item.choose();
      };
      return row;
    });
    this.element.replaceChildren(...rows);
    if (entries.length >= FILTER_FROM && entries.every((entry) => typeof entry === "object" && "choose" in entry)) this.element.prepend(this.#filter(rows));
    this.#place();
    this.element.querySelector("[aria-checked='true']")?.scrollIntoView({ block: "center" });
    const first = this.element.querySelector<HTMLElement>("input[type=search], [aria-checked='true']") ?? rows[0];
    first?.focus({ preventScroll: true });
  }

  #slider({ label, degrees, turn }: Slider): HTMLElement {
    const row = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: "-180", max: "180", value: String(Math.round(degrees)) });
    const told = document.createElement("output");
    const tell = (): void => {
      told.textContent = `${input.value}°`;
      input.setAttribute("aria-valuetext", `${input.value} degrees`);
    };
    input.oninput = () => {
      tell();
      turn(Number(input.value));
    };
    input.onkeydown = (event) => {
      if (this.keyDown(event)) event.preventDefault();
    };
    tell();
    const name = document.createElement("span");
    name.textContent = label;
    row.append(name, input, told);
    return row;
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
      if (event.key === "Enter") {
        // Choosing moves the focus to the opener, where the same press would open the menu again.
        event.preventDefault();
        rows.find((row) => !row.hidden)?.click();
      } else if (this.keyDown(event)) event.preventDefault();
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
    const wish = this.#aside ? innerWidth : opener.left + opener.width / 2 - offsetWidth / 2;
    const left = Math.max(12, Math.min(wish, innerWidth - offsetWidth - 16));
    style.left = `${Math.round(left)}px`;
    const below = opener.top < innerHeight / 2;
    style.top = below ? `${Math.round(opener.bottom + 8)}px` : "";
    style.bottom = below ? "" : `${Math.round(innerHeight - opener.top + 14)}px`;
  }
}
