import { type Matcher } from "./search";
import { isContradicted, NO_PROOF, type Proof } from "./proof";
import { isMismatch, type Report, text } from "./report";
import { type Ranks, type Sort, sortNodes } from "./sort";
import { isVariable, pathOfNode, rowOf, type Tree } from "./tree";

export const FILTERS = ["all", "mismatch", "yes", "no", "some", "unknown", "proof"] as const;
export type Filter = (typeof FILTERS)[number];

/** What the table shows, in order: nodes with their depth, and their place among their siblings. */
export interface Rows {
  nodes: Int32Array;
  level: Int32Array;
  position: Int32Array;
  siblings: Int32Array;
  /** Row of a node, -1 where it is not shown. */
  indexOf: (node: number) => number;
  /** How many variables pass search and filter, shown or folded away. */
  matched: number;
}

/** Variables that pass search and filter; null when all do. */
export function matchVariables(tree: Tree, filter: Filter, matcher: Matcher | null, only: ReadonlySet<number> | null): Uint8Array | null {
  if (filter === "all" && !matcher && !only) return null;
  const { report, firstVariable } = tree;
  const layerMatch = matcher ? matchLayers(tree, matcher) : null;
  const passed = new Uint8Array(report.paths.length);
  for (let row = 0; row < passed.length; row++) {
    if (only && !only.has(row)) continue;
    if (!passesFilter(report, tree.proof, row, filter)) continue;
    const hit = !matcher || matcher(report.paths[row] as string) || layerMatch?.[tree.parent[firstVariable + row] as number];
    if (hit) passed[row] = 1;
  }
  return passed;
}

/** Layers that match themselves or lie below one that does: all their variables match. */
function matchLayers(tree: Tree, matcher: Matcher): Uint8Array {
  const hit = new Uint8Array(tree.firstVariable);
  const stack: [number, boolean][] = tree.roots.map((root) => [root, false]);
  while (stack.length > 0) {
    const [node, above] = stack.pop() as [number, boolean];
    const here = above || (node !== tree.outside && matcher(pathOfNode(tree, node)));
    if (here) hit[node] = 1;
    for (const child of tree.children[node] as readonly number[]) if (!isVariable(tree, child)) stack.push([child, here]);
  }
  return hit;
}

function passesFilter(report: Report, proof: Proof, row: number, filter: Filter): boolean {
  if (filter === "all") return true;
  if (filter === "proof") return isContradicted(proof, row);
  if (filter === "mismatch") return isMismatch(report, row);
  return (text(report, report.wire.variables.updated[row] as number) ?? "unknown") === filter;
}

/** How many variables each filter would show. */
export function countFilters(report: Report, proof: Proof = NO_PROOF): Record<Filter, number> {
  const counts: Record<Filter, number> = { all: report.paths.length, mismatch: 0, yes: 0, no: 0, some: 0, unknown: 0, proof: 0 };
  for (let row = 0; row < report.paths.length; row++) {
    if (isContradicted(proof, row)) counts.proof++;
    if (isMismatch(report, row)) counts.mismatch++;
    const updated = text(report, report.wire.variables.updated[row] as number) ?? "unknown";
    if (updated === "yes" || updated === "no" || updated === "some") counts[updated]++;
    else counts.unknown++;
  }
  return counts;
}

/** Numbers of passing variables by layer. */
export function countMatches(tree: Tree, passed: Uint8Array | null): Int32Array {
  const counts = new Int32Array(tree.firstVariable);
  for (let row = 0; row < tree.report.paths.length; row++) {
    if (passed && !passed[row]) continue;
    const layer = tree.parent[tree.firstVariable + row] as number;
    counts[layer] = (counts[layer] as number) + 1;
  }
  const order: number[] = [...tree.roots];
  for (let i = 0; i < order.length; i++) {
    for (const child of tree.children[order[i] as number] as readonly number[]) if (!isVariable(tree, child)) order.push(child);
  }
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i] as number;
    const above = tree.parent[node] as number;
    if (above >= 0) counts[above] = (counts[above] as number) + (counts[node] as number);
  }
  return counts;
}

