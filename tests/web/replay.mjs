// Runs the golden tests of several packages in one process, so that onnxruntime-web is compiled once.

import { pathToFileURL } from "node:url";

for (const folder of process.argv.slice(2)) await import(pathToFileURL(`${folder}/test/golden.test.js`).href);
