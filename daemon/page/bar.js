// A bar that is divided into parts.

import { percent } from './units.js';

/** Parts smaller than this cannot be seen. */
const LEAST = 0.002;

/** Fills a bar; `parts` are [key, variable of the colour, words, amount]. Returns those that are shown, largest first, with their shares. */
export function fill(bar, parts) {
  const all = Math.max(parts.reduce((total, [, , , amount]) => total + amount, 0), 1);
  const shown = parts.map(([key, colour, words, amount]) => ({ key, colour, words, share: amount / all })).filter(({ share }) => share >= LEAST);
  bar.replaceChildren(...shown.map(({ key, colour, words, share }) => {
    const part = document.createElement('i');
    part.style.flexGrow = share.toFixed(4);
    part.style.background = `var(--${colour})`;
    part.title = `${words}: ${percent(share)}`;
    part.dataset.state = key;
    return part;
  }));
  return [...shown].sort((a, b) => b.share - a.share);
}
