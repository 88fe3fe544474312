import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import type { Report } from "../model/report";
import type { Proof } from "../model/proof";
import type { Norms } from "../model/rollup";
import { countFilters, listRows, matchVariables, openByDefault, type Rows } from "../model/rows";
import { buildMatcher } from "../model/search";
import { buildRanks } from "../model/sort";
import { ancestorsOf, buildTree, pathOfNode, type Tree } from "../model/tree";
import type { Link, Selection } from "./link";

/** What a person opened and closed, by the layer's path: it outlives reports. */
interface Folds {
  /** "closed": everything that was not opened by hand. */
  others: "default" | "closed";
  byHand: ReadonlyMap<string, boolean>;
}

const UNTOUCHED: Folds = { others: "default", byHand: new Map() };

export interface TableView {
  tree: Tree;
  rows: Rows;
  counts: ReturnType<typeof countFilters>;
  /** Node of the selection, -1 where it is none of the table. */
  selected: number;
  isOpen: (layer: number) => boolean;
  toggle: (layer: number) => void;
  foldAll: () => void;
}

export function useRows(report: Report, norms: Norms, proof: Proof, link: Link): TableView {
  const tree = useMemo(() => buildTree(report, norms, proof), [report, norms, proof]);
  const [folds, setFolds] = useState(UNTOUCHED);
  const search = `${link.query}\n${link.filter}\n${link.finding}`;
  const passed = useMemo(() => {
    const only = link.finding === null ? null : new Set(report.findings[link.finding]?.rows ?? []);
    return matchVariables(tree, link.filter, buildMatcher(link.query), only);
  }, [tree, search]);
  const defaults = useMemo(() => openByDefault(tree, passed), [tree, passed]);
  useEffect(() => setFolds((old) => (old.byHand.size > 0 || old.others === "closed" ? UNTOUCHED : old)), [search]);
  const isOpen = useCallback(
    (layer: number) => folds.byHand.get(pathOfNode(tree, layer)) ?? (folds.others === "default" && defaults.has(layer)),
    [tree, folds, defaults],
  );
  const ranks = useMemo(() => buildRanks(tree, link.sort.key, norms), [tree, link.sort.key]);
  const rows = useMemo(
    () => listRows(tree, { grouped: link.grouped, sort: link.sort, ranks, passed, isOpen }),
    [tree, link.grouped, link.sort, ranks, passed, isOpen],
  );
  const set = (layers: readonly number[], open: boolean) =>
    setFolds((old) => ({ ...old, byHand: new Map([...old.byHand, ...layers.map((layer) => [pathOfNode(tree, layer), open] as const)]) }));
  const selected = useMemo(() => findNode(tree, link.selection), [tree, link.selection]);
  useEffect(() => {
    const closed = selected < 0 ? [] : ancestorsOf(tree, selected).filter((layer) => !isOpen(layer));
    if (closed.length > 0) set(closed, true);
  }, [link.selection?.kind, link.selection?.name, selected < 0]);
  return {
    tree,
    rows,
    counts: useMemo(() => countFilters(report, proof), [report, proof]),
    selected,
    isOpen,
    toggle: (layer) => set([layer], !isOpen(layer)),
    foldAll: () => setFolds({ others: "closed", byHand: new Map() }),
  };
}

function findNode(tree: Tree, selection: Selection | null): number {
  if (selection?.kind === "layer") return selection.name === "" ? tree.outside : (tree.nodeOfLayer.get(selection.name) ?? -1);
  if (selection?.kind !== "variable") return -1;
  const row = tree.report.rowOf.get(selection.name);
  return row === undefined ? -1 : tree.firstVariable + row;
}
