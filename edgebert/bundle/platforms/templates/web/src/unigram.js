import { Trie } from "./trie.js";

const PENALTY = 10; // below the lowest score, for a character that no token is

/** Unigram: of all ways to cut a piece into tokens the one of the highest sum of scores (Kudo 2018, arXiv 1804.10959). */
export function makeUnigram({ unk_id: unknown }, { vocab }) {
  // Of two tokens alike the later one counts, and a trie keeps what comes first.
  const trie = new Trie(vocab.map(([token], id) => [token, id]).reverse());
  const scores = Float64Array.from(vocab, ([, score]) => score);
  const least = scores.reduce((a, b) => Math.min(a, b), Infinity) - PENALTY;
  const { steps, ids } = trie;
  let best = new Float64Array(64);
  let begin = new Int32Array(64);
  let token = new Int32Array(64);

  /** Adds the tokens of one piece by `add(id, first character, character after the last)`. */
  return (chars, from, to, add) => {
    const n = to - from;
    if (n >= best.length) {
      best = new Float64Array(2 * n);
      begin = new Int32Array(2 * n);
      token = new Int32Array(2 * n);
    }
    best[0] = 0;
    begin.fill(-1, 0, n + 1);
    const offer = (start, end, id, score) => {
      if (begin[end] >= 0 && best[start] + score <= best[end]) return;
      best[end] = best[start] + score;
      begin[end] = start;
      token[end] = id;
    };
    for (let start = 0; start < n; start++) {
      let alone = false;
      for (let node = 0, i = start; i < n; ) {
        node = steps.get(node, chars.codes[from + i++]);
        if (node < 0) break;
        if (ids[node] < 0) continue;
        offer(start, i, ids[node], scores[ids[node]]);
        alone ||= i === start + 1;
      }
      if (!alone) offer(start, start + 1, unknown, least);
    }
    const found = [];
    for (let end = n; end > 0; ) {
      let start = begin[end];
      const id = token[end];
      if (id === unknown) while (start > 0 && token[start] === unknown) start = begin[start]; // joined to one
      found.push(start, end, id === unknown ? spelled(chars.codes, from + start, from + end) : id);
      end = start;
    }
    for (let k = found.length; k; k -= 3) add(found[k - 1], from + found[k - 3], from + found[k - 2]);
  };

  /** The token that characters without one spell together; the unknown one where they spell none. */
  function spelled(codes, from, to) {
    let node = 0;
    for (let i = from; i < to && node >= 0; i++) node = steps.get(node, codes[i]);
    return node >= 0 && ids[node] >= 0 ? ids[node] : unknown;
  }
}
