import type { Mark } from "../api/wire";
import { describeState, describeStep, reasonKind } from "./timeline";

/** Of the track, at both ends, so that a mark there has room for its ring. */
export const INSET = 12;
const SPACE = 16;
/** About the widest of TensorBoard's characters at 12 px; a label that is longer still is cut by the style sheet. */
const CHARACTER = 6.8;
const LONGEST = 240;
const CANDIDATES = 400;

export interface Label {
  /** Place among the marks. */
  i: number;
  left: number;
  room: number;
  align: "start" | "middle" | "end";
}

/** The labels that fit without touching each other: the chosen mark's, then of changes, then of the others, the latest first. */
export function chooseLabels(marks: readonly Mark[], chosen: number, place: (i: number) => number, width: number): Label[] {
  const kept: Label[] = [];
  for (const i of rank(marks, chosen)) {
    const mark = marks[i];
    if (!mark) continue;
    const label = placeLabel(i, place(i), measure(mark), width);
    if (kept.every((other) => label.left >= other.left + other.room + SPACE || other.left >= label.left + label.room + SPACE)) kept.push(label);
  }
  return kept.sort((a, b) => a.i - b.i);
}

function rank(marks: readonly Mark[], chosen: number): number[] {
  const weigh = (mark: Mark): number => (["epoch", "other"].includes(reasonKind(mark.reason)) ? 1 : 0);
  const others = marks.map((mark, i) => [weigh(mark), -i, i] as const).filter(([, , i]) => i !== chosen);
  others.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return [chosen, ...others.slice(0, CANDIDATES).map(([, , i]) => i)];
}

const measure = (mark: Mark): number => {
  const longest = Math.max(`${describeStep(mark)} · ${describeState(mark)}`.length, (mark.reason ?? "report").length);
  return Math.min(LONGEST, longest * CHARACTER + 4);
};

/** Centred below its mark, or flush with the end of the track that the mark stands at. */
function placeLabel(i: number, x: number, room: number, width: number): Label {
  if (x < 2 * INSET) return { i, left: 0, room, align: "start" };
  if (x > width - 2 * INSET) return { i, left: width - room, room, align: "end" };
  return { i, left: Math.max(0, Math.min(width - room, x - room / 2)), room, align: "middle" };
}
