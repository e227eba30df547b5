// Keeps the page itself for a visit without a network; the model's files are kept by the package.

const KEEP = "demo page";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin || /^\/assets\/|\.wasm$/.test(pathname)) return;
  event.respondWith(
    fetch(request)
      .then(async (answer) => {
        if (answer.ok) await (await caches.open(KEEP)).put(request, answer.clone());
        return answer;
      })
      .catch(async (error) => (await caches.match(request)) ?? Promise.reject(error)),
  );
});
