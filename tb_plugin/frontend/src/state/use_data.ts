import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { fetchLatestNorms, fetchProof, fetchReport, fetchRuns, fetchTimeline } from "../api/client";
import type { Mark, ReportAnswer, RunEntry } from "../api/wire";
import { pickNorms } from "../model/norms";
import { NO_PROOF, type Proof, readProof } from "../model/proof";
import { buildReport, type Report } from "../model/report";
import type { Norms } from "../model/rollup";
import { findMark } from "../model/timeline";
import { Cache } from "./cache";
import { type Loaded, type Polled, useLoaded, usePolled } from "./hooks";
import type { Link } from "./link";

const reports = new Cache<ReportAnswer>(4);
const LARGE_MODEL = 20_000;
const LARGE_NORMS_MS = 30_000;

export interface PageData {
  runs: Polled<Awaited<ReturnType<typeof fetchRuns>>>;
  run: RunEntry | null;
  marks: readonly Mark[];
  truncated: boolean;
  timelineError: Loaded<unknown>["error"];
  /** Place of the shown report among the marks, -1 before any is known. */
  index: number;
  report: Report | null;
  reportError: Loaded<unknown>["error"];
  norms: Norms | null;
  proof: Proof;
}

/** Everything the page shows: the poll, and what follows from it and from the link. */
export function useData(link: Link, active: boolean, nudge: number): PageData {
  const runs = usePolled(fetchRuns, active, nudge, (a, b) => a.token === b.token);
  const run = useMemo(() => chooseRun(runs.data?.runs ?? [], link.run), [runs.data, link.run]);
  const retry = 2 * nudge + Number(runs.error !== null);
  const timeline = useLoaded(run && JSON.stringify([run.run, run.token]), () => fetchTimeline((run as RunEntry).run), retry);
  const fresh = timeline.data && run && timeline.data.run === run.run ? timeline.data : null;
  const marks = fresh?.marks ?? NO_MARKS;
  const index = findMark(marks, link.at);
  const mark = marks[index] ?? null;
  const answer = useReportAnswer(run, mark, retry);
  const report = useMemo(() => (answer.data && answer.data.run === run?.run ? buildReport(answer.data) : null), [answer.data, run?.run]);
  const norms = useNorms(run, report, mark !== null && mark.at === run?.last_at);
  const proof = useProof(run, report);
  return {
    runs,
    run,
    marks,
    truncated: fresh?.truncated ?? false,
    timelineError: timeline.error,
    index,
    report,
    reportError: answer.error,
    norms,
    proof,
  };
}

const NO_MARKS: readonly Mark[] = [];

/** The run that the link names, else the one that was written to last. */
function chooseRun(runs: readonly RunEntry[], wanted: string | null): RunEntry | null {
  const named = runs.find((entry) => entry.run === wanted);
  return named ?? runs.reduce<RunEntry | null>((best, entry) => (best && best.last_wall_time >= entry.last_wall_time ? best : entry), null);
}

function useReportAnswer(run: RunEntry | null, mark: Mark | null, retry: number): Loaded<ReportAnswer> {
  const key = run && mark?.stored ? JSON.stringify([run.run, mark.at, mark.wall_time]) : null;
  const load = () => reports.get(key as string, () => fetchReport((run as RunEntry).run, (mark as Mark).at));
  return useLoaded(key, load, retry);
}

/** An older report shows what it measured itself: the newest samples would tell of another time. */
function useNorms(run: RunEntry | null, report: Report | null, newest: boolean): Norms | null {
  const large = (report?.paths.length ?? 0) > LARGE_MODEL;
  const token = useThrottled(run?.token ?? null, large ? LARGE_NORMS_MS : 0);
  const key = newest && run?.has_norms && report ? JSON.stringify([run.run, report.wire.at, token]) : null;
  const latest = useLoaded(key, () => fetchLatestNorms((run as RunEntry).run, (report as Report).wire.at));
  return useMemo(() => report && pickNorms(report, latest.data && latest.data.run === report.wire.run && latest.data.at === report.wire.at ? latest.data : null), [report, latest.data]);
}

/** The newest look at the values while the report was in force; it goes on growing older or newer with the log. */
function useProof(run: RunEntry | null, report: Report | null): Proof {
  const large = (report?.paths.length ?? 0) > LARGE_MODEL;
  const token = useThrottled(run?.token ?? null, large ? LARGE_NORMS_MS : 0);
  const key = run?.has_proof && report ? JSON.stringify([run.run, report.wire.at, token]) : null;
  const found = useLoaded(key, () => fetchProof((run as RunEntry).run, (report as Report).wire.at));
  return useMemo(() => {
    if (!report || !found.data || found.data.run !== report.wire.run || found.data.at !== report.wire.at) return NO_PROOF;
    return readProof(report, found.data);
  }, [report, found.data]);
}

/** A value that is let through at most once in a while: a large model's norms are megabytes. */
function useThrottled<T>(value: T, every: number): T {
  const [passed, setPassed] = useState(value);
  const time = useRef(0);
  useEffect(() => {
    const wait = Math.max(0, time.current + every - performance.now());
    const timer = setTimeout(() => {
      time.current = performance.now();
      setPassed(value);
    }, wait);
    return () => clearTimeout(timer);
  }, [value, every]);
  return every === 0 ? value : passed;
}
