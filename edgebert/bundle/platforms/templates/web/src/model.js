import { DECODERS } from "./decoders.js";
import { Tokenizer } from "./tokenizer.js";
import { Windows } from "./windows.js";
import { Words } from "./words.js";

/** @type {Record<string, [string, number]>} of each kind of task its method and how many texts that is given. */
const METHODS = {
  ner: ["entities", 1],
  tag: ["tag", 1],
  classify: ["classify", 1],
  pair: ["classify", 2],
  embed: ["embed", 1],
  similarity: ["similarity", 2],
  qa: ["answer", 2],
};
const READS_WORDS = new Set(["ner", "tag"]);

/** A call that the model does not offer, or what is not text. */
export class RequestError extends Error {
  name = "RequestError";
}

/** All that lies between texts and an answer. */
export class Model {
  /**
   * @param {object} settings edgebert.json
   * @param {object} tokenizer tokenizer.json
   * @param {(window: import("./windows.js").Window) => Promise<object>} run gives each output by name: {data, width}
   */
  constructor(settings, tokenizer, run) {
    const { task } = settings;
    for (const { kind } of task.heads ?? [task]) {
      if (!DECODERS[kind]) throw new Error(`edgebert.json: there is no task '${kind}' in this package`);
    }
    this.task = task;
    this.run = run;
    this.tokenizer = new Tokenizer(settings.tokenizer, tokenizer);
    this.words = new Words(settings.words);
    this.windows = new Windows(settings, this.tokenizer, this.words);
    this.queue = Promise.resolve();
  }

  /** The method that answers, and how many texts it is given. */
  get offer() {
    return this.task.kind === "multi" ? ["answers", this.task.inputs.length] : METHODS[this.task.kind];
  }

  /** @returns {Promise<unknown>} the answer; calls are run one after the other. */
  ask(method, texts) {
    const result = this.queue.then(() => this.answer(method, texts));
    this.queue = result.catch(() => {});
    return result;
  }

  async answer(method, given) {
    const texts = given.slice(0, given.findLastIndex((text) => text !== undefined) + 1);
    this.check(method, texts);
    const input = this.read(...texts);
    const windows = this.encode(input);
    const outputs = [];
    for (const window of windows) outputs.push(await this.run(window));
    return this.decode(input, windows, outputs);
  }

  check(method, texts) {
    const [name, n] = this.offer;
    const names = this.task.inputs.slice(0, n).join(", ");
    if (method !== name) {
      throw new RequestError(`this model has the task ${this.task.name}: it answers ${name}(${names}), not ${method}(…)`);
    }
    if (texts.length !== n) throw new RequestError(`${name}(${names}) takes ${n} text${n > 1 ? "s" : ""}, not ${texts.length}`);
    for (const text of texts) {
      if (typeof text !== "string") throw new RequestError(`${name}(${names}) takes text, not ${text === null ? "null" : typeof text}`);
    }
  }

  /** Texts, with the places of the first one's words where some head tags them. */
  read(text, second) {
    const tagged = (this.task.heads ?? [this.task]).some(({ kind }) => READS_WORDS.has(kind));
    return { text, second, places: tagged ? this.words.find(text) : [] };
  }

  /** Every window of a text or two; `head` says whose it is where there are several heads, "" that it is shared. */
  encode(input) {
    const { task } = this;
    if (task.kind !== "multi") return this.windowsOf(task, input);
    return task.heads.flatMap((head) => {
      if (this.shares(head)) return [];
      const whose = head.name === task.carrier ? "" : head.name;
      return this.windowsOf(head, input).map((window) => ({ ...window, head: whose }));
    });
  }

  /** Whether a head reads the windows of another. */
  shares(head) {
    return this.task.carrier !== "" && this.task.carrier !== head.name && head.inputs.length === 1;
  }

  windowsOf(task, { text, second, places }) {
    if (READS_WORDS.has(task.kind)) return this.windows.ofWords(text, places);
    if (task.kind === "qa") return this.windows.ofQuestion(text, second, task);
    if (task.kind === "similarity") return [this.windows.cut(text), this.windows.cut(second)];
    return [task.kind === "pair" ? this.windows.cut(text, second) : this.windows.cut(text)];
  }

  decode(input, windows, outputs) {
    const { task } = this;
    if (task.kind !== "multi") return DECODERS[task.kind](task, input, windows, outputs);
    const answers = {};
    for (const head of task.heads) {
      const shares = this.shares(head);
      let mine = windows.flatMap(({ head: whose }, i) =>
        whose === head.name || (whose === "" && head.inputs.length === 1) ? [i] : [],
      );
      if (shares) mine = mine.slice(0, 1); // of a long text, a head that reads another's windows sees the first
      if (shares && !mine.length) continue;
      const own = mine.map((i) => ownOutputs(outputs[i], `${head.name}_`));
      answers[head.name] = DECODERS[head.kind](head, input, mine.map((i) => windows[i]), own);
    }
    return answers;
  }
}

const ownOutputs = (outputs, prefix) =>
  Object.fromEntries(
    Object.entries(outputs).flatMap(([name, output]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), output]] : [],
    ),
  );
