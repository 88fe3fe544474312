/** What one variable does, as one word and one icon. Colour only ever repeats what these say. */

export const SEVERITIES = ["none", "info", "warning", "error"] as const;
export type Severity = (typeof SEVERITIES)[number];

export type StatusKind = "trains" | "frozen" | "stale" | "thawed" | "partly" | "kept" | "unknown";

export interface Status {
  kind: StatusKind;
  /** The word that stands beside the icon. */
  word: string;
}

export const KEPT_WORDS: ReadonlyMap<string, string> = new Map<string, string>([
  ["statistics", "statistics"],
  ["average", "average"],
  ["accumulate", "accumulator"],
  ["state", "state"],
  ["decay", "decays only"],
  ["constraint", "constrained"],
]);

export interface Facts {
  expected: boolean;
  updated: string | null;
  /** Kinds of the writes that are not its gradient's. */
  kinds: readonly string[];
  severity: Severity;
}

/** The status of a variable by its flags, its writes and the worst finding that names it. */
export function statusOf(facts: Facts): Status {
  if (facts.updated === "unknown" || facts.updated === null) return { kind: "unknown", word: "unknown" };
  if (facts.updated === "some") return { kind: "partly", word: "in some traces" };
  if (facts.updated === "yes") {
    return facts.expected ? { kind: "trains", word: "trains" } : { kind: "thawed", word: "trains though frozen" };
  }
  if (facts.expected) return { kind: "stale", word: "does not train" };
  return keptStatus(facts);
}

function keptStatus(facts: Facts): Status {
  const kind = facts.kinds.find((name) => KEPT_WORDS.has(name));
  if (!kind) return { kind: "frozen", word: "frozen" };
  const severe = facts.severity === "warning" || facts.severity === "error";
  return { kind: "kept", word: severe ? "changes though frozen" : (KEPT_WORDS.get(kind) as string) };
}

/** Whether the word alone tells that something is wrong; if not, the severity must be named beside it. */
export function tellsMismatch(status: Status): boolean {
  return status.kind === "stale" || status.kind === "thawed" || status.word === "changes though frozen";
}

/** The word with the severity beside it where the word alone would sound healthy. */
export function fullWord(status: Status, severity: Severity): string {
  return (severity === "error" || severity === "warning") && !tellsMismatch(status) ? `${status.word}, ${severity}` : status.word;
}