export interface View {
  /** Folded by layer, or all variables in one list. */
  grouped: boolean;
  sort: Sort;
  ranks: Ranks;
  passed: Uint8Array | null;
  isOpen: (layer: number) => boolean;
}

/** The rows that the table shows for a view of the tree. */
export function listRows(tree: Tree, view: View): Rows {
  const list = new RowList(tree.parent.length);
  const counts = countMatches(tree, view.passed);
  const shown = (node: number) =>
    isVariable(tree, node) ? !view.passed || view.passed[rowOf(tree, node)] === 1 : counts[node] !== 0 || (!view.passed && isUnbuilt(tree, node));
  if (view.grouped) {
    walkTree(tree, view, shown, list);
  } else {
    const all: number[] = [];
    for (let row = 0; row < tree.report.paths.length; row++) if (shown(tree.firstVariable + row)) all.push(tree.firstVariable + row);
    sortNodes(all, view.sort, view.ranks).forEach((node, i) => list.add(node, 1, i + 1, all.length));
  }
  const matched = tree.roots.reduce((sum, root) => sum + (counts[root] as number), 0);
  return list.finish(matched);
}

/** Layers without variables would fill half the table with activations and joins; one that is not built yet may still get some. */
function isUnbuilt(tree: Tree, layer: number): boolean {
  return layer !== tree.outside && tree.report.wire.layers.built[layer] === 0;
}

function walkTree(tree: Tree, view: View, shown: (node: number) => boolean, list: RowList): void {
  const stack: [nodes: readonly number[], next: number][] = [];
  const push = (nodes: readonly number[]) => stack.push([sortNodes(nodes.filter(shown), view.sort, view.ranks), 0]);
  push(tree.roots);
  while (stack.length > 0) {
    const top = stack.at(-1) as [readonly number[], number];
    if (top[1] >= top[0].length) {
      stack.pop();
      continue;
    }
    const node = top[0][top[1]++] as number;
    list.add(node, stack.length, top[1], top[0].length);
    if (!isVariable(tree, node) && view.isOpen(node)) push(tree.children[node] as readonly number[]);
  }
}

class RowList {
  private readonly nodes: number[] = [];
  private readonly level: number[] = [];
  private readonly position: number[] = [];
  private readonly siblings: number[] = [];
  private readonly index: Int32Array;

  constructor(nodes: number) {
    this.index = new Int32Array(nodes).fill(-1);
  }

  add(node: number, level: number, position: number, siblings: number): void {
    this.index[node] = this.nodes.length;
    this.nodes.push(node);
    this.level.push(level);
    this.position.push(position);
    this.siblings.push(siblings);
  }

  finish(matched: number): Rows {
    return {
      nodes: Int32Array.from(this.nodes),
      level: Int32Array.from(this.level),
      position: Int32Array.from(this.position),
      siblings: Int32Array.from(this.siblings),
      indexOf: (node) => this.index[node] ?? -1,
      matched,
    };
  }
}

const OPEN_LIMIT = 60;

/**
 * Layers that are open before a person opened or closed any, breadth first: those with mismatches (or with hits of a search)
 * even where they are long, others while a screenful has room for them.
 */
export function openByDefault(tree: Tree, passed: Uint8Array | null): ReadonlySet<number> {
  const open = new Set<number>();
  const counts = passed ? countMatches(tree, passed) : null;
  let rows = tree.roots.length;
  const queue = [...tree.roots];
  const small = tree.report.paths.length + tree.outside <= OPEN_LIMIT;
  for (let i = 0; i < queue.length && rows < OPEN_LIMIT; i++) {
    const node = queue[i] as number;
    const children = tree.children[node] as readonly number[];
    const worth = counts ? counts[node] !== 0 : small || (i === 0 && tree.roots.length === 1) || (tree.rollups[node]?.mismatches ?? 0) > 0;
    const fits = rows + children.length <= OPEN_LIMIT;
    if (!(worth ? i === 0 || rows + children.length <= OPEN_LIMIT * 4 : fits && !counts)) continue;
    open.add(node);
    rows += children.length;
    for (const child of children) if (!isVariable(tree, child)) queue.push(child);
  }
  return open;
}
