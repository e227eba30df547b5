import { Trie } from "./trie.js";

/** WordPiece: the longest token that a word begins with, then the longest that goes on, and so forth. */
export function makeWordPiece(settings, vocab) {
  const trie = new Trie(Object.entries(vocab));
  const inside = trie.node(settings.continuing_subword_prefix);
  const unknown = vocab[settings.unk_token];
  const most = settings.max_input_chars_per_word;
  const { steps, ids } = trie;

  /** Adds the tokens of one word by `add(id, first character, character after the last)`. */
  return (chars, from, to, add) => {
    const codes = chars.codes;
    const found = [];
    for (let at = from; to - from <= most && at < to; ) {
      let node = at === from ? 0 : inside;
      let id = -1;
      let end = at;
      for (let i = at; i < to && node >= 0; ) {
        node = steps.get(node, codes[i++]);
        if (node >= 0 && ids[node] >= 0) [id, end] = [ids[node], i];
      }
      if (id < 0) break;
      found.push(id, at, end);
      at = end;
    }
    if (found.length && found[found.length - 1] === to) {
      for (let i = 0; i < found.length; i += 3) add(found[i], found[i + 1], found[i + 2]);
    } else if (unknown === undefined) throw new Error(`the vocabulary has no ${settings.unk_token}`);
    else add(unknown, from, to);
  };
}
