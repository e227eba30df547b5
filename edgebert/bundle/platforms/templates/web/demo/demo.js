import { open } from "../src/index.js";

const at = (id) => document.getElementById(id);
const KEPT = 50; // times of which the middle is told
const SPEAK_MS = 900; // of quiet typing, before a screen reader is told the result
const boxes = [];
const times = [];
const hues = new Map();
let model, examples, speaking;
let [running, again] = [false, false];

/** An element with texts and elements in it; text is never read as HTML. */
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A hue of its own for each type, in the order in which types are seen, so that those of one text lie far apart. */
function hueOf(type) {
  if (!hues.has(type)) hues.set(type, (hues.size * 137.5 + 210) % 360);
  return hues.get(type);
}

const coloured = (made, type) => {
  made.style.setProperty("--hue", hueOf(type));
  return made;
};

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const MEGA = 1e6;

// ---------------------------------------------------------------- answers

function mark(box, spans) {
  const text = box.field.value;
  const parts = [];
  let done = 0;
  for (const { start, end, type } of spans) {
    const made = element("mark", "", text.slice(start, end));
    parts.push(text.slice(done, start), type === undefined ? made : coloured(made, type));
    done = end;
  }
  box.under.replaceChildren(...parts, `${text.slice(done)}\u200b`);
}

function list(className, items, none) {
  return items.length ? element("ul", className, ...items) : element("p", "none", none);
}

function bars(items) {
  return list("bars", items.map(([name, share]) => {
    const made = element("li", "", element("span", "", name), element("span", "", percent(share)));
    made.style.setProperty("--share", share);
    return made;
  }), "No label.");
}

function strip({ vector }) {
  const canvas = element("canvas", "");
  [canvas.width, canvas.height] = [vector.length, 1];
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `a vector of ${vector.length} numbers`);
  const top = Math.max(...vector.map(Math.abs)) || 1;
  const pen = canvas.getContext("2d");
  vector.forEach((value, i) => {
    pen.fillStyle = value < 0 ? `hsl(20 80% 55% / ${-value / top})` : `hsl(215 80% 55% / ${value / top})`;
    pen.fillRect(i, 0, 1, 1);
  });
  const shown = Array.from(vector.slice(0, 6), (value) => value.toFixed(3)).join(", ");
  return element("div", "", canvas, element("p", "none", `${vector.length} numbers: ${shown}, …`));
}

/** What each kind of answer looks like, and what is said of it. */
function show(answer) {
  if (typeof answer === "number") {
    return [element("p", "number", answer.toFixed(3)), `similarity ${answer.toFixed(2)}`];
  }
  if (answer.vector) return [strip(answer), `a vector of ${answer.vector.length} numbers`];
  if (answer.candidates) {
    const said = answer.text || "no answer in this text";
    mark(boxes[1], answer.start === null ? [] : [answer]);
    return [bars(answer.candidates.map(({ text, score }) => [text || "(no answer)", score])), said];
  }
  if (answer[0]?.type !== undefined || (!answer.length && /entities|answers/.test(model.info.method))) {
    mark(boxes[0], answer);
    const items = answer.map(({ text, type }) => coloured(element("li", "", element("b", "", text), element("span", "", type)), type));
    return [list("found", items, "Nothing found yet."), answer.map(({ text, type }) => `${text}: ${type}`).join(", ") || "nothing found"];
  }
  if (answer[0]?.tag !== undefined || model.info.method === "tag") {
    return [list("words", answer.map(({ text, tag }) => element("li", "", text, element("span", "", tag))), "No words."), `${answer.length} words`];
  }
  const named = answer.map(({ label, score }) => [label ?? "(none of the labels)", score]);
  return [bars(named), named.length ? `${named[0][0]}, ${percent(named[0][1])}` : "no label"];
}

function showAll(answer) {
  if (model.info.method !== "answers") return show(answer);
  const parts = Object.entries(answer).map(([name, own]) => [name, ...show(own)]);
  const shown = parts.map(([name, made]) => element("div", "", element("h3", "", name), made));
  return [element("div", "", ...shown), parts.map(([name, , said]) => `${name}: ${said}`).join("; ")];
}

