import { findHost } from "./parent";

const PREFIX = "p.introspect.";

/** What a link to the page holds. All is text, as it came: readers check it. */
export type Permalink = Record<string, string>;

/** Reads `#introspect&p.introspect.run=…` of TensorBoard's address; TensorBoard's own message for this is stale. */
export function parseHash(hash: string): Permalink {
  const found: Permalink = Object.create(null) as Permalink;
  for (const part of hash.replace(/^#/, "").split("&")) {
    const equals = part.indexOf("=");
    if (!part.startsWith(PREFIX) || equals < 0) continue;
    found[decode(part.slice(PREFIX.length, equals))] = decode(part.slice(equals + 1));
  }
  return found;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The same hash with our parts replaced; those of TensorBoard and other plugins stay. */
export function formatHash(hash: string, link: Permalink): string {
  const others = hash
    .replace(/^#/, "")
    .split("&")
    .filter((part) => part !== "" && !part.startsWith(PREFIX));
  const ours = Object.entries(link).map(([name, value]) => `${PREFIX}${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  return `#${[...others, ...ours].join("&")}`;
}

export function readPermalink(): Permalink {
  try {
    return parseHash(findHost().location.hash);
  } catch {
    return {};
  }
}

/** Replaces the address without an entry in the history; says nothing where the browser forbids it. */
export function writePermalink(link: Permalink): void {
  try {
    const host = findHost();
    const hash = formatHash(host.location.hash, link);
    if (hash === host.location.hash) return;
    const url = new URL(host.location.href);
    url.hash = hash;
    host.history.replaceState(host.history.state, "", url);
  } catch {
    // The page goes on without links: its state lives in memory.
  }
}

export const currentAddress = (): string => findHost().location.href;

export function onPermalink(listener: () => void): () => void {
  const host = findHost();
  host.addEventListener("hashchange", listener);
  return () => host.removeEventListener("hashchange", listener);
}
