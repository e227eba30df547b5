// onnxruntime-web in a worker: by WebAssembly, or by WebGPU where it was proven for this file, is right here, and is faster.

import FILES from "./files.js";
import { wrongBy } from "./probe.js";
import { makeRunner, measure } from "./runner.js";

const MOST_THREADS = 4; // more cost a small model more than they bring; half of the cores are left to the page
const FASTER = 0.8; // WebGPU is taken where it needs at most this part of WebAssembly's time

const PROVEN = FILES.engines.includes("webgpu");
const UNPROVEN =
  "this package holds no proof that WebGPU computes its file right: run edgebert profile RUN --on browser:webgpu, then " +
  "edgebert bundle RUN --platform web again";

/**
 * @param {object[]} probe golden windows, of a package whose file was proven by WebGPU
 * @returns {Promise<{run: Function, backend: string, threads: number, note: string}>}
 */
export async function openBackend(settings, bytes, store, options, probe) {
  const begin = (backend) => start(backend, settings, bytes, store, options);
  const wanted = options.backend ?? "auto";
  if (!["auto", "wasm", "webgpu"].includes(wanted)) throw new Error(`there is no backend '${wanted}': auto, wasm or webgpu`);
  if (wanted === "webgpu") return force(begin, settings, probe);
  if (await plainly(options)) return { ...(await begin("wasm")), note: wanted === "auto" && !PROVEN ? UNPROVEN : "" };
  const key = `choice/${settings.model.sha256}/${FILES.runtime.version}`;
  const known = await store.recall(key);
  if (known?.backend === "wasm") return { ...(await begin("wasm")), note: known.note ?? "" };
  return choose(begin, settings, probe, known, (choice) => store.remember(key, choice));
}

async function force(begin, settings, probe) {
  if (!PROVEN) throw new Error(UNPROVEN);
  if (!(await adapter({ software: true }))) throw new Error("this browser offers no WebGPU adapter");
  const gpu = await begin("webgpu");
  const wrong = await wrongBy(gpu.run, probe, settings.tolerance);
  if (wrong) throw new Error(`WebGPU is wrong on this device: ${wrong}; open({ backend: "wasm" }) computes right`);
  return { ...gpu, note: "" };
}

/** Whether WebAssembly will run the model without a comparison. Files of 8 bits hold operators that WebGPU does not have: they
 * would go back and forth. */
const plainly = async ({ backend = "auto" }) =>
  backend === "wasm" || (backend === "auto" && (!PROVEN || FILES.precision === "int8" || !(await adapter())));

/** Begins to fetch what `openBackend` will need, where that is known: beside the model's files, so that progress has one end. */
export async function prepare(store, options) {
  if (await plainly(options)) binary("wasm", store, options).catch(() => {}); // `openBackend` awaits it
}

const folderOf = (options) => new URL(options.runtime ?? FILES.runtime.folder, import.meta.url);

function binary(backend, store, options) {
  const name = FILES.runtime[backend].binary;
  return store.bytes(name, new URL(name, folderOf(options)).href, FILES.runtime.files[name]);
}

/** WebGPU where it gives the golden outputs, which is looked at each time, for a driver may have changed, and where it was
 * faster, which is measured once. */
async function choose(begin, settings, probe, known, remember) {
  const plain = known ? null : await begin("wasm");
  const times = { wasm_ms: known?.wasm_ms ?? (await measure(plain.run)), webgpu_ms: null };
  let note;
  try {
    const gpu = await begin("webgpu");
    note = await wrongBy(gpu.run, probe, settings.tolerance);
    if (note) note = `WebGPU is wrong on this device: ${note}`;
    else {
      times.webgpu_ms = known?.webgpu_ms ?? (await measure(gpu.run));
      if (times.webgpu_ms <= FASTER * times.wasm_ms) {
        await remember({ backend: "webgpu", ...times });
        return { ...gpu, note };
      }
      note = "WebGPU is not faster on this device";
    }
  } catch (error) {
    note = `WebGPU cannot run the model on this device: ${error.message}`;
  }
  await remember({ backend: "wasm", note, ...times });
  return { ...(plain ?? (await begin("wasm"))), note };
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

/** `software` is as right as a graphics card and never faster: only who asks for WebGPU by name gets it. */
async function adapter({ software = false } = {}) {
  const found = await navigator.gpu?.requestAdapter().catch(() => null);
  return found && (software || !(found.isFallbackAdapter ?? found.info?.isFallbackAdapter)) ? found : null;
}
