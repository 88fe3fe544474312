/** TensorBoard's own window where the page lies in its frame, else the page's window. */
export function findHost(): Window {
  try {
    // Reading anything of a foreign origin raises: then the page is by itself.
    if (window.parent !== window && window.parent.document.body) return window.parent;
  } catch {
    return window;
  }
  return window;
}

/** Names the frame for screen readers: TensorBoard gives it no title. */
export function nameFrame(title: string): void {
  try {
    const frame = window.frameElement;
    if (frame && !frame.getAttribute("title")) frame.setAttribute("title", title);
  } catch {
    // A foreign parent names its own frames.
  }
}

type Listener = () => void;

/**
 * TensorBoard tells a plugin of a reload by its user over a message channel. Calls `onReload` for each;
 * where nobody answers (the page opened by itself) nothing happens, for nothing waits.
 */
export function listenToHost(onReload: Listener): () => void {
  if (window.parent === window) return () => undefined;
  const channel = new MessageChannel();
  channel.port1.onmessage = (event) => {
    const type = readType(event.data);
    if (type === "experimental.DataReloaded" || type === "experimental.RunsChanged") onReload();
  };
  window.parent.postMessage("experimental.bootstrap", "*", [channel.port2]);
  return () => channel.port1.close();
}

function readType(data: unknown): string | null {
  try {
    const message = JSON.parse(String(data)) as { type?: unknown };
    return typeof message.type === "string" ? message.type : null;
  } catch {
    return null;
  }
}
