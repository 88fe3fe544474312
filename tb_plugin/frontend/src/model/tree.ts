import { NO_PROOF, type Proof } from "./proof";
import { addRollup, addVariable, emptyRollup, type Norms, type Rollup } from "./rollup";
import { type Report, text } from "./report";

/**
 * The layer tree with the variables as its leaves. Nodes are numbers, so that 100 000 of them cost arrays and no objects:
 * 0 … layers-1 are layers, `outside` holds variables of no layer, and `firstVariable + row` is a variable.
 */
export interface Tree {
  report: Report;
  proof: Proof;
  outside: number;
  firstVariable: number;
  parent: Int32Array;
  /** Children of the layers, own variables before sub-layers, in the report's order. */
  children: readonly (readonly number[])[];
  roots: readonly number[];
  /** Sums by layer. */
  rollups: readonly Rollup[];
  nodeOfLayer: ReadonlyMap<string, number>;
}

export const isVariable = (tree: Tree, node: number): boolean => node >= tree.firstVariable;
export const rowOf = (tree: Tree, node: number): number => node - tree.firstVariable;

export function buildTree(report: Report, norms: Norms, proof: Proof = NO_PROOF): Tree {
  const { layers, variables } = report.wire;
  const outside = layers.rows;
  const firstVariable = outside + 1;
  const parent = new Int32Array(firstVariable + variables.rows).fill(-1);
  const children: number[][] = Array.from({ length: firstVariable }, () => []);
  const nodeOfString = new Map<number, number>();
  const nodeOfLayer = new Map<string, number>();
  for (let layer = 0; layer < layers.rows; layer++) {
    nodeOfString.set(layers.path[layer] as number, layer);
    nodeOfLayer.set(text(report, layers.path[layer] as number) ?? "", layer);
  }
  hangVariables(report, firstVariable, parent, children, nodeOfString);
  const roots: number[] = hangLayers(report, parent, children, nodeOfString);
  if ((children[outside] as number[]).length > 0) roots.push(outside);
  const rollups = sumLayers(report, norms, proof, roots, children, firstVariable);
  return { report, proof, outside, firstVariable, parent, children, roots, rollups, nodeOfLayer };
}

function hangVariables(report: Report, first: number, parent: Int32Array, children: number[][], nodeOfString: ReadonlyMap<number, number>): void {
  const { layers, variables, strings } = report.wire;
  const owner = new Int32Array(strings.length).fill(-1);
  for (let layer = 0; layer < layers.rows; layer++) {
    for (let i = layers.variables_start[layer] as number; i < (layers.variables_start[layer + 1] as number); i++) {
      const path = layers.variables[i] as number;
      if (owner[path] === -1) owner[path] = layer;
    }
  }
  for (let row = 0; row < variables.rows; row++) {
    const owned = owner[variables.path[row] as number] as number;
    const layer = owned >= 0 ? owned : (nodeOfString.get(variables.layer[row] as number) ?? first - 1);
    parent[first + row] = layer;
    (children[layer] as number[]).push(first + row);
  }
}

function hangLayers(report: Report, parent: Int32Array, children: number[][], nodeOfString: ReadonlyMap<number, number>): number[] {
  const { layers } = report.wire;
  const roots: number[] = [];
  for (let layer = 0; layer < layers.rows; layer++) {
    const above = nodeOfString.get(layers.parent[layer] as number) ?? -1;
    parent[layer] = above;
    if (above < 0) roots.push(layer);
    else (children[above] as number[]).push(layer);
  }
  cutCircles(layers.rows, roots, parent, children);
  return roots;
}

/** A damaged log may name a layer as its own ancestor: one layer of each such circle becomes a root. */
function cutCircles(layers: number, roots: number[], parent: Int32Array, children: number[][]): void {
  const seen = new Uint8Array(layers + 1);
  const visit = (from: readonly number[]) => {
    const stack = [...from];
    while (stack.length > 0) {
      const at = stack.pop() as number;
      seen[at] = 1;
      for (const child of children[at] as number[]) if (child < layers && !seen[child]) stack.push(child);
    }
  };
  visit(roots);
  for (let layer = 0; layer < layers; layer++) {
    if (seen[layer]) continue;
    const above = parent[layer] as number;
    children[above] = (children[above] as number[]).filter((child) => child !== layer);
    parent[layer] = -1;
    roots.push(layer);
    visit([layer]);
  }
}

function sumLayers(
  report: Report,
  norms: Norms,
  proof: Proof,
  roots: readonly number[],
  children: readonly number[][],
  first: number,
): Rollup[] {
  const rollups = Array.from({ length: first }, emptyRollup);
  const order: number[] = [];
  const stack = [...roots];
  while (stack.length > 0) {
    const layer = stack.pop() as number;
    order.push(layer);
    for (const child of children[layer] as number[]) if (child < first) stack.push(child);
  }
  for (let i = order.length - 1; i >= 0; i--) {
    const layer = order[i] as number;
    const sum = rollups[layer] as Rollup;
    for (const child of children[layer] as number[]) {
      if (child < first) addRollup(sum, rollups[child] as Rollup);
      else addVariable(sum, report, child - first, norms, proof);
    }
  }
  return rollups;
}

/** Ancestors of a node, nearest first. */
export function ancestorsOf(tree: Tree, node: number): number[] {
  const found: number[] = [];
  for (let at = tree.parent[node] as number; at >= 0; at = tree.parent[at] as number) found.push(at);
  return found;
}

/** Rows of all variables at or below a node. */
export function variablesBelow(tree: Tree, node: number): number[] {
  if (isVariable(tree, node)) return [rowOf(tree, node)];
  const rows: number[] = [];
  const stack = [node];
  while (stack.length > 0) {
    const at = stack.pop() as number;
    if (isVariable(tree, at)) rows.push(rowOf(tree, at));
    else {
      const below = tree.children[at] as number[];
      for (let i = below.length - 1; i >= 0; i--) stack.push(below[i] as number);
    }
  }
  return rows;
}

export function pathOfNode(tree: Tree, node: number): string {
  if (isVariable(tree, node)) return tree.report.paths[rowOf(tree, node)] as string;
  return node === tree.outside ? "" : (text(tree.report, tree.report.wire.layers.path[node] as number) ?? "");
}

/** What the tree shows for a node: a variable without its layer's path, a layer by its name. */
export function labelOfNode(tree: Tree, node: number): string {
  if (node === tree.outside) return "outside all layers";
  if (!isVariable(tree, node)) return text(tree.report, tree.report.wire.layers.name[node] as number) || pathOfNode(tree, node);
  const path = pathOfNode(tree, node);
  const layer = tree.parent[node] as number;
  if (layer === tree.outside) return path;
  return path.slice(path.lastIndexOf("/") + 1) || path;
}
