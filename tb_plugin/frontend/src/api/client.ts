import {
  SCHEMA,
  type CompareAnswer,
  type LayerNormsAnswer,
  type LatestNormsAnswer,
  type NormsAnswer,
  type ProofAnswer,
  type ReportAnswer,
  type RunsAnswer,
  type TimelineAnswer,
} from "./wire";

const TIMEOUT_MS = 60_000;
const NORMS_PER_REQUEST = 16;
const QUERY_LIMIT = 6000;

/** An answer that cannot be used. `status` is 0 where the server was not reached. */
export class RequestError extends Error {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

type Parameters = Record<string, string | number | readonly string[] | null | undefined>;

/** A route with its query, relative to the page's base: it holds under a path prefix too. */
export function routeUrl(route: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null || value === undefined) continue;
    if (typeof value === "object") value.forEach((item) => query.append(name, item));
    else query.append(name, String(value));
  }
  const text = query.toString();
  return text ? `${route}?${text}` : route;
}

async function fetchAnswer(url: string): Promise<Response> {
  try {
    return await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
  } catch {
    throw new RequestError("TensorBoard does not answer. Is it still running?", 0);
  }
}

async function ask<T extends { schema: number }>(route: string, parameters?: Parameters): Promise<T> {
  const answer = await fetchAnswer(routeUrl(route, parameters));
  if (!answer.ok) throw new RequestError(firstLine(await answer.text(), answer.status), answer.status);
  const data = (await answer.json().catch(() => null)) as T | null;
  if (data === null) throw new RequestError("The answer of TensorBoard is no JSON.", answer.status);
  if (data.schema > SCHEMA) {
    throw new RequestError(`The log speaks schema ${data.schema}, this page ${SCHEMA}: update introspect and reload.`, 422);
  }
  return data;
}

function firstLine(text: string, status: number): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  return line && !line.startsWith("<") ? line.slice(0, 400) : `TensorBoard answered ${status}.`;
}

export const fetchRuns = () => ask<RunsAnswer>("runs");
export const fetchTimeline = (run: string) => ask<TimelineAnswer>("timeline", { run });
export const fetchReport = (run: string, at: number) => ask<ReportAnswer>("report", { run, at });
export const fetchLatestNorms = (run: string, at: number) => ask<LatestNormsAnswer>("latest_norms", { run, at });

export const fetchCompare = (run: string, at: number, withRun: string, withAt: number) =>
  ask<CompareAnswer>("compare", { run, at, with_run: withRun, with_at: withAt });

/** Names in groups that one request may carry: 16 of them, and a query well below the server's 8 KiB. */
export function groupNames(names: readonly string[]): string[][] {
  const groups: string[][] = [];
  let size = 0;
  for (const name of names) {
    const cost = encodeURIComponent(name).length + 10;
    const last = groups.at(-1);
    if (!last || last.length === NORMS_PER_REQUEST || size + cost > QUERY_LIMIT) {
      groups.push([name]);
      size = cost;
    } else {
      last.push(name);
      size += cost;
    }
  }
  return groups;
}

/** Norms over time of any number of variables. */
export async function fetchNorms(run: string, variables: readonly string[]): Promise<NormsAnswer["series"]> {
  const series: NormsAnswer["series"] = [];
  for (const variable of groupNames(variables)) {
    series.push(...(await ask<NormsAnswer>("norms", { run, variable })).series);
  }
  return series;
}

/** Norms over time of all variables of a layer together: one line, however many they are. */
export const fetchLayerNorms = (run: string, layer: string) => ask<LayerNormsAnswer>("layer_norms", { run, layer }).then((answer) => answer.series);

export const fetchProof = (run: string, at: number) => ask<ProofAnswer>("proof", { run, at });

export const exportUrl = (run: string, at: number, format: "json" | "csv") => routeUrl("export", { run, at, format });
