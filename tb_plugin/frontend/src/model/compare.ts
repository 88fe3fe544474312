import type { CompareAnswer, Counts } from "../api/wire";
import { formatDevice, plural } from "./format";

export interface Change {
  variable: string;
  field: string;
  before: string | null;
  after: string | null;
}

/** Changes of one field from one value to another, of however many variables. */
export interface ChangeGroup {
  key: string;
  field: string;
  before: string | null;
  after: string | null;
  count: number;
}

export function readChanges(answer: CompareAnswer): Change[] {
  const { changes, strings } = answer;
  return Array.from({ length: changes.rows }, (_, i) => ({
    variable: strings[changes.variable[i] as number] ?? "",
    field: strings[changes.field[i] as number] ?? "",
    before: readValue(strings[changes.before[i] as number]),
    after: readValue(strings[changes.after[i] as number]),
  }));
}

const readValue = (value: string | null | undefined): string | null => (value?.startsWith("/job:") ? formatDevice(value) : (value ?? null));

/** A record's field in words. */
export const nameField = (field: string): string => field.replaceAll("_", " ");

/** Fields in the order in which they matter. */
const WEIGHT = ["updated", "gradient", "expected", "trainable", "writes", "optimizer", "slots"];

function weigh(field: string): number {
  const place = WEIGHT.indexOf(field);
  return place < 0 ? WEIGHT.length : place;
}

export const groupKey = (change: Change): string => JSON.stringify([change.field, change.before, change.after]);

/** The same change of many variables told once; what matters most first, then the commonest. */
export function groupChanges(changes: readonly Change[]): ChangeGroup[] {
  const groups = new Map<string, ChangeGroup>();
  for (const change of changes) {
    const key = groupKey(change);
    const group = groups.get(key);
    if (group) group.count++;
    else groups.set(key, { key, field: change.field, before: change.before, after: change.after, count: 1 });
  }
  return [...groups.values()].sort((a, b) => weigh(a.field) - weigh(b.field) || b.count - a.count);
}

/** What changed, in one sentence. */
export function describeChanges(answer: CompareAnswer): string {
  const changes = readChanges(answer);
  const now = (field: string, value: string) => changes.filter((change) => change.field === field && change.after === value).length;
  const [starts, stops] = [now("updated", "yes"), now("updated", "no")];
  const flagged = now("trainable", "yes") + now("trainable", "no");
  const parts = [
    flagged ? `${plural(flagged, "flag")} changed` : "",
    starts ? `${plural(starts, "variable")} now ${starts === 1 ? "trains" : "train"}` : "",
    stops ? `${plural(stops, "variable")} no longer ${stops === 1 ? "trains" : "train"}` : "",
    answer.findings_removed.length ? `${plural(answer.findings_removed.length, "finding")} gone` : "",
    answer.findings_added.length ? `${plural(answer.findings_added.length, "new finding")}` : "",
    answer.variables_added.length ? `${plural(answer.variables_added.length, "variable")} added` : "",
    answer.variables_removed.length ? `${plural(answer.variables_removed.length, "variable")} removed` : "",
  ].filter(Boolean);
  if (parts.length > 0) return `${parts.join(", ")}.`;
  return changes.length > 0 ? `${plural(changes.length, "value")} changed, none of them about training.` : "Nothing changed.";
}

export interface CountRow {
  label: string;
  before: number;
  after: number;
}

const COUNT_LABELS: [keyof Counts, string][] = [
  ["variables", "variables"],
  ["trainable", "flag trainable"],
  ["expected", "expected to train"],
  ["updated", "updated by their gradient"],
  ["expected_not_updated", "expected, not updated"],
  ["updated_not_expected", "updated, not expected"],
  ["errors", "errors"],
  ["warnings", "warnings"],
];

export const compareCounts = (before: Counts, after: Counts): CountRow[] =>
  COUNT_LABELS.map(([key, label]) => ({ label, before: before[key], after: after[key] }));