// ---------------------------------------------------------------- running

/** Runs what stands in the boxes; what is typed meanwhile is run once more at the end. */
async function run() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  do {
    again = false;
    const texts = boxes.map(({ field }) => field.value);
    const start = performance.now();
    try {
      const answer = await model[model.info.method](...texts);
      const ms = performance.now() - start;
      at("error").hidden = true;
      if (boxes.every(({ field }, i) => field.value === texts[i])) {
        const [made, said] = showAll(answer);
        at("answer").replaceChildren(made);
        clearTimeout(speaking);
        speaking = setTimeout(() => (at("status").textContent = said), SPEAK_MS);
      } else again = true;
      tell(ms);
    } catch (error) {
      fail(error);
    }
  } while (again);
  running = false;
}

function tell(ms) {
  times.push(ms);
  if (times.length > KEPT) times.shift();
  const sorted = [...times].sort((a, b) => a - b);
  at("now").textContent = `${ms.toFixed(1)} ms`;
  at("middle").textContent = times.length > 2 ? `median of ${times.length} runs ${sorted[sorted.length >> 1].toFixed(1)} ms` : "";
}

function fail(error) {
  at("error").textContent = error.message;
  at("error").hidden = false;
}

function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

function makeBox(name, i) {
  const field = element("textarea", "");
  field.id = `text-${i}`;
  Object.assign(field, { spellcheck: false, rows: 2, autocomplete: "off" });
  field.setAttribute("aria-describedby", "heading");
  const label = element("label", "", (name[0].toUpperCase() + name.slice(1)).replace(/(?<=\D)(?=\d)/g, " "));
  label.htmlFor = field.id;
  const under = element("div", "under");
  under.setAttribute("aria-hidden", "true");
  const box = { field, under };
  field.addEventListener("input", () => {
    mark(box, []);
    fit(field);
    run();
  });
  at("boxes").append(label, element("div", "box", under, field));
  return box;
}

function fill(texts) {
  boxes.forEach((box, i) => {
    box.field.value = texts[i] ?? "";
    mark(box, []);
    fit(box.field);
  });
  return run();
}

// ---------------------------------------------------------------- opening

async function start() {
  navigator.serviceWorker?.register("offline.js", { scope: "/" }).catch(() => {});
  examples = await (await fetch("examples.json")).json();
  document.title = at("name").textContent = examples.name;
  at("task").textContent = examples.title;
  const began = performance.now();
  model = await open({
    runtime: "/runtime/",
    onProgress({ loaded, total, file }) {
      at("progress").value = loaded / total;
      at("step").textContent = `${file}: ${(loaded / MEGA).toFixed(1)} of ${(total / MEGA).toFixed(1)} MB`;
    },
  });
  const { info } = model;
  boxes.push(...info.inputs.map(makeBox));
  for (const texts of examples.texts) {
    const button = element("button", "", texts[0]);
    button.type = "button";
    button.title = texts.join("\n");
    button.addEventListener("click", () => fill(texts));
    at("examples").append(button);
  }
  at("loading").hidden = true;
  at("form").hidden = at("result").hidden = false;
  await fill(examples.texts[0] ?? []);
  document.body.dataset.readyMs = performance.now().toFixed(0);
  const threads = `${info.threads} thread${info.threads > 1 ? "s" : ""}`;
  const facts = [
    `${(info.size_bytes / MEGA).toFixed(1)} MB, ${info.precision}`, info.backend === "wasm" ? `WebAssembly, ${threads}` : "WebGPU",
    `opened in ${((performance.now() - began) / 1000).toFixed(2)} s${info.cached ? ", from the cache" : ""}`,
  ];
  at("facts").replaceChildren(...facts.map((fact) => element("li", "", fact)));
  boxes[0].field.focus();
}

at("form").addEventListener("submit", (event) => event.preventDefault());
start().catch((error) => {
  at("loading").hidden = true;
  fail(error);
});
