import type { Counts, FindingWire, ReportAnswer } from "../src/api/wire";
import { buildReport, type Report } from "../src/model/report";
import type { Norms } from "../src/model/rollup";

/** A variable as the tests write it. */
export interface Row {
  path: string;
  layer?: string;
  trainable?: boolean;
  expected?: boolean;
  updated?: string;
  gradient?: string;
  slots?: string[];
  kinds?: string[];
  device?: string;
  shape?: number[];
  updates?: number;
}

export interface LayerRow {
  path: string;
  parent?: string;
  variables?: string[];
}

export interface Drawing {
  nodes: [label: string, kind: string, layer?: string][];
  edges: [source: number, target: number, differentiable?: boolean][];
}

class Strings {
  readonly list: (string | null)[] = [null];
  readonly index = new Map<string, number>();

  of(text: string | null | undefined): number {
    if (text === null || text === undefined) return 0;
    const known = this.index.get(text);
    if (known !== undefined) return known;
    this.list.push(text);
    this.index.set(text, this.list.length - 1);
    return this.list.length - 1;
  }
}

const starts = (lists: readonly (readonly unknown[])[]): number[] => lists.reduce<number[]>((all, list) => [...all, (all.at(-1) as number) + list.length], [0]);

export type TestFinding = Partial<Omit<FindingWire, "variables">> & { variables?: string[] };

/** A report in the columns of the wire. */
export function makeReport(rows: readonly Row[], layers: readonly LayerRow[], findings: readonly TestFinding[] = [], drawing: Drawing = { nodes: [], edges: [] }): Report {
  const s = new Strings();
  const writes = rows.flatMap((row) => row.kinds ?? []);
  const slots = rows.flatMap((row) => row.slots ?? []);
  const none = rows.map(() => 0);
  const wire = {
    schema: 1,
    run: "run",
    at: 1,
    wall_time: 1,
    variables_id: "id",
    ok: findings.every((finding) => finding.severity === "info"),
    counts: {} as Counts,
    variables: {
      rows: rows.length,
      path: rows.map((row) => s.of(row.path)),
      dtype: none,
      layer: rows.map((row) => s.of(row.layer)),
      device: rows.map((row) => s.of(row.device)),
      updated: rows.map((row) => s.of(row.updated ?? "yes")),
      gradient: rows.map((row) => s.of(row.gradient ?? "dense")),
      reason: none,
      optimizer: none,
      gradient_device: none,
      decided_by: none,
      trainable: rows.map((row) => Number(row.trainable ?? true)),
      expected: rows.map((row) => Number(row.expected ?? row.trainable ?? true)),
      tracked: rows.map(() => 1),
      shape: rows.flatMap((row) => row.shape ?? []),
      shape_start: starts(rows.map((row) => row.shape ?? [])),
      findings: [],
      findings_start: [0, ...none],
      replicas: [],
      replicas_start: [0, ...none],
      writes_start: starts(rows.map((row) => row.kinds ?? [])),
      slots_start: starts(rows.map((row) => row.slots ?? [])),
      measured: rows.map(() => -1),
    },
    writes: { rows: writes.length, kind: writes.map((kind) => s.of(kind)), location: writes.map(() => -1) },
    slots: { rows: slots.length, name: slots.map((name) => s.of(name)), updated: slots.map(() => s.of("yes")) },
    measured: { rows: 0 },
    updates: rows.map((row) => row.updates ?? 1),
    locations: { rows: 0 },
    layers: {
      rows: layers.length,
      path: layers.map((layer) => s.of(layer.path)),
      name: layers.map((layer) => s.of(layer.path.split("/").at(-1))),
      class_name: layers.map(() => s.of("Dense")),
      parent: layers.map((layer) => s.of(layer.parent)),
      trainable: layers.map(() => 1),
      built: layers.map(() => 1),
      variables: layers.flatMap((layer) => (layer.variables ?? []).map((path) => s.of(path))),
      variables_start: starts(layers.map((layer) => layer.variables ?? [])),
    },
    flow_nodes: {
      rows: drawing.nodes.length,
      id: drawing.nodes.map((_, i) => i + 100),
      label: drawing.nodes.map(([label]) => s.of(label)),
      kind: drawing.nodes.map(([, kind]) => s.of(kind)),
      layer: drawing.nodes.map(([, , layer]) => s.of(layer)),
      op: drawing.nodes.map(() => 0),
      op_type: drawing.nodes.map(() => 0),
      location: drawing.nodes.map(() => -1),
    },
    flow_edges: {
      rows: drawing.edges.length,
      source: drawing.edges.map(([source]) => source + 100),
      target: drawing.edges.map(([, target]) => target + 100),
      differentiable: drawing.edges.map(([, , smooth]) => Number(smooth ?? true)),
    },
    findings: findings.map((finding) => ({ severity: "error", rule: "INT101", evidence: [], layers: [], ...finding, variables: (finding.variables ?? []).map((path) => s.of(path)) })),
    traces: [],
    optimizers: [],
    strings: s.list,
  };
  return buildReport(wire as unknown as ReportAnswer);
}

export const NO_NORMS: Norms = { gradient: [], update: [], present: false };

/** Two blocks: the first one stale. */
export function makeSmallReport(): Report {
  const layer = (path: string) => ({ path, parent: "model", variables: [`${path}/kernel`, `${path}/bias`] });
  const row = (path: string, updated: string): Row => ({ path, layer: path.slice(0, path.lastIndexOf("/")), updated, gradient: updated === "yes" ? "dense" : "none", slots: updated === "yes" ? ["m", "v"] : [] });
  return makeReport(
    [row("model/a/kernel", "yes"), row("model/a/bias", "yes"), row("model/b/kernel", "no"), row("model/b/bias", "no")],
    [{ path: "model" }, layer("model/a"), layer("model/b")],
    [{ variables: ["model/b/kernel", "model/b/bias"] }],
  );
}
