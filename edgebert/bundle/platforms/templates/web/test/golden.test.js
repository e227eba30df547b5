// Holds this package against the golden vectors: what Python computed for each text, from token ids to the answer.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { readAssets, open } from "../src/node.js";
import { Model } from "../src/model.js";
import { distance, flat, largestOf } from "../src/probe.js";
import { makeRunner } from "../src/runner.js";

const { settings, tokenizer, bytes } = await readAssets();
const opened = await open();
const ort = await import("onnxruntime-web/wasm");
ort.env.logLevel = "error";
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
const run = makeRunner(ort, session, settings);
const model = new Model(settings, tokenizer, run);
const heads = settings.task.heads ?? [settings.task];
const lines = readFileSync(new URL("../golden/golden.jsonl", import.meta.url), "utf8").trimEnd().split("\n");
const golden = lines.map((line) => JSON.parse(line));

/** Python counts code points; of each the place in UTF-16 code units, and the end of the text. */
function units(text) {
  const places = [0];
  for (let i = 0; i < text.length; places.push(i)) i += text.codePointAt(i) > 0xffff ? 2 : 1;
  return places;
}

const moved = (text, spans) => {
  const at = units(text);
  return spans.map(([start, end]) => (start < 0 ? [start, end] : [at[start], at[end]]));
};

/** Numbers of an answer are rounded: scores to 4 digits, vectors to 6. Places are moved to UTF-16. */
function same(ours, theirs, at, where, slack = 2e-6) {
  if (typeof theirs === "number") {
    const wanted = where.endsWith(".start") || where.endsWith(".end") ? at[theirs] : theirs;
    assert.ok(Math.abs(ours - wanted) <= slack, `${where}: ${ours}, not ${wanted}`);
  } else if (theirs === null || typeof theirs === "string") assert.equal(ours, theirs, where);
  else if (Array.isArray(theirs)) {
    assert.equal(ours.length, theirs.length, where);
    theirs.forEach((value, i) => same(ours[i], value, at, `${where}.${i}`, slack));
  } else {
    assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort(), where);
    for (const [key, value] of Object.entries(theirs)) {
      same(ours[key], value, at, `${where}.${key}`, key === "score" ? 1.5e-4 : slack);
    }
  }
}

function sameOfKind(kind, ours, theirs, texts, where) {
  const at = units(kind === "qa" ? texts[1] : texts[0]);
  same(kind === "similarity" ? { similarity: ours } : ours, theirs, at, where);
}

test("tokens", () => {
  for (const { texts, tokens } of golden) {
    texts.forEach((text, i) => {
      const ours = model.tokenizer.encode(text);
      const where = JSON.stringify(text).slice(0, 200);
      assert.deepEqual(ours.ids, tokens[i].ids, where);
      assert.deepEqual(model.tokenizer.places(text, ours, 0, ours.ids.length), moved(text, tokens[i].offsets), where);
    });
  }
});

test("words and windows", () => {
  for (const { texts, words, offsets, windows } of golden) {
    const where = JSON.stringify(texts).slice(0, 200);
    const input = model.read(...texts);
    assert.deepEqual(input.places, moved(texts[0], offsets), where);
    assert.deepEqual(input.places.map(([start, end]) => texts[0].slice(start, end)), words, where);
    const ours = model.encode(input);
    assert.equal(ours.length, windows.length, where);
    windows.forEach((window, k) => {
      assert.deepEqual(ours[k].ids, window.input_ids, where);
      assert.deepEqual(ours[k].types, window.type_ids, where);
      assert.deepEqual(ours[k].words, window.words, where);
      assert.deepEqual(ours[k].spans, moved(texts[1] ?? texts[0], window.spans), where);
    });
  }
});

// A file of 8 bits rounds every activation to 1 of 255 steps, and what WebAssembly computes differs from a native run in the
// last digit: in a few texts a value falls on the other side of a step, and layers carry that on. Wrong ids or weights would
// differ in every text.
const STRAYS = settings.tolerance.relative ? Math.ceil(golden.length / 20) : 0;
const FARTHEST = 4;

test("outputs of the model", async () => {
  const strays = [];
  for (const { texts, windows } of golden) {
    const ours = model.encode(model.read(...texts));
    const largest = {}; // of each output over all windows
    for (const { outputs } of windows) {
      for (const [name, value] of Object.entries(outputs)) largest[name] = Math.max(largest[name] ?? 0, largestOf(value));
    }
    let farthest = 0;
    const where = JSON.stringify(texts).slice(0, 200);
    for (const [k, { outputs, padded }] of windows.entries()) {
      const own = await run(ours[k]);
      for (const [name, value] of Object.entries(outputs)) {
        farthest = Math.max(farthest, distance(own[name].data, value, largest[name], settings.tolerance));
      }
      if (!padded) continue;
      const filled = await run(ours[k], padded.length);
      for (const [name, value] of Object.entries(padded.outputs)) {
        const cut = filled[name].data.slice(0, flat(value).length);
        farthest = Math.max(farthest, distance(cut, value, largestOf(value), settings.tolerance));
      }
    }
    assert.ok(farthest <= (STRAYS ? FARTHEST : 1), `${where}: ${farthest.toFixed(2)} times as far as it may be`);
    if (farthest > 1) strays.push(`${where}: ${farthest.toFixed(2)} times as far as it may be`);
  }
  assert.ok(strays.length <= STRAYS, strays.join("; "));
});

test("answers", () => {
  for (const { texts, windows, answer } of golden) {
    const where = JSON.stringify(texts).slice(0, 200);
    const input = model.read(...texts);
    const outputs = windows.map((window) =>
      Object.fromEntries(
        Object.entries(window.outputs).map(([name, value]) => {
          const width = Array.isArray(value[0]) ? value[0].length : value.length;
          return [name, { data: Float64Array.from(flat(value)), width }];
        }),
      ),
    );
    const ours = model.decode(input, model.encode(input), outputs);
    if (settings.task.kind !== "multi") sameOfKind(settings.task.kind, ours, answer, texts, where);
    else {
      assert.deepEqual(Object.keys(ours), Object.keys(answer), where);
      for (const { name, kind } of heads) if (name in answer) sameOfKind(kind, ours[name], answer[name], texts, `${where}, ${name}`);
    }
  }
});

test("the package as an application calls it", async () => {
  const { method, inputs } = opened.info;
  const wrong = method === "entities" ? "similarity" : "entities";
  await opened[method](...golden[0].texts);
  await assert.rejects(opened[wrong]("a", "b"), { name: "RequestError", message: new RegExp(`answers ${method}\\(`) });
  await assert.rejects(opened[method](), { name: "RequestError" });
  await assert.rejects(opened[method](...inputs.map(() => 7)), { name: "RequestError", message: /takes text, not number/ });
  await opened.close();
  await assert.rejects(opened[method](...golden[0].texts), { name: "RequestError", message: /closed/ });
});
