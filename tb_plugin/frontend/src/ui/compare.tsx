import { useMemo, useState } from "preact/hooks";
import { fetchCompare, fetchTimeline } from "../api/client";
import type { CompareAnswer, FindingWire, Mark, RunEntry } from "../api/wire";
import { type Change, compareCounts, describeChanges, groupChanges, groupKey, nameField, readChanges } from "../model/compare";
import { formatCount, plural } from "../model/format";
import { describeState, describeStep } from "../model/timeline";
import { useLoaded } from "../state/hooks";
import type { Compared } from "../state/link";
import { Failure } from "./empty";
import { Icon, SEVERITY_ICONS } from "./icons";
import { Section } from "./pieces";
import { RunPicker } from "./topbar";
import { ROW_HEIGHT, useVirtual } from "./virtual";

interface Props {
  runs: readonly RunEntry[];
  run: string;
  at: number;
  compared: Compared;
  /** Marks of the run that is shown. */
  marks: readonly Mark[];
  token: string | null;
  onCompared: (compared: Compared) => void;
  onVariable: (path: string) => void;
}

/** Two reports side by side, of one run or of two: what changed from the earlier to the one shown. */
export function Compare(props: Props) {
  const { run, at, compared } = props;
  const same = compared.run === run;
  const other = useLoaded(same ? null : JSON.stringify([compared.run, props.token]), () => fetchTimeline(compared.run));
  const marks = (same ? props.marks : (other.data?.marks ?? [])).filter((mark) => mark.stored);
  const withAt = pickBase(marks, compared, same ? at : null);
  const key = withAt === null ? null : JSON.stringify([run, at, compared.run, withAt]);
  const [retries, setRetries] = useState(0);
  const { data, error } = useLoaded(key, () => fetchCompare(run, at, compared.run, withAt as number), retries);
  return (
    <section class="compare" aria-label="Compare">
      <div class="compare-bar">
        <h2>What changed</h2>
        <span>from</span>
        <RunPicker label="run" runs={props.runs} run={compared.run} onRun={(name) => props.onCompared({ run: name, at: null })} />
        <label class="picker">
          <span>report</span>
          <select value={withAt ?? ""} onChange={(event) => props.onCompared({ run: compared.run, at: Number(event.currentTarget.value) })}>
            {marks.map((mark) => (
              <option key={mark.at} value={mark.at}>
                {`${describeStep(mark)} · ${mark.reason ?? "report"} · ${describeState(mark)}`}
              </option>
            ))}
          </select>
        </label>
        <span>to the report that the timeline shows</span>
      </div>
      {error && <Failure error={error} what="These reports cannot be compared" onRetry={() => setRetries(retries + 1)} />}
      {!error && withAt === null && (same || other.data) && <p class="muted pad">There is no other report to compare with.</p>}
      {!error && data && <Outcome answer={data} onVariable={props.onVariable} />}
    </section>
  );
}

/** The report asked for, else the one before that which is shown, else the newest of the other run. */
function pickBase(marks: readonly Mark[], compared: Compared, shown: number | null): number | null {
  if (compared.at !== null && marks.some((mark) => mark.at === compared.at)) return compared.at;
  const earlier = shown === null ? marks : marks.filter((mark) => mark.at < shown);
  return earlier.at(-1)?.at ?? marks.at(0)?.at ?? null;
}

