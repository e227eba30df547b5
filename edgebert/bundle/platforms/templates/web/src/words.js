import { charSet } from "./tables.js";

/**
 * Text to words: split at spaces, each ideograph a word, punctuation and symbols peeled off both ends one by one.
 *
 * @param {Record<string, string>} tables `words` of edgebert.json
 */
export class Words {
  constructor(tables) {
    this.spaces = charSet(tables.spaces);
    this.marks = charSet(tables.marks);
    this.ideographs = charSet(tables.ideographs);
    this.combining = charSet(tables.combining);
  }

  /** @returns {[number, number][]} the place of each word, in UTF-16 code units. */
  find(text) {
    const result = [];
    let begun = -1;
    for (let i = 0; i < text.length; ) {
      const c = text.codePointAt(i);
      const next = i + (c > 0xffff ? 2 : 1);
      const ideograph = this.ideographs.get(c);
      if (ideograph || this.spaces.get(c)) {
        if (begun >= 0) this.peel(text, begun, i, result);
        begun = -1;
        if (ideograph) result.push([i, next]);
      } else if (begun < 0) begun = i;
      i = next;
    }
    if (begun >= 0) this.peel(text, begun, text.length, result);
    return result;
  }

  peel(text, start, end, result) {
    for (let c; start < end && this.marks.get((c = text.codePointAt(start))); ) {
      result.push([start, (start += c > 0xffff ? 2 : 1)]);
    }
    const behind = [];
    for (let c; start < end && this.marks.get((c = before(text, start, end))); ) {
      behind.push([(end -= c > 0xffff ? 2 : 1), end + (c > 0xffff ? 2 : 1)]);
    }
    if (start < end) result.push([start, end]);
    while (behind.length) result.push(behind.pop());
  }

  /** A token's place without spaces around it and with the marks that belong to its last letter. */
  place(text, start, end) {
    while (start < end && this.spaces.get(text.charCodeAt(start))) start++;
    while (end > start && this.spaces.get(text.charCodeAt(end - 1))) end--;
    if (start === end) return [start, end];
    for (let c; end < text.length && this.combining.get((c = text.codePointAt(end))); ) end += c > 0xffff ? 2 : 1;
    return [start, end];
  }
}

/** The code point that ends at `end`. */
function before(text, start, end) {
  const unit = text.charCodeAt(end - 1);
  if ((unit & 0xfc00) !== 0xdc00 || end - 2 < start) return unit;
  const pair = text.codePointAt(end - 2);
  return pair > 0xffff ? pair : unit;
}
