import type { Float, LatestNormsAnswer, NormSeries } from "../api/wire";
import { toNumber } from "./format";
import type { Report } from "./report";
import type { Norms } from "./rollup";

/** The norms that the table shows: the newest sample where there is one of these variables, else what the report itself measured. */
export function pickNorms(report: Report, latest: LatestNormsAnswer | null): Norms {
  if (latest && latest.sampled_at !== null && latest.variables_id === report.wire.variables_id) {
    return { gradient: latest.gradient_norm, update: latest.update_norm, present: true };
  }
  const { variables, measured } = report.wire;
  if (measured.rows === 0) return { gradient: [], update: [], present: false };
  const pick = (column: readonly Float[]): Float[] => variables.measured.map((row) => (row < 0 ? null : (column[row] ?? null)));
  return { gradient: pick(measured.gradient_norm), update: pick(measured.update_norm), present: true };
}

/** A line of the plot: NaN marks a gap, and `broken` the samples that were nan or infinite. */
export interface Line {
  name: "gradient" | "update";
  x: number[];
  y: number[];
  broken: number[];
}

/** The norm of several variables together at each sample that has any of them. */
export function mergeSeries(series: readonly NormSeries[], name: Line["name"]): Line {
  const column = name === "gradient" ? "gradient_norm" : "update_norm";
  const squares = new Map<number, number>();
  for (const one of series) {
    one.at.forEach((at, i) => {
      const value = toNumber(one[column][i]);
      if (value !== null) squares.set(at, (squares.get(at) ?? 0) + value * value);
    });
  }
  const x = [...squares.keys()].sort((a, b) => a - b);
  const y = x.map((at) => Math.sqrt(squares.get(at) as number));
  return { name, x, y, broken: x.filter((_, i) => !Number.isFinite(y[i])) };
}

/** Powers of ten that enclose the values, at least one decade; null where there is nothing to draw on a log scale. */
export function logRange(values: readonly number[]): [number, number] | null {
  const usable = values.filter((value) => Number.isFinite(value) && value > 0).map(Math.log10);
  if (usable.length === 0) return null;
  const low = Math.floor(usable.reduce((a, b) => Math.min(a, b)));
  const high = Math.ceil(usable.reduce((a, b) => Math.max(a, b)));
  return low === high ? [low - 1, high + 1] : [low, high];
}
