// Two whole numbers to one, in flat arrays: steps of a tree of texts, and pairs of tokens.

export class PairTable {
  constructor(capacity) {
    let size = 1024;
    while (size < 2 * capacity) size *= 2;
    this.mask = size - 1;
    this.cells = new Int32Array(3 * size); // left, right, value + 1
    this.n = 0;
  }

  place(left, right) {
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash = (hash ^ (hash >>> 15)) & this.mask;
    const cells = this.cells;
    for (; ; hash = (hash + 1) & this.mask) {
      const at = 3 * hash;
      if (!cells[at + 2] || (cells[at] === left && cells[at + 1] === right)) return at;
    }
  }

  /** The pair's value; -1 where it has none. */
  get(left, right) {
    return this.cells[this.place(left, right) + 2] - 1;
  }

  set(left, right, value) {
    if (2 * ++this.n > this.mask) this.grow();
    const at = this.place(left, right);
    this.cells[at] = left;
    this.cells[at + 1] = right;
    this.cells[at + 2] = value + 1;
  }

  grow() {
    const old = this.cells;
    this.mask = 2 * this.mask + 1;
    this.cells = new Int32Array(2 * old.length);
    for (let at = 0; at < old.length; at += 3) {
      if (old[at + 2]) this.cells.set(old.subarray(at, at + 3), this.place(old[at], old[at + 1]));
    }
  }
}

/** Texts by their code points. Node 0 is the root; `ids` has of each node the text that ends there, or -1. */
export class Trie {
  /** @param {Iterable<[string, number]>} texts each with its number. */
  constructor(texts) {
    this.steps = new PairTable(512);
    this.ids = [-1];
    for (const [text, id] of texts) {
      let node = 0;
      for (let i = 0; i < text.length; i++) {
        const c = text.codePointAt(i);
        if (c > 0xffff) i++;
        let next = this.steps.get(node, c);
        if (next < 0) {
          this.steps.set(node, c, (next = this.ids.length));
          this.ids.push(-1);
        }
        node = next;
      }
      if (this.ids[node] < 0) this.ids[node] = id;
    }
    this.ids = Int32Array.from(this.ids);
  }

  /** The node of a text; -1 where none begins with it. */
  node(text) {
    let node = 0;
    for (const c of text) if (node >= 0) node = this.steps.get(node, c.codePointAt(0));
    return node;
  }
}
