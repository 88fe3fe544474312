/**
 * Layered drawing of a small directed graph, from top to bottom: longest-path ranks, barycentre ordering,
 * then x by least squares under the spacing of each rank. Long edges pass through bends of their own.
 */

export interface LayoutNode {
  id: number;
  width: number;
  height: number;
}

export interface LayoutEdge {
  source: number;
  target: number;
}

export interface Placed {
  width: number;
  height: number;
  /** Centres, in the order of the nodes given. */
  nodes: { id: number; x: number; y: number }[];
  /** Points from source to target, in the order of the edges given. */
  edges: { x: number; y: number }[][];
}

interface Vertex {
  width: number;
  rank: number;
  x: number;
  up: number[];
  down: number[];
  bend: boolean;
}

const NODE_GAP = 24;
const BEND_GAP = 14;
const RANK_GAP = 32;
const ORDER_SWEEPS = 12;
const PLACE_SWEEPS = 10;

export function layOut(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): Placed {
  const place = new Map(nodes.map((node, i) => [node.id, i]));
  const links = edges.map((edge) => [place.get(edge.source) as number, place.get(edge.target) as number] as const);
  const ranks = rankNodes(nodes.length, links);
  const vertices: Vertex[] = nodes.map((node, i) => ({ width: node.width, rank: ranks[i] as number, x: 0, up: [], down: [], bend: false }));
  const chains = links.map(([source, target]) => addChain(vertices, source, target));
  const rows = groupRanks(vertices);
  orderRows(vertices, rows);
  placeRows(vertices, rows);
  return readPlaces(nodes, edges, vertices, rows, chains);
}

/** Longest way from a source; edges that would close a circle do not count. Nodes are then pulled down towards their targets. */
function rankNodes(count: number, links: readonly (readonly [number, number])[]): Int32Array {
  const down: number[][] = Array.from({ length: count }, () => []);
  const waiting = new Int32Array(count);
  for (const [source, target] of links) {
    (down[source] as number[]).push(target);
    waiting[target] = (waiting[target] as number) + 1;
  }
  const ranks = new Int32Array(count);
  const done = new Uint8Array(count);
  const order: number[] = [];
  const ready = Array.from(waiting.keys()).filter((i) => waiting[i] === 0);
  while (order.length < count) {
    const node = ready.pop() ?? done.findIndex((seen) => !seen);
    if (done[node]) continue;
    done[node] = 1;
    order.push(node);
    for (const next of down[node] as number[]) {
      if (done[next]) continue;
      ranks[next] = Math.max(ranks[next] as number, (ranks[node] as number) + 1);
      waiting[next] = (waiting[next] as number) - 1;
      if (waiting[next] === 0) ready.push(next);
    }
  }
  for (const node of order.reverse()) {
    const below = (down[node] as number[]).map((next) => ranks[next] as number).filter((rank) => rank > (ranks[node] as number));
    const isSource = !links.some(([, target]) => target === node);
    if (isSource && below.length > 0) ranks[node] = Math.min(...below) - 1;
  }
  return ranks;
}

/** Connects two vertices through one bend for each rank between them; returns the way from source to target. */
function addChain(vertices: Vertex[], source: number, target: number): number[] {
  const from = (vertices[source] as Vertex).rank;
  const to = (vertices[target] as Vertex).rank;
  const step = to >= from ? 1 : -1;
  const chain = [source];
  for (let rank = from + step; rank !== to && from !== to; rank += step) {
    vertices.push({ width: 0, rank, x: 0, up: [], down: [], bend: true });
    chain.push(vertices.length - 1);
  }
  chain.push(target);
  for (let i = 0; i + 1 < chain.length; i++) {
    const [a, b] = (step > 0 ? [chain[i], chain[i + 1]] : [chain[i + 1], chain[i]]) as [number, number];
    if ((vertices[a] as Vertex).rank === (vertices[b] as Vertex).rank) continue;
    (vertices[a] as Vertex).down.push(b);
    (vertices[b] as Vertex).up.push(a);
  }
  return chain;
}

function groupRanks(vertices: readonly Vertex[]): number[][] {
  const rows: number[][] = [];
  vertices.forEach((vertex, i) => {
    while (rows.length <= vertex.rank) rows.push([]);
    (rows[vertex.rank] as number[]).push(i);
  });
  return rows;
}

/** Barycentre sweeps down and up; the order with the fewest crossings stays. */
function orderRows(vertices: readonly Vertex[], rows: number[][]): void {
  let best = rows.map((row) => [...row]);
  let fewest = countCrossings(vertices, rows);
  for (let sweep = 0; sweep < ORDER_SWEEPS && fewest > 0; sweep++) {
    const down = sweep % 2 === 0;
    const place = new Float64Array(vertices.length);
    for (const row of rows) row.forEach((v, i) => (place[v] = i));
    for (const rank of down ? rows.keys() : [...rows.keys()].reverse()) {
      const row = rows[rank] as number[];
      const centre = new Map(row.map((v) => [v, centreOf(vertices[v] as Vertex, down, place)]));
      row.sort((a, b) => (centre.get(a) as number) - (centre.get(b) as number));
      row.forEach((v, i) => (place[v] = i));
    }
    const crossings = countCrossings(vertices, rows);
    if (crossings < fewest) {
      fewest = crossings;
      best = rows.map((row) => [...row]);
    }
  }
  best.forEach((row, i) => (rows[i] = row));
}

