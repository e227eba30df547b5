import { charMap, charSet, charValues, shifted, SPACED } from "./tables.js";

// Normalizer steps that make one character of several: NFC, and SentencePiece's own normalizer.

/**
 * Writes characters whose places follow from how many of the source's each takes. `changes` has of each: 1 where it takes
 * none and shares the place of the one before, else the number that it takes beside its own, as 0 or below.
 */
function place(from, to, codes, changes) {
  let next = 0;
  for (let k = 0; k < codes.length; k++) {
    const at = changes[k] > 0 ? next - 1 : next;
    to.push(codes[k], at < 0 ? 0 : from.starts[at], at < 0 ? 0 : from.ends[at]);
    if (changes[k] <= 0) next += 1 - changes[k];
  }
}

/** NFC, or NFKC by another table: characters are taken apart, marks are sorted, and what can be is joined again. */
export function recompose({ table, classes, composed }) {
  const ranks = charValues(classes);
  const apart = charMap(table);
  const whole = charMap(composed);
  const pairs = new Map();
  for (let c = 0xa0; c < 0x20000; c++) {
    const cell = whole.pages.get(c);
    if (cell > SPACED) pairs.set(whole.pool[cell + 1] * 0x110000 + whole.pool[cell + 2], c);
  }
  const joined = (a, b) => {
    if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176) return 0xac00 + ((a - 0x1100) * 21 + b - 0x1161) * 28;
    const syllable = a - 0xac00;
    if (syllable >= 0 && syllable < 11172 && syllable % 28 === 0 && b > 0x11a7 && b < 0x11c3) return a + b - 0x11a7;
    return pairs.get(a * 0x110000 + b);
  };
  return (from, to) => {
    const parts = []; // code point, change, rank
    const add = (c, change) => parts.push([c, change, ranks.get(c)]);
    for (let i = 0; i < from.n; i++) {
      const c = from.codes[i];
      const cell = apart.pages.get(c);
      if (!cell) add(c, 0); // syllables too: taken apart they would only be joined again
      else if (cell < 0) add(shifted(c, cell), 0);
      else for (let k = 1; k <= apart.pool[cell]; k++) add(apart.pool[cell + k], k === 1 ? 0 : 1);
    }
    for (let i = 0; i < parts.length; i++) {
      let end = i;
      while (end < parts.length && parts[end][2]) end++;
      const marks = end > i + 1 ? parts.slice(i, end).sort((a, b) => a[2] - b[2]) : [];
      marks.forEach((part, k) => (parts[i + k] = part));
      i = Math.max(i, end - 1);
    }
    const codes = [];
    const changes = [];
    let head = -1; // of the characters written, the one that marks may join
    let last = 0; // rank of the mark that stands between, 0 where none does
    for (const [c, change, rank] of parts) {
      const free = head >= 0 && (head === codes.length - 1 || (last && last < rank));
      const one = free ? joined(codes[head], c) : undefined;
      if (one !== undefined) {
        codes[head] = one;
        changes[head] += change - 1;
        continue;
      }
      if (!rank) head = codes.length;
      last = rank;
      codes.push(c);
      changes.push(change);
    }
    place(from, to, codes, changes);
  };
}

const bytes = (c) => (c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);

/** Looks up grapheme clusters of fewer than 6 bytes by their shortest known beginning, else each character. */
export function precompiled({ table, clusters, joining, controls, prepended }) {
  const { pages, pool } = charMap(table);
  const [isJoining, isControl, isPrepended] = [joining, controls, prepended].map((set) => charSet(set));
  const known = new Map(Object.entries(clusters).map(([key, text]) => [key, Array.from(text, (c) => c.codePointAt(0))]));
  const joins = (a, b) => {
    if (a === 13 && b === 10) return true;
    return (isJoining.get(b) && !isControl.get(a)) || (isPrepended.get(a) && !isControl.get(b));
  };
  /** What stands for a character; undefined where nothing does. */
  const of = (c) => {
    const cell = pages.get(c);
    if (!cell) return undefined;
    return cell < 0 ? [shifted(c, cell)] : cell === SPACED ? [32, c, 32] : pool.subarray(cell + 1, cell + 1 + pool[cell]);
  };
  return (from, to) => {
    const list = [];
    const changes = [];
    /** `text` takes the places of `n` characters of the source. */
    const write = (text, n) => {
      for (const c of text) {
        list.push(c);
        changes.push(0);
      }
      let more = text.length - n;
      for (let k = changes.length - 1; more > 0; more--) changes[k--] = 1;
      if (more < 0 && changes.length) changes[changes.length - 1] += more; // at the very beginning the library forgets it
    };
    for (let i = 0; i < from.n; ) {
      let end = i + 1;
      let size = bytes(from.codes[i]);
      while (end < from.n && joins(from.codes[end - 1], from.codes[end])) size += bytes(from.codes[end++]);
      let text = end > i + 1 && size < 6 ? of(from.codes[i]) : undefined;
      if (!text && end > i + 1 && size < 6) {
        let key = String.fromCodePoint(from.codes[i]);
        for (let k = i + 1; k < end && !text; k++) text = known.get((key += String.fromCodePoint(from.codes[k])));
      }
      if (text) write(text, end - i);
      else for (let k = i; k < end; k++) write(of(from.codes[k]) ?? [from.codes[k]], 1);
      i = end;
    }
    place(from, to, list, changes);
  };
}
