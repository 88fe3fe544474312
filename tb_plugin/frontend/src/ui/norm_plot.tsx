import { useState } from "preact/hooks";
import type { Mark, NormSeries } from "../api/wire";
import { formatCount, formatNorm } from "../model/format";
import { type Line, logRange, mergeSeries } from "../model/norms";
import { reasonKind } from "../model/timeline";

const WIDTH = 360;
const HEIGHT = 132;
const LEFT = 44;
const BOTTOM = 20;
const TOP = 8;
const TABLE_ROWS = 200;

interface Scales {
  x: (at: number) => number;
  y: (value: number) => number;
  first: number;
  last: number;
  decades: number[];
}

/** Norms over time on a log scale: a solid line for the gradient, a dashed one for the update. The same numbers below, as a table. */
export function NormPlot({ series, marks, at }: { series: readonly NormSeries[]; marks: readonly Mark[]; at: number }) {
  const lines = [mergeSeries(series, "gradient"), mergeSeries(series, "update")].filter((line) => line.x.length > 0);
  const [hover, setHover] = useState<number | null>(null);
  const scales = buildScales(lines);
  if (lines.length === 0) return <p class="muted">Not measured in this run.</p>;
  const track = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    setHover(nearest(lines, scales, ((event.clientX - box.left) / box.width) * WIDTH));
  };
  return (
    <figure class="plot">
      {scales && (
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={describe(lines)} onPointerMove={track} onPointerLeave={() => setHover(null)}>
          <Axes scales={scales} />
          <Reports marks={marks} at={at} scales={scales} />
          {lines.map((line) => (
            <path key={line.name} class={`line ${line.name}`} d={drawLine(line, scales)} />
          ))}
          {lines.map((line) => line.broken.map((at) => <path key={`${line.name}${at}`} class="broken" d={`M${scales.x(at) - 3} ${TOP}l6 6m0-6l-6 6`} />))}
          {hover !== null && <line class="cursor" x1={scales.x(hover)} x2={scales.x(hover)} y1={TOP} y2={HEIGHT - BOTTOM} />}
        </svg>
      )}
      <figcaption>
        {lines.map((line) => (
          <span key={line.name}>
            <svg width="22" height="8" aria-hidden="true">
              <path class={`line ${line.name}`} d="M1 4h20" />
            </svg>{" "}
            {line.name} {formatNorm(valueAt(line, hover) ?? null)}
          </span>
        ))}
        <span class="muted">{hover === null ? "newest" : `at ${formatCount(hover)}`}</span>
      </figcaption>
      <Numbers lines={lines} />
    </figure>
  );
}

function buildScales(lines: readonly Line[]): Scales | null {
  const range = logRange(lines.flatMap((line) => line.y));
  if (!range) return null;
  const [low, high] = range;
  const xs = lines.flatMap((line) => [line.x[0] as number, line.x.at(-1) as number]);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const step = Math.max(1, Math.ceil((high - low) / 4));
  const decades: number[] = [];
  for (let decade = low; decade <= high; decade += step) decades.push(decade);
  return {
    x: (at) => LEFT + (last === first ? 0.5 : (at - first) / (last - first)) * (WIDTH - LEFT - 8),
    y: (value) => TOP + (1 - (Math.log10(value) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
    first,
    last,
    decades,
  };
}

/** Where something changed, and the report that is shown: what the lines do there is what that did. */
function Reports({ marks, at, scales }: { marks: readonly Mark[]; at: number; scales: Scales }) {
  const inside = marks.filter((mark) => mark.at >= scales.first && mark.at <= scales.last);
  const shown = inside.filter((mark) => mark.at === at || !["epoch", "end", "other"].includes(reasonKind(mark.reason)));
  return (
    <g class="reports">
      {shown.map((mark) => (
        <line key={mark.at} class={mark.at === at ? "now" : undefined} x1={scales.x(mark.at)} x2={scales.x(mark.at)} y1={TOP} y2={HEIGHT - BOTTOM}>
          <title>{mark.reason ?? "report"}</title>
        </line>
      ))}
    </g>
  );
}

function Axes({ scales }: { scales: Scales }) {
  return (
    <g class="axes">
      {scales.decades.map((decade) => (
        <g key={decade}>
          <line x1={LEFT} x2={WIDTH - 8} y1={scales.y(10 ** decade)} y2={scales.y(10 ** decade)} />
          <text x={LEFT - 6} y={scales.y(10 ** decade) + 4} text-anchor="end">
            {formatDecade(decade)}
          </text>
        </g>
      ))}
      <text x={LEFT} y={HEIGHT - 5}>
        {formatCount(scales.first)}
      </text>
      <text x={WIDTH - 8} y={HEIGHT - 5} text-anchor="end">
        {formatCount(scales.last)}
      </text>
    </g>
  );
}

const formatDecade = (decade: number): string => (decade >= -2 && decade <= 3 ? String(Number(`1e${decade}`)) : `1e${decade}`);

/** A gap wherever a value cannot stand on a log scale. */
function drawLine(line: Line, scales: Scales): string {
  let path = "";
  let pen = "M";
  line.x.forEach((at, i) => {
    const value = line.y[i] as number;
    if (!Number.isFinite(value) || value <= 0) {
      pen = "M";
      return;
    }
    path += `${pen}${scales.x(at).toFixed(1)} ${scales.y(value).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

function nearest(lines: readonly Line[], scales: Scales | null, x: number): number | null {
  if (!scales) return null;
  let best: number | null = null;
  for (const line of lines) {
    for (const at of line.x) if (best === null || Math.abs(scales.x(at) - x) < Math.abs(scales.x(best) - x)) best = at;
  }
  return best;
}

function valueAt(line: Line, at: number | null): number | "nan" | "inf" | undefined {
  const value = at === null ? line.y.at(-1) : line.y[line.x.indexOf(at)];
  if (value === undefined) return undefined;
  return Number.isNaN(value) ? "nan" : value === Infinity ? "inf" : value;
}

function describe(lines: readonly Line[]): string {
  const parts = lines.map((line) => `${line.name} norm from ${formatNorm(line.y[0])} to ${formatNorm(line.y.at(-1))}`);
  return `Norms over time: ${parts.join(", ")}. The numbers follow as a table.`;
}

function Numbers({ lines }: { lines: readonly Line[] }) {
  const steps = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => b - a);
  return (
    <details>
      <summary>The newest as a table</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Norms as a table">
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">step</th>
              {lines.map((line) => (
                <th key={line.name} scope="col">
                  {line.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {steps.slice(0, TABLE_ROWS).map((at) => (
              <tr key={at}>
                <th scope="row">{formatCount(at)}</th>
                {lines.map((line) => (
                  <td key={line.name}>{formatNorm(valueAt(line, at) ?? null)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
