// In a browser the model lives in a worker, so that the page never waits for it.

import { EdgeModel } from "./face.js";
import { RequestError } from "./model.js";

export { RequestError };

/** @param {import("../index.d.ts").OpenOptions} [options] */
export async function open(options = {}) {
  const { onProgress, assets, runtime, ...plain } = options;
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const waiting = new Map(); // number of a call -> what it was promised
  let [last, broken] = [0, null];

  const fail = (error) => {
    broken ??= error;
    for (const { reject } of waiting.values()) reject(broken);
    waiting.clear();
    worker.terminate();
  };
  worker.onerror = (event) => {
    event.preventDefault();
    fail(new Error(`the worker of the model stopped: ${event.message ?? "its script cannot be loaded"}`));
  };
  worker.onmessage = ({ data: { progress, id, result, error } }) => {
    if (progress) onProgress?.(progress);
    else {
      const call = waiting.get(id);
      waiting.delete(id);
      if (!error) call?.resolve(result);
      else call?.reject(new (error.name === "RequestError" ? RequestError : Error)(error.message));
    }
  };
  const ask = (message) =>
    new Promise((resolve, reject) => {
      if (broken) return reject(broken);
      waiting.set(++last, { resolve, reject });
      try {
        worker.postMessage({ id: last, ...message });
      } catch (error) {
        waiting.delete(last); // something that no message can hold
        reject(new RequestError(`a model is given text: ${error.message}`));
      }
    });

  const page = document.baseURI;
  const folder = (path) => path && new URL(String(path).replace(/\/?$/, "/"), page).href;
  const given = { ...plain, page, assets: folder(assets), runtime: folder(runtime) };
  try {
    const info = await ask({ open: given });
    return new EdgeModel(info, (method, texts) => ask({ method, texts }), async () => fail(new RequestError("the model is closed")));
  } catch (error) {
    worker.terminate();
    throw error;
  }
}
