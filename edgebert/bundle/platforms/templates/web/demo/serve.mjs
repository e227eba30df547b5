// Serves this package and onnxruntime-web for the demo: npm run demo, or PORT=8000 node demo/serve.mjs

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const runtime = dirname(fileURLToPath(import.meta.resolve("onnxruntime-web/wasm")));
const TYPES = {
  ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
const HEADERS = {
  // These two make the page cross-origin isolated, which threads need.
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; img-src 'self' data:",
  "Service-Worker-Allowed": "/",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-cache",
};

const server = createServer((request, response) => {
  let path;
  try {
    path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  } catch {
    return response.writeHead(400, HEADERS).end("not an address");
  }
  if (path === "/") return response.writeHead(302, { Location: "/demo/" }).end();
  const [folder, rest] = path.startsWith("/runtime/") ? [runtime, path.slice(9)] : [root, path.slice(1)];
  const file = normalize(join(folder, rest, path.endsWith("/") ? "index.html" : ""));
  const found = file.startsWith(folder.replace(/[\\/]?$/, sep)) && statSync(file, { throwIfNoEntry: false })?.isFile();
  if (!found) return response.writeHead(404, HEADERS).end("not found");
  response.writeHead(200, { ...HEADERS, "Content-Type": `${TYPES[extname(file)] ?? "application/octet-stream"}` });
  return createReadStream(file).pipe(response);
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.log(`http://localhost:${server.address().port}/demo/`);
});
