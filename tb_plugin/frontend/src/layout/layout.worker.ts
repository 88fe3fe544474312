import { layOut, type LayoutEdge, type LayoutNode } from "./layered";

export interface LayoutQuestion {
  id: number;
  nodes: LayoutNode[];
  edges: LayoutEdge[];
}

self.addEventListener("message", (event: MessageEvent<LayoutQuestion>) => {
  const { id, nodes, edges } = event.data;
  self.postMessage({ id, placed: layOut(nodes, edges) });
});
