import { describe, expect, it } from "vitest";
import { findFlowPath, foldRuns, listPath } from "../src/model/flow";
import { layOut } from "../src/layout/layered";
import { type Drawing, makeReport } from "./fixture";

const report = (drawing: Drawing) => makeReport([], [], [], drawing);
const words = (nodes: { label: string }[]) => nodes.map((node) => node.label);

/** input → a → (b | c) → d → loss, and e that leads nowhere. */
const DIAMOND: Drawing = {
  nodes: [
    ["data", "input"],
    ["a", "layer", "a"],
    ["b", "layer", "b"],
    ["c", "layer", "c"],
    ["d", "layer", "d"],
    ["loss", "loss"],
    ["e", "layer", "e"],
  ],
  edges: [
    [0, 1],
    [1, 2],
    [1, 3],
    [2, 4],
    [3, 4, false],
    [4, 5],
    [1, 6],
  ],
};

describe("the way from the loss", () => {
  it("is what lies between the loss and the layer, and nothing else", () => {
    const path = findFlowPath(report(DIAMOND), new Set(["a"]));
    expect(words(path.nodes).sort()).toEqual(["a", "b", "c", "d", "loss"]);
    expect(path.reaches).toBe(true);
    expect(path.edges.filter((edge) => !edge.differentiable)).toHaveLength(1);
  });

  it("knows what no gradient reaches", () => {
    const path = findFlowPath(report(DIAMOND), new Set(["c"]));
    expect(path.reaches).toBe(false);
    expect(path.nodes.find((node) => node.label === "c")?.reached).toBe(false);
  });

  it("says why there is none", () => {
    expect(findFlowPath(report(DIAMOND), new Set(["e"])).state).toBe("apart");
    expect(findFlowPath(report(DIAMOND), new Set(["zzz"])).state).toBe("absent");
    expect(findFlowPath(report({ nodes: [], edges: [] }), new Set(["a"])).state).toBe("none");
  });

  it("goes round cuts in the list where it can, and names them where it cannot", () => {
    const whole = listPath(findFlowPath(report(DIAMOND), new Set(["a"])));
    expect(words(whole.map((step) => step.node))).toEqual(["loss", "d", "b", "a"]);
    expect(whole.at(-1)?.others).toBe(1);
    const cut = listPath(findFlowPath(report(DIAMOND), new Set(["c"])));
    expect(cut.map((step) => step.cut)).toEqual([false, false, true]);
  });

  it("leaves out edges that name no node", () => {
    const path = findFlowPath(report({ nodes: DIAMOND.nodes, edges: [...DIAMOND.edges, [77, 1], [1, 78]] }), new Set(["a"]));
    expect(path.edges).toHaveLength(5);
  });

  it("bears circles", () => {
    const path = findFlowPath(report({ nodes: DIAMOND.nodes, edges: [...DIAMOND.edges, [4, 1], [2, 2]] }), new Set(["a"]));
    expect(listPath(path).at(-1)?.node.label).toBe("a");
    expect(layOut(path.nodes.map((node) => ({ id: node.id, width: 50, height: 20 })), path.edges).nodes).toHaveLength(5);
  });
});

function chain(length: number, cutAfter = -1): Drawing {
  const nodes: Drawing["nodes"] = Array.from({ length }, (_, i) => [`l${i}`, "layer", `l${i}`]);
  nodes.push(["loss", "loss"]);
  return { nodes, edges: nodes.slice(1).map((_, i) => [i, i + 1, i !== cutAfter]) };
}

describe("straight runs", () => {
  it("are folded into one node that opens", () => {
    const path = findFlowPath(report(chain(10)), new Set(["l0"]));
    const folded = foldRuns(path, new Set());
    expect(words(folded.nodes)).toContain("9 layers");
    expect(folded.nodes).toHaveLength(3);
    expect(folded.edges).toHaveLength(2);
    const run = folded.nodes.find((node) => node.folded.length > 0);
    expect(foldRuns(path, new Set([run?.id as number])).nodes).toHaveLength(11);
  });

  it("never hide a cut", () => {
    const folded = foldRuns(findFlowPath(report(chain(12, 5)), new Set(["l0"])), new Set());
    expect(folded.edges.filter((edge) => !edge.differentiable)).toHaveLength(1);
    expect(words(folded.nodes)).toEqual(expect.arrayContaining(["l5", "l6"]));
  });

  it("take in a chain of thousands", () => {
    const path = findFlowPath(report(chain(20_000)), new Set(["l0"]));
    expect(foldRuns(path, new Set()).nodes).toHaveLength(3);
    expect(listPath(path)).toHaveLength(20_001);
  });
});

describe("the layout", () => {
  const lay = (edges: [number, number][], count: number) =>
    layOut(
      Array.from({ length: count }, (_, id) => ({ id, width: 60, height: 20 })),
      edges.map(([source, target]) => ({ source, target })),
    );

  it("puts sources above targets and keeps boxes of one rank apart", () => {
    const placed = lay([[0, 1], [0, 2], [0, 3], [1, 4], [2, 4], [3, 4]], 5);
    const [top, a, b, c, end] = placed.nodes as [(typeof placed.nodes)[0], ...typeof placed.nodes];
    expect(top.y).toBeLessThan(a?.y as number);
    expect(end?.y).toBeGreaterThan(a?.y as number);
    const xs = [a, b, c].map((node) => node?.x as number).sort((one, two) => one - two);
    expect((xs[1] as number) - (xs[0] as number)).toBeGreaterThanOrEqual(80);
    expect(top.x).toBeCloseTo(xs[1] as number, 0);
  });

  it("leads a long edge past the nodes between", () => {
    const placed = lay([[0, 1], [1, 2], [2, 3], [0, 3]], 4);
    expect(placed.edges[3]).toHaveLength(4);
    const passing = placed.edges[3]?.[1];
    expect(Math.abs((passing?.x as number) - (placed.nodes[1]?.x as number))).toBeGreaterThan(30);
  });

  it("does not drift sideways on residual chains", () => {
    const edges = Array.from({ length: 100 }, (_, i) => [[2 * i, 2 * i + 1], [2 * i + 1, 2 * i + 2], [2 * i, 2 * i + 2]] as [number, number][]).flat();
    expect(lay(edges, 201).width).toBeLessThan(200);
  });

  it("takes no more than a few times as long for twice the nodes", () => {
    const time = (count: number) => {
      const edges = Array.from({ length: count - 1 }, (_, i) => [[i, i + 1], [Math.max(0, i - 7), i + 1]] as [number, number][]).flat();
      const times = Array.from({ length: 5 }, () => {
        const start = performance.now();
        lay(edges, count);
        return performance.now() - start;
      });
      return Math.min(...times);
    };
    time(50);
    expect(time(300) / time(150)).toBeLessThan(12);
  });

  it("bears nothing at all", () => {
    expect(layOut([], [])).toEqual({ width: 0, height: 0, nodes: [], edges: [] });
  });
});
