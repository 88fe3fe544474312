import { useEffect, useMemo, useRef } from "preact/hooks";
import { fetchLayerNorms, fetchNorms } from "../api/client";
import type { Mark, NormSeries } from "../api/wire";
import { tellFirst } from "../model/cells";
import { formatCount, plural } from "../model/format";
import type { Finding, Report } from "../model/report";
import { text } from "../model/report";
import type { Rollup } from "../model/rollup";
import { ancestorsOf, pathOfNode, type Tree, variablesBelow } from "../model/tree";
import { useLoaded } from "../state/hooks";
import type { Selection } from "../state/link";
import { FindingCard, FindingLine } from "./finding_card";
import { GradientPath } from "./flow_path";
import { Icon } from "./icons";
import { NormPlot } from "./norm_plot";
import { Overview } from "./overview";
import { BreakingPath, type Fact, Facts, Section } from "./pieces";
import { MeasuredFacts, ProofSection, Slots, VariableFacts, VariableStatus, Writes } from "./variable_detail";

export interface DetailProps {
  report: Report;
  tree: Tree;
  selection: Selection | null;
  finding: number | null;
  marks: readonly Mark[];
  /** The run's token, so that the plot grows with the log; null where the run holds no norms. */
  normsToken: string | null;
  onSelect: (selection: Selection | null) => void;
  onFilter: (finding: number | null) => void;
}

/** The pane beside the table: what is chosen, or the report as a whole. */
export function Detail(props: DetailProps) {
  const { report, tree, selection } = props;
  const chosen = useMemo(() => findChosen(report, tree, selection), [report, tree, selection?.kind, selection?.name]);
  const box = useRef<HTMLElement>(null);
  useEffect(() => showFromTop(box.current, selection !== null), [selection?.kind, selection?.name]);
  return (
    <aside class="detail" aria-label="Details" ref={box} tabIndex={0}>
      {selection && (
        <div class="detail-head">
          <button type="button" class="button bare" onClick={() => props.onSelect(null)} aria-label="Back to the overview" title="Back to the overview (Escape)">
            <Icon name="previous" />
          </button>
          <h2>{selection.kind === "finding" ? "Finding" : <BreakingPath path={selection.name || "outside all layers"} />}</h2>
        </div>
      )}
      {!selection && <Overview {...props} />}
      {selection && !chosen && <p class="muted missing">This report has no such {selection.kind}.</p>}
      {chosen?.kind === "finding" && <FullFinding {...props} finding={chosen.finding} />}
      {chosen?.kind === "variable" && <VariableDetail {...props} row={chosen.row} />}
      {chosen?.kind === "layer" && <LayerDetail {...props} node={chosen.node} />}
    </aside>
  );
}

/** On a narrow page the details stand below the table: what was chosen there is brought into view. */
function showFromTop(box: HTMLElement | null, chosen: boolean): void {
  box?.scrollTo(0, 0);
  if (chosen && matchMedia("(width < 860px)").matches) box?.scrollIntoView({ block: "start" });
}

type Chosen = { kind: "finding"; finding: Finding } | { kind: "variable"; row: number } | { kind: "layer"; node: number };

function findChosen(report: Report, tree: Tree, selection: Selection | null): Chosen | null {
  if (selection?.kind === "variable") {
    const row = report.rowOf.get(selection.name);
    return row === undefined ? null : { kind: "variable", row };
  }
  if (selection?.kind === "layer") {
    const node = selection.name === "" ? tree.outside : tree.nodeOfLayer.get(selection.name);
    return node === undefined ? null : { kind: "layer", node };
  }
  const finding = selection ? report.findings[Number(selection.name)] : undefined;
  return finding ? { kind: "finding", finding } : null;
}

function FullFinding(props: Omit<DetailProps, "finding"> & { finding: Finding }) {
  return (
    <FindingCard
      report={props.report}
      finding={props.finding}
      filtered={false}
      onFilter={props.onFilter}
      onVariable={(name) => props.onSelect({ kind: "variable", name })}
    />
  );
}

function VariableDetail(props: DetailProps & { row: number }) {
  const { report, row } = props;
  const path = report.paths[row] as string;
  const layer = text(report, report.wire.variables.layer[row] as number);
  const candidates = useMemo(() => {
    const node = layer === null ? undefined : props.tree.nodeOfLayer.get(layer);
    return node === undefined ? [] : [node, ...ancestorsOf(props.tree, node)].map((one) => new Set([pathOfNode(props.tree, one)]));
  }, [props.tree, layer]);
  const onLayer = (name: string) => props.onSelect({ kind: "layer", name });
  return (
    <>
      <VariableStatus report={report} row={row} />
      {(report.findingsOf.get(row) ?? []).map((finding) => (
        <FindingLine key={finding.index} finding={finding} onOpen={(index) => props.onSelect({ kind: "finding", name: String(index) })} />
      ))}
      <GradientPath report={report} candidates={candidates} used={text(report, report.wire.variables.gradient[row] as number) !== "none"} onLayer={onLayer} />
      <ProofSection proof={props.tree.proof} row={row} />
      <NormSection key={path} report={report} token={props.normsToken} marks={props.marks} rows={[row]} load={(run) => fetchNorms(run, [path])} />
      <VariableFacts report={report} row={row} onLayer={onLayer} />
      <MeasuredFacts report={report} row={row} />
      <Writes report={report} row={row} />
      <Slots report={report} row={row} proof={props.tree.proof} />
    </>
  );
}

