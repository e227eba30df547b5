/**
 * A function that runs a window through a session of onnxruntime-web and gives each output by name: its numbers, and how many
 * there are to a token or a text.
 *
 * @param {object} settings edgebert.json
 */
export function makeRunner(ort, session, settings) {
  const { inputs } = settings.model;
  const filled = { input_ids: settings.pad_id, attention_mask: 0, token_type_ids: 0 };
  return async ({ ids, types }, length = ids.length) => {
    const given = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: types };
    const feeds = {};
    for (const { name, type } of inputs) {
      if (!given[name]) throw new Error(`the model wants an input '${name}', which this package does not know`);
      const long = type === "int64";
      const data = long ? new BigInt64Array(length).fill(BigInt(filled[name])) : new Int32Array(length).fill(filled[name]);
      given[name].forEach((value, i) => (data[i] = long ? BigInt(value) : value));
      feeds[name] = new ort.Tensor(type, data, [1, length]);
    }
    const outputs = {};
    for (const [name, tensor] of Object.entries(await session.run(feeds))) {
      outputs[name] = { data: tensor.data, width: tensor.dims[tensor.dims.length - 1] };
    }
    return outputs;
  };
}

/** The middle time of some runs of a short window, in ms, after two that are not counted. */
export async function measure(run, runs = 7) {
  const ids = Array.from({ length: 16 }, (_, i) => i + 1);
  const window = { ids, types: ids.map(() => 0) };
  const times = [];
  for (let i = -2; i < runs; i++) {
    const start = performance.now();
    await run(window);
    if (i >= 0) times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[runs >> 1];
}
