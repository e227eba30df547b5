import { Chars } from "./chars.js";
import { precompiled, recompose } from "./composition.js";
import { charMap, charSet, charValues, shifted, SPACED } from "./tables.js";

// Each step reads characters and writes others, with the place that each comes from.

/** @param {object[]} steps of edgebert.json */
export function makeNormalizer(steps) {
  const made = steps.map((step) => {
    if (!STEPS[step.type]) throw new Error(`edgebert.json: there is no normalizer step '${step.type}' in this package`);
    return STEPS[step.type](step);
  });
  let spare = new Chars();
  let other = new Chars();
  /** The normalized characters, in one of two buffers that the next call overwrites. */
  return (chars) => {
    for (const run of made) {
      run(chars, spare.clear());
      [chars, spare, other] = [spare, other, spare];
    }
    return chars;
  };
}

const STEPS = {
  characters({ table }) {
    const { pages, pool } = charMap(table);
    return (from, to) => {
      for (let i = 0; i < from.n; i++) {
        const c = from.codes[i];
        const s = from.starts[i];
        const e = from.ends[i];
        const cell = pages.get(c);
        if (!cell) to.push(c, s, e);
        else if (cell < 0) to.push(shifted(c, cell), s, e);
        else if (cell === SPACED) {
          to.push(32, s, e);
          to.push(c, s, e);
          to.push(32, s, e);
        } else for (let k = 1; k <= pool[cell]; k++) to.push(pool[cell + k], s, e);
      }
    };
  },

  decompose({ table, classes }) {
    const { pages, pool } = charMap(table);
    const ranks = charValues(classes);
    return (from, to) => {
      const heads = []; // of the marks in a row that end the output: whether each begins what its character becomes
      let source = 0; // the character that the first of them comes from
      let last = 0; // rank of the mark before
      let moves = false;
      const flush = () => {
        if (moves) reorder(from, to, source, heads, ranks);
        heads.length = 0;
        moves = false;
      };
      const part = (c, i, isFirst) => {
        const rank = ranks.get(c);
        if (!rank) flush();
        else {
          if (!heads.length) source = i;
          else if (rank < last) moves = true;
          heads.push(isFirst);
          last = rank;
        }
        to.push(c, from.starts[i], from.ends[i]);
      };
      for (let i = 0; i < from.n; i++) {
        const c = from.codes[i];
        const syllable = c - 0xac00;
        if (c < 0xa0) {
          if (heads.length) flush();
          to.push(c, from.starts[i], from.ends[i]);
        } else if (syllable >= 0 && syllable < 11172) {
          part(0x1100 + ((syllable / 588) | 0), i, true);
          part(0x1161 + (((syllable % 588) / 28) | 0), i, false);
          if (syllable % 28) part(0x11a7 + (syllable % 28), i, false);
        } else {
          const cell = pages.get(c);
          if (!cell) part(c, i, true);
          else if (cell < 0) part(shifted(c, cell), i, true);
          else for (let k = 1; k <= pool[cell]; k++) part(pool[cell + k], i, k === 1);
        }
      }
      flush();
    };
  },

  replace({ from: old, to: fresh }) {
    const wanted = Array.from(old, (c) => c.codePointAt(0));
    const given = Array.from(fresh, (c) => c.codePointAt(0));
    return (from, to) => {
      for (let i = 0; i < from.n; i++) {
        if (wanted.every((c, k) => i + k < from.n && from.codes[i + k] === c)) {
          i += wanted.length - 1; // the library gives the place of the last character to all of the replacement
          for (const c of given) to.push(c, from.starts[i], from.ends[i]);
        } else to.push(from.codes[i], from.starts[i], from.ends[i]);
      }
    };
  },

  recompose,

  precompiled,

  /** Two and more spaces in a row become `fresh`, which takes the place of the last. */
  spaces({ to: fresh }) {
    const given = Array.from(fresh, (c) => c.codePointAt(0));
    return (from, to) => {
      for (let i = 0; i < from.n; i++) {
        const first = i;
        while (from.codes[first] === 32 && i + 1 < from.n && from.codes[i + 1] === 32) i++;
        for (const c of i > first ? given : [from.codes[i]]) to.push(c, from.starts[i], from.ends[i]);
      }
    };
  },

  strip({ left, right, spaces }) {
    const space = charSet(spaces);
    return (from, to) => {
      let [i, end] = [0, from.n];
      while (left && i < end && space.get(from.codes[i])) i++;
      while (right && end > i && space.get(from.codes[end - 1])) end--;
      to.copy(from, i, end);
    };
  },
};

/**
 * Sorts the marks that end the output by rank. The library then gives their places anew: parts that begin what a character
 * becomes take the characters' places one after the other, and the other parts that of the one before.
 */
function reorder(from, to, source, heads, ranks) {
  const at = to.n - heads.length;
  const codes = to.codes.slice(at, to.n);
  const order = heads.map((_, k) => k).sort((a, b) => ranks.get(codes[a]) - ranks.get(codes[b]) || a - b);
  let place = heads[0] ? source - 1 : source;
  order.forEach((k, j) => {
    if (heads[k]) place++;
    to.codes[at + j] = codes[k];
    to.starts[at + j] = from.starts[place];
    to.ends[at + j] = from.ends[place];
  });
}
