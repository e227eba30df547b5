import { Chars } from "./chars.js";
import { charSet } from "./tables.js";

// Pieces of normalized characters that the model reads one by one: `bounds` has the first character of each and the one
// after its last.

/** @param {object[]} steps of edgebert.json */
export function makePreTokenizer(steps) {
  const made = steps.map((step) => {
    if (!STEPS[step.type]) throw new Error(`edgebert.json: there is no pre-tokenizer '${step.type}' in this package`);
    return STEPS[step.type](step);
  });
  /** @returns {{chars: Chars, bounds: number[]}} of the characters from `start` up to `end`. */
  return (chars, start, end) => {
    let pieces = { chars, bounds: start < end ? [start, end] : [] };
    for (const run of made) pieces = run(pieces);
    return pieces;
  };
}

const SPACE = 1, OWN = 2;
const LETTER = 1, NUMBER = 2, BLANK = 3;

/** Splits at spaces, which are dropped, and around characters that are a piece of their own. */
const splitter = (kinds) => ({ chars, bounds }) => {
  const result = [];
  const codes = chars.codes;
  for (let k = 0; k < bounds.length; k += 2) {
    let from = bounds[k];
    const end = bounds[k + 1];
    for (let i = from; i < end; i++) {
      const kind = kinds.get(codes[i]);
      if (!kind) continue;
      if (from < i) result.push(from, i);
      if (kind === OWN) result.push(i, i + 1);
      from = i + 1;
    }
    if (from < end) result.push(from, end);
  }
  return { chars, bounds: result };
};

const STEPS = {
  bert: ({ spaces, punctuation }) => splitter(charSet(punctuation, OWN, charSet(spaces, SPACE))),

  whitespace: ({ spaces }) => splitter(charSet(spaces, SPACE)),

  /** Writes `replacement` for spaces, and begins a piece at each, and where `prepend` says so before the text. */
  metaspace({ replacement, prepend, split }) {
    const mark = replacement.codePointAt(0);
    const text = new Chars();
    return ({ chars, bounds }) => {
      const result = [];
      text.clear();
      for (let k = 0; k < bounds.length; k += 2) {
        const [from, end] = [bounds[k], bounds[k + 1]];
        let begin = text.n;
        const first = chars.codes[from] === 32 ? mark : chars.codes[from];
        if (first !== mark && (prepend === "always" || (prepend === "first" && chars.starts[from] === 0))) {
          text.push(mark, chars.starts[from], chars.ends[from]);
        }
        for (let i = from; i < end; i++) {
          const c = chars.codes[i] === 32 ? mark : chars.codes[i];
          if (split && c === mark && text.n > begin) {
            result.push(begin, text.n);
            begin = text.n;
          }
          text.push(c, chars.starts[i], chars.ends[i]);
        }
        result.push(begin, text.n);
      }
      return { chars: text, bounds: result };
    };
  },

  byte_level({ letters, numbers, spaces, add_prefix_space: prefix, use_regex: split }) {
    const kinds = charSet(spaces, BLANK, charSet(numbers, NUMBER, charSet(letters, LETTER)));
    const text = new Chars();
    const bytes = new Chars();
    return ({ chars, bounds }) => {
      const result = [];
      bytes.clear();
      for (let k = 0; k < bounds.length; k += 2) {
        text.clear();
        // The space that is put before a piece has the place of the piece's first character.
        if (prefix && chars.codes[bounds[k]] !== 32) text.push(32, chars.starts[bounds[k]], chars.ends[bounds[k]]);
        for (let i = bounds[k]; i < bounds[k + 1]; i++) text.push(chars.codes[i], chars.starts[i], chars.ends[i]);
        for (let i = 0; i < text.n; ) {
          const stop = split ? pieceEnd(text.codes, i, text.n, kinds) : text.n;
          result.push(bytes.n);
          for (; i < stop; i++) pushBytes(bytes, text.codes[i], text.starts[i], text.ends[i]);
          result.push(bytes.n);
        }
      }
      return { chars: bytes, bounds: result };
    };
  },
};

/**
 * Where the piece that begins at `i` ends, by GPT-2's pattern:
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 */
function pieceEnd(codes, i, n, kinds) {
  if (codes[i] === 39 && i + 1 < n) {
    const a = codes[i + 1];
    if (a === 115 || a === 116 || a === 109 || a === 100) return i + 2; // s t m d
    const b = i + 2 < n ? codes[i + 2] : 0;
    if ((a === 114 && b === 101) || (a === 118 && b === 101) || (a === 108 && b === 108)) return i + 3; // re ve ll
  }
  let at = codes[i] === 32 ? i + 1 : i;
  const kind = at < n ? kinds.get(codes[at]) : BLANK;
  if (kind !== BLANK) {
    while (at < n && kinds.get(codes[at]) === kind) at++;
    return at;
  }
  at = i + 1;
  while (at < n && kinds.get(codes[at]) === BLANK) at++;
  return at < n && at - i > 1 ? at - 1 : at; // the last space belongs to what follows
}

// The visible character of each byte: those that Latin-1 shows stand for themselves, the others follow from 256 on.
const VISIBLE = new Int32Array(256);
for (let byte = 0, next = 256; byte < 256; byte++) {
  const shown = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  VISIBLE[byte] = shown ? byte : next++;
}

function pushBytes(to, c, s, e) {
  if (c < 0x80) {
    to.push(VISIBLE[c], s, e);
    return;
  }
  let shift = c < 0x800 ? 6 : c < 0x10000 ? 12 : 18;
  to.push(VISIBLE[(c < 0x800 ? 0xc0 : c < 0x10000 ? 0xe0 : 0xf0) | (c >> shift)], s, e);
  while (shift) to.push(VISIBLE[0x80 | ((c >> (shift -= 6)) & 63)], s, e);
}
