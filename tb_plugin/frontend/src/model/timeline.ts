import type { Mark } from "../api/wire";
import { formatCount } from "./format";

export const REASON_KINDS = ["trace", "flag", "recompile", "signature", "optimizer", "epoch", "end", "other"] as const;
export type ReasonKind = (typeof REASON_KINDS)[number];

const KIND_OF: ReadonlyMap<string, ReasonKind> = new Map<string, ReasonKind>([
  ["first trace", "trace"],
  ["new trace", "trace"],
  ["flag changed", "flag"],
  ["recompiled", "recompile"],
  ["new batch signature", "signature"],
  ["new optimizer variable", "optimizer"],
  ["epoch", "epoch"],
  ["train end", "end"],
]);

export const REASON_WORDS: Record<ReasonKind, string> = {
  trace: "first or new trace",
  flag: "flag changed",
  recompile: "recompiled",
  signature: "new batch signature",
  optimizer: "new optimizer variable",
  epoch: "epoch",
  end: "end of training",
  other: "other",
};

/** The shape that a mark has, by its reason; reasons are free text. */
export function reasonKind(reason: string | null): ReasonKind {
  if (!reason) return "other";
  const known = KIND_OF.get(reason);
  if (known) return known;
  const start = [...KIND_OF.keys()].find((name) => reason.startsWith(name));
  return start ? (KIND_OF.get(start) as ReasonKind) : "other";
}

/** Epochs are told as Keras prints them, from 1; the log counts from 0. */
export function describeStep(mark: Mark): string {
  const step = mark.step === null ? `report ${formatCount(mark.at)}` : `step ${formatCount(mark.step)}`;
  return mark.epoch === null ? step : `${step}, epoch ${formatCount(mark.epoch + 1)}`;
}

export function describeState(mark: Mark): string {
  if (!mark.stored) return "sampled away";
  if (mark.ok === null || !mark.counts) return "not known";
  if (mark.ok) return "ok";
  const { errors, warnings } = mark.counts;
  const words = [errors ? `${errors} error${errors > 1 ? "s" : ""}` : "", warnings ? `${warnings} warning${warnings > 1 ? "s" : ""}` : ""];
  return words.filter(Boolean).join(", ") || "not ok";
}

/** What a screen reader says for a place of the slider. */
export function describeMark(mark: Mark, index: number, total: number): string {
  const reason = mark.reason ?? "report";
  return `${describeStep(mark)}: ${reason}, ${describeState(mark)}; ${index + 1} of ${total}`;
}

/** Place in `marks` of the report that is shown: the one asked for, else the newest that is stored; -1 for none. */
export function findMark(marks: readonly Mark[], at: number | null): number {
  const asked = at === null ? -1 : marks.findIndex((mark) => mark.at === at);
  if (asked >= 0) return asked;
  for (let i = marks.length - 1; i >= 0; i--) if (marks[i]?.stored) return i;
  return -1;
}

/** The next stored report in a direction, or the same place where there is none. */
export function stepMark(marks: readonly Mark[], from: number, direction: 1 | -1): number {
  for (let i = from + direction; i >= 0 && i < marks.length; i += direction) if (marks[i]?.stored) return i;
  return from;
}

/** The stored report nearest to a place that the slider was moved to. */
export function nearestStored(marks: readonly Mark[], place: number): number {
  for (let away = 0; away < marks.length; away++) {
    if (marks[place - away]?.stored) return place - away;
    if (marks[place + away]?.stored) return place + away;
  }
  return place;
}
