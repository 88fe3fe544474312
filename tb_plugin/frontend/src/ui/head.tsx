import { useMemo } from "preact/hooks";
import type { Mark } from "../api/wire";
import { disagrees, type Report } from "../model/report";
import { formatCount, plural } from "../model/format";
import { countContradictions, describeProof, type Proof } from "../model/proof";
import { buildVerdict } from "../model/verdict";
import { Icon, SEVERITY_ICONS } from "./icons";
import { CopyFix, FixText, Prose } from "./pieces";

const SEVERITY_WORDS = { none: "ok", info: "note", warning: "warning", error: "error" } as const;

interface Props {
  report: Report;
  proof: Proof;
  mark: Mark | undefined;
  onFinding: (index: number) => void;
  onOverview: () => void;
  /** Shows the variables whose values contradict the report. */
  onProof: () => void;
}

/** The verdict in one sentence, why it is so, the counts, and the fix. */
export function Head({ report, proof, mark, onFinding, onOverview, onProof }: Props) {
  const { counts, ok } = report.wire;
  const seen = useMemo(() => countContradictions(proof), [proof]);
  const top = report.findings.find((finding) => finding.wire.severity !== "info");
  const verdict = buildVerdict(ok, counts, top ? { ...top.wire, counted: top.rows.some((row) => disagrees(report, row)) } : null, seen);
  const others = report.findings.length - (top ? 1 : 0);
  return (
    <section class={`head severity-${verdict.severity}`} aria-label="Verdict">
      <div class="verdict">
        <Icon name={SEVERITY_ICONS[verdict.severity]} size={28} />
        <div>
          <h2>
            <span class="offscreen">{SEVERITY_WORDS[verdict.severity]}: </span>
            {verdict.sentence}
          </h2>
          {top && (
            <p class="cause">
              <Prose text={top.wire.cause} />
            </p>
          )}
          {mark?.detail && (
            <p class="occasion">
              {mark.reason ?? "report"}: <Prose text={mark.detail} />
            </p>
          )}
          <Figures report={report} />
          {proof.present && <ProofLine proof={proof} onShow={onProof} />}
          {top && (
            <p class="rules">
              <button type="button" class="link" onClick={() => onFinding(top.index)}>
                {top.wire.rule} {top.wire.name}
              </button>
              {others > 0 && (
                <button type="button" class="link" onClick={onOverview}>
                  and {plural(others, "other finding")}
                </button>
              )}
            </p>
          )}
        </div>
      </div>
      {top && (
        <div class="fix">
          <h3>
            Fix
            {top.wire.verified && (
              <span class="verified" title="Tried on an isolated copy of the step: the mismatch went away.">
                <Icon name="check" size={14} /> tried on a copy
              </span>
            )}
            <CopyFix fix={top.wire.fix} />
          </h3>
          <FixText fix={top.wire.fix} />
        </div>
      )}
    </section>
  );
}

/** What the values themselves say; loud where they contradict the graph. */
function ProofLine({ proof, onShow }: { proof: Proof; onShow: () => void }) {
  const { words, contradicts } = useMemo(() => describeProof(proof), [proof]);
  return (
    <p class={contradicts ? "proof contradicts" : "proof"}>
      <Icon name={contradicts ? "warning" : "check"} size={14} /> {words}{" "}
      {contradicts && (
        <button type="button" class="link" onClick={onShow}>
          show them
        </button>
      )}
    </p>
  );
}

function Figures({ report }: { report: Report }) {
  const { counts, environment } = report.wire;
  const figures: [string, number][] = [
    ["variables", counts.variables],
    ["trainable by flag", counts.trainable],
    ["updated by gradient", counts.updated],
    ["in some traces", counts.partly],
    ["unknown", counts.unknown],
    [counts.errors === 1 ? "error" : "errors", counts.errors],
    [counts.warnings === 1 ? "warning" : "warnings", counts.warnings],
    [counts.infos === 1 ? "note" : "notes", counts.infos],
  ];
  const always = 3;
  return (
    <ul class="figures" aria-label="Counts">
      {figures
        .filter(([, count], i) => i < always || count > 0)
        .map(([label, count]) => (
          <li key={label}>
            <b>{formatCount(count)}</b> {label}
          </li>
        ))}
      {environment.warnings.map((warning) => (
        <li key={warning}>{warning}</li>
      ))}
    </ul>
  );
}
