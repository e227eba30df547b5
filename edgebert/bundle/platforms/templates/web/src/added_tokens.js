import { Chars } from "./chars.js";
import { charSet, isSpace } from "./tables.js";
import { Trie } from "./trie.js";

/**
 * Finds added tokens among characters: from the left, of several that begin at one place the longest. Such a token may ask to
 * be a word of its own, and take the spaces beside it.
 */
export class AddedTokens {
  /**
   * @param {object[]} tokens of tokenizer.json
   * @param {(text: string) => string} normalized what is looked for
   * @param {string | undefined} wordCharacters a table
   */
  constructor(tokens, normalized, wordCharacters) {
    // Of two that look alike the library takes the special one, then the earlier.
    this.tokens = [...tokens.filter((token) => token.special), ...tokens.filter((token) => !token.special)];
    const texts = this.tokens.map((token, i) => [normalized(token.content), i]).filter(([text]) => text);
    this.trie = texts.length ? new Trie(texts) : null;
    this.first = new Uint8Array(256); // low bytes of the characters that they begin with
    for (const [text] of texts) this.first[text.codePointAt(0) & 255] = 1;
    this.words = wordCharacters === undefined ? null : charSet(wordCharacters);
  }

  /**
   * Cuts characters into tokens and what lies between them.
   *
   * @param {(start: number, end: number, id: number) => void} cut is told of each part; `id` is -1 between tokens.
   */
  split(chars, cut) {
    const { codes, n } = chars;
    let done = 0;
    for (let i = 0; this.trie && i < n; i++) {
      if (!this.first[codes[i] & 255]) continue;
      const [number, after] = this.match(codes, i, n);
      if (number < 0) continue;
      const token = this.tokens[number];
      let [start, end] = [i, after];
      i = after - 1;
      if (token.single_word && (this.isWord(codes, start - 1, n) || this.isWord(codes, end, n))) continue;
      while (token.lstrip && start > done && isSpace(codes[start - 1])) start--;
      while (token.rstrip && end < n && isSpace(codes[end])) end++;
      if (done < start) cut(done, start, -1);
      cut(start, end, token.id);
      done = end;
    }
    if (done < n) cut(done, n, -1);
  }

  match(codes, i, n) {
    const { steps, ids } = this.trie;
    let [number, after] = [-1, i];
    for (let node = 0; i < n; ) {
      node = steps.get(node, codes[i++]);
      if (node < 0) break;
      if (ids[node] >= 0) [number, after] = [ids[node], i];
    }
    return [number, after];
  }

  isWord(codes, i, n) {
    return i >= 0 && i < n && this.words.get(codes[i]) > 0;
  }
}

/** A text as a normalizer leaves it. */
export function normalizedText(normalize, text) {
  const chars = normalize(new Chars(Math.max(16, text.length)).read(text));
  return String.fromCodePoint(...chars.codes.subarray(0, chars.n));
}
