// Files of a page: downloaded with progress, checked, and kept in the Cache API by their sha256, so that a later visit needs no
// network and a changed file is never used.

const KEEP = "edgebert";

export class Store {
  /**
   * @param {boolean} keep whether files are kept
   * @param {(progress: {loaded: number, total: number, file: string}) => void} tell
   */
  constructor(keep, tell) {
    this.keep = keep && typeof caches === "object";
    this.tell = tell;
    this.total = 0;
    this.loaded = 0;
    this.downloads = 0;
    this.reading = new Map(); // sha256 -> promised bytes
  }

  /** The bytes of a file of which the sha256 and size are known; asked for twice, it is read once. */
  bytes(name, url, facts) {
    if (!this.reading.has(facts.sha256)) this.reading.set(facts.sha256, this.read(name, url, facts));
    return this.reading.get(facts.sha256);
  }

  async read(name, url, { sha256, size_bytes: size }) {
    this.total += size;
    const cache = this.keep ? await caches.open(KEEP).catch(() => null) : null;
    const key = keyOf(sha256);
    const known = cache && (await cache.match(key));
    if (known) {
      const bytes = new Uint8Array(await known.arrayBuffer());
      if ((await digest(bytes)) === sha256) {
        this.add(size, name);
        return bytes;
      }
      await cache.delete(key); // what the browser kept is damaged
    }
    const bytes = await this.download(name, url, size);
    if ((await digest(bytes)) !== sha256) {
      throw new Error(`${name} is not the file that this package was made with: its sha256 differs (${url})`);
    }
    // A full disk costs the next visit a download, and this one nothing.
    await cache?.put(key, new Response(bytes)).catch(() => {});
    return bytes;
  }

  async download(name, url, size) {
    this.downloads++;
    let answer;
    try {
      answer = await fetch(url);
    } catch (error) {
      throw new Error(`${name} cannot be fetched from ${url}: ${error.message}`);
    }
    if (!answer.ok) throw new Error(`${name} cannot be fetched from ${url}: the server answers ${answer.status}`);
    const bytes = new Uint8Array(size);
    const reader = answer.body.getReader();
    let at = 0;
    for (let part; !(part = await reader.read()).done; at += part.value.length) {
      if (at + part.value.length > size) throw new Error(`${name} is longer than ${size} bytes (${url})`);
      bytes.set(part.value, at);
      this.add(part.value.length, name);
    }
    if (at !== size) throw new Error(`${name} has ${at} bytes, not ${size} (${url})`);
    return bytes;
  }

  add(n, file) {
    this.loaded += n;
    this.tell({ loaded: this.loaded, total: this.total, file });
  }

  /** A small value that was kept under a name; undefined where there is none. */
  async recall(name) {
    const cache = this.keep ? await caches.open(KEEP).catch(() => null) : null;
    return (await cache?.match(keyOf(name)))?.json().catch(() => undefined);
  }

  async remember(name, value) {
    const cache = this.keep ? await caches.open(KEEP).catch(() => null) : null;
    await cache?.put(keyOf(name), new Response(JSON.stringify(value))).catch(() => {});
  }

  /** Removes what an earlier version of the package kept and this one has no use for. */
  async keepOnly(name, hashes) {
    const before = (await this.recall(name)) ?? [];
    const cache = this.keep ? await caches.open(KEEP).catch(() => null) : null;
    for (const hash of before) if (!hashes.includes(hash)) await cache?.delete(keyOf(hash));
    await this.remember(name, hashes);
  }
}

/** No such address is ever fetched: the Cache API wants one for a name. */
const keyOf = (name) => new URL(`/.edgebert/${name}`, self.location.origin).href;

async function digest(bytes) {
  if (!globalThis.crypto?.subtle) throw new Error("a model is only opened where the page comes by https, or from localhost");
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
