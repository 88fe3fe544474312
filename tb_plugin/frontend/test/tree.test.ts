import { describe, expect, it } from "vitest";
import { readCells, tellFirst } from "../src/model/cells";
import { countFilters, type Filter, listRows, matchVariables, openByDefault, type View } from "../src/model/rows";
import { buildMatcher } from "../src/model/search";
import { buildRanks, DEFAULT_SORT, type Sort } from "../src/model/sort";
import { ancestorsOf, buildTree, labelOfNode, pathOfNode, type Tree, variablesBelow } from "../src/model/tree";
import { makeReport, makeSmallReport, NO_NORMS } from "./fixture";

function show(tree: Tree, options: { query?: string; filter?: Filter; sort?: Sort; grouped?: boolean; open?: (layer: number) => boolean } = {}) {
  const passed = matchVariables(tree, options.filter ?? "all", buildMatcher(options.query ?? ""), null);
  const sort = options.sort ?? { key: "order", descending: false };
  const open = openByDefault(tree, passed);
  const view: View = { grouped: options.grouped ?? true, sort, ranks: buildRanks(tree, sort.key, NO_NORMS), passed, isOpen: options.open ?? ((layer) => open.has(layer)) };
  const rows = listRows(tree, view);
  return { rows, text: [...rows.nodes].map((node, i) => `${".".repeat((rows.level[i] as number) - 1)}${labelOfNode(tree, node)}`) };
}

const small = () => buildTree(makeSmallReport(), NO_NORMS);

describe("the layer tree", () => {
  it("hangs variables below their layers, and sums them up", () => {
    const tree = small();
    expect(show(tree).text).toEqual(["model", ".a", "..kernel", "..bias", ".b", "..kernel", "..bias"]);
    const model = tree.rollups[0];
    expect(model).toMatchObject({ variables: 4, trainable: 4, expected: 4, yes: 2, no: 2, reached: 2, slots: 4, slotsUpdated: 4, mismatches: 2, severity: 3 });
    expect(readCells(tree, 0, NO_NORMS)).toMatchObject({ status: "2 of 4 mismatch", flag: "all 4", gradient: "2 of 4", updated: "2 of 4", slots: "4" });
  });

  it("keeps the place among siblings for screen readers", () => {
    const { rows } = show(small());
    expect([...rows.position]).toEqual([1, 1, 1, 2, 2, 1, 2]);
    expect([...rows.siblings]).toEqual([1, 2, 2, 2, 2, 2, 2]);
  });

  it("puts variables of no layer outside", () => {
    const tree = buildTree(makeReport([{ path: "w" }, { path: "a/k", layer: "a" }], [{ path: "a" }]), NO_NORMS);
    expect(show(tree).text).toEqual(["a", ".k", "outside all layers", ".w"]);
    expect(tree.rollups[tree.outside]?.variables).toBe(1);
  });

  it("cuts circles of layers, and loses no variable", () => {
    const layers = [
      { path: "a", parent: "b", variables: ["x"] },
      { path: "b", parent: "a", variables: ["y"] },
      { path: "c", parent: "c", variables: ["z"] },
    ];
    const tree = buildTree(makeReport([{ path: "x" }, { path: "y" }, { path: "z" }], layers), NO_NORMS);
    expect(tree.roots.flatMap((root) => variablesBelow(tree, root)).sort()).toEqual([0, 1, 2]);
  });

  it("does not care which of layer and parent comes first", () => {
    const tree = buildTree(makeReport([{ path: "m/a/k" }], [{ path: "m/a", parent: "m", variables: ["m/a/k"] }, { path: "m" }]), NO_NORMS);
    expect(show(tree).text).toEqual(["m", ".a", "..k"]);
    expect(ancestorsOf(tree, tree.firstVariable).map((node) => pathOfNode(tree, node))).toEqual(["m/a", "m"]);
  });

  it("does not count statistics against a layer that trains", () => {
    const rows = [{ path: "n/gamma" }, { path: "n/mean", expected: false, updated: "no", kinds: ["statistics"] }, { path: "n/frozen", expected: false, updated: "no", kinds: ["initial"] }];
    const of = (count: number) => readCells(buildTree(makeReport(rows.slice(0, count).map((row) => ({ ...row, layer: "n" })), [{ path: "n" }]), NO_NORMS), 0, NO_NORMS).status;
    expect([of(2), of(3)]).toEqual(["trains", "1 of 2 train"]);
  });

  it("shows shares of large layers in percent, and all and none as such", () => {
    const shares = (yes: number) => {
      const rows = Array.from({ length: 2000 }, (_, i) => ({ path: `n/${i}`, layer: "n", updated: i < yes ? "yes" : "no" }));
      return readCells(buildTree(makeReport(rows, [{ path: "n" }]), NO_NORMS), 0, NO_NORMS).updated;
    };
    expect([shares(0), shares(1), shares(1000), shares(1999), shares(2000)]).toEqual(["none", "1 %", "50 %", "99 %", "all 2\u202f000"]);
  });

  it("adds norms as the norm of all variables together", () => {
    const tree = buildTree(makeSmallReport(), { gradient: [3, 4, null, "nan"], update: [1, null, "inf", 1], present: true });
    expect(readCells(tree, 1, NO_NORMS)).toMatchObject({ gradientNorm: "5", updateNorm: "1" });
    expect(readCells(tree, 2, NO_NORMS)).toMatchObject({ gradientNorm: "nan", updateNorm: "inf" });
  });
});

