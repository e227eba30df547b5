import { PairTable } from "./trie.js";

const KEPT = 10000; // pieces whose tokens are remembered
const LONGEST = 32; // characters of one

/** BPE: neighbours are joined, those first that were joined first in training. */
export function makeBytePairs(settings, { vocab, merges, fuse_unk: fuse }) {
  const ids = new Map(); // of tokens of one character
  for (const [token, id] of Object.entries(vocab)) {
    const c = token.codePointAt(0);
    if (token.length === (c > 0xffff ? 2 : 1)) ids.set(c, id);
  }
  const unknown = settings.unk_token === null ? -1 : vocab[settings.unk_token];
  const ranks = new PairTable(merges.length);
  const joined = new Int32Array(merges.length);
  merges.forEach((merge, rank) => {
    const [a, b] = typeof merge === "string" ? merge.split(" ") : merge;
    joined[rank] = vocab[a + b];
    ranks.set(vocab[a], vocab[b], rank);
  });
  const known = new Map();

  /** Adds the tokens of one piece by `add(id, first character, character after the last)`. */
  return (chars, from, to, add) => {
    const key = to - from <= LONGEST ? String.fromCodePoint(...chars.codes.subarray(from, to)) : "";
    let tokens = key ? known.get(key) : undefined;
    if (!tokens) {
      tokens = merged(symbols(chars, from, to));
      if (known.size > KEPT) known.clear();
      if (key) known.set(key, tokens);
    }
    for (let i = 0, at = from; i < tokens.length; i += 2) add(tokens[i], at, (at += tokens[i + 1]));
  };

  /** Ids and lengths of the single characters; one that is not known is left out where nothing stands for it. */
  function symbols(chars, from, to) {
    const list = [];
    let fusing = false;
    for (let i = from; i < to; i++) {
      const id = ids.get(chars.codes[i]) ?? unknown;
      const isUnknown = id === unknown && !ids.has(chars.codes[i]);
      if (isUnknown && (id < 0 || (fuse && fusing))) {
        if (id >= 0) list[list.length - 1]++;
        continue;
      }
      list.push(id, 1);
      fusing = isUnknown;
    }
    return list;
  }

  /** Joins until no pair has a rank: the lowest rank first, of equal ones the leftmost. */
  function merged(list) {
    const n = list.length / 2;
    const id = Int32Array.from({ length: n }, (_, i) => list[2 * i]);
    const size = Int32Array.from({ length: n }, (_, i) => list[2 * i + 1]);
    const after = Int32Array.from({ length: n }, (_, i) => (i + 1 < n ? i + 1 : -1));
    const before = Int32Array.from({ length: n }, (_, i) => i - 1);
    const heap = []; // rank and place in one number: rank * n + place
    const offer = (at) => {
      if (at < 0 || after[at] < 0) return;
      const rank = ranks.get(id[at], id[after[at]]);
      if (rank >= 0) pushHeap(heap, rank * n + at);
    };
    for (let i = 0; i < n; i++) offer(i);
    while (heap.length) {
      const top = popHeap(heap);
      const at = top % n;
      const rank = (top - at) / n;
      const next = after[at];
      const now = size[at] === 0 || next < 0 ? -1 : ranks.get(id[at], id[next]);
      if (now < 0 || joined[now] !== joined[rank]) continue; // one of them was joined to another since
      id[at] = joined[rank];
      size[at] += size[next];
      size[next] = 0;
      after[at] = after[next];
      if (after[at] >= 0) before[after[at]] = at;
      offer(before[at]);
      offer(at);
    }
    const tokens = [];
    for (let i = 0; i < n; i++) if (size[i]) tokens.push(id[i], size[i]);
    return tokens;
  }
}

function pushHeap(heap, value) {
  let at = heap.length;
  for (; at; ) {
    const parent = (at - 1) >> 1;
    if (heap[parent] <= value) break;
    heap[at] = heap[parent];
    at = parent;
  }
  heap[at] = value;
}

function popHeap(heap) {
  const top = heap[0];
  const value = heap.pop();
  const n = heap.length;
  if (!n) return top;
  let at = 0;
  for (let child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= value) break;
    heap[at] = heap[child];
  }
  heap[at] = value;
  return top;
}
