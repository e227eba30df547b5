// The page: says what the browser is, then has workers do the measuring, so that this thread stays free to answer.

const me = crypto.randomUUID();
const show = (text) => { document.getElementById("status").textContent = text; };
let wasHidden = document.hidden;
document.addEventListener("visibilitychange", () => { wasHidden ||= document.hidden; });

async function say(message) {
  const body = JSON.stringify({ page: me, ...message });
  const answer = await fetch("say", { method: "POST", body });
  if (answer.status === 409) throw new Error("this link is open in another tab");
  if (!answer.ok) throw new Error(`edgebert answers ${answer.status}`);
  return answer.json();
}

// Microseconds between two readings of the clock that differ, at the least.
function timerResolution() {
  let least = Infinity;
  for (let i = 0; i < 50; i++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    least = Math.min(least, now - start);
  }
  return Math.round(least * 1e4) / 10;
}

async function adapter() {
  if (!navigator.gpu) return { available: false, reason: "this browser has no WebGPU" };
  try {
    const found = await navigator.gpu.requestAdapter();
    if (!found) return { available: false, reason: "the browser gives no WebGPU adapter" };
    const { vendor, architecture, device, description, isFallbackAdapter } = found.info ?? {};
    return { available: true, vendor, architecture, device, description, software: isFallbackAdapter ?? null };
  } catch (error) {
    return { available: false, reason: `WebGPU fails: ${error.message}` };
  }
}

async function facts() {
  const hints = ["fullVersionList", "platformVersion", "architecture", "model"];
  const data = await navigator.userAgentData?.getHighEntropyValues(hints).catch(() => null);
  return {
    user_agent: navigator.userAgent,
    brands: data?.fullVersionList ?? [],
    platform: data?.platform ?? navigator.platform,
    platform_version: data?.platformVersion ?? "",
    model: data?.model ?? "",
    cross_origin_isolated: crossOriginIsolated,
    hardware_concurrency: navigator.hardwareConcurrency,
    device_memory_gb: navigator.deviceMemory ?? null,
    timer_resolution_us: timerResolution(),
    webgpu: await adapter(),
  };
}

// A worker of its own for each work: its WebAssembly memory is then that work's alone.
function work(order) {
  return new Promise((resolve, reject) => {
    const worker = new Worker("browser_worker.js", { type: "module" });
    const end = (then, value) => { worker.terminate(); then(value); };
    worker.onmessage = ({ data }) => end(data.error ? reject : resolve, data.error ? new Error(data.error) : data);
    worker.onerror = (event) => end(reject, new Error(event.message || "the worker could not be loaded"));
    worker.postMessage({ page: me, ...order });
  });
}

async function measure(engine, job) {
  const loaded = [];
  for (const [file, { name }] of job.files.entries()) {
    show(`${name} (${engine}): loading …`);
    try {
      await work({ task: "load", engine, files: [file], job });
      loaded.push(file);
    } catch (error) {
      await say({ kind: "refused", engine, file, error: error.message });
    }
  }
  if (job.min_runs) show(`${engine}: running ${loaded.length} of ${job.files.length} files in turns …`);
  if (loaded.length && job.min_runs) await work({ task: "time", engine, files: loaded, job });
}

async function main() {
  const told = await facts();
  const { job, engine } = await say({ kind: "hello", facts: told });
  globalThis.alive = await fetch(`alive?${me}`);  // kept open: where it closes, this page is gone
  if (job.threads > 1 && !crossOriginIsolated) throw new Error("this page is not cross-origin isolated: no threads");
  if (engine === "webgpu" && !told.webgpu.available) throw new Error(told.webgpu.reason);
  await measure(engine, job);
  await say({ kind: "done", facts: { was_hidden: wasHidden } }).catch(() => {});  // it may be gone already
  show("Done. This tab can be closed; where edgebert has more to measure, it goes on by itself.");
  await another();
  location.reload();
}

// Until the same link is served anew, for the next job.
async function another() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    if (await fetch("browser.js").then((answer) => answer.ok, () => false)) return;
  }
}

main().catch(async (error) => {
  show(`It failed: ${error.message}`);
  await say({ kind: "error", error: error.message }).catch(() => {});
});
