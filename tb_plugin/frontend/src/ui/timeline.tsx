import type { Mark } from "../api/wire";
import { useMemo } from "preact/hooks";
import { formatCount, formatTime } from "../model/format";
import { chooseLabels, INSET } from "../model/labels";
import { describeMark, describeState, describeStep, nearestStored, reasonKind, type ReasonKind, stepMark } from "../model/timeline";
import { Icon } from "./icons";
import { useSize } from "./size";

interface Props {
  marks: readonly Mark[];
  index: number;
  follow: boolean;
  truncated: boolean;
  onPick: (index: number) => void;
  onFollow: (follow: boolean) => void;
}

const MIDDLE = 26;
const HEIGHT = 44;

/** Every report as a mark with its reason, under a slider over the reports. */
export function Timeline({ marks, index, follow, truncated, onPick, onFollow }: Props) {
  const [ref, { width }] = useSize<HTMLDivElement>();
  const current = marks[index];
  const gap = marks.length > 1 ? (width - 2 * INSET) / (marks.length - 1) : 0;
  const place = (i: number) => INSET + i * gap;
  const slide = (event: Event) => onPick(nearestStored(marks, Number((event.currentTarget as HTMLInputElement).value)));
  return (
    <section class="timeline" aria-label="Timeline of reports">
      <div class="steps">
        <Step direction={-1} marks={marks} index={index} onPick={onPick} />
        <Step direction={1} marks={marks} index={index} onPick={onPick} />
      </div>
      <div class="track" ref={ref}>
        <svg width={width} height={HEIGHT} aria-hidden="true">
          <line x1={INSET} x2={Math.max(INSET, width - INSET)} y1={MIDDLE} y2={MIDDLE} class="rail" />
          {thin(marks, gap).map((i) => (
            <MarkShape key={i} mark={marks[i] as Mark} x={place(i)} small={gap > 0 && gap < 14} />
          ))}
        </svg>
        <input
          type="range"
          min={0}
          max={Math.max(0, marks.length - 1)}
          step={1}
          value={Math.max(0, index)}
          onInput={slide}
          aria-label="Report"
          aria-valuetext={current ? describeMark(current, index, marks.length) : "no report"}
          title={current ? describeMark(current, index, marks.length) : undefined}
        />
        <Labels marks={marks} index={index} place={place} width={width} />
      </div>
      <div class="follow">
        <button type="button" class="button toggle" aria-pressed={follow} onClick={() => onFollow(!follow)} title="Show each new report as it comes">
          <Icon name="live" /> Follow
        </button>
        <span class="count">
          {formatCount(index + 1)} of {formatCount(marks.length)}
        </span>
        {truncated && <span class="count">a sample of the log</span>}
      </div>
    </section>
  );
}

function Step({ direction, marks, index, onPick }: { direction: 1 | -1; marks: readonly Mark[]; index: number; onPick: (i: number) => void }) {
  const next = stepMark(marks, index, direction);
  const label = direction < 0 ? "Previous report ([)" : "Next report (])";
  return (
    <button type="button" class="button square" aria-disabled={next === index} aria-label={label} title={label} onClick={() => next !== index && onPick(next)}>
      <Icon name={direction < 0 ? "previous" : "chevron"} />
    </button>
  );
}

const CLOSEST = 3;

/** Of marks that would lie on one another the first that is ok is drawn, and the first that is not. */
function thin(marks: readonly Mark[], gap: number): number[] {
  const kept: number[] = [];
  const last = new Map<boolean, number>();
  marks.forEach((mark, i) => {
    const wrong = mark.ok === false;
    if (gap > 0 && i * gap - (last.get(wrong) ?? -Infinity) < CLOSEST) return;
    last.set(wrong, i * gap);
    kept.push(i);
  });
  return kept;
}

const SHAPES: Record<ReasonKind, string> = {
  trace: "M0-6a6 6 0 1 1 0 12a6 6 0 1 1 0-12z",
  flag: "M0-7.5 7.5 0 0 7.5-7.5 0z",
  recompile: "M0-7 6.5 5h-13z",
  signature: "M-5.5-5.5h11v11h-11z",
  optimizer: "M0 7-6.5-5h13z",
  epoch: "M0-3.5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 1 1 0-7z",
  end: "M-3-7h6v14h-6z",
  other: "M0-4.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z",
};

export function ReasonShape({ kind }: { kind: ReasonKind }) {
  return <path d={SHAPES[kind]} />;
}

function stateClass(mark: Mark): string {
  if (!mark.stored) return "lost";
  if (mark.ok === null) return "unsure";
  return mark.ok ? "ok" : mark.counts && mark.counts.errors > 0 ? "error" : "warning";
}

function MarkShape({ mark, x, small }: { mark: Mark; x: number; small: boolean }) {
  const state = stateClass(mark);
  return (
    <g class={`mark state-${state}`} transform={`translate(${x} ${MIDDLE})${small ? " scale(0.6)" : ""}`}>
      <ReasonShape kind={reasonKind(mark.reason)} />
      {(state === "error" || state === "warning") && <path class="alarm" d={small ? "M0-36v7M0-24v.1" : "M0-24v5M0-15.9v.1"} />}
    </g>
  );
}

interface LabelsProps {
  marks: readonly Mark[];
  index: number;
  place: (i: number) => number;
  width: number;
}

/** Words below the marks: those of the chosen one, and of others as far as they have room, changes first. */
function Labels({ marks, index, place, width }: LabelsProps) {
  const labels = useMemo(() => chooseLabels(marks, index, place, width), [marks, index, width]);
  if (width === 0) return null;
  return (
    <div class="labels" aria-hidden="true">
      {labels.map(({ i, left, room, align }) => {
        const mark = marks[i] as Mark;
        return (
          <div key={i} class={`label ${align}${i === index ? " current" : ""}`} style={{ left: `${left}px`, width: `${room}px` }}>
            <span class="reason" title={mark.detail ?? undefined}>
              {mark.reason ?? "report"}
            </span>
            <span class="step" title={formatTime(mark.created)}>
              {describeStep(mark)} · <span class={`word-${stateClass(mark)}`}>{describeState(mark)}</span>
            </span>
          </div>
        );
      })}
    </div>
  );
}
