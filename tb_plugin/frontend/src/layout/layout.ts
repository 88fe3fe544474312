import { layOut, type LayoutEdge, type LayoutNode, type Placed } from "./layered";

let worker: Worker | null | undefined;
let questions = 0;
const waiting = new Map<number, { resolve: (placed: Placed) => void; nodes: LayoutNode[]; edges: LayoutEdge[] }>();

/** A module worker of the page's own origin; null where the browser refuses one. */
function startWorker(): Worker | null {
  try {
    const started = new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
    started.addEventListener("message", (event: MessageEvent<{ id: number; placed: Placed }>) => {
      waiting.get(event.data.id)?.resolve(event.data.placed);
      waiting.delete(event.data.id);
    });
    started.addEventListener("error", goOnHere);
    return started;
  } catch {
    return null;
  }
}

/** A worker that cannot load is given up, and what waits for it is done here. */
function goOnHere(): void {
  worker = null;
  for (const { resolve, nodes, edges } of waiting.values()) resolve(layOut(nodes, edges));
  waiting.clear();
}

/** Lays out a drawing away from the page's own thread. */
export function requestLayout(nodes: LayoutNode[], edges: LayoutEdge[]): Promise<Placed> {
  if (worker === undefined) worker = startWorker();
  const running = worker;
  if (!running) return Promise.resolve(layOut(nodes, edges));
  const id = ++questions;
  const answer = new Promise<Placed>((resolve) => waiting.set(id, { resolve, nodes, edges }));
  running.postMessage({ id, nodes, edges });
  return answer;
}
