import { toNumber } from "./format";
import { isContradicted, wordOfAge } from "./proof";
import { text } from "./report";
import { type Norms, rootOf } from "./rollup";
import { isVariable, labelOfNode, rowOf, type Tree } from "./tree";

export const SORT_KEYS = ["order", "mismatch", "name", "flag", "expected", "gradient", "updated", "changed", "slots", "device", "measured"] as const;
export type SortKey = (typeof SORT_KEYS)[number];

export interface Sort {
  key: SortKey;
  descending: boolean;
}

/** Mismatches first: what a person opens the page for. */
export const DEFAULT_SORT: Sort = { key: "mismatch", descending: true };

/** Numbers by which nodes are ordered, made once a sort: comparing texts 100 000 times over would be felt. */
export type Ranks = (node: number) => number;

const UPDATED_RANK: ReadonlyMap<string, number> = new Map<string, number>([
  ["no", 0],
  ["some", 0.5],
  ["yes", 1],
  ["unknown", -1],
]);
const GRADIENT_RANK: ReadonlyMap<string, number> = new Map<string, number>([
  ["none", 0],
  ["sparse", 0.9],
  ["dense", 1],
  ["unknown", -1],
]);

/** Among the severities: below a warning, above a note. */
const CONTRADICTED = 1.5;

const CHANGED_RANK: Record<string, number> = { yes: 1, no: 0 };

export function buildRanks(tree: Tree, key: SortKey, norms: Norms): Ranks {
  if (key === "name") return rankByText(tree, (node) => labelOfNode(tree, node));
  if (key === "device") return rankByText(tree, (node) => deviceOfNode(tree, node) ?? "");
  return (node) => (isVariable(tree, node) ? rankVariable(tree, rowOf(tree, node), key, norms) : rankLayer(tree, node, key));
}

function rankByText(tree: Tree, label: (node: number) => string): Ranks {
  const nodes = tree.parent.length;
  const labels = Array.from({ length: nodes }, (_, node) => label(node));
  const sorted = [...new Set(labels)].sort();
  const rank = new Map(sorted.map((name, i) => [name, i]));
  return (node) => rank.get(labels[node] as string) as number;
}

export function deviceOfNode(tree: Tree, node: number): string | null {
  if (!isVariable(tree, node)) return tree.rollups[node]?.device ?? null;
  return text(tree.report, tree.report.wire.variables.device[rowOf(tree, node)] as number);
}

function rankVariable(tree: Tree, row: number, key: SortKey, norms: Norms): number {
  const { report, proof } = tree;
  const { variables } = report.wire;
  switch (key) {
    case "mismatch":
      return Math.max(report.severity[row] as number, isContradicted(proof, row) ? CONTRADICTED : 0);
    case "flag":
      return variables.trainable[row] as number;
    case "expected":
      return variables.expected[row] as number;
    case "gradient":
      return GRADIENT_RANK.get(text(report, variables.gradient[row] as number) ?? "") ?? -1;
    case "updated":
      return UPDATED_RANK.get(text(report, variables.updated[row] as number) ?? "") ?? -1;
    case "changed":
      return isContradicted(proof, row) ? 2 : CHANGED_RANK[wordOfAge(proof.ages[row])] ?? -1;
    case "slots":
      return (variables.slots_start[row + 1] as number) - (variables.slots_start[row] as number);
    case "measured":
      return rankNumber(toNumber(norms.gradient[row]));
    default:
      return 0;
  }
}

function rankLayer(tree: Tree, node: number, key: SortKey): number {
  const sum = tree.rollups[node];
  if (!sum) return 0;
  const share = (part: number) => (sum.variables ? part / sum.variables : -1);
  switch (key) {
    case "mismatch":
      return Math.max(sum.severity, sum.moved + sum.still > 0 ? CONTRADICTED : 0);
    case "flag":
      return share(sum.trainable);
    case "expected":
      return share(sum.expected);
    case "gradient":
      return share(sum.reached);
    case "updated":
      return share(sum.yes + sum.some / 2);
    case "changed":
      return sum.moved + sum.still > 0 ? 2 : sum.looked > 0 ? sum.changed / sum.looked : -1;
    case "slots":
      return sum.slots;
    case "measured":
      return rankNumber(toNumber(rootOf(sum.gradientSquares)));
    default:
      return 0;
  }
}

/** NaN is the worst number of all and stands above infinity; what is not measured stands below everything. */
function rankNumber(value: number | null): number {
  if (value === null) return -1;
  if (Number.isNaN(value)) return Number.MAX_VALUE;
  return value === Infinity ? Number.MAX_VALUE / 2 : value;
}

/** Sorted copy; nodes of equal rank stay in the report's order. */
export function sortNodes(nodes: readonly number[], sort: Sort, ranks: Ranks): readonly number[] {
  if (sort.key === "order" || nodes.length < 2) return nodes;
  const sign = sort.descending ? -1 : 1;
  const keys = new Map(nodes.map((node) => [node, ranks(node)]));
  return [...nodes].sort((a, b) => sign * ((keys.get(a) as number) - (keys.get(b) as number)));
}
