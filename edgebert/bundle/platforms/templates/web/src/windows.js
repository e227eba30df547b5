// Texts to windows of token ids: what a model reads at once.

/**
 * @typedef {object} Window
 * @property {number[]} ids
 * @property {number[]} types
 * @property {number[]} words of each token: the word whose first token it is and that this window answers for, or -1; [] where
 * no words are tagged.
 * @property {[number, number][]} spans of each token of a context: its place, else (-1, -1); [] where no context is read.
 */

export class Windows {
  /** @param {object} settings edgebert.json */
  constructor(settings, tokenizer, words) {
    const { single, pair } = settings.tokenizer;
    Object.assign(this, { single, pair, tokenizer, words, most: settings.max_length });
  }

  /** Tokens of text in a window of one or of two texts. */
  room(frame) {
    return this.most - frame.filter(([kind]) => kind === "token").length;
  }

  /** One window: a text, or two, cut to what fits, the longer first. */
  cut(first, second) {
    const a = this.tokenizer.encode(first).ids;
    if (second === undefined) return this.frame(this.single, [a.slice(0, this.room(this.single))]);
    const b = this.tokenizer.encode(second).ids;
    const [n, m] = halves(a.length, b.length, this.room(this.pair));
    return this.frame(this.pair, [a.slice(0, n), b.slice(0, m)]);
  }

  /** @returns {Window} the ids of one or two texts in their frame. */
  frame(frame, texts, words = [], spans = []) {
    const window = { ids: [], types: [], words: [], spans: [] };
    for (const [kind, value, type] of frame) {
      const ids = kind === "token" ? [value] : texts[value];
      for (let i = 0; i < ids.length; i++) {
        window.ids.push(ids[i]);
        window.types.push(type);
        if (words.length) window.words.push(kind === "token" ? -1 : words[i]);
        if (spans.length) window.spans.push(kind === "token" || value === 0 ? [-1, -1] : spans[i]);
      }
    }
    return window;
  }

  /**
   * Windows over words that overlap by about a quarter. Each word belongs to the window in which its first token has the most
   * context on its poorer side; a window that owns no word is left out.
   */
  ofWords(text, places) {
    const tokens = { ids: [], starts: [], ends: [], before: [], after: [] };
    const words = [];
    places.forEach(([start, end], word) => {
      this.tokenizer.encodeInto(text.slice(start, end), tokens);
      while (words.length < tokens.ids.length) words.push(word);
    });
    const free = this.room(this.single);
    const step = free - Math.min(this.most >> 2, free - 1);
    const parts = cutParts(words.length, free, step);
    const owned = owners(words, parts);
    return parts.flatMap(([from, to], k) => {
      const mine = owned[k];
      return mine.some((word) => word >= 0) ? [this.frame(this.single, [tokens.ids.slice(from, to)], mine)] : [];
    });
  }

  /** Windows of a question, which keeps at most half of one, and a part of its context each. */
  ofQuestion(question, context, { stride }) {
    const room = this.room(this.pair);
    const half = room >> 1;
    const first = this.firstTokens(wellFormed(question), half);
    const second = this.tokenizer.encode(context);
    const shared = Math.max(0, Math.min(stride || this.most >> 2, room - half - 1));
    const free = room - first.length;
    return cutParts(second.ids.length, free, free - shared).map(([from, to]) => {
      const places = this.tokenizer.places(context, second, from, to);
      const spans = places.map(([start, end]) => this.words.place(context, start, end));
      return this.frame(this.pair, [first, second.ids.slice(from, to)], [], spans.length ? spans : [[-1, -1]]);
    });
  }

  /** The ids of the text up to its token number `most`, or less: one character may be several tokens. */
  firstTokens(text, most) {
    for (;;) {
      const tokens = this.tokenizer.encode(text);
      if (tokens.ids.length <= most) return tokens.ids;
      const [, end] = this.tokenizer.places(text, tokens, 0, most)[most - 1];
      const last = text.codePointAt(text.length - 2) > 0xffff ? 2 : 1;
      text = text.slice(0, Math.min(end, text.length - last));
    }
  }
}

/** As Python's tokenizers are given a text: each lone surrogate is a question mark. */
const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "?");

/** (from, to) of overlapping parts of `n` tokens, at most `most` each; one even where there are none. */
function cutParts(n, most, step) {
  const parts = [[0, Math.min(n, most)]];
  for (let from = step; parts[parts.length - 1][1] < n; from += step) parts.push([from, Math.min(n, from + most)]);
  return parts;
}

/** How many tokens of two texts stay, so that together they are at most `most`: the library's halves. */
function halves(a, b, most) {
  if (a + b <= most) return [a, b];
  const swap = a > b;
  let [less, more] = swap ? [b, a] : [a, b];
  more = less > most ? less : Math.max(less, most - less);
  if (less + more > most) {
    less = most >> 1;
    more = less + (most % 2);
  }
  return swap ? [more, less] : [less, more];
}

/** Of each part: for each of its tokens the word whose first token it is and which the part owns, or -1. */
function owners(words, parts) {
  const best = new Map(); // word -> [context, part, position]
  parts.forEach(([from, to], k) => {
    for (let i = from; i < to; i++) {
      if (i && words[i] === words[i - 1]) continue;
      const before = k ? i - from : Infinity;
      const after = k < parts.length - 1 ? to - 1 - i : Infinity;
      const context = Math.min(before, after);
      const known = best.get(words[i]);
      if (!known || context > known[0]) best.set(words[i], [context, k, i]);
    }
  });
  const result = parts.map(([from, to]) => Array(to - from).fill(-1));
  for (const [word, [, k, i]] of best) result[k][i - parts[k][0]] = word;
  return result;
}
