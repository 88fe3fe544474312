import { firstOf, formatCount, formatDevice, formatNorm, formatShort, plural } from "./format";
import { describeAge, wordOfAge } from "./proof";
import { severityOf, text, variableStatus } from "./report";
import { type Norms, type Rollup, rootOf } from "./rollup";
import { fullWord, KEPT_WORDS, type Severity, SEVERITIES, type StatusKind } from "./status";
import { isVariable, rowOf, type Tree } from "./tree";

/** What stands in the cells of one row. `wrong` marks the cell that disagrees. */
export interface Cells {
  severity: Severity;
  kind: StatusKind;
  status: string;
  flag: string;
  expected: string;
  gradient: string;
  updated: string;
  /** Whether it really changed, by a look at the values; `changedTitle` says since when, `contradicts` whether that is against the report. */
  changed: string;
  changedTitle: string;
  contradicts: boolean;
  slots: string;
  device: string;
  gradientNorm: string;
  /** What there is to say of the gradient's norm. */
  gradientTitle: string;
  updateNorm: string;
}

export function readCells(tree: Tree, node: number, norms: Norms): Cells {
  return isVariable(tree, node) ? variableCells(tree, rowOf(tree, node), norms) : layerCells(tree.rollups[node] as Rollup);
}

const NONE = "–";

function variableCells(tree: Tree, row: number, norms: Norms): Cells {
  const { report, proof } = tree;
  const { variables, slots } = report.wire;
  const severity = severityOf(report, row);
  const status = variableStatus(report, row);
  const [from, to] = [variables.slots_start[row] as number, variables.slots_start[row + 1] as number];
  let updated = 0;
  for (let i = from; i < to; i++) if (text(report, slots.updated[i] as number) === "yes") updated++;
  return {
    severity,
    kind: status.kind,
    status: fullWord(status, severity),
    flag: variables.trainable[row] === 1 ? "trainable" : "frozen",
    expected: variables.expected[row] === 1 ? "yes" : "no",
    gradient: text(report, variables.gradient[row] as number) ?? "unknown",
    updated: text(report, variables.updated[row] as number) ?? "unknown",
    changed: wordOfAge(proof.ages[row]),
    changedTitle: proof.present ? describeAge(proof.ages[row], proof.judgements[row], proof) : "",
    contradicts: (proof.judgements[row] ?? 0) !== 0,
    slots: describeSlots(updated, to - from),
    device: formatDevice(text(report, variables.device[row] as number)),
    gradientNorm: formatNorm(norms.gradient[row]),
    gradientTitle: tellFirst([report.wire.updates[row]]),
    updateNorm: formatNorm(norms.update[row]),
  };
}

/** The same of the gradients of several variables, by the one that a step updates most often. */
export function tellFirst(updates: readonly (number | undefined)[]): string {
  const first = firstOf(updates.reduce<number>((most, one) => Math.max(most, one ?? 0), 0));
  return first && `gradient: ${first}`;
}

const describeSlots = (updated: number, total: number): string => (total === 0 ? NONE : updated === total ? formatShort(total) : total > 999 ? formatShort(updated) : `${updated} of ${total}`);

/** Large layers show a percentage, never 0 or 100 where it is not exactly that. */
function share(part: number, total: number): string {
  if (total === 0) return NONE;
  if (part === total) return `all ${formatShort(total)}`;
  if (part === 0) return "none";
  if (total < 1000) return `${part} of ${total}`;
  return `${Math.min(99, Math.max(1, Math.round((100 * part) / total)))} %`;
}

/** Large layers name the part alone: the column is narrow. */
const shortShare = (part: number, total: number): string => (total > 999 ? formatCount(part) : `${part} of ${total}`);

function layerCells(sum: Rollup): Cells {
  const total = sum.variables;
  const [kind, word] = layerStatus(sum);
  return {
    severity: SEVERITIES[sum.severity] ?? "none",
    kind,
    status: word,
    flag: share(sum.trainable, total),
    expected: share(sum.expected, total),
    gradient: sum.gradientUnknown > 0 && sum.reached === 0 ? "unknown" : share(sum.reached, total),
    updated: sum.unknown === total && total > 0 ? "unknown" : share(sum.yes + sum.some, total),
    changed: share(sum.changed, sum.looked),
    changedTitle: describeLooked(sum),
    contradicts: sum.moved + sum.still > 0,
    slots: describeSlots(sum.slotsUpdated, sum.slots),
    device: sum.device === "mixed" ? "several" : formatDevice(sum.device),
    gradientNorm: formatNorm(rootOf(sum.gradientSquares)),
    gradientTitle: "",
    updateNorm: formatNorm(rootOf(sum.updateSquares)),
  };
}

function describeLooked(sum: Rollup): string {
  const parts = [
    `${formatCount(sum.changed)} of ${plural(sum.looked, "variable")} changed`,
    sum.moved > 0 ? `${formatCount(sum.moved)} though no op of the step writes them` : "",
    sum.still > 0 ? `${formatCount(sum.still)} that the step writes did not` : "",
  ];
  return sum.looked > 0 ? parts.filter(Boolean).join(", ") : "";
}

function layerStatus(sum: Rollup): [StatusKind, string] {
  const total = sum.variables;
  if (total === 0) return ["unknown", "not built yet"];
  if (sum.mismatches > 0) return ["stale", `${shortShare(sum.mismatches, total)} mismatch`];
  const able = total - sum.kept;
  if (able === 0) return ["kept", sum.keptKind === "mixed" ? "statistics, state" : (KEPT_WORDS.get(sum.keptKind ?? "") ?? "state")];
  if (sum.yes === able) return ["trains", "trains"];
  if (sum.unknown > 0) return ["unknown", `${shortShare(sum.unknown, total)} unknown`];
  if (sum.yes + sum.some === 0) return sum.expected > 0 ? ["stale", "does not train"] : ["frozen", "frozen"];
  return ["partly", `${shortShare(sum.yes + sum.some, able)} train`];
}
