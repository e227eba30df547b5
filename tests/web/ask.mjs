// Asks the package named first, in Node: questions {method, texts} come as JSON, their answers or errors go.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { open } = await import(pathToFileURL(`${process.argv[2]}/src/node.js`).href);
const model = await open();
const answers = [];
for (const { method, texts } of JSON.parse(readFileSync(0, "utf8") || "[]")) {
  answers.push(await model[method](...texts).catch((error) => `${error.name}: ${error.message}`));
}
console.log(JSON.stringify(answers, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value)));
