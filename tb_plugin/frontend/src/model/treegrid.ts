import type { Rows } from "./rows";
import { isVariable, labelOfNode, type Tree } from "./tree";

/** What a key does to the table: go to a row, open or close a layer, or choose the row. */
export type Command = { go: number } | { toggle: number } | { choose: number } | null;

/** The keyboard pattern of a tree grid in which rows are focused. */
export function readKey(key: string, at: number, rows: Rows, tree: Tree, isOpen: (layer: number) => boolean, page: number): Command {
  const last = rows.nodes.length - 1;
  const clamp = (row: number): Command => ({ go: Math.max(0, Math.min(last, row)) });
  const node = rows.nodes[at];
  if (node === undefined) return null;
  switch (key) {
    case "ArrowDown":
      return clamp(at + 1);
    case "ArrowUp":
      return clamp(at - 1);
    case "PageDown":
      return clamp(at + page);
    case "PageUp":
      return clamp(at - page);
    case "Home":
      return clamp(0);
    case "End":
      return clamp(last);
    case "ArrowRight":
      return goIn(at, node, rows, tree, isOpen);
    case "ArrowLeft":
      return goOut(at, node, rows, tree, isOpen);
    case "Enter":
    case " ":
      return { choose: at };
    default:
      return null;
  }
}

function goIn(at: number, node: number, rows: Rows, tree: Tree, isOpen: (layer: number) => boolean): Command {
  if (isVariable(tree, node)) return null;
  if (!isOpen(node)) return { toggle: node };
  const deeper = (rows.level[at + 1] ?? 0) > (rows.level[at] as number);
  return deeper ? { go: at + 1 } : null;
}

function goOut(at: number, node: number, rows: Rows, tree: Tree, isOpen: (layer: number) => boolean): Command {
  if (!isVariable(tree, node) && isOpen(node)) return { toggle: node };
  const above = rows.indexOf(tree.parent[node] as number);
  return above >= 0 && above < at ? { go: above } : null;
}

/** The next row, after the present one and round the end, whose name begins with what was typed; -1 for none. */
export function findTyped(typed: string, at: number, rows: Rows, tree: Tree): number {
  const wanted = typed.toLowerCase();
  const total = rows.nodes.length;
  const from = typed.length > 1 ? at : at + 1;
  for (let i = 0; i < total; i++) {
    const row = (from + i) % total;
    if (labelOfNode(tree, rows.nodes[row] as number).toLowerCase().startsWith(wanted)) return row;
  }
  return -1;
}