describe("filter and search", () => {
  it("shows the variables that pass, and the layers above them", () => {
    expect(show(small(), { filter: "mismatch" }).text).toEqual(["model", ".b", "..kernel", "..bias"]);
    expect(show(small(), { query: "/a bias" }).text).toEqual(["model", ".a", "..bias"]);
    expect(show(small(), { query: "*/kernel", filter: "no" }).text).toEqual(["model", ".b", "..kernel"]);
    expect(show(small(), { query: "nothing" }).text).toEqual([]);
  });

  it("takes a matching layer with all that lies below it", () => {
    expect(show(small(), { query: "model/b" }).rows.matched).toBe(2);
    expect(show(small(), { query: "model/?" }).rows.matched).toBe(4);
  });

  it("shows the variables of one finding", () => {
    const tree = small();
    expect([...(matchVariables(tree, "all", null, new Set([2])) ?? [])]).toEqual([0, 0, 1, 0]);
    expect(matchVariables(tree, "all", null, null)).toBeNull();
  });

  it("counts what each filter would show", () => {
    expect(countFilters(makeSmallReport())).toEqual({ all: 4, mismatch: 2, yes: 2, no: 2, some: 0, unknown: 0, proof: 0 });
  });
});

describe("sorting", () => {
  it("has mismatches first, in the report's order otherwise", () => {
    expect(show(small(), { sort: DEFAULT_SORT }).text).toEqual(["model", ".b", "..kernel", "..bias", ".a", "..kernel", "..bias"]);
  });

  it("sorts names among siblings alone, and the flat list as a whole", () => {
    expect(show(small(), { sort: { key: "name", descending: false } }).text).toEqual(["model", ".a", "..bias", "..kernel", ".b", "..bias", "..kernel"]);
    expect(show(small(), { sort: { key: "updated", descending: false }, grouped: false }).text).toEqual(["kernel", "bias", "kernel", "bias"]);
  });

  it("says of which update of a step a gradient is", () => {
    const report = makeReport([{ path: "critic/w", updates: 5 }, { path: "generator/w" }], []);
    const tree = buildTree(report, NO_NORMS);
    expect([0, 1].map((row) => readCells(tree, tree.firstVariable + row, NO_NORMS).gradientTitle)).toEqual(["gradient: first of 5 updates", ""]);
    expect(tellFirst(report.wire.updates)).toBe("gradient: first of 5 updates");
  });

  it("puts what is not measured last and nan first", () => {
    const norms = { gradient: [1, null, "nan" as const, "inf" as const], update: [], present: true };
    const ranks = buildRanks(small(), "measured", norms);
    const order = [0, 1, 2, 3].sort((a, b) => ranks(small().firstVariable + b) - ranks(small().firstVariable + a));
    expect(order).toEqual([2, 3, 0, 1]);
  });
});

describe("folding", () => {
  it("shows nothing below a closed layer", () => {
    expect(show(small(), { open: () => false }).text).toEqual(["model"]);
  });

  it("leaves out layers that hold no variables", () => {
    const tree = buildTree(makeReport([{ path: "a/k" }], [{ path: "relu" }, { path: "a", variables: ["a/k"] }]), NO_NORMS);
    expect(show(tree).text).toEqual(["a", ".k"]);
  });

  it("opens a large tree where the mismatches are, and no more than a screenful", () => {
    const layers = [{ path: "m" }, ...Array.from({ length: 500 }, (_, i) => ({ path: `m/${i}`, parent: "m", variables: [`m/${i}/k`] }))];
    const rows = layers.slice(1).map((layer) => ({ path: `${layer.path}/k` }));
    const tree = buildTree(makeReport(rows, layers, [{ variables: ["m/499/k"] }]), NO_NORMS);
    const open = openByDefault(tree, null);
    expect(open.has(0)).toBe(true);
    expect(open.size).toBeLessThan(60);
  });
});
