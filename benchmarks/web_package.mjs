// What benchmarks/web_package.py asks of Node and of Chromium. Arguments: what, the package, and more.

import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { launch } from "../tests/web/browser.mjs";
import { serve } from "../tests/web/server.mjs";

const [, , what, folder, ...more] = process.argv;
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const middle = (times) => [...times].sort((a, b) => a - b)[times.length >> 1];

/** One line in: a number of rounds over the texts; one line out: the middle microseconds of a text. */
async function tokens(texts) {
  const { Tokenizer } = await import(pathToFileURL(`${folder}/src/tokenizer.js`).href);
  const given = read(`${folder}/assets/tokenizer.json`);
  const tokenizer = new Tokenizer(read(`${folder}/assets/edgebert.json`).tokenizer, given);
  let kept = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    const times = [];
    for (let round = 0; round < Number(line); round++) {
      for (const text of texts) {
        const start = process.hrtime.bigint();
        const found = tokenizer.encode(text);
        kept += tokenizer.places(text, found, 0, found.ids.length).length;
        times.push(Number(process.hrtime.bigint() - start) / 1000);
      }
    }
    console.log(middle(times));
  }
  return kept;
}

/** Milliseconds from the beginning of a visit of the demo page to its first answer; the first visit fills the cache. */
async function visits(browser, url, n) {
  const times = [];
  for (let i = 0; i < 1 + n; i++) {
    const page = await browser.open(`${url}/demo/`);
    await page.until("document.body?.dataset.readyMs");
    times.push(Number(await page.evaluate("document.body.dataset.readyMs")));
    await page.call("Page.close");
  }
  return { first_ms: times[0], warm_ms: times.slice(1) };
}

// In the page: the model of the package in a worker whose session can also be run bare, on the same tensors, in turns.
const TURNS = `(async (texts, rounds, threads) => {
  const { EdgeModel } = await import("/src/face.js");
  const worker = new Worker("/bare.js", { type: "module" });
  let wake;
  worker.onmessage = ({ data }) => { if (!data.progress) wake(data); };
  let last = 0;
  const ask = (message) => new Promise((resolve, reject) => {
    wake = (data) => data.error ? reject(new Error(data.error.message)) : resolve(data.result);
    worker.postMessage({ id: ++last, ...message });
  });
  const info = await ask({ open: { runtime: location.origin + "/runtime/", threads } });
  const [whole, bare] = [[], []];
  for (let round = -5; round < rounds; round++) {
    for (const [i, text] of texts.entries()) {
      const start = performance.now();
      await ask({ method: info.method, texts: [text] });
      const ms = performance.now() - start;
      if (round < -4) continue;
      // Another text, so that either run meets a length other than the one before it had.
      const alone = await ask({ bare: texts[(i + 1) % texts.length] });
      if (round >= 0) { whole.push(ms); bare.push(alone); }
    }
  }
  return { info, whole, bare };
})`;

const BARE = `
import "/src/worker.js";
const ort = await import("/runtime/ort.wasm.min.mjs");
const create = ort.InferenceSession.create;
const kept = {}; // of each text the tensors that it was run with
let session, text;
ort.InferenceSession.create = async (...given) => {
  session = await create.apply(ort.InferenceSession, given);
  const run = session.run.bind(session);
  session.bare = run;
  session.run = (feeds) => run((kept[text] = feeds));
  return session;
};
const plain = self.onmessage;
self.onmessage = async (event) => {
  text = event.data.texts?.[0];
  if (!event.data.bare) return plain(event);
  const start = performance.now();
  await session.bare(kept[event.data.bare]);
  self.postMessage({ id: event.data.id, result: performance.now() - start });
};
`;

/** The answer to each row of texts, in the page. */
const ANSWERS = `(async (rows) => {
  const { open } = await import("/src/index.js");
  const model = await open({ runtime: "/runtime/" });
  const answers = [];
  for (const texts of rows) answers.push(await model[model.info.method](...texts));
  await model.close();
  return JSON.stringify(answers, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value));
})`;

/** How many texts of a file of tests/unicode_texts.py give other ids or places in the page. */
const DIFFER = `(async (lines) => {
  const { Tokenizer } = await import("/src/tokenizer.js");
  const read = async (path) => (await fetch(path)).json();
  const tokenizer = new Tokenizer((await read("/assets/edgebert.json")).tokenizer, await read("/assets/tokenizer.json"));
  return lines.filter(({ text, ids, places }) => {
    const found = tokenizer.encode(text);
    return String(found.ids) !== String(ids) || String(tokenizer.places(text, found, 0, found.ids.length).flat()) !== String(places);
  }).length;
})`;

if (what === "tokens") await tokens(read(more[0]));
else {
  const [program, ...rest] = more;
  const server = await serve(folder, undefined, { "/bare.js": BARE });
  const browser = await launch(program);
  try {
    if (what === "visits") console.log(JSON.stringify(await visits(browser, server.url, Number(rest[0]))));
    const page = what === "visits" ? null : await browser.open(`${server.url}/empty`);
    await page?.until("document.title === 'empty'");
    if (what === "turns") {
      const [texts, rounds, threads] = [read(rest[0]), Number(rest[1]), Number(rest[2])];
      console.log(JSON.stringify(await page.evaluate(`${TURNS}(${JSON.stringify(texts)}, ${rounds}, ${threads})`)));
    } else if (what === "differ") {
      const lines = readFileSync(rest[0], "utf8").trimEnd().split("\n").slice(1);
      let differ = 0;
      for (let i = 0; i < lines.length; i += 2000) differ += await page.evaluate(`${DIFFER}([${lines.slice(i, i + 2000)}])`);
      console.log(JSON.stringify({ texts: lines.length, differ }));
    } else if (what === "answers") {
      console.log(await page.evaluate(`${ANSWERS}(${readFileSync(rest[0], "utf8")})`));
    }
  } finally {
    await browser.close();
    server.close();
  }
}
