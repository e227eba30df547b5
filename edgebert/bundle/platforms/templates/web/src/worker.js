// The worker that holds the model: {id, open} or {id, method, texts} in; {progress}, {id, result} or {id, error} out.

import { openBackend, prepare } from "./backend.js";
import { describe } from "./face.js";
import FILES from "./files.js";
import { Model } from "./model.js";
import { Store } from "./store.js";

let model;

async function open(options) {
  const store = new Store(options.cache ?? true, (progress) => self.postMessage({ progress }));
  const base = new URL(options.assets ?? "../assets/", options.assets ? options.page : import.meta.url);
  const names = Object.keys(FILES.assets);
  prepare(store, options);
  const read = await Promise.all(names.map((name) => store.bytes(name, new URL(name, base).href, FILES.assets[name])));
  const text = (name) => JSON.parse(new TextDecoder().decode(read[names.indexOf(name)]));
  const settings = text("edgebert.json");
  const bytes = read[names.indexOf(settings.model.file)];
  const probe = names.includes("probe.json") ? text("probe.json") : [];
  const { run, ...chosen } = await openBackend(settings, bytes, store, options, probe);
  model = new Model(settings, text("tokenizer.json"), run);
  // A first run that nobody waits for: the browser compiles what it needs.
  await model.answer(model.offer[0], model.offer[1] === 2 ? ["a", "a"] : ["a"]);
  await store.keepOnly(`package/${FILES.name}`, Object.values(FILES.assets).map(({ sha256 }) => sha256));
  return describe(settings, model, { ...chosen, cached: store.downloads === 0 });
}

self.onmessage = async ({ data: { id, open: options, method, texts } }) => {
  try {
    self.postMessage({ id, result: options ? await open(options) : await model.ask(method, texts) });
  } catch (error) {
    self.postMessage({ id, error: { name: error?.name ?? "Error", message: String(error?.message ?? error) } });
  }
};
