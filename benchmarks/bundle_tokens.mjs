// Chromium's share of benchmarks/bundles.py: the tokenizer of a package held against files of expected tokens.
// node bundle_tokens.mjs CHROMIUM PACKAGE FILE…  (the files lie in the package's folder); a line of JSON of each.

import { relative } from "node:path";
import { launch } from "../tests/web/browser.mjs";
import { serve } from "../tests/web/server.mjs";

const [, , program, folder, ...files] = process.argv;
const COMPARE = `async (path) => {
  const { Tokenizer } = await import("/src/tokenizer.js");
  const [head, ...lines] = (await (await fetch(path)).text()).trimEnd().split("\\n").map((line) => JSON.parse(line));
  const read = async (name) => (await fetch(head.served + name)).json();
  const tokenizer = new Tokenizer((await read("edgebert.json")).tokenizer, await read("tokenizer.json"));
  let differ = 0;
  for (const { text, ids, places } of lines) {
    const tokens = tokenizer.encode(text);
    const ours = tokenizer.places(text, tokens, 0, tokens.ids.length).flat();
    if (String(tokens.ids) !== String(ids) || String(ours) !== String(places)) differ++;
  }
  return { n: lines.length, differ };
}`;

const browser = await launch(program);
const server = await serve(folder);
try {
  const page = await browser.open(`${server.url}/empty`);
  await page.until("document.title === 'empty'");
  for (const file of files) {
    const found = await page.evaluate(`(${COMPARE})(${JSON.stringify(`/${relative(folder, file)}`)})`);
    console.log(JSON.stringify(found));
  }
} finally {
  server.close();
  await browser.close();
}
