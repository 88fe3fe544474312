import { layOut, type LayoutEdge, type LayoutNode, type Placed } from "./layered";

let worker: Worker | null | undefined;
let questions = 0;
const waiting = new Map<number, (placed: Placed) => void>();

/** A module worker of the page's own origin; null where the browser refuses one. */
function startWorker(): Worker | null {
  try {
    const started = new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
    started.addEventListener("message", (event: MessageEvent<{ id: number; placed: Placed }>) => {
      waiting.get(event.data.id)?.(event.data.placed);
      waiting.delete(event.data.id);
    });
    return started;
  } catch {
    return null;
  }
}

/** Lays out a drawing away from the page's own thread. */
export function requestLayout(nodes: LayoutNode[], edges: LayoutEdge[]): Promise<Placed> {
  worker ??= startWorker();
  if (!worker) return Promise.resolve(layOut(nodes, edges));
  const id = ++questions;
  const answer = new Promise<Placed>((resolve) => waiting.set(id, resolve));
  worker.postMessage({ id, nodes, edges });
  return answer;
}
