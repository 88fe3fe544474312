import type { Permalink } from "../host/permalink";
import { FILTERS, type Filter } from "../model/rows";
import { DEFAULT_SORT, SORT_KEYS, type Sort, type SortKey } from "../model/sort";

/** What is chosen: a variable or a layer by its path, a finding by its place. */
export interface Selection {
  kind: "variable" | "layer" | "finding";
  name: string;
}

/** Another report to compare with. */
export interface Compared {
  run: string;
  at: number | null;
}

/** Everything about the page that a link keeps. */
export interface Link {
  run: string | null;
  /** The report that is shown; null follows the newest. */
  at: number | null;
  selection: Selection | null;
  query: string;
  filter: Filter;
  /** Show the variables of this finding alone. */
  finding: number | null;
  sort: Sort;
  grouped: boolean;
  compared: Compared | null;
}

const KINDS: Record<string, Selection["kind"]> = { v: "variable", l: "layer", f: "finding" };

export function readLink(link: Permalink): Link {
  return {
    run: link["run"] ?? null,
    at: readInteger(link["at"]),
    selection: readSelection(link["sel"]),
    query: (link["q"] ?? "").slice(0, 500),
    filter: readOne(FILTERS, link["show"], "all"),
    finding: readInteger(link["finding"]),
    sort: readSort(link["sort"]),
    grouped: link["flat"] !== "1",
    compared: link["with"] === undefined ? null : { run: link["with_run"] ?? link["run"] ?? "", at: readInteger(link["with"]) },
  };
}

export function writeLink(link: Link): Permalink {
  const found: Permalink = {};
  if (link.run !== null) found["run"] = link.run;
  if (link.at !== null) found["at"] = String(link.at);
  if (link.selection) found["sel"] = `${link.selection.kind[0]}:${link.selection.name}`;
  if (link.query) found["q"] = link.query;
  if (link.filter !== "all") found["show"] = link.filter;
  if (link.finding !== null) found["finding"] = String(link.finding);
  if (link.sort.key !== DEFAULT_SORT.key || link.sort.descending !== DEFAULT_SORT.descending) {
    found["sort"] = `${link.sort.descending ? "-" : ""}${link.sort.key}`;
  }
  if (!link.grouped) found["flat"] = "1";
  if (link.compared) {
    found["with"] = link.compared.at === null ? "" : String(link.compared.at);
    if (link.compared.run !== link.run) found["with_run"] = link.compared.run;
  }
  return found;
}

function readInteger(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function readSelection(text: string | undefined): Selection | null {
  const kind = KINDS[text?.slice(0, 1) ?? ""];
  return text && kind && text[1] === ":" ? { kind, name: text.slice(2) } : null;
}

function readOne<T extends string>(known: readonly T[], text: string | undefined, otherwise: T): T {
  return known.find((name) => name === text) ?? otherwise;
}

function readSort(text: string | undefined): Sort {
  if (!text) return DEFAULT_SORT;
  const key = readOne<SortKey>(SORT_KEYS, text.replace(/^-/, ""), DEFAULT_SORT.key);
  return { key, descending: text.startsWith("-") };
}
