// Which engine a package's backend.js takes: of a package, with an onnxruntime-web that a case describes. Prints JSON.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , folder] = process.argv;
const cases = JSON.parse(readFileSync(0, "utf8"));
const at = (path) => pathToFileURL(join(folder, path)).href;
const settings = JSON.parse(readFileSync(join(folder, "assets/edgebert.json"), "utf8"));
const golden = readFileSync(join(folder, "golden/golden.jsonl"), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
const probe = golden.slice(0, 4).map(({ windows }) => windows[0]);

// A runtime that answers with the golden outputs of the window that it is given, `scale` times as large, after `ms`.
const FAKE = `
const { probe, engine } = globalThis.fake;
export const env = { wasm: {}, versions: {} };
export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const answer = ({ outputs, padded, input_ids: ids }, n) => (padded && n > ids.length ? padded.outputs : outputs);
export const InferenceSession = {
  async create(bytes, { executionProviders: [name] }) {
    const { scale = 1, ms = 0, breaks = false, nan = false } = engine[name];
    globalThis.fake.begun.push(name);
    return { async run({ input_ids: { data } }) {
      if (breaks) throw new Error("device lost");
      for (const end = performance.now() + ms; performance.now() < end; );
      const ids = Array.from(data, Number);
      const window = probe.find(({ input_ids }) => input_ids.every((id, i) => id === ids[i]) && ids.length >= input_ids.length) ?? probe[0];
      return Object.fromEntries(Object.entries(answer(window, ids.length)).map(([key, rows]) => {
        const data = Float32Array.from(rows.flat(Infinity), (value) => (nan ? NaN : scale * value));
        return [key, { data, dims: [1, rows.length, rows[0].length ?? 1] }];
      }));
    } };
  },
};`;

const scratch = mkdtempSync(join(tmpdir(), "eb-"));
globalThis.self = { crossOriginIsolated: false };
const { openBackend } = await import(at("src/backend.js"));
const results = [];
for (const [i, { backend, engine, adapter, kept = {} }] of cases.entries()) {
  const runtime = `${pathToFileURL(scratch).href}/${i}/`; // a module is evaluated once an address
  const found = adapter && { info: { isFallbackAdapter: adapter === "software" } };
  Object.defineProperty(globalThis, "navigator", {
    configurable: true, value: { hardwareConcurrency: 2, gpu: adapter ? { requestAdapter: async () => found } : undefined },
  });
  globalThis.fake = { probe, engine, begun: [] };
  mkdirSync(join(scratch, String(i)));
  for (const name of ["ort.wasm.min.mjs", "ort.webgpu.min.mjs"]) writeFileSync(join(scratch, String(i), name), FAKE);
  const store = {
    recall: async (key) => kept[key.split("/")[0]],
    remember: async (key, value) => void (kept[key.split("/")[0]] = value),
    bytes: async () => new Uint8Array(),
  };
  const told = await openBackend(settings, new Uint8Array(), store, { backend, runtime }, probe).then(
    ({ backend: taken, note }) => ({ taken, note }),
    (error) => ({ error: error.message }),
  );
  results.push({ ...told, begun: globalThis.fake.begun, kept: kept.choice ?? null });
}
rmSync(scratch, { recursive: true });
console.log(JSON.stringify(results));
