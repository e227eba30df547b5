// In Node there is no worker: the files are read from the package, and the model runs in this thread.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { describe, EdgeModel } from "./face.js";
import FILES from "./files.js";
import { Model, RequestError } from "./model.js";
import { makeRunner } from "./runner.js";

export { RequestError };

/** @param {import("../index.d.ts").OpenOptions} [options] */
export async function open(options = {}) {
  const { settings, tokenizer, bytes, total } = await readAssets(options.assets);
  const ort = await import("onnxruntime-web/wasm");
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = options.threads ?? 1;
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const model = new Model(settings, tokenizer, makeRunner(ort, session, settings));
  options.onProgress?.({ loaded: total, total, file: settings.model.file });
  const info = describe(settings, model, { backend: "wasm", threads: ort.env.wasm.numThreads, note: "", cached: true });
  let open = true;
  const ask = (...call) => (open ? model.ask(...call) : Promise.reject(new RequestError("the model is closed")));
  return new EdgeModel(info, ask, async () => {
    if (open) await session.release();
    open = false;
  });
}

/** The package's files, each checked. */
export async function readAssets(folder = new URL("../assets/", import.meta.url)) {
  const base = new URL(String(folder).replace(/\/?$/, "/"), `file://${process.cwd()}/`);
  const read = {};
  let total = 0;
  for (const [name, { sha256 }] of Object.entries(FILES.assets)) {
    read[name] = await readFile(new URL(name, base));
    total += read[name].length;
    if (createHash("sha256").update(read[name]).digest("hex") !== sha256) {
      throw new Error(`${name} is not the file that this package was made with: its sha256 differs`);
    }
  }
  const settings = JSON.parse(read["edgebert.json"]);
  return { settings, tokenizer: JSON.parse(read["tokenizer.json"]), bytes: read[settings.model.file], total };
}
