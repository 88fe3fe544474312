import type { FindingWire, LocationWire, ReportAnswer } from "../api/wire";
import { type Severity, SEVERITIES, statusOf, type Status } from "./status";

/** A finding with its place in the report, which names it in links and filters. */
export interface Finding {
  index: number;
  wire: FindingWire;
  /** Rows of the variables that it names. */
  rows: readonly number[];
}

/** A report as it came, with what the page derives from it once. */
export interface Report {
  wire: ReportAnswer;
  /** Paths by row. */
  paths: readonly string[];
  rowOf: ReadonlyMap<string, number>;
  findings: readonly Finding[];
  /** Worst severity by row, an index into SEVERITIES. */
  severity: Uint8Array;
  /** Findings by row, for those rows that have any. */
  findingsOf: ReadonlyMap<number, readonly Finding[]>;
}

export const text = (report: Report, index: number): string | null => report.wire.strings[index] ?? null;

export function buildReport(wire: ReportAnswer): Report {
  const { variables, strings } = wire;
  const paths: string[] = new Array(variables.rows);
  const rowOf = new Map<string, number>();
  const rowOfString = new Int32Array(strings.length).fill(-1);
  for (let row = 0; row < variables.rows; row++) {
    const index = variables.path[row] as number;
    const path = strings[index] ?? "";
    paths[row] = path;
    rowOf.set(path, row);
    rowOfString[index] = row;
  }
  const findings = wire.findings.map((finding, index) => ({
    index,
    wire: finding,
    rows: finding.variables.map((i) => rowOfString[i] ?? -1).filter((row) => row >= 0),
  }));
  return { wire, paths, rowOf, findings, ...indexFindings(findings, variables.rows) };
}

function indexFindings(findings: readonly Finding[], rows: number): Pick<Report, "severity" | "findingsOf"> {
  const severity = new Uint8Array(rows);
  const findingsOf = new Map<number, Finding[]>();
  for (const finding of findings) {
    const rank = SEVERITIES.indexOf(finding.wire.severity);
    for (const row of finding.rows) {
      severity[row] = Math.max(severity[row] as number, rank);
      const list = findingsOf.get(row);
      if (list) list.push(finding);
      else findingsOf.set(row, [finding]);
    }
  }
  return { severity, findingsOf };
}

export const severityOf = (report: Report, row: number): Severity => SEVERITIES[report.severity[row] as number] ?? "none";

/** Whether an error or a warning names the variable. */
export const isMismatch = (report: Report, row: number): boolean => (report.severity[row] as number) >= 2;

/** Whether flags and step disagree on the variable, whatever findings say of it. */
export function disagrees(report: Report, row: number): boolean {
  const { variables } = report.wire;
  const updated = text(report, variables.updated[row] as number);
  return variables.expected[row] === 1 ? updated === "no" : updated === "yes" || updated === "some";
}

export function variableStatus(report: Report, row: number): Status {
  const { variables, writes } = report.wire;
  const kinds: string[] = [];
  for (let i = variables.writes_start[row] as number; i < (variables.writes_start[row + 1] as number); i++) {
    kinds.push(text(report, writes.kind[i] as number) ?? "");
  }
  return statusOf({
    expected: variables.expected[row] === 1,
    updated: text(report, variables.updated[row] as number),
    kinds,
    severity: severityOf(report, row),
  });
}

export function shapeOf(report: Report, row: number): (number | null)[] {
  const { shape, shape_start } = report.wire.variables;
  return shape.slice(shape_start[row], shape_start[row + 1]).map((size) => (size < 0 ? null : size));
}

export function locationAt(report: Report, index: number): LocationWire | null {
  const { locations } = report.wire;
  if (index < 0 || index >= locations.rows) return null;
  return {
    file: text(report, locations.file[index] as number) ?? "",
    line: locations.line[index] as number,
    function: text(report, locations.function[index] as number),
  };
}

export interface Write {
  kind: string;
  op: string | null;
  opType: string | null;
  device: string | null;
  placed: string | null;
  conditional: boolean;
  trace: string | null;
  function: string | null;
  location: LocationWire | null;
}

export function writesOf(report: Report, row: number): Write[] {
  const { variables, writes } = report.wire;
  const found: Write[] = [];
  for (let i = variables.writes_start[row] as number; i < (variables.writes_start[row + 1] as number); i++) {
    const word = (column: readonly number[]) => text(report, column[i] as number);
    found.push({
      kind: word(writes.kind) ?? "other",
      op: word(writes.op),
      opType: word(writes.op_type),
      device: word(writes.device),
      placed: word(writes.placed),
      conditional: writes.conditional[i] === 1,
      trace: word(writes.trace),
      function: word(writes.function),
      location: locationAt(report, writes.location[i] as number),
    });
  }
  return found;
}

export interface Slot {
  name: string;
  path: string;
  updated: string;
  device: string | null;
  placed: string | null;
}

export function slotsOf(report: Report, row: number): Slot[] {
  const { variables, slots } = report.wire;
  const found: Slot[] = [];
  for (let i = variables.slots_start[row] as number; i < (variables.slots_start[row + 1] as number); i++) {
    const word = (column: readonly number[]) => text(report, column[i] as number);
    found.push({
      name: word(slots.name) ?? "",
      path: word(slots.path) ?? "",
      updated: word(slots.updated) ?? "unknown",
      device: word(slots.device),
      placed: word(slots.placed),
    });
  }
  return found;
}
