// Outputs of a model to answers. Each decoder is given what the text gave (places of words, contexts), its windows, and of each
// window the outputs by name: {data, width}.

const rounded = (value, digits) => Number(value.toFixed(digits));

/** Half to even, as Python rounds. */
function nearest(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}

function softmax(logits) {
  let top = -Infinity;
  for (const value of logits) top = Math.max(top, value);
  const parts = Array.from(logits, (value) => Math.exp(value - top));
  const total = parts.reduce((sum, part) => sum + part, 0);
  return parts.map((part) => part / total);
}

const sigmoid = (logits) =>
  Array.from(logits, (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))));

/** Numbers of labels, the likeliest first; of equals, as they stand. */
const ranking = (chances) => chances.map((_, i) => i).sort((a, b) => chances[b] - chances[a] || a - b);

const scored = (labels, chances, order) => order.map((i) => ({ label: labels[i], score: rounded(chances[i], 4) }));

/** The best tag of each word's first token; `fallback` for a word without tokens. */
function bestTags({ places }, windows, outputs, labels, fallback) {
  const tags = Array(places.length).fill(fallback);
  windows.forEach((window, k) => {
    const { data, width } = outputs[k].logits;
    window.words.forEach((word, token) => {
      if (word < 0) return;
      let best = token * width;
      for (let i = best + 1; i < (token + 1) * width; i++) if (data[i] > data[best]) best = i;
      tags[word] = labels[best - token * width];
    });
  });
  return tags;
}

/** Which methods of the model give a kind's answers, and how. */
export const DECODERS = {
  ner({ labels }, input, windows, outputs) {
    const { text, places } = input;
    const result = [];
    let open; // an I- that continues nothing begins an entity
    bestTags(input, windows, outputs, labels, "O").forEach((tag, word) => {
      const dash = tag.indexOf("-");
      const [letter, type] = dash < 0 ? [tag, ""] : [tag.slice(0, dash), tag.slice(dash + 1)];
      if (tag === "O") open = undefined;
      else if (CONTINUES.has(letter) && open?.type === type) open.end = places[word][1];
      else result.push((open = { text: "", type, start: places[word][0], end: places[word][1] }));
      if (!STAYS_OPEN.has(letter)) open = undefined;
    });
    for (const entity of result) entity.text = text.slice(entity.start, entity.end);
    return result;
  },

  tag({ labels }, input, windows, outputs) {
    const tags = bestTags(input, windows, outputs, labels, labels[0]);
    return input.places.map(([start, end], i) => ({ text: input.text.slice(start, end), tag: tags[i], start, end }));
  },

  classify(task, input, windows, outputs) {
    const { labels, threshold } = task;
    const { data } = outputs[0].logits;
    if (task.multi_label) {
      const chances = sigmoid(data);
      return scored(labels, chances, ranking(chances).filter((i) => chances[i] >= threshold));
    }
    const chances = softmax(data);
    const order = ranking(chances);
    const inside = order.filter((i) => !task.outside.includes(i)).slice(0, task.kept);
    const outside = order.reduce((sum, i) => (task.outside.includes(i) ? sum + chances[i] : sum), 0);
    const answers = scored(labels, chances, inside);
    const best = chances[inside[0]];
    if (best >= Math.max(outside, threshold)) return answers;
    return [{ label: task.outside_label, score: rounded(1 - best, 4) }, ...answers];
  },

  pair({ labels, kept }, input, windows, outputs) {
    const chances = softmax(outputs[0].logits.data);
    return scored(labels, chances, ranking(chances).slice(0, kept));
  },

  similarity(task, input, windows, outputs) {
    const [a, b] = outputs.map((output) => output.sentence_embedding.data);
    let [dot, left, right] = [0, 0, 0];
    for (let i = 0; i < a.length; i++) {
      dot += a[i] * b[i];
      left += a[i] * a[i];
      right += b[i] * b[i];
    }
    const norms = Math.sqrt(left) * Math.sqrt(right);
    return norms ? rounded(dot / norms, 6) : 0;
  },

  embed(task, input, windows, outputs) {
    const { data } = outputs[0].sentence_embedding;
    const exact = data instanceof Float32Array ? Math.fround : (value) => value;
    let top = 0;
    for (const value of data) top = Math.max(top, Math.abs(value));
    const scale = top / 127 || 1;
    const values = Int8Array.from(data, (value) => nearest(exact(value / exact(scale))));
    const vector = Float32Array.from(data, (value) => rounded(value, 6));
    return { vector, int8: { values, scale: rounded(scale, 9) } };
  },

  qa(task, { second }, windows, outputs) {
    let absent = Infinity;
    const spans = [];
    windows.forEach((window, k) => {
      const [start, end] = [outputs[k].start_logits.data, outputs[k].end_logits.data];
      const exact = start instanceof Float32Array ? Math.fround : (value) => value;
      absent = Math.min(absent, exact(start[0] + end[0]));
      spans.push(...bestSpans(window, start, end, exact, task));
    });
    spans.sort((a, b) => b.score - a.score);
    const best = new Map(); // windows overlap: one span, its best score
    for (const span of spans) {
      const place = `${span.start} ${span.end}`;
      if (!best.has(place)) best.set(place, span);
    }
    let chosen = [...best.values()].slice(0, task.n_best);
    const none = { start: null, end: null, score: absent };
    if (!chosen.length) chosen = [none];
    else if (task.no_answer !== null) {
      chosen = absent - chosen[0].score > task.no_answer ? [none, ...chosen] : [...chosen, none];
    }
    const shares = softmax(chosen.map((span) => span.score));
    const candidates = chosen.map(({ start, end }, i) => ({
      text: start === null ? "" : second.slice(start, end), start, end, score: rounded(shares[i], 4),
    }));
    return { ...candidates[0], candidates };
  },
};

const CONTINUES = new Set(["I", "M", "E", "L"]);
const STAYS_OPEN = new Set(["B", "I", "M"]);

/** The best spans of a window, at most the short list. */
function bestSpans({ spans }, start, end, exact, { shortlist, max_answer_tokens: most }) {
  const readable = spans.flatMap(([a, b], i) => (b > a ? [i] : []));
  const top = (side) => [...readable].sort((a, b) => side[b] - side[a] || a - b).slice(0, shortlist);
  const lasts = top(end);
  const result = [];
  for (const first of top(start)) {
    for (const last of lasts) {
      if (last < first || last - first >= most) continue;
      result.push({ start: spans[first][0], end: spans[last][1], score: exact(start[first] + end[last]) });
    }
  }
  return result.sort((a, b) => b.score - a.score).slice(0, shortlist);
}