function centreOf(vertex: Vertex, down: boolean, place: Float64Array): number {
  const near = down ? vertex.up : vertex.down;
  if (near.length === 0) return -1;
  return near.reduce((sum, v) => sum + (place[v] as number), 0) / near.length;
}

function countCrossings(vertices: readonly Vertex[], rows: readonly number[][]): number {
  let crossings = 0;
  for (let rank = 0; rank + 1 < rows.length; rank++) {
    const place = new Map((rows[rank + 1] as number[]).map((v, i) => [v, i]));
    const ends = (rows[rank] as number[]).flatMap((v) => (vertices[v] as Vertex).down.map((w) => place.get(w) ?? 0).sort((a, b) => a - b));
    for (let i = 1; i < ends.length; i++) for (let j = 0; j < i; j++) if ((ends[j] as number) > (ends[i] as number)) crossings++;
  }
  return crossings;
}

function placeRows(vertices: Vertex[], rows: readonly number[][]): void {
  for (const row of rows) spread(vertices, row, row.map(() => 0), row.map(() => 1));
  for (let sweep = 0; sweep < PLACE_SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      const pulls = row.map((v) => pull(vertices, v, sweep >= PLACE_SWEEPS - 2, down));
      spread(vertices, row, pulls.map((p) => p.x), pulls.map((p) => p.weight));
    }
  }
  const left = Math.min(...vertices.map((vertex) => vertex.x - vertex.width / 2), 0);
  for (const vertex of vertices) vertex.x -= left;
}

/** Where a vertex would like to stand: over its neighbours, bends more stubbornly, so that long edges run straight. */
function pull(vertices: readonly Vertex[], v: number, both: boolean, down: boolean): { x: number; weight: number } {
  const vertex = vertices[v] as Vertex;
  const near = both ? [...vertex.up, ...vertex.down] : down ? vertex.up : vertex.down;
  if (near.length === 0) return { x: vertex.x, weight: 0.1 };
  let sum = 0;
  let weight = 0;
  for (const other of near) {
    const w = vertex.bend && (vertices[other] as Vertex).bend ? 8 : 1;
    sum += w * (vertices[other] as Vertex).x;
    weight += w;
  }
  return { x: sum / weight, weight };
}

/** Least squares to the wanted places under the spacing of the row: pool adjacent violators. */
function spread(vertices: Vertex[], row: readonly number[], wanted: readonly number[], weights: readonly number[]): void {
  const offset: number[] = [];
  row.forEach((v, i) => {
    const before = vertices[row[i - 1] as number];
    const here = vertices[v] as Vertex;
    const gap = before?.bend || here.bend ? BEND_GAP : NODE_GAP;
    offset.push(before ? (offset[i - 1] as number) + before.width / 2 + here.width / 2 + gap : 0);
  });
  const blocks: { sum: number; weight: number; size: number }[] = [];
  row.forEach((_, i) => {
    const weight = weights[i] as number;
    let block = { sum: weight * ((wanted[i] as number) - (offset[i] as number)), weight, size: 1 };
    for (let last = blocks.at(-1); last && last.sum / last.weight >= block.sum / block.weight; last = blocks.at(-1)) {
      block = { sum: last.sum + block.sum, weight: last.weight + block.weight, size: last.size + block.size };
      blocks.pop();
    }
    blocks.push(block);
  });
  let i = 0;
  for (const block of blocks) {
    for (let k = 0; k < block.size; k++, i++) (vertices[row[i] as number] as Vertex).x = block.sum / block.weight + (offset[i] as number);
  }
}

function readPlaces(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[], vertices: readonly Vertex[], rows: readonly number[][], chains: readonly number[][]): Placed {
  const heights = rows.map((row) => Math.max(0, ...row.map((v) => nodes[v]?.height ?? 0)));
  const tops: number[] = [];
  heights.reduce((top, height) => (tops.push(top), top + height + RANK_GAP), 0);
  const middle = (v: number) => {
    const rank = (vertices[v] as Vertex).rank;
    return (tops[rank] as number) + (heights[rank] as number) / 2;
  };
  const half = (v: number) => (nodes[v]?.height ?? 0) / 2;
  const paths = edges.map((_, e) => {
    const chain = chains[e] as number[];
    const down = middle(chain.at(-1) as number) >= middle(chain[0] as number) ? 1 : -1;
    return chain.map((v, i) => {
      const shift = i === 0 ? half(v) * down : i === chain.length - 1 ? -half(v) * down : 0;
      return { x: (vertices[v] as Vertex).x, y: middle(v) + shift };
    });
  });
  const width = Math.max(0, ...vertices.map((vertex) => vertex.x + vertex.width / 2));
  const height = tops.length > 0 ? (tops.at(-1) as number) + (heights.at(-1) as number) : 0;
  return { width, height, nodes: nodes.map((node, i) => ({ id: node.id, x: (vertices[i] as Vertex).x, y: middle(i) })), edges: paths };
}
