// Tables of code points as edgebert writes them: numbers in base 64, five bits a character, the sixth bit where more follow.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const DIGITS = new Uint8Array(128);
for (let i = 0; i < 64; i++) DIGITS[ALPHABET.charCodeAt(i)] = i;

const SHIFT = 0x110000;
/** What `charMap` gives a code point that becomes a space, itself, a space. */
export const SPACED = 1;

/** @param {string} text @returns {number[]} */
export function numbers(text) {
  const result = [];
  for (let i = 0, value = 0, scale = 1; i < text.length; i++) {
    const digit = DIGITS[text.charCodeAt(i)];
    value += (digit & 31) * scale;
    scale *= 32;
    if (digit < 32) {
      result.push(value);
      value = 0;
      scale = 1;
    }
  }
  return result;
}

const unsigned = (n) => (n % 2 ? -(n + 1) / 2 : n / 2);

/** A whole number for each code point, 0 where none was set; pages of 256 that are alike are kept once. */
export class Pages {
  constructor() {
    this.index = new Int32Array(SHIFT >> 8);
    this.cells = new Int32Array(256);
    this.used = 256;
    this.alike = new Map(); // value of a whole page -> where it lies
  }

  get(point) {
    return this.cells[this.index[point >> 8] + (point & 255)];
  }

  /** Sets the code points from `start` up to, without, `end`. */
  fill(start, end, value) {
    while (start < end) {
      const page = start >> 8;
      const stop = Math.min(end, (page + 1) << 8);
      if (stop - start === 256) {
        if (!this.alike.has(value)) this.alike.set(value, this.page(0).fill(value).byteOffset / 4);
        this.index[page] = this.alike.get(value);
      } else {
        const at = this.index[page];
        if (!at || this.cells[at] === this.cells[at + 255]) this.index[page] = this.page(at).byteOffset / 4;
        this.cells.fill(value, this.index[page] + (start & 255), this.index[page] + ((stop - 1) & 255) + 1);
      }
      start = stop;
    }
    return this;
  }

  /** A new page, a copy of the one that lies at `from`. */
  page(from) {
    if (this.used === this.cells.length) {
      const cells = new Int32Array(this.used * 2);
      cells.set(this.cells);
      this.cells = cells;
    }
    this.cells.copyWithin(this.used, from, from + 256);
    this.used += 256;
    return this.cells.subarray(this.used - 256, this.used);
  }
}

/** A set of code points, each with the value `value`. */
export function charSet(text, value = 1, pages = new Pages()) {
  const list = numbers(text);
  for (let i = 0, at = 0; i < list.length; i += 2) {
    pages.fill(at + list[i], at + list[i] + list[i + 1] + 1, value);
    at += list[i] + list[i + 1] + 1;
  }
  return pages;
}

/** A whole number for each code point. */
export function charValues(text) {
  const list = numbers(text);
  const pages = new Pages();
  for (let i = 0, at = 0; i < list.length; i += 3) {
    pages.fill(at + list[i], at + list[i] + list[i + 1] + 1, list[i + 2]);
    at += list[i] + list[i + 1] + 1;
  }
  return pages;
}

/**
 * What each code point becomes. A cell is 0: itself; below 0: the code point and `cell + 0x110000`, see `shifted`; SPACED;
 * else where `pool` has the number of code points and then these.
 */
export function charMap(text) {
  const list = numbers(text);
  const pages = new Pages();
  const pool = [0, 0];
  const before = new Int32Array(64);
  for (let i = 0, after = 0; i < list.length; ) {
    const start = after + list[i];
    const kind = list[i + 2];
    after = start + list[i + 1] + 1;
    i += 3;
    if (kind === 1) pages.fill(start, after, unsigned(list[i++]) - SHIFT);
    else if (kind === 2) {
      const delta = unsigned(list[i++]) - SHIFT;
      for (let c = start; c < after; c += 2) pages.fill(c, c + 1, delta);
    } else if (kind === 4) pages.fill(start, after, SPACED);
    else if (kind === 5) {
      for (let c = start; c < after; c++) {
        pages.fill(c, c + 1, pool.length);
        const n = list[i++];
        pool.push(n);
        for (let place = 0; place < n; place++) pool.push((before[place] += unsigned(list[i++])));
      }
    } else {
      pages.fill(start, after, pool.length);
      const n = kind === 3 ? list[i++] : 0;
      pool.push(n);
      for (let place = 0; place < n; place++) pool.push(list[i++]);
    }
  }
  return { pages, pool: Int32Array.from(pool) };
}

/** The code point that a cell of `charMap` below 0 makes of one. */
export const shifted = (point, cell) => point + cell + SHIFT;

/** Unicode's White_Space, which has not changed since 2013. */
export const isSpace = (c) =>
  c < 128
    ? c === 32 || (c > 8 && c < 14)
    : c === 0x85 || c === 0xa0 || c === 0x1680 || (c > 0x1fff && c < 0x200b) || c === 0x2028 || c === 0x2029 ||
      c === 0x202f || c === 0x205f || c === 0x3000;
