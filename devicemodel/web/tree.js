// The tree of `ailurus inspect`, as text and on the page.

// Reads it: an object of values and of objects, in their order.
export function parse(text) {
  const root = new Map();
  const open = [{ depth: -1, node: root }];
  for (const line of text.split("\n").filter((line) => line.trim())) {
    const depth = line.search(/\S/);
    while (open[open.length - 1].depth >= depth) open.pop();
    const { node } = open[open.length - 1];
    const word = line.trim();
    if (word.endsWith("/")) {
      const child = new Map();
      node.set(word.slice(0, -1), child);
      open.push({ depth, node: child });
    } else {
      const [name, ...rest] = word.split(": ");
      node.set(name, rest.join(": "));
    }
  }
  return root;
}

// Shows it below an element, and what has changed since: what is open stays open, and only what differs is touched.
export class Tree {
  constructor(element) {
    this.root = this.level(element);
  }

  level(element) {
    const values = document.createElement("dl");
    element.append(values);
    return { element, values, rows: new Map(), children: new Map() };
  }

  show(node) {
    this.update(this.root, node);
  }

  update(level, node) {
    for (const [name, value] of node) {
      if (typeof value === "string") {
        this.value(level, name, value);
      } else {
        this.child(level, name, value);
      }
    }
    for (const kind of [level.rows, level.children]) {
      for (const [name, { parts }] of kind) {
        if (!node.has(name)) {
          parts.forEach((part) => part.remove());
          kind.delete(name);
        }
      }
    }
  }

  value(level, name, value) {
    let row = level.rows.get(name);
    if (!row) {
      const parts = [document.createElement("dt"), document.createElement("dd")];
      parts[0].textContent = name;
      level.values.append(...parts);
      row = { parts };
      level.rows.set(name, row);
    }
    if (row.parts[1].textContent !== value) row.parts[1].textContent = value;
  }

  child(level, name, value) {
    let child = level.children.get(name);
    if (!child) {
      const details = document.createElement("details");
      const summary = document.createElement("summary");
      summary.textContent = name;
      details.append(summary);
      level.element.append(details);
      child = { parts: [details], details, level: this.level(details), now: value };
      details.addEventListener("toggle", () => this.update(child.level, child.now));
      level.children.set(name, child);
    }
    child.now = value;
    // What is shut is not drawn.
    if (child.details.open) this.update(child.level, value);
  }
}
