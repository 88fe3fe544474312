/** Decides whether a path is meant by what stands in the search box. */
export type Matcher = (path: string) => boolean;

type Token = "*" | ((char: string) => boolean);

export const isGlob = (term: string): boolean => /[*?]|\[[^\]]+\]/.test(term);

/** A glob as `assert_trains` takes it: `*` spans slashes, the whole path must match, case does not count. */
export function buildGlob(glob: string): Matcher {
  const tokens = readTokens(glob.toLowerCase());
  return (path) => matchTokens(tokens, path.toLowerCase());
}

function readTokens(glob: string): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i] as string;
    const close = char === "[" ? glob.indexOf("]", i + 2) : -1;
    if (char === "*") tokens.push("*");
    else if (char === "?") tokens.push(() => true);
    else if (close > 0) {
      tokens.push(readSet(glob.slice(i + 1, close)));
      i = close;
    } else tokens.push((other) => other === char);
  }
  return tokens;
}

function readSet(body: string): (char: string) => boolean {
  const negated = body.startsWith("!");
  const inner = negated ? body.slice(1) : body;
  const ranges: [string, string][] = [];
  for (let i = 0; i < inner.length; i++) {
    const from = inner[i] as string;
    const spans = inner[i + 1] === "-" && i + 2 < inner.length;
    ranges.push([from, spans ? (inner[i + 2] as string) : from]);
    if (spans) i += 2;
  }
  return (char) => ranges.some(([from, to]) => char >= from && char <= to) !== negated;
}

/** Goes back to the last star alone, so that no pattern takes longer than its length times the path's. */
function matchTokens(tokens: readonly Token[], path: string): boolean {
  let at = 0;
  let star = -1;
  let resume = 0;
  for (let i = 0; i < path.length; ) {
    const token = tokens[at];
    if (token === "*") {
      star = at++;
      resume = i;
    } else if (token?.(path[i] as string)) {
      at++;
      i++;
    } else if (star >= 0) {
      at = star + 1;
      i = ++resume;
    } else return false;
  }
  return tokens.slice(at).every((token) => token === "*");
}

/** Words are parts of the path and all must occur; a word with `*`, `?` or `[…]` is a glob over the whole path. Null: everything. */
export function buildMatcher(query: string): Matcher | null {
  const terms = query.trim().split(/\s+/).filter(Boolean);
  if (terms.length === 0) return null;
  const tests = terms.map((term): Matcher => {
    if (isGlob(term)) return buildGlob(term);
    const lower = term.toLowerCase();
    return (path) => path.toLowerCase().includes(lower);
  });
  return (path) => tests.every((test) => test(path));
}

/** Where plain words of the query stand in a text, for marking: [from, to) pairs, not overlapping, rising. */
export function findMarks(query: string, label: string): [number, number][] {
  const lower = label.toLowerCase();
  const found: [number, number][] = [];
  for (const term of query.trim().toLowerCase().split(/\s+/)) {
    if (!term || isGlob(term)) continue;
    const from = lower.indexOf(term);
    if (from >= 0) found.push([from, from + term.length]);
  }
  found.sort((a, b) => a[0] - b[0]);
  const kept: [number, number][] = [];
  for (const mark of found) if (mark[0] >= (kept.at(-1)?.[1] ?? 0)) kept.push(mark);
  return kept;
}
