import type { Counts } from "../api/wire";
import { formatCount, plural } from "./format";
import type { Severity } from "./status";

export interface Verdict {
  severity: Severity;
  sentence: string;
}

/** What the verdict takes from the most severe finding. */
export interface Headline {
  name: string;
  message: string;
  certainty: string;
  /** Whether it names a variable whose flag and update disagree, so that the counts tell its story. */
  counted: boolean;
}

/** What a look at the values contradicts: how many variables changed unwritten, how many stayed though they are written. */
export interface Seen {
  moved: number;
  still: number;
}

const NOTHING_SEEN: Seen = { moved: 0, still: 0 };

/** Findings that matter more than how many variables disagree. */
const SPEAK_FOR_THEMSELVES = new Set(["optimizer-does-not-know-variable", "next-step-fails"]);

const CLAUSES: ReadonlyMap<string, string> = new Map<string, string>([
  ["trainable-variable-not-updated", ": the step was compiled before"],
  ["no-gradient", ": no gradient reaches them"],
]);

/** The report in one sentence: by its counts where they tell the story, else in the words of the most severe finding. */
export function buildVerdict(ok: boolean, counts: Counts, headline: Headline | null, seen: Seen = NOTHING_SEEN): Verdict {
  const verdict = judgeReport(ok, counts, headline);
  if (verdict.severity !== "none" || (seen.moved === 0 && seen.still < Math.max(1, counts.updated))) return verdict;
  const sentence =
    seen.moved > 0
      ? `${plural(seen.moved, "variable")} ${seen.moved === 1 ? "changes" : "change"} though no op of the step writes ${seen.moved === 1 ? "it" : "them"}.`
      : "The step writes what you meant, and nothing changes.";
  return { severity: "warning", sentence };
}

function judgeReport(ok: boolean, counts: Counts, headline: Headline | null): Verdict {
  if (counts.variables === 0) return { severity: ok ? "none" : "warning", sentence: headline?.message ?? "The model holds no variables." };
  if (ok) return { severity: "none", sentence: describeHealth(counts) };
  const severity: Severity = counts.errors > 0 ? "error" : "warning";
  const parts = describeMismatch(counts);
  const byCounts = parts.length > 0 && (!headline || (headline.counted && !SPEAK_FOR_THEMSELVES.has(headline.name)));
  if (!byCounts) return { severity, sentence: headline?.message ?? plural(counts.errors + counts.warnings, "finding") };
  const clause = headline && parts.length === 1 && headline.certainty === "proven" ? (CLAUSES.get(headline.name) ?? "") : "";
  return { severity, sentence: `${joinParts(parts)}${clause}.` };
}

function describeHealth(counts: Counts): string {
  const frozen = counts.variables - counts.expected;
  const trains = `${formatCount(counts.updated)} of ${plural(counts.variables, "variable")} ${counts.updated === 1 ? "trains" : "train"}`;
  const rest = frozen > 0 ? `, ${formatCount(frozen)} ${frozen === 1 ? "does" : "do"} not` : "";
  if (counts.expected_not_updated > 0 || counts.updated_not_expected > 0 || counts.partly > 0) {
    return `No error and no warning: ${trains}.`;
  }
  if (counts.unknown > 0) return `No error and no warning: ${trains}, of ${formatCount(counts.unknown)} it is not known.`;
  return `What trains is what you meant: ${trains}${rest}.`;
}

function describeMismatch(counts: Counts): string[] {
  const parts: string[] = [];
  const stale = counts.expected_not_updated;
  const thawed = counts.updated_not_expected;
  if (stale > 0) {
    const subject = `${formatCount(stale)} of ${plural(counts.expected, "variable")} that you set trainable`;
    parts.push(`${subject} ${stale === 1 ? "does" : "do"} not train`);
  }
  if (thawed > 0) {
    parts.push(`${plural(thawed, "variable")} that you froze still ${thawed === 1 ? "trains" : "train"}`);
  }
  return parts;
}

const joinParts = (parts: readonly string[]): string => parts.join(", and ");

/** A piece of a fix: running text, or code to copy. */
export interface FixPart {
  code: boolean;
  text: string;
}

const FENCE = /```[a-z]*\n?([^]*?)```/g;
const STATEMENT = /^(#|\s{4,}\S|from \S+ import |import \w|with \S.*:$|[A-Za-z_][\w.]*\(.*\)(\.\w+\(.*\)| = \S.*|\.\w+ = \S.*)?\s*(#.*)?$|[A-Za-z_][\w.[\]]* = \S)/;

/** Splits a fix into prose and code: fenced blocks, else lines that are Python statements by themselves. */
export function splitFix(fix: string): FixPart[] {
  if (fix.includes("```")) return splitFences(fix);
  const parts: FixPart[] = [];
  for (const line of fix.split("\n")) {
    const last = parts.at(-1);
    const code = STATEMENT.test(line) || (line.trim() === "" && last?.code === true);
    if (last && last.code === code) last.text += `\n${line}`;
    else parts.push({ code, text: line });
  }
  return tidyParts(parts);
}

function splitFences(fix: string): FixPart[] {
  const parts: FixPart[] = [];
  let from = 0;
  for (const match of fix.matchAll(FENCE)) {
    parts.push({ code: false, text: fix.slice(from, match.index) }, { code: true, text: match[1] as string });
    from = match.index + match[0].length;
  }
  parts.push({ code: false, text: fix.slice(from) });
  return tidyParts(parts);
}

function tidyParts(parts: readonly FixPart[]): FixPart[] {
  return parts
    .map((part) => ({ code: part.code, text: part.text.replace(/^\s*\n|\s+$/g, "") }))
    .filter((part) => part.text.trim() !== "");
}

/** What the copy button copies: the code alone where there is some. Inline code counts where it is a call or an assignment. */
export function copyText(fix: string): string {
  const code = splitFix(fix).filter((part) => part.code);
  if (code.length > 0) return code.map((part) => part.text).join("\n");
  const inline = [...fix.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] as string).filter((piece) => /[(=]/.test(piece));
  return inline.length > 0 ? inline.join("\n") : fix;
}
