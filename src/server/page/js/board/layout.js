// Where things stand on the board, in pixels: a column per round, a lane per candidate, the votes on the right.

export const HEAD = 48;  // above the lanes

// `room_below` is the height that can be seen: lanes move together to fit, as far as they stay readable.
export function layout(widths, vote_classes, available, room_below = Infinity) {
  const columns = widths.length, lanes = Math.max(1, ...widths);
  const pitch = Math.max(lanes <= 16 ? 32 : 24, Math.min(lanes <= 8 ? 46 : lanes <= 16 ? 39 : 28, (room_below - HEAD - 14) / lanes));
  const height = Math.floor(pitch * 0.8);
  // A card is as wide as there is room for; links need some too. Where even the least does not fit, the board scrolls.
  const least_card = 54, most_card = 158, least_gap = 24, most_gap = 150;
  const votes = Math.min(150, Math.max(66, available * 0.16));
  const room = available - votes - 4;
  let card = Math.min(most_card, Math.max(least_card, room / columns * 0.58));
  let gap = (room - card * columns) / columns;
  if (gap < least_gap) {
    card = Math.max(least_card, room / columns - least_gap);
    gap = least_gap;
  }
  gap = Math.min(gap, most_gap);
  const inner = lanes * pitch - (pitch - height);
  const at = (round, index) => ({
    x: 2 + round * (card + gap),
    // Rounds with fewer candidates stand in the middle.
    y: HEAD + (inner - (widths[round] * pitch - (pitch - height))) / 2 + index * pitch,
  });
  const votes_x = 2 + columns * (card + gap);
  return {
    card, height, pitch, gap, at, votes: stack(vote_classes, inner, votes_x, votes), votes_x, votes_width: votes,
    width: votes_x + votes + 2, total: HEAD + inner + 10, large: card >= 96, roomy: height >= 25,
  };
}

// Boxes as tall as their share of the votes, but never too small to read.
function stack(classes, height, x, width) {
  const total = classes.reduce((sum, { count }) => sum + count, 0);
  if (total === 0) return [];
  const least = 26, space = 8;
  const shown = classes.slice(0, Math.max(1, Math.floor(height / (least + space))));
  const free = height - least * shown.length - space * (shown.length - 1);
  const sum = shown.reduce((all, { count }) => all + count, 0);
  let y = HEAD;
  return shown.map(({ answer, count, candidates }) => {
    const box = { answer, count, candidates, x, y, width, height: least + Math.max(0, free) * count / sum };
    y += box.height + space;
    return box;
  });
}

// A link that leaves and arrives level.
export function curve(x1, y1, x2, y2) {
  const bend = Math.max(14, (x2 - x1) * 0.5);
  return `M${x1.toFixed(1)} ${y1.toFixed(1)}C${(x1 + bend).toFixed(1)} ${y1.toFixed(1)} ${(x2 - bend).toFixed(1)} ${y2.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
}

// A ribbon of `thick1` at its left and `thick2` at its right end; y1 and y2 are its upper corners.
export function ribbon(x1, y1, thick1, x2, y2, thick2) {
  const bend = (x2 - x1) * 0.5;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}V${y2 + thick2}` +
    `C${x2 - bend} ${y2 + thick2} ${x1 + bend} ${y1 + thick1} ${x1} ${y1 + thick1}Z`;
}

// As much of a text as fits into `width` at some 0.56 em a character.
export function fit(text, width, size) {
  const line = text.replace(/\s+/g, " ").trim(), most = Math.floor(width / (size * 0.56));
  return line.length <= most ? line : most < 2 ? "" : `${line.slice(0, most - 1).trimEnd()}…`;
}