function LayerDetail(props: DetailProps & { node: number }) {
  const { report, tree, node } = props;
  const sum = tree.rollups[node] as Rollup;
  const layer = node === tree.outside ? "" : pathOfNode(tree, node);
  const rows = useMemo(() => variablesBelow(tree, node), [tree, node]);
  const candidates = useMemo(() => {
    const below = new Set(rows.map((row) => text(report, report.wire.variables.layer[row] as number) ?? ""));
    return [new Set([pathOfNode(tree, node)]), below, ...ancestorsOf(tree, node).map((one) => new Set([pathOfNode(tree, one)]))];
  }, [tree, node]);
  const findings = useMemo(() => [...new Set(rows.flatMap((row) => report.findingsOf.get(row) ?? []))], [rows]);
  return (
    <>
      <LayerFacts report={report} tree={tree} node={node} sum={sum} />
      {findings.map((finding) => (
        <FindingLine key={finding.index} finding={finding} onOpen={(index) => props.onSelect({ kind: "finding", name: String(index) })} />
      ))}
      {node !== tree.outside && <GradientPath report={report} candidates={candidates} used={sum.reached + sum.gradientUnknown > 0} onLayer={(name) => props.onSelect({ kind: "layer", name })} />}
      <NormSection
        key={node}
        report={report}
        token={props.normsToken}
        marks={props.marks}
        rows={rows}
        load={(run) => fetchLayerNorms(run, layer)}
      />
    </>
  );
}

function LayerFacts({ report, tree, node, sum }: { report: Report; tree: Tree; node: number; sum: Rollup }) {
  const { layers } = report.wire;
  const of = (part: number) => `${formatCount(part)} of ${formatCount(sum.variables)}`;
  const own: Fact[] =
    node === tree.outside
      ? []
      : [
          ["class", text(report, layers.class_name[node] as number)],
          ["own flag", layers.trainable[node] === 1 ? "trainable" : "frozen"],
          ["built", layers.built[node] === 1 ? null : "not yet"],
        ];
  return (
    <Section title="Layer">
      <Facts
        facts={[
          ...own,
          ["variables", formatCount(sum.variables)],
          ["trainable by flag", of(sum.trainable)],
          ["expected to train", of(sum.expected)],
          ["reached by a gradient", of(sum.reached)],
          ["updated", of(sum.yes)],
          ["really changed", sum.looked > 0 ? `${formatCount(sum.changed)} of ${formatCount(sum.looked)}` : null],
          ["changed, not by the step", sum.moved > 0 ? <b class="contradicts">{formatCount(sum.moved)}</b> : null],
          ["written, did not change", sum.still > 0 ? <b class="contradicts">{formatCount(sum.still)}</b> : null],
          ["in some traces", sum.some > 0 ? of(sum.some) : null],
          ["unknown", sum.unknown > 0 ? of(sum.unknown) : null],
          ["slots", sum.slots > 0 ? `${formatCount(sum.slotsUpdated)} of ${formatCount(sum.slots)} updated` : null],
        ]}
      />
    </Section>
  );
}

interface NormProps {
  report: Report;
  token: string | null;
  marks: readonly Mark[];
  /** The variables that the line stands for. */
  rows: readonly number[];
  load: (run: string) => Promise<readonly NormSeries[]>;
}

function NormSection({ report, token, marks, rows, load }: NormProps) {
  const count = rows.length;
  const { run, at } = report.wire;
  const { data, error } = useLoaded(token !== null && count > 0 ? JSON.stringify([run, token]) : null, () => load(run));
  if (token === null || count === 0) return null;
  const told = [count > 1 ? `${plural(count, "variable")} together` : "", tellFirst(rows.map((row) => report.wire.updates[row]))];
  return (
    <Section title="Norms over time" aside={told.filter(Boolean).join("; ") || undefined}>
      {error && <p class="muted">{error.message}</p>}
      {data && <NormPlot series={data} marks={marks} at={at} />}
      {data?.some((one) => one.truncated) && <p class="muted">A sample of the log, the newest in it.</p>}
    </Section>
  );
}
