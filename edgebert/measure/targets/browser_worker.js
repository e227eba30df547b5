// One worker, one engine: loads one file and runs it, or times several in turns.

const heaps = [];
WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
  construct(Memory, given) {
    const memory = Reflect.construct(Memory, given);
    heaps.push(memory);
    return memory;
  },
});
const heapBytes = () => Math.max(0, ...heaps.map((memory) => memory.buffer.byteLength));
const WARM_UP_MS = 400;  // a browser compiles hot code again while it runs
const TELL_MS = 200;

let page, engine, job;

async function say(message) {
  const answer = await fetch("say", { method: "POST", body: JSON.stringify({ page, engine, ...message }) });
  if (!answer.ok) throw new Error(`edgebert answers ${answer.status}`);
  return answer.json();
}

const bytes = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} is answered with ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
};

// onnxruntime-web with its threads running: a graph of one operator has started it.
async function runtime() {
  const ort = await import(engine === "webgpu" ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = job.threads;
  const started = performance.now();
  await (await ort.InferenceSession.create(await bytes("start.onnx"), options())).release();
  if (ort.env.wasm.numThreads !== job.threads) throw new Error(`the browser gives no ${job.threads} threads`);
  return { ort, startMs: performance.now() - started };
}

const options = () => ({ executionProviders: [engine] });

// The inputs that the model has, as tensors of the types that it wants.
function feeds(ort, session, input) {
  const found = {};
  for (const { name, type } of session.inputMetadata) {
    const rows = input[name];
    if (!rows) throw new Error(`the model wants an input '${name}', which is not given`);
    const dims = [rows.length, rows[0].length];
    if (type === "int64") found[name] = new ort.Tensor(type, BigInt64Array.from(rows.flat(), BigInt), dims);
    else if (type === "int32") found[name] = new ort.Tensor(type, Int32Array.from(rows.flat()), dims);
    else throw new Error(`the model's input '${name}' is ${type}, not int64 or int32`);
  }
  return found;
}

// One run as the caller of a model sees it: its outputs are in ordinary memory, and the runtime's own are given back.
async function run(session, input) {
  const outputs = await session.run(input);
  const plain = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    plain[name] = { dims: tensor.dims, type: tensor.type, data: tensor.data };
    tensor.dispose();
  }
  return plain;
}

const listed = (outputs) => Object.fromEntries(
  Object.entries(outputs).map(([name, { dims, type, data }]) => [name, { dims, type, data: Array.from(data, Number) }]),
);

async function load(file) {
  const { ort, startMs } = await runtime();
  const model = await bytes(`model/${file}`);
  const started = performance.now();
  const session = await ort.InferenceSession.create(model, options());
  const loaded = performance.now();
  const input = feeds(ort, session, job.inputs[0]);
  const ready = performance.now();
  await run(session, input);
  const firstRunMs = performance.now() - ready;
  const memory = heapBytes();
  const measured = { load_ms: loaded - started, first_run_ms: firstRunMs, memory_bytes: memory, start_ms: startMs };
  await say({ kind: "loaded", file, ...measured, version: ort.env.versions.web });
  for (const one of job.inputs.slice(0, job.n_outputs)) {
    const outputs = listed(await run(session, feeds(ort, session, one)));
    if (!(await say({ kind: "output", file, outputs })).more) return;
  }
}

async function prepare(ort, file) {
  const session = await ort.InferenceSession.create(await bytes(`model/${file}`), options());
  const entry = { file, session, inputs: job.inputs.map((input) => feeds(ort, session, input)) };
  const started = performance.now();
  for (let i = 0; i < 3 || performance.now() - started < WARM_UP_MS; i++) {
    await run(session, entry.inputs[i % entry.inputs.length]);
  }
  return entry;
}

// A block's first runs are not counted: another file's work has just filled the caches.
async function block({ session, inputs }, position) {
  const began = performance.now();
  for (let i = 0; i < job.warm_runs && (!i || performance.now() - began < job.warm_ms); i++) {
    await run(session, inputs[position % inputs.length]);
  }
  const times = [];
  for (let i = 0; i < job.block; i++) {
    const input = inputs[(position + i) % inputs.length];
    const start = performance.now();
    await run(session, input);
    times.push(performance.now() - start);
  }
  return times;
}

// Rounds of blocks; after each, or where they are short after several, edgebert is told and says what to run next.
async function time(files) {
  const { ort } = await runtime();
  const entries = [];
  for (const file of files) entries.push(await prepare(ort, file));
  for (let position = 0, times = {}; ; ) {
    const { files: next } = await say({ kind: "round", times });
    if (!next.length) return;
    const running = entries.filter(({ file }) => next.includes(file));
    times = Object.fromEntries(next.map((file) => [file, []]));
    const started = performance.now();
    do {
      for (const entry of running) times[entry.file].push(...await block(entry, position));
      position += job.block;
    } while (performance.now() - started < TELL_MS);
  }
}

self.onmessage = async ({ data }) => {
  ({ page, engine, job } = data);
  try {
    await (data.task === "load" ? load(data.files[0]) : time(data.files));
    self.postMessage({});
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
