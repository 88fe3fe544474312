import type { EvidenceWire, FixResultWire } from "../api/wire";
import { listFurther, nameProposal } from "../model/trials";
import { formatDevice, plural } from "../model/format";
import type { Finding, Report } from "../model/report";
import { text } from "../model/report";
import { Icon, SEVERITY_ICONS } from "./icons";
import { CopyFix, Facts, FixText, Place, Prose, Section } from "./pieces";

/** A finding in one line, to be opened. */
export function FindingLine({ finding, onOpen }: { finding: Finding; onOpen: (index: number) => void }) {
  const { wire } = finding;
  return (
    <button type="button" class={`finding-line severity-${wire.severity}`} onClick={() => onOpen(finding.index)}>
      <Icon name={SEVERITY_ICONS[wire.severity]} />
      <span>
        <b>
          {wire.rule} <span class="offscreen">{wire.severity}</span>
        </b>{" "}
        <Prose text={wire.message} />
        {wire.variables.length > 0 && <span class="muted nowrap"> {plural(wire.variables.length, "variable")}</span>}
      </span>
    </button>
  );
}

interface CardProps {
  report: Report;
  finding: Finding;
  filtered: boolean;
  onFilter: (index: number | null) => void;
  onVariable: (path: string) => void;
}

const SHOWN_VARIABLES = 12;

/** A finding in full: what is so, why, what to do, and what proves it. */
export function FindingCard({ report, finding, filtered, onFilter, onVariable }: CardProps) {
  const { wire } = finding;
  return (
    <article class={`finding severity-${wire.severity}`}>
      <h3>
        <Icon name={SEVERITY_ICONS[wire.severity]} />
        <span>
          {wire.rule} {wire.name}
        </span>
        <span class="aside">
          {wire.severity}, {wire.certainty}
        </span>
      </h3>
      <p class="message">
        <Prose text={wire.message} />
      </p>
      <p>
        <Prose text={wire.cause} />
      </p>
      <div class="fix-block">
        <div class="fix-head">
          <b>Fix</b>
          {wire.verified && (
            <span class="verified">
              <Icon name="check" size={14} /> tried on a copy
            </span>
          )}
          <CopyFix fix={wire.fix} />
        </div>
        <FixText fix={wire.fix} />
        {wire.fix_result && <FixResult result={wire.fix_result} />}
        {listFurther(wire).map((trial, i) => (
          <FixResult key={i} result={trial} proposal={nameProposal(trial.code)} />
        ))}
      </div>
      {wire.evidence.length > 0 && <Evidence steps={wire.evidence} />}
      {finding.rows.length > 0 && (
        <Section
          title={plural(finding.rows.length, "variable")}
          aside={
            <button type="button" class="link" aria-pressed={filtered} onClick={() => onFilter(filtered ? null : finding.index)}>
              {filtered ? "show all in the table" : "show these alone in the table"}
            </button>
          }
        >
          <ul class="paths">
            {finding.rows.slice(0, SHOWN_VARIABLES).map((row) => (
              <li key={row}>
                <button type="button" class="link" onClick={() => onVariable(report.paths[row] as string)}>
                  {report.paths[row] || "(no name)"}
                </button>
              </li>
            ))}
            {finding.rows.length > SHOWN_VARIABLES && <li class="muted">and {plural(finding.rows.length - SHOWN_VARIABLES, "more", "more")}</li>}
          </ul>
        </Section>
      )}
      {wire.layers.length > 0 && finding.rows.length === 0 && (
        <p class="muted">{wire.layers.slice(0, SHOWN_VARIABLES).map((i) => text(report, i)).join(", ")}</p>
      )}
    </article>
  );
}

function FixResult({ result, proposal }: { result: FixResultWire; proposal?: string }) {
  return (
    <p class="muted">
      {proposal && `${proposal}: `}
      {result.note}
      {result.still_not.length > 0 && ` ${plural(result.still_not.length, "variable")} would still not train.`}
    </p>
  );
}

function Evidence({ steps }: { steps: readonly EvidenceWire[] }) {
  return (
    <Section title="Evidence">
      <ol class="evidence">
        {steps.map((step, i) => (
          <li key={i}>
            <Prose text={step.note} />
            {step.location && (
              <div>
                <Place location={step.location} />
              </div>
            )}
            {(step.op ?? step.op_type ?? step.device) && (
              <Facts
                facts={[
                  ["op", step.op && <code>{step.op}</code>],
                  ["type", step.op_type],
                  ["layer", step.layer],
                  ["device", step.device && formatDevice(step.device)],
                  ["trace", step.trace],
                ]}
              />
            )}
          </li>
        ))}
      </ol>
    </Section>
  );
}