function Outcome({ answer, onVariable }: { answer: CompareAnswer; onVariable: (path: string) => void }) {
  const changes = useMemo(() => readChanges(answer), [answer]);
  const groups = useMemo(() => groupChanges(changes), [changes]);
  const [chosen, setChosen] = useState<string | null>(null);
  const shown = useMemo(() => (chosen === null ? changes : changes.filter((change) => groupKey(change) === chosen)), [changes, chosen]);
  return (
    <div class="compare-body">
      <div class="compare-side">
        <h2 class="summary">{describeChanges(answer)}</h2>
        <CountTable answer={answer} />
        <FindingList title="Findings gone" findings={answer.findings_removed} />
        <FindingList title="New findings" findings={answer.findings_added} />
        <PathsList title="Variables added" paths={answer.variables_added.map((i) => answer.strings[i] ?? "")} />
        <PathsList title="Variables removed" paths={answer.variables_removed.map((i) => answer.strings[i] ?? "")} />
      </div>
      <div class="compare-main">
        <fieldset class="filters">
          <legend class="offscreen">Show changes</legend>
          <label class="chip">
            <input type="radio" name="change" checked={chosen === null} onChange={() => setChosen(null)} /> All <b>{formatCount(changes.length)}</b>
          </label>
          {groups.slice(0, 12).map((group) => (
            <label key={group.key} class="chip">
              <input type="radio" name="change" checked={chosen === group.key} onChange={() => setChosen(group.key)} />
              {nameField(group.field)}: {group.before ?? "none"} → {group.after ?? "none"} <b>{formatCount(group.count)}</b>
            </label>
          ))}
        </fieldset>
        <ChangeTable changes={shown} onVariable={onVariable} />
      </div>
    </div>
  );
}

function CountTable({ answer }: { answer: CompareAnswer }) {
  return (
    <table class="plain counts">
      <thead>
        <tr>
          <th scope="col">
            <span class="offscreen">count</span>
          </th>
          <th scope="col">before</th>
          <th scope="col">after</th>
        </tr>
      </thead>
      <tbody>
        {compareCounts(answer.with_counts, answer.counts).map((row) => (
          <tr key={row.label} class={row.before === row.after ? "same" : "changed"}>
            <th scope="row">{row.label}</th>
            <td>{formatCount(row.before)}</td>
            <td>{formatCount(row.after)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function FindingList({ title, findings }: { title: string; findings: readonly FindingWire[] }) {
  if (findings.length === 0) return null;
  return (
    <Section title={title} aside={formatCount(findings.length)}>
      {findings.map((finding, i) => (
        <p key={i} class={`finding-line severity-${finding.severity}`}>
          <Icon name={SEVERITY_ICONS[finding.severity]} />
          <span>
            <b>{finding.rule}</b> {finding.message}
          </span>
        </p>
      ))}
    </Section>
  );
}

function PathsList({ title, paths }: { title: string; paths: readonly string[] }) {
  if (paths.length === 0) return null;
  return (
    <Section title={title} aside={formatCount(paths.length)}>
      <ul class="paths">
        {paths.slice(0, 50).map((path) => (
          <li key={path}>{path}</li>
        ))}
        {paths.length > 50 && <li class="muted">and {plural(paths.length - 50, "more", "more")}</li>}
      </ul>
    </Section>
  );
}

const HEAD_HEIGHT = 32;

function ChangeTable({ changes, onVariable }: { changes: readonly Change[]; onVariable: (path: string) => void }) {
  const { ref, onScroll, first, last } = useVirtual(changes.length, ROW_HEIGHT, HEAD_HEIGHT);
  return (
    <div class="table changes" ref={ref} onScroll={onScroll} role="table" aria-label="Changes" aria-rowcount={changes.length + 1} tabIndex={0}>
      <div role="rowgroup" class="headings">
        <div role="row" class="row" aria-rowindex={1}>
          {["Variable", "Field", "Before", "After"].map((label) => (
            <div key={label} role="columnheader" class="cell">
              {label}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" class="rows" style={{ height: `${changes.length * ROW_HEIGHT}px` }}>
        {changes.slice(first, last).map((change, i) => (
          <div key={first + i} role="row" class="row" aria-rowindex={first + i + 2} style={{ top: `${(first + i) * ROW_HEIGHT}px` }}>
            <div role="cell" class="cell">
              <button
                type="button"
                class={changes[first + i - 1]?.variable === change.variable ? "link again" : "link"}
                onClick={() => onVariable(change.variable)}
              >
                {change.variable || "(no name)"}
              </button>
            </div>
            <div role="cell" class="cell">
              {nameField(change.field)}
            </div>
            <div role="cell" class="cell dim" title={change.before ?? undefined}>
              {change.before ?? "none"}
            </div>
            <div role="cell" class="cell after" title={change.after ?? undefined}>
              {change.after ?? "none"}
            </div>
          </div>
        ))}
      </div>
    </div>
  );
}
