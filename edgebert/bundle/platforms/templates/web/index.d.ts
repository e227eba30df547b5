/** A place in a text is in UTF-16 code units, so that `text.slice(start, end)` is what it names. */
export interface Entity {
  text: string;
  type: string;
  start: number;
  end: number;
}

export interface TaggedWord {
  text: string;
  tag: string;
  start: number;
  end: number;
}

export interface Label {
  /** null: the text fits none of the labels, and the model has no name for that. */
  label: string | null;
  /** 0 to 1 */
  score: number;
}

export interface Embedding {
  vector: Float32Array;
  /** The same in a quarter of the memory: `values[i] * scale` is about `vector[i]`. */
  int8: { values: Int8Array; scale: number };
}

export interface Candidate {
  text: string;
  /** null: the context does not hold an answer. */
  start: number | null;
  end: number | null;
  score: number;
}

export interface Answer extends Candidate {
  candidates: Candidate[];
}

/** Of a model of several heads: each head's answer by its name. */
export type Answers = Record<string, Entity[] | TaggedWord[] | Label[] | Embedding | Answer | number>;

export interface Progress {
  /** Bytes so far, of all files. */
  loaded: number;
  total: number;
  /** The file that the last bytes belong to. */
  file: string;
}

export interface OpenOptions {
  /** Told while files come in. */
  onProgress?: (progress: Progress) => void;
  /** Where the package's folder `assets` is served; by default beside the package's scripts. */
  assets?: string | URL;
  /** Where onnxruntime-web's folder `dist` is served; by default beside the package in node_modules. */
  runtime?: string | URL;
  /**
   * `auto` takes WebGPU where the package holds a proof of its file by WebGPU, the golden outputs come out right on this
   * device, and it is faster; else WebAssembly. `webgpu` fails without that proof, and where the outputs are wrong.
   */
  backend?: "auto" | "wasm" | "webgpu";
  /** By default half of the cores, up to 4, where the page is cross-origin isolated; else 1. */
  threads?: number;
  /** Whether files are kept in the Cache API; by default true. */
  cache?: boolean;
}

export interface Info {
  readonly name: string;
  readonly task: string;
  /** The method that this model answers, and the names of its texts. */
  readonly method: "entities" | "tag" | "classify" | "embed" | "similarity" | "answer" | "answers";
  readonly inputs: readonly string[];
  readonly labels: readonly string[];
  readonly precision: string;
  readonly size_bytes: number;
  readonly backend: "wasm" | "webgpu";
  readonly threads: number;
  /** Why `auto` did not take WebGPU; "" where nothing is to be said. */
  readonly note: string;
  /** Whether every file was there already. */
  readonly cached: boolean;
}

/** A call that the model does not offer. */
export class RequestError extends Error {}

export interface EdgeModel {
  readonly info: Info;
  entities(text: string): Promise<Entity[]>;
  tag(text: string): Promise<TaggedWord[]>;
  /** One text, or two of a model that compares texts. */
  classify(text: string, second?: string): Promise<Label[]>;
  embed(text: string): Promise<Embedding>;
  /** -1 to 1 */
  similarity(first: string, second: string): Promise<number>;
  answer(question: string, context: string): Promise<Answer>;
  answers(text: string, second?: string): Promise<Answers>;
  close(): Promise<void>;
}

/**
 * Opens the model of this package: in a browser in a worker, in Node in this thread.
 *
 * Throws where a file cannot be had or is not the one that the package was made with.
 */
export function open(options?: OpenOptions): Promise<EdgeModel>;
