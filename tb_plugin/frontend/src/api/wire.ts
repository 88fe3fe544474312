/** The shapes of ../../http_api.md, as they come over the wire. */

export const SCHEMA = 1;

export type Float = number | null | "nan" | "inf" | "-inf";
export type Column = readonly number[];

export interface Counts {
  variables: number;
  trainable: number;
  expected: number;
  updated: number;
  partly: number;
  unknown: number;
  expected_not_updated: number;
  updated_not_expected: number;
  errors: number;
  warnings: number;
  infos: number;
}

export interface Mark {
  at: number;
  wall_time: number;
  stored: boolean;
  step: number | null;
  epoch: number | null;
  reason: string | null;
  detail: string | null;
  created: number | null;
  source: string | null;
  model: string | null;
  ok: boolean | null;
  headline: string | null;
  rules: string[];
  counts: Counts | null;
  variables_id: string | null;
}

export interface RunEntry {
  run: string;
  token: string;
  last_at: number;
  last_wall_time: number;
  has_norms: boolean;
  has_proof: boolean;
  last: Mark | null;
}

export interface RunsAnswer {
  schema: number;
  token: string;
  logdir: string;
  versions: Record<string, string>;
  runs: RunEntry[];
}

export interface TimelineAnswer {
  schema: number;
  run: string;
  token: string;
  truncated: boolean;
  marks: Mark[];
}

export interface VariablesTable {
  rows: number;
  path: Column;
  dtype: Column;
  layer: Column;
  device: Column;
  updated: Column;
  gradient: Column;
  reason: Column;
  optimizer: Column;
  gradient_device: Column;
  decided_by: Column;
  trainable: Column;
  expected: Column;
  tracked: Column;
  shape: Column;
  shape_start: Column;
  findings: Column;
  findings_start: Column;
  replicas: Column;
  replicas_start: Column;
  writes_start: Column;
  slots_start: Column;
  measured: Column;
}

export interface WritesTable {
  rows: number;
  kind: Column;
  op: Column;
  op_type: Column;
  device: Column;
  placed: Column;
  trace: Column;
  function: Column;
  conditional: Column;
  location: Column;
}

export interface SlotsTable {
  rows: number;
  name: Column;
  path: Column;
  updated: Column;
  device: Column;
  placed: Column;
}

export interface MeasuredTable {
  rows: number;
  gradient_norm: readonly Float[];
  update_norm: readonly Float[];
  weight_norm: readonly Float[];
  zero_fraction: readonly Float[];
  finite: Column;
  resolved: Column;
  placed: Column;
}

export interface LayersTable {
  rows: number;
  path: Column;
  name: Column;
  class_name: Column;
  parent: Column;
  trainable: Column;
  built: Column;
  variables: Column;
  variables_start: Column;
}

export interface FlowNodesTable {
  rows: number;
  id: Column;
  label: Column;
  kind: Column;
  layer: Column;
  op: Column;
  op_type: Column;
  location: Column;
}

export interface FlowEdgesTable {
  rows: number;
  source: Column;
  target: Column;
  differentiable: Column;
}

export interface LocationWire {
  file: string;
  line: number;
  function: string | null;
}

export interface EvidenceWire {
  note: string;
  op: string | null;
  op_type: string | null;
  device: string | null;
  layer: string | null;
  trace: string | null;
  location: LocationWire | null;
}

export interface FixResultWire {
  trains: number[];
  still_not: number[];
  note: string;
}

export interface FixTrialWire extends FixResultWire {
  code: string;
  verified: boolean;
}

export interface FindingWire {
  rule: string;
  name: string;
  severity: "error" | "warning" | "info";
  certainty: "proven" | "likely";
  variables: number[];
  layers: number[];
  message: string;
  cause: string;
  fix: string;
  verified: boolean;
  evidence: EvidenceWire[];
  fix_result: FixResultWire | null;
  /** One for each proposal of the fix that was tried; missing in an answer of before. */
  trials?: FixTrialWire[];
}

export interface TraceWire {
  id: string;
  signature: string;
  nodes: number;
  functions: number;
  updated: number[];
  current: boolean;
  source: string;
  caller: string;
  jit: boolean;
  /** The user's call that made it; missing in reports of before. */
  location?: LocationWire | null;
}

export interface OptimizerWire {
  name: string;
  class_name: string;
  learning_rate: Float | string;
  tracks: number[];
  built: boolean;
  settings: [string, string][];
}

export interface ModelWire {
  name: string;
  class_name: string;
  keras: string;
  trainable: boolean;
  compiled: boolean;
  run_eagerly: boolean;
  jit_compile: boolean;
  steps_per_execution: number;
  file: string | null;
}

export interface ReportAnswer {
  schema: number;
  run: string;
  at: number;
  wall_time: number;
  variables_id: string;
  source: string;
  reason: string | null;
  step: number | null;
  created: number;
  ok: boolean;
  model: ModelWire;
  environment: {
    introspect: string;
    tensorflow: string | null;
    keras: string | null;
    python: string;
    devices: string[];
    strategy: string | null;
    warnings: string[];
  };
  timings: [string, number][];
  counts: Counts;
  strings: (string | null)[];
  variables: VariablesTable;
  writes: WritesTable;
  slots: SlotsTable;
  measured: MeasuredTable;
  /** How often a step updates each variable: the gradient that is measured of one is that of the first time. */
  updates: Column;
  locations: { rows: number; file: Column; function: Column; line: Column };
  layers: LayersTable;
  flow_nodes: FlowNodesTable;
  flow_edges: FlowEdgesTable;
  findings: FindingWire[];
  traces: TraceWire[];
  optimizers: OptimizerWire[];
}

export interface CompareAnswer {
  schema: number;
  run: string;
  at: number;
  with_run: string;
  with_at: number;
  strings: (string | null)[];
  changes: { rows: number; variable: Column; field: Column; before: Column; after: Column };
  variables_added: number[];
  variables_removed: number[];
  findings_added: FindingWire[];
  findings_removed: FindingWire[];
  counts: Counts;
  with_counts: Counts;
}

export interface NormSeries {
  variable: string;
  truncated: boolean;
  at: number[];
  wall_time: number[];
  gradient_norm: Float[];
  update_norm: Float[];
  weight_norm: Float[];
  zero_fraction: Float[];
}

/** The norms of all variables of a layer together; `of` says how many they are. */
export interface LayerNormsAnswer {
  schema: number;
  run: string;
  token: string;
  layer: string;
  of: number;
  series: NormSeries[];
}

export interface NormsAnswer {
  schema: number;
  run: string;
  token: string;
  series: NormSeries[];
}

export interface LatestNormsAnswer {
  schema: number;
  run: string;
  at: number;
  variables_id: string;
  rows: number;
  sampled_at: number | null;
  wall_time: number | null;
  gradient_norm: Float[];
  update_norm: Float[];
  weight_norm: Float[];
  zero_fraction: Float[];
}

export interface ProofAnswer {
  schema: number;
  run: string;
  at: number;
  variables_id: string;
  looked_at: number | null;
  wall_time: number | null;
  step: number | null;
  since: number | null;
  steps: number | null;
  seconds: Float;
  age: readonly number[];
  judgement: readonly number[];
  slot_age: readonly number[];
  slot_judgement: readonly number[];
}
