import type { Float } from "../api/wire";
import { MOVED, type Proof } from "./proof";
import { type Report, text } from "./report";

/** Sums over the variables of one layer and of all layers below it. */
export interface Rollup {
  variables: number;
  trainable: number;
  expected: number;
  yes: number;
  no: number;
  some: number;
  unknown: number;
  reached: number;
  gradientUnknown: number;
  slots: number;
  slotsUpdated: number;
  /** Variables that no flag lets train and that the step writes all the same: statistics, averages, counters. */
  kept: number;
  /** Variables that an error or a warning names. */
  mismatches: number;
  /** Index into SEVERITIES. */
  severity: number;
  /** Variables that a look at the values compared, that changed, and that contradict the report: changed or unchanged. */
  looked: number;
  changed: number;
  moved: number;
  still: number;
  /** What kind of write keeps moving the `kept` ones; "mixed" for several. */
  keptKind: string | null;
  /** The one device of all, null for none known, "mixed" for several. */
  device: string | null;
  /** Squares of the norms: the root of the sum is the norm of all variables together. */
  gradientSquares: number | null;
  updateSquares: number | null;
}

/** The norms by row that the table shows: the newest sample, else what the report measured. */
export interface Norms {
  gradient: readonly Float[];
  update: readonly Float[];
  /** Whether there is any number at all. */
  present: boolean;
}

export const emptyRollup = (): Rollup => ({
  variables: 0,
  trainable: 0,
  expected: 0,
  yes: 0,
  no: 0,
  some: 0,
  unknown: 0,
  reached: 0,
  gradientUnknown: 0,
  slots: 0,
  slotsUpdated: 0,
  kept: 0,
  mismatches: 0,
  severity: 0,
  looked: 0,
  changed: 0,
  moved: 0,
  still: 0,
  keptKind: null,
  device: null,
  gradientSquares: null,
  updateSquares: null,
});

const addSquare = (sum: number | null, norm: Float | undefined): number | null => {
  if (norm === null || norm === undefined) return sum;
  return (sum ?? 0) + (typeof norm === "number" ? norm * norm : norm === "nan" ? NaN : Infinity);
};

const addSum = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : a + b);

const merge = (a: string | null, b: string | null): string | null => (a === null || a === b ? b : b === null ? a : "mixed");

/** Adds one variable to the sums of its layer. */
export function addVariable(sum: Rollup, report: Report, row: number, norms: Norms, proof: Proof): void {
  const { variables, slots } = report.wire;
  const updated = text(report, variables.updated[row] as number);
  const gradient = text(report, variables.gradient[row] as number);
  sum.variables++;
  sum.trainable += variables.trainable[row] as number;
  sum.expected += variables.expected[row] as number;
  if (updated === "yes" || updated === "no" || updated === "some") sum[updated]++;
  else sum.unknown++;
  if (gradient === "dense" || gradient === "sparse") sum.reached++;
  else if (gradient !== "none") sum.gradientUnknown++;
  for (let i = variables.slots_start[row] as number; i < (variables.slots_start[row + 1] as number); i++) {
    sum.slots++;
    if (text(report, slots.updated[i] as number) === "yes") sum.slotsUpdated++;
  }
  const kind = variables.expected[row] === 0 && updated === "no" ? kindOfWrite(report, row) : null;
  if (kind !== null) {
    sum.kept++;
    sum.keptKind = merge(sum.keptKind, kind);
  }
  addLook(sum, proof.ages[row] ?? -1, proof.judgements[row] ?? 0);
  const severity = report.severity[row] as number;
  if (severity >= 2) sum.mismatches++;
  sum.severity = Math.max(sum.severity, severity);
  sum.device = merge(sum.device, text(report, variables.device[row] as number));
  sum.gradientSquares = addSquare(sum.gradientSquares, norms.gradient[row]);
  sum.updateSquares = addSquare(sum.updateSquares, norms.update[row]);
}

/** The first kind of write that is no initial value; null where nothing writes it. */
function kindOfWrite(report: Report, row: number): string | null {
  const { variables, writes } = report.wire;
  for (let i = variables.writes_start[row] as number; i < (variables.writes_start[row + 1] as number); i++) {
    const kind = text(report, writes.kind[i] as number);
    if (kind !== "initial") return kind;
  }
  return null;
}

function addLook(sum: Rollup, age: number, judgement: number): void {
  if (age < 0) return;
  sum.looked++;
  if (age === 0) sum.changed++;
  if (judgement !== 0) sum[judgement === MOVED ? "moved" : "still"]++;
}

/** Adds a layer's sums to those of the layer above. */
export function addRollup(sum: Rollup, part: Rollup): void {
  const counts = [
    "variables",
    "trainable",
    "expected",
    "yes",
    "no",
    "some",
    "unknown",
    "reached",
    "gradientUnknown",
    "slots",
    "slotsUpdated",
    "kept",
    "mismatches",
    "looked",
    "changed",
    "moved",
    "still",
  ] as const;
  for (const key of counts) sum[key] += part[key];
  sum.severity = Math.max(sum.severity, part.severity);
  sum.device = merge(sum.device, part.device);
  sum.keptKind = merge(sum.keptKind, part.keptKind);
  sum.gradientSquares = addSum(sum.gradientSquares, part.gradientSquares);
  sum.updateSquares = addSum(sum.updateSquares, part.updateSquares);
}

export const rootOf = (squares: number | null): Float => {
  if (squares === null) return null;
  const root = Math.sqrt(squares);
  return Number.isNaN(root) ? "nan" : root === Infinity ? "inf" : root;
};
