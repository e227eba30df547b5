/** What `open` gives. Every call but the model's own fails with a RequestError that names what the model offers. */
export class EdgeModel {
  #ask;
  #close;

  constructor(info, ask, close) {
    this.info = Object.freeze(info);
    this.#ask = ask;
    this.#close = close;
  }

  entities(...texts) {
    return this.#ask("entities", texts);
  }

  tag(...texts) {
    return this.#ask("tag", texts);
  }

  classify(...texts) {
    return this.#ask("classify", texts);
  }

  embed(...texts) {
    return this.#ask("embed", texts);
  }

  similarity(...texts) {
    return this.#ask("similarity", texts);
  }

  answer(...texts) {
    return this.#ask("answer", texts);
  }

  answers(...texts) {
    return this.#ask("answers", texts);
  }

  /** Frees the model; calls after it fail. */
  close() {
    return this.#close();
  }
}

/** What is told of an open model. */
export function describe(settings, model, more) {
  const { name, task } = settings;
  const [method, n] = model.offer;
  return {
    name, task: task.name, method, inputs: task.inputs.slice(0, n), labels: task.labels,
    precision: settings.model.precision, size_bytes: settings.model.size_bytes, ...more,
  };
}
