import type { LocationWire } from "../api/wire";
import { locationAt, type Report, text } from "./report";

export type FlowKind = "input" | "layer" | "op" | "cut" | "loss";

export interface FlowNode {
  id: number;
  label: string;
  kind: FlowKind;
  layer: string | null;
  op: string | null;
  opType: string | null;
  location: LocationWire | null;
  /** Whether the gradient of the loss gets here. */
  reached: boolean;
  /** Whether the variable's own layer is here. */
  goal: boolean;
  /** How many layers this node stands for, where a straight run was folded. */
  folded: readonly FlowNode[];
}

/** In the direction of the gradient: from the loss towards the variable. */
export interface FlowEdge {
  source: number;
  target: number;
  differentiable: boolean;
}

export interface FlowPath {
  nodes: FlowNode[];
  edges: FlowEdge[];
  /** "none": the report holds no drawing of the step; "absent": it does not know the layer; "apart": no way from the loss leads here. */
  state: "ok" | "none" | "absent" | "apart";
  /** Whether the gradient gets all the way. */
  reaches: boolean;
}

const EMPTY = (state: FlowPath["state"]): FlowPath => ({ nodes: [], edges: [], state, reaches: false });

/** The part of the step that lies between the loss and the layers at hand. */
export function findFlowPath(report: Report, layers: ReadonlySet<string>): FlowPath {
  const { flow_nodes: nodes, flow_edges: edges } = report.wire;
  if (nodes.rows === 0) return EMPTY("none");
  const graph = readEdges(report);
  const goals: number[] = [];
  const losses: number[] = [];
  for (let i = 0; i < nodes.rows; i++) {
    const layer = text(report, nodes.layer[i] as number);
    if (text(report, nodes.kind[i] as number) === "loss") losses.push(i);
    else if (layer !== null && layers.has(layer)) goals.push(i);
  }
  if (goals.length === 0) return EMPTY("absent");
  const down = walk(losses, graph.back, () => true);
  const up = walk(goals, graph.forth, () => true);
  const reached = walk(losses, graph.back, (edge) => edges.differentiable[edge] === 1);
  const wanted = new Set(goals);
  const kept = nodes.id.map((_, i) => i).filter((i) => down[i] && up[i]);
  const found = kept.map((i) => readNode(report, i, reached[i] === 1, wanted.has(i)));
  if (!goals.some((i) => down[i])) return { ...EMPTY("apart"), nodes: goals.map((i) => readNode(report, i, false, true)) };
  const inside = new Set(kept);
  const ways: FlowEdge[] = [];
  for (let edge = 0; edge < edges.rows; edge++) {
    const [from, to] = [graph.source[edge] as number, graph.target[edge] as number];
    if (inside.has(from) && inside.has(to)) ways.push({ source: to, target: from, differentiable: edges.differentiable[edge] === 1 });
  }
  return { nodes: found, edges: ways, state: "ok", reaches: goals.some((i) => reached[i]) };
}

interface Graph {
  source: Int32Array;
  target: Int32Array;
  /** Edges by node, as [edge, node at its other end]. */
  forth: readonly (readonly [number, number])[][];
  back: readonly (readonly [number, number])[][];
}

/** Edges with ids replaced by rows; those that name no node are left out (they lead to row -1). */
function readEdges(report: Report): Graph {
  const { flow_nodes: nodes, flow_edges: edges } = report.wire;
  const rowOfId = new Map(nodes.id.map((id, i) => [id, i]));
  const source = Int32Array.from(edges.source, (id) => rowOfId.get(id) ?? -1);
  const target = Int32Array.from(edges.target, (id) => rowOfId.get(id) ?? -1);
  const forth: [number, number][][] = Array.from({ length: nodes.rows }, () => []);
  const back: [number, number][][] = Array.from({ length: nodes.rows }, () => []);
  for (let edge = 0; edge < edges.rows; edge++) {
    const [from, to] = [source[edge] as number, target[edge] as number];
    if (from < 0 || to < 0 || from === to) continue;
    (forth[from] as [number, number][]).push([edge, to]);
    (back[to] as [number, number][]).push([edge, from]);
  }
  return { source, target, forth, back };
}

function walk(starts: readonly number[], ways: Graph["forth"], passes: (edge: number) => boolean): Uint8Array {
  const seen = new Uint8Array(ways.length);
  const stack = [...starts];
  while (stack.length > 0) {
    const node = stack.pop() as number;
    if (seen[node]) continue;
    seen[node] = 1;
    for (const [edge, next] of ways[node] ?? []) if (!seen[next] && passes(edge)) stack.push(next);
  }
  return seen;
}

function readNode(report: Report, row: number, reached: boolean, goal: boolean): FlowNode {
  const { flow_nodes: nodes } = report.wire;
  const word = (column: readonly number[]) => text(report, column[row] as number);
  return {
    id: row,
    label: word(nodes.label) ?? "",
    kind: (word(nodes.kind) ?? "op") as FlowKind,
    layer: word(nodes.layer),
    op: word(nodes.op),
    opType: word(nodes.op_type),
    location: locationAt(report, nodes.location[row] as number),
    reached,
    goal,
    folded: [],
  };
}

