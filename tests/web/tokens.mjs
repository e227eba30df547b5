// Holds the tokenizer of the scripts named first against files of tests/unicode_texts.py.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , source, ...files] = process.argv;
const { Tokenizer } = await import(pathToFileURL(`${source}/tokenizer.js`).href);
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);
let wrong = 0;
for (const file of files) {
  const [{ assets }, ...lines] = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  const tokenizer = new Tokenizer(read(`${assets}/edgebert.json`).tokenizer, read(`${assets}/tokenizer.json`));
  let differ = 0;
  const start = performance.now();
  for (const { text, ids, places } of lines) {
    const tokens = tokenizer.encode(text);
    const ours = tokenizer.places(text, tokens, 0, tokens.ids.length).flat();
    if (same(tokens.ids, ids) && same(ours, places)) continue;
    if (++differ < 3) console.log(JSON.stringify({ text: text.slice(0, 300), ours: [tokens.ids, ours], wanted: [ids, places] }).slice(0, 2000));
  }
  console.log(`${file}: ${lines.length} texts, ${differ} differ, ${Math.round(performance.now() - start)} ms`);
  wrong += differ;
}
process.exitCode = wrong ? 1 : 0;
