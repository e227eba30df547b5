// Characters with their places in the source text: three flat arrays that grow, so that none is an object.

export class Chars {
  constructor(capacity = 1024) {
    this.n = 0;
    this.codes = new Int32Array(capacity);
    this.starts = new Int32Array(capacity);
    this.ends = new Int32Array(capacity);
  }

  /** A character that stands for what lies between `start` and `end` in the text, in UTF-16 code units. */
  push(code, start, end) {
    if (this.n === this.codes.length) this.grow();
    this.codes[this.n] = code;
    this.starts[this.n] = start;
    this.ends[this.n++] = end;
  }

  grow() {
    for (const name of ["codes", "starts", "ends"]) {
      const wider = new Int32Array(this.n * 2);
      wider.set(this[name]);
      this[name] = wider;
    }
  }

  clear() {
    this.n = 0;
    return this;
  }

  /** Replaces all by the characters of a text; a lone surrogate is read as a question mark, as Python does. */
  read(text) {
    this.n = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if ((unit & 0xf800) !== 0xd800) this.push(unit, i, i + 1);
      else {
        const next = unit < 0xdc00 ? text.charCodeAt(i + 1) : 0;
        if ((next & 0xfc00) === 0xdc00) this.push(((unit - 0xd800) << 10) + next - 0xdc00 + 0x10000, i, ++i + 1);
        else this.push(63, i, i + 1);
      }
    }
    return this;
  }

  /** Replaces all by a part of others. */
  copy(other, from, to) {
    this.n = 0;
    for (let i = from; i < to; i++) this.push(other.codes[i], other.starts[i], other.ends[i]);
    return this;
  }
}
