import { AddedTokens, normalizedText } from "./added_tokens.js";
import { makeBytePairs } from "./byte_pairs.js";
import { Chars } from "./chars.js";
import { makeNormalizer } from "./normalizer.js";
import { makePreTokenizer } from "./pre_tokenizer.js";
import { isSpace } from "./tables.js";
import { makeUnigram } from "./unigram.js";
import { makeWordPiece } from "./word_piece.js";

const MODELS = {
  WordPiece: (settings, model) => makeWordPiece(settings, model.vocab),
  BPE: makeBytePairs,
  Unigram: makeUnigram,
};
const VISIBLE_SPACE = 0x120; // what byte-level BPE writes for a space

/**
 * @typedef {object} Tokens Of each token its id, its place in the text in UTF-16 code units, and the spaces that it begins and
 * ends with (only where `trim` needs them).
 * @property {number[]} ids
 * @property {number[]} starts
 * @property {number[]} ends
 * @property {number[]} before
 * @property {number[]} after
 */

/** Text to tokens, as Hugging Face's tokenizers have them. */
export class Tokenizer {
  /**
   * @param {object} described `tokenizer` of edgebert.json
   * @param {object} given tokenizer.json
   */
  constructor(described, given) {
    const { type } = described.model;
    if (!MODELS[type]) throw new Error(`edgebert.json: there is no tokenizer model '${type}' in this package`);
    this.normalize = makeNormalizer(described.normalizer);
    this.split = makePreTokenizer(described.pre_tokenizer);
    this.model = MODELS[type](described.model, given.model);
    this.trims = described.trim_offsets;
    const words = described.word_characters;
    const added = given.added_tokens;
    this.raw = new AddedTokens(added.filter((token) => !token.normalized), (text) => text, words);
    this.cleaned = new AddedTokens(
      added.filter((token) => token.normalized), (text) => normalizedText(this.normalize, text), words,
    );
    this.chars = new Chars();
    this.part = new Chars();
  }

  /** @returns {Tokens} of a text, without frame, uncut; places are not trimmed yet. */
  encode(text) {
    return this.encodeInto(text, { ids: [], starts: [], ends: [], before: [], after: [] });
  }

  /** Adds a text's tokens to those of others. */
  encodeInto(text, tokens) {
    const chars = this.chars.read(text);
    let read = chars;
    const add = (id, from, to) => {
      tokens.ids.push(id);
      tokens.starts.push(read.starts[from]);
      tokens.ends.push(read.ends[to - 1]);
      if (this.trims.length) this.countSpaces(read.codes, from, to, tokens);
    };
    this.raw.split(chars, (start, end, id) => {
      read = chars;
      if (id >= 0) {
        add(id, start, end);
        return;
      }
      const whole = start === 0 && end === chars.n;
      const normal = this.normalize(whole ? chars : this.part.copy(chars, start, end));
      this.cleaned.split(normal, (first, last, known) => {
        read = normal;
        if (known >= 0) {
          add(known, first, last);
          return;
        }
        const { chars: shown, bounds } = this.split(normal, first, last);
        read = shown;
        for (let i = 0; i < bounds.length; i += 2) this.model(shown, bounds[i], bounds[i + 1], add);
      });
    });
    return tokens;
  }

  countSpaces(codes, from, to, { before, after }) {
    const blank = (c) => c === VISIBLE_SPACE || isSpace(c);
    let [left, right] = [from, to];
    while (left < to && blank(codes[left])) left++;
    while (right > from && blank(codes[right - 1])) right--;
    before.push(left - from);
    after.push(to - right);
  }

  /**
   * The places of the tokens from `from` up to `to`, which make a window, without the spaces that byte-level BPE counts to a
   * token; [start, end] each.
   */
  places(text, tokens, from, to) {
    const result = [];
    for (let i = from; i < to; i++) {
      let [start, end] = [tokens.starts[i], tokens.ends[i]];
      for (const prefixed of this.trims) {
        let [left, right] = [tokens.before[i], tokens.after[i]];
        const first = i === from || start === 0;
        if (first && prefixed && left === 1) left = 0; // the space that was put there
        for (; left && start < end; left--) start += text.codePointAt(start) > 0xffff ? 2 : 1;
        for (; right && end > start; right--) end -= end > start + 1 && text.codePointAt(end - 2) > 0xffff ? 2 : 1;
      }
      result.push([start, end]);
    }
    return result;
  }
}
