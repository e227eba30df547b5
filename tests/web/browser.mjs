// A headless Chromium that a script drives over a pipe: pages, requests that they made, what they evaluate, pictures.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = [
  "--headless", "--no-sandbox", "--no-first-run", "--no-proxy-server", "--disable-background-networking", "--hide-scrollbars",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--password-store=basic", "--use-mock-keychain",
  "--remote-debugging-pipe", "about:blank",
];

/** @param {string} program path of a Chromium @param {string[]} [flags] more of them */
export async function launch(program, flags = []) {
  const profile = mkdtempSync(join(tmpdir(), "eb-"));
  const child = spawn(program, [`--user-data-dir=${profile}`, ...flags, ...FLAGS], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], detached: true,
  });
  const waiting = new Map();
  const heard = [];
  let last = 0;
  let rest = Buffer.alloc(0);
  child.stdio[4].on("data", (data) => {
    rest = Buffer.concat([rest, data]);
    for (let end; (end = rest.indexOf(0)) >= 0; rest = rest.subarray(end + 1)) {
      const message = JSON.parse(rest.subarray(0, end).toString());
      if (!message.id) heard.forEach((hear) => hear(message));
      else if (message.error) waiting.get(message.id)?.reject(new Error(message.error.message));
      else waiting.get(message.id)?.resolve(message.result);
      waiting.delete(message.id);
    }
  });
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      child.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
    });
  const ended = new Promise((resolve) => child.on("exit", resolve));

  return {
    async open(url, { width = 1100, height = 800, dark = false } = {}) {
      const { targetId } = await send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      const said = [];
      const call = (method, params) => send(method, params, sessionId);
      heard.push(({ method, params, sessionId: whose }) => {
        if (whose !== sessionId) return;
        if (method === "Log.entryAdded") said.push(`${params.entry.text} ${params.entry.url ?? ""}`);
        if (method === "Runtime.exceptionThrown") said.push(params.exceptionDetails.exception?.description ?? "exception");
      });
      await Promise.all(["Page.enable", "Runtime.enable", "Log.enable"].map((name) => call(name)));
      await call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
      const scheme = (isDark) =>
        call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: isDark ? "dark" : "light" }] });
      await scheme(dark);
      await call("Page.navigate", { url });
      const page = {
        said,
        call,
        scheme,
        /** What an expression, or the promise that it gives, comes to. */
        async evaluate(expression) {
          const given = { expression, awaitPromise: true, returnByValue: true };
          const { result, exceptionDetails } = await call("Runtime.evaluate", given);
          if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
          return result.value;
        },
        /** Waits until an expression is true. */
        async until(expression, seconds = 60) {
          for (const end = Date.now() + 1000 * seconds; Date.now() < end; await new Promise((go) => setTimeout(go, 25))) {
            const value = await page.evaluate(expression).catch(() => undefined); // while a page loads there is none
            if (value) return value;
          }
          throw new Error(`${expression} is not true after ${seconds} s: ${said.join("; ")} ${await page.evaluate("document.body.innerText")}`);
        },
        go: (address) => call("Page.navigate", { url: address }),
        press: async (key, code = key) => {
          await call("Input.dispatchKeyEvent", { type: "keyDown", key, code, windowsVirtualKeyCode: key === "Tab" ? 9 : 13 });
          await call("Input.dispatchKeyEvent", { type: "keyUp", key, code });
        },
        type: (text) => call("Input.insertText", { text }),
        picture: async () => Buffer.from((await call("Page.captureScreenshot", { format: "png" })).data, "base64"),
      };
      return page;
    },
    async close() {
      await Promise.race([send("Browser.close").catch(() => {}), ended]);
      const late = setTimeout(() => process.kill(-child.pid, "SIGKILL"), 5000);
      await ended;
      clearTimeout(late);
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}
