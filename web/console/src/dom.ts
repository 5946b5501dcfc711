/** Small helpers around the page's elements. */

/** The element with this id; the page has it. */
export function el(id: string): HTMLElement;
export function el<T extends HTMLElement>(id: string, kind: new () => T): T;
export function el(id: string, kind: new () => HTMLElement = HTMLElement): HTMLElement {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no #${id}`);
  return element;
}

/** The first element inside that matches; it is there. */
export function within<T extends HTMLElement = HTMLElement>(parent: ParentNode, selector: string): T {
  const element = parent.querySelector<T>(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return element;
}

export function show(element: HTMLElement, visible: boolean): void {
  if (element.hidden === visible) element.hidden = !visible;
}

/** Sets the text if it is another one: setting it always would end a selection in it. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...content: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...content);
  return element;
}

export function icon(name: string): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Makes `children` the children of `parent`. Those that are in place stay untouched, and with them the focus. */
export function arrangeChildren(parent: HTMLElement, children: readonly HTMLElement[]): void {
  const wanted = new Set<Element>(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, i) => {
    const there = parent.children[i];
    if (there !== child) parent.insertBefore(child, there ?? null);
  });
}

const announced: string[] = [];
let announcing: ReturnType<typeof setTimeout> | undefined;

/** Has it said by screen readers: together with what else happens now. */
export function announce(text: string): void {
  announced.push(text);
  announcing ??= setTimeout(() => {
    announcing = undefined;
    el("announce").textContent = announced.splice(0).slice(0, 6).join(" ");
  }, 250);
}

/** Copies, and shows for a moment that it did. */
export async function copy(button: HTMLElement, text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    announce("This browser does not let the page copy. Select the text and copy it by hand.");
    return;
  }
  button.dataset["done"] = "";
  within(button, "use").setAttribute("href", "#i-done");
  announce("Copied.");
  setTimeout(() => {
    delete button.dataset["done"];
    within(button, "use").setAttribute("href", "#i-copy");
  }, 1_400);
}

/** All `data-copies` buttons: each copies the text of the element that it names. */
export function wireCopies(): void {
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-copies]") : null;
    if (button) void copy(button, el(button.dataset["copies"] ?? "").textContent ?? "");
  });
}
