// Serves a package, onnxruntime-web and an empty page, tells what was asked for, and can fail in several ways.

import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";

const TYPES = { ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; img-src 'self' data:",
  "Service-Worker-Allowed": "/",
  "Cache-Control": "no-cache",
};

/** @param {Record<string, string>} [scripts] further ones, by their path */
export async function serve(folder, runtime = join(folder, "node_modules/onnxruntime-web/dist"), scripts = {}) {
  const state = { requests: [], offline: false, tampered: false };
  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    if (state.offline) return request.socket.destroy();
    if (/^\/assets\/|\.wasm$/.test(path)) state.requests.push(path);
    if (path === "/empty") return response.writeHead(200, { ...HEADERS, "Content-Type": "text/html" }).end("<title>empty</title>");
    if (scripts[path]) return response.writeHead(200, { ...HEADERS, "Content-Type": "text/javascript" }).end(scripts[path]);
    const name = path.endsWith("/") ? `${path}index.html` : path;
    const file = name.startsWith("/runtime/") ? join(runtime, name.slice(9)) : join(folder, name);
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return response.writeHead(404, HEADERS).end();
    const content = readFileSync(file);
    if (state.tampered && file.endsWith(".onnx")) content[content.length >> 1] ^= 1;
    return response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(content);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { state, url: `http://localhost:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) };
}
