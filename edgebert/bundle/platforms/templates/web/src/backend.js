// onnxruntime-web in a worker: by WebAssembly, or by WebGPU where that is there and faster.

import FILES from "./files.js";
import { makeRunner, measure } from "./runner.js";

const MOST_THREADS = 4; // more cost a small model more than they bring; half of the cores are left to the page
const FASTER = 0.8; // WebGPU is taken where it needs at most this part of WebAssembly's time

/** @returns {Promise<{run: Function, backend: string, threads: number}>} */
export async function openBackend(settings, bytes, store, options) {
  const wanted = options.backend ?? "auto";
  if (wanted === "webgpu" && !(await adapter())) throw new Error("this browser offers no WebGPU adapter");
  if (wanted !== "auto") return start(wanted, settings, bytes, store, options);
  if (await plainly(options)) return start("wasm", settings, bytes, store, options);
  const key = `choice/${settings.model.sha256}/${FILES.runtime.version}`;
  const known = await store.recall(key);
  if (known) return start(known.backend, settings, bytes, store, options);
  return choose(key, settings, bytes, store, options);
}

/** Whether WebAssembly will run the model without a comparison. Files of 8 bits hold operators that WebGPU does not have: they
 * would go back and forth. */
const plainly = async ({ backend = "auto" }) =>
  backend === "wasm" || (backend === "auto" && (FILES.precision === "int8" || !(await adapter())));

/** Begins to fetch what `openBackend` will need, where that is known: beside the model's files, so that progress has one end. */
export async function prepare(store, options) {
  if (await plainly(options)) binary("wasm", store, options).catch(() => {}); // `openBackend` awaits it
}

const folderOf = (options) => new URL(options.runtime ?? FILES.runtime.folder, import.meta.url);

function binary(backend, store, options) {
  const name = FILES.runtime[backend].binary;
  return store.bytes(name, new URL(name, folderOf(options)).href, FILES.runtime.files[name]);
}

async function choose(key, settings, bytes, store, options) {
  const plain = await start("wasm", settings, bytes, store, options);
  const slow = await measure(plain.run);
  let fast;
  try {
    const gpu = await start("webgpu", settings, bytes, store, options);
    fast = await measure(gpu.run);
    if (fast.ms <= FASTER * slow.ms && alike(fast.outputs, slow.outputs, settings.tolerance)) {
      await store.remember(key, { backend: "webgpu", wasm_ms: slow.ms, webgpu_ms: fast.ms });
      return gpu;
    }
  } catch {
    // An adapter that cannot run the model: it stays with WebAssembly.
  }
  await store.remember(key, { backend: "wasm", wasm_ms: slow.ms, webgpu_ms: fast?.ms ?? null });
  return plain;
}

function alike(ours, theirs, { absolute, relative }) {
  return Object.entries(theirs).every(([name, { data }]) =>
    data.every((value, i) => Math.abs(ours[name].data[i] - value) <= 10 * (absolute + relative * Math.abs(value))),
  );
}

async function start(backend, settings, bytes, store, options) {
  const { module, loader } = FILES.runtime[backend];
  const folder = folderOf(options);
  const wasm = binary(backend, store, options);
  wasm.catch(() => {}); // it is awaited below
  const address = new URL(module, folder).href;
  let ort;
  try {
    ort = await import(/* @vite-ignore */ /* webpackIgnore: true */ address);
  } catch (error) {
    throw new Error(`onnxruntime-web is not at ${folder}: name its folder by open({ runtime: "…" }) (${error.message})`);
  }
  ort.env.logLevel = "error";
  const threads = options.threads ?? Math.max(1, Math.min(MOST_THREADS, navigator.hardwareConcurrency >> 1));
  ort.env.wasm.numThreads = self.crossOriginIsolated ? threads : 1;
  ort.env.wasm.wasmPaths = { mjs: new URL(loader, folder).href };
  ort.env.wasm.wasmBinary = await wasm;
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [backend] });
  return { run: makeRunner(ort, session, settings), backend, threads: ort.env.wasm.numThreads };
}

async function adapter() {
  const found = await navigator.gpu?.requestAdapter().catch(() => null);
  return found && !(found.isFallbackAdapter ?? found.info?.isFallbackAdapter) ? found : null;
}
