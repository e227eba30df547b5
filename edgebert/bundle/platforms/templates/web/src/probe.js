// Golden windows: what Python computed of some texts, to hold an engine against on the device that runs it.

const FARTHEST = 4; // times the tolerance, of the one window of a reduced file that may stray beyond it

export const flat = (value) => (Array.isArray(value) ? value.flat(Infinity) : [value]);

export const largestOf = (values) => flat(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** The largest difference of two outputs, in parts of what they may differ by; infinite where one is no number or lacks. */
export function distance(ours, theirs, largest, { absolute, relative }) {
  const wanted = flat(theirs);
  if (ours?.length !== wanted.length) return Infinity;
  const most = wanted.reduce((sum, value, i) => Math.max(sum, Math.abs(ours[i] - value)), 0);
  return Number.isNaN(most) ? Infinity : most / Math.max(absolute, relative * largest);
}

/**
 * Why an engine must not be used on this device; "" where it gives what the golden windows say.
 *
 * @param {Function} run of `makeRunner`
 * @param {object[]} windows of golden.jsonl
 * @param {{absolute: number, relative: number}} tolerance
 */
export async function wrongBy(run, windows, tolerance) {
  let strays = 0;
  for (const { input_ids: ids, type_ids: types, outputs, padded } of windows) {
    let farthest = apart(await run({ ids, types }), outputs, tolerance);
    if (padded) farthest = Math.max(farthest, apart(await run({ ids, types }, padded.length), padded.outputs, tolerance));
    if (farthest > (tolerance.relative ? FARTHEST : 1) || (farthest > 1 && ++strays > 1)) {
      return `its outputs differ from the golden ones by ${farthest.toFixed(1)} times what they may`;
    }
  }
  return "";
}

function apart(ours, theirs, tolerance) {
  const each = Object.entries(theirs).map(([name, value]) => {
    const own = ours[name]?.data.slice(0, flat(value).length); // without what padding adds
    return distance(own, value, largestOf(value), tolerance);
  });
  return Math.max(...each);
}
