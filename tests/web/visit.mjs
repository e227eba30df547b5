// A browser named first goes through the story named second with each package named after: prints a line of JSON of each.

import { launch } from "./browser.mjs";
import { serve } from "./server.mjs";

const [, , program, story, ...packages] = process.argv;
const TEXT = "🙂 flights from boston to new york";

const opened = (more = "") => `(async () => {
  const { open } = await import("/src/index.js");
  const progress = [];
  const model = await open({ runtime: "/runtime/", onProgress: (item) => progress.push(item), ${more} });
  const answer = await model.entities(${JSON.stringify(TEXT)});
  globalThis.model = model;
  return { answer, progress, info: model.info, isolated: crossOriginIsolated };
})()`;
const failure = (promise) => `(async () => { try { await ${promise}; return "" } catch (error) { return error.name + ": " + error.message } })()`;

async function offline(browser, { state, url }) {
  const seen = {};
  const page = await browser.open(`${url}/empty`);
  const visit = async (more) => {
    await page.until("document.title === 'empty'");
    state.requests.length = 0;
    return { ...(await page.evaluate(opened(more))), requests: [...state.requests] };
  };
  seen.first = await visit();
  seen.wrong = await page.evaluate(failure('model.answer("a", "b")'));
  seen.closed = await page.evaluate(failure('model.close().then(() => model.entities("a"))'));
  await page.go(`${url}/empty`);
  seen.second = await visit();
  state.tampered = true;
  seen.tampered = await page.evaluate(failure(opened("cache: false")));
  seen.missing = await page.evaluate(failure(opened('cache: false, assets: "/nowhere"')));
  seen.no_runtime = await page.evaluate(failure(opened().replace("/runtime/", "/nothing/")));
  const violations = [...page.said];
  await page.go(`${url}/demo/`);
  await page.until("document.body?.dataset.readyMs && navigator.serviceWorker.controller");
  await page.go(`${url}/demo/?again`); // now the page's own files come by its service worker, and are kept
  await page.until("document.body?.dataset.readyMs && location.search");
  await page.go(`${url}/demo/`);
  await page.until("document.body?.dataset.readyMs && !location.search");
  state.offline = true;
  state.requests.length = 0;
  await page.go(`${url}/demo/`);
  await page.until("document.body?.dataset.readyMs");
  seen.page_offline = Number(await page.evaluate("document.body.dataset.readyMs"));
  seen.offline = { ...(await page.evaluate(opened())), requests: [...state.requests] };
  seen.violations = violations.filter((text) => /Content Security Policy|Refused/.test(text));
  return seen;
}

// The least contrast of text that stands in the page, each as WCAG counts it.
const CONTRAST = `(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const under = (element) => { for (; element; element = element.parentElement) { const colour = parse(getComputedStyle(element).backgroundColor); if (colour[3] !== 0) return colour; } return [255, 255, 255]; };
  const against = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const texts = [...document.querySelectorAll("h1, h2, .kicker, label, footer, button, #facts li, #latency span, #answer *")].filter((e) => e.textContent.trim() && e.offsetParent);
  const field = parse(getComputedStyle(document.querySelector("textarea")).color);
  return [...texts.map((e) => against(parse(getComputedStyle(e).color), under(e))), ...[...document.querySelectorAll(".under mark")].map((e) => against(field, under(e)))];
})()`;

async function page(browser, { url }) {
  const seen = { contrast: [] };
  const shown = await browser.open(`${url}/demo/`);
  await shown.until("document.body?.dataset.readyMs");
  seen.marks = await shown.evaluate("document.querySelectorAll('.under mark').length");
  for (const dark of [false, true]) {
    await shown.scheme(dark);
    seen.contrast.push(...(await shown.evaluate(CONTRAST)));
  }
  seen.task = await (await fetch(`${url}/assets/edgebert.json`)).json().then(({ task }) => task.name);
  seen.focused = await shown.evaluate("document.activeElement.id");
  seen.labels = await shown.evaluate("[...document.querySelectorAll('textarea')].map((e) => e.labels[0].textContent)");
  seen.live = await shown.evaluate("document.getElementById('status').getAttribute('aria-live')");
  await shown.type(" <img src=x onerror=document.title=1> <b>boston</b>");
  seen.status = await shown.until("document.getElementById('status').textContent");
  seen.images = await shown.evaluate("document.querySelectorAll('main img, .under b').length");
  seen.result = await shown.evaluate("document.getElementById('answer').innerText || document.querySelector('#answer canvas').ariaLabel");
  seen.latency = await shown.evaluate("document.getElementById('now').textContent");
  seen.error = await shown.evaluate("document.getElementById('error').textContent");
  const boxes = await shown.evaluate("document.querySelectorAll('textarea').length");
  for (let i = 0; i < boxes; i++) await shown.press("Tab");
  seen.tabbed = await shown.evaluate("document.activeElement.tagName");
  seen.violations = shown.said.filter((text) => /Content Security Policy|Refused/.test(text));
  return seen;
}

// By WebGPU, in software where there is no card: what it answers, or why it does not.
async function webgpu(browser, { url }) {
  const shown = await browser.open(`${url}/empty`);
  await shown.until("document.title === 'empty'");
  const adapter = await shown.evaluate("(async () => Boolean(await navigator.gpu?.requestAdapter()))()");
  const opens = (more) => `(async () => { try { return await ${opened(`cache: false, ${more}`)} } catch (error) { return { error: error.message } } })()`;
  return { adapter, forced: await shown.evaluate(opens('backend: "webgpu"')), auto: await shown.evaluate(opens("")) };
}

const browser = await launch(program, story === "webgpu" ? ["--enable-unsafe-webgpu", "--enable-features=Vulkan"] : []);
try {
  for (const folder of packages) {
    const server = await serve(folder);
    console.log(JSON.stringify(await { offline, page, webgpu }[story](browser, server)));
    server.close();
  }
} finally {
  await browser.close();
}