const RUN_LENGTH = 4;

/** Folds straight runs of `RUN_LENGTH` or more plain nodes into one, unless it was opened; cuts, the loss and the goal always stand alone. */
export function foldRuns(path: FlowPath, opened: ReadonlySet<number>): FlowPath {
  const after = new Map<number, FlowEdge[]>();
  const before = new Map<number, FlowEdge[]>();
  for (const edge of path.edges) {
    append(after, edge.source, edge);
    append(before, edge.target, edge);
  }
  const byId = new Map(path.nodes.map((node) => [node.id, node]));
  const plain = (id: number): boolean => {
    const node = byId.get(id) as FlowNode;
    const ways = [...(after.get(id) ?? []), ...(before.get(id) ?? [])];
    const single = after.get(id)?.length === 1 && before.get(id)?.length === 1;
    return single && !node.goal && (node.kind === "layer" || node.kind === "op") && ways.every((edge) => edge.differentiable);
  };
  const runs = findRuns(path, plain, after, before).filter((run) => !opened.has(run[0] as number));
  return runs.length === 0 ? path : replaceRuns(path, runs, byId);
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

function findRuns(path: FlowPath, plain: (id: number) => boolean, after: Map<number, FlowEdge[]>, before: Map<number, FlowEdge[]>): number[][] {
  const runs: number[][] = [];
  for (const node of path.nodes) {
    const above = before.get(node.id)?.[0]?.source;
    if (!plain(node.id) || (above !== undefined && plain(above))) continue;
    const run = [node.id];
    for (let next = after.get(node.id)?.[0]?.target; next !== undefined && plain(next); next = after.get(next)?.[0]?.target) run.push(next);
    if (run.length >= RUN_LENGTH) runs.push(run);
  }
  return runs;
}

function replaceRuns(path: FlowPath, runs: readonly number[][], byId: ReadonlyMap<number, FlowNode>): FlowPath {
  const headOf = new Map<number, number>();
  const folded = new Map<number, FlowNode>();
  for (const run of runs) {
    const members = run.map((id) => byId.get(id) as FlowNode);
    const head = members[0] as FlowNode;
    folded.set(head.id, { ...head, label: `${run.length} ${members.every((node) => node.kind === "layer") ? "layers" : "nodes"}`, layer: null, location: null, folded: members });
    for (const id of run) headOf.set(id, head.id);
  }
  const nodes = path.nodes.filter((node) => (headOf.get(node.id) ?? node.id) === node.id).map((node) => folded.get(node.id) ?? node);
  const edges = path.edges
    .map((edge) => ({ ...edge, source: headOf.get(edge.source) ?? edge.source, target: headOf.get(edge.target) ?? edge.target }))
    .filter((edge) => edge.source !== edge.target);
  return { ...path, nodes, edges };
}

export interface PathStep {
  node: FlowNode;
  /** Whether the gradient is cut between the step before and this one. */
  cut: boolean;
  /** Other ways that lead into this node. */
  others: number;
}

/** The best single way from the loss: with the fewest cuts, and among those the shortest. */
export function listPath(path: FlowPath): PathStep[] {
  const start = path.nodes.find((node) => node.kind === "loss");
  if (!start || path.state !== "ok") return [];
  const after = new Map<number, FlowEdge[]>();
  const entering = new Map<number, number>();
  for (const edge of path.edges) {
    append(after, edge.source, edge);
    entering.set(edge.target, (entering.get(edge.target) ?? 0) + 1);
  }
  const byId = new Map(path.nodes.map((node) => [node.id, node]));
  const came = searchPath(start.id, after);
  const goal = path.nodes.filter((node) => node.goal && came.has(node.id)).sort((a, b) => cost(came, a.id) - cost(came, b.id))[0];
  const steps: PathStep[] = [];
  for (let at: number | undefined = goal?.id; at !== undefined; at = came.get(at)?.edge?.source) {
    const edge = came.get(at)?.edge;
    steps.push({ node: byId.get(at) as FlowNode, cut: edge ? !edge.differentiable : false, others: Math.max(0, (entering.get(at) ?? 0) - 1) });
  }
  return steps.reverse();
}

interface Arrival {
  cost: number;
  edge: FlowEdge | null;
}

const CUT_COST = 1e6;
const cost = (came: ReadonlyMap<number, Arrival>, id: number): number => came.get(id)?.cost ?? Infinity;

/** Dijkstra on costs of which there are two: one a plain step, a million a cut. */
function searchPath(start: number, after: ReadonlyMap<number, readonly FlowEdge[]>): Map<number, Arrival> {
  const came = new Map<number, Arrival>([[start, { cost: 0, edge: null }]]);
  let plain = [start];
  let costly: number[] = [];
  while (plain.length > 0) {
    for (let i = 0; i < plain.length; i++) {
      const at = plain[i] as number;
      for (const edge of after.get(at) ?? []) {
        const total = cost(came, at) + (edge.differentiable ? 1 : CUT_COST);
        if (total >= cost(came, edge.target)) continue;
        came.set(edge.target, { cost: total, edge });
        (edge.differentiable ? plain : costly).push(edge.target);
      }
    }
    plain = costly;
    costly = [];
  }
  return came;
}
