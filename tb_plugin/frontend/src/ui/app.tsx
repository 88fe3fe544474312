import { useEffect, useRef, useState } from "preact/hooks";
import { RequestError } from "../api/client";
import type { Mark } from "../api/wire";
import { listenToHost } from "../host/parent";
import { watchVisibility } from "../host/visibility";
import { describeMark, stepMark } from "../model/timeline";
import type { Link } from "../state/link";
import { type PageData, useData } from "../state/use_data";
import { useLink } from "../state/use_link";
import { Body } from "./body";
import { Compare } from "./compare";
import { Empty, Failure } from "./empty";
import { Head } from "./head";
import { Help } from "./help";
import { Timeline } from "./timeline";
import { Topbar } from "./topbar";

type Change = (part: Partial<Link>) => void;

export function App() {
  const root = useRef<HTMLDivElement>(null);
  const [visible, setVisible] = useState(true);
  const [nudge, setNudge] = useState(0);
  const [help, setHelp] = useState(false);
  const [link, change] = useLink();
  const data = useData(link, visible, nudge);
  const searchBox = useRef<HTMLInputElement>(null);
  const again = () => setNudge((count) => count + 1);
  useEffect(() => (root.current ? watchVisibility(root.current, setVisible) : undefined), []);
  useEffect(() => listenToHost(again), []);
  useKeys(data, searchBox, change, () => setHelp(true));
  return (
    <div class="page" ref={root}>
      <main>
        <h1 class="offscreen">Introspect</h1>
        <Announcer run={data.run?.run ?? null} marks={data.marks} />
        <Page data={data} link={link} change={change} searchBox={searchBox} onRetry={again} onHelp={() => setHelp(true)} />
      </main>
      <Help open={help} onClose={() => setHelp(false)} />
    </div>
  );
}

interface PageProps {
  data: PageData;
  link: Link;
  change: Change;
  searchBox: { current: HTMLInputElement | null };
  onRetry: () => void;
  onHelp: () => void;
}

function Page(props: PageProps) {
  const { data, link, change, onRetry } = props;
  const { runs, run } = data;
  if (!runs.data) {
    if (runs.error) return <Failure error={runs.error} what="TensorBoard does not answer" onRetry={onRetry} />;
    return <p class="loading">Reading reports…</p>;
  }
  if (!run) return <Empty logdir={runs.data.logdir} />;
  const at = data.marks[data.index]?.at ?? null;
  return (
    <>
      <Topbar
        runs={runs.data.runs}
        run={run.run}
        at={at}
        comparing={link.compared !== null}
        offline={runs.error ? runs.error.message : null}
        onRun={(name) => change({ run: name, at: null, selection: null, finding: null, compared: null })}
        onCompare={(on) => change({ compared: on ? { run: run.run, at: null } : null })}
        onHelp={props.onHelp}
      />
      {data.timelineError && data.marks.length === 0 && <Failure error={data.timelineError} what="The timeline cannot be read" onRetry={onRetry} />}
      {data.marks.length > 0 && (
        <Timeline
          marks={data.marks}
          index={data.index}
          follow={link.at === null}
          truncated={data.truncated}
          onPick={(index) => change({ at: pickAt(data.marks, index, link.at) })}
          onFollow={(follow) => change({ at: follow ? null : at })}
        />
      )}
      <Content {...props} />
    </>
  );
}

/** Picking the newest goes on following it, where it was followed. */
function pickAt(marks: readonly Mark[], index: number, at: number | null): number | null {
  const newest = stepMark(marks, marks.length, -1);
  return at === null && index === newest ? null : (marks[index]?.at ?? null);
}

function Content({ data, link, change, searchBox, onRetry }: PageProps) {
  const { report, run } = data;
  const mark = data.marks[data.index];
  if (data.reportError) return <Failure error={data.reportError} what="This report cannot be shown" onRetry={onRetry} />;
  if (mark && !mark.stored) return <Failure error={LOST} what="This report cannot be shown" onRetry={onRetry} />;
  if (!report || !run || !data.norms) return data.timelineError ? null : <p class="loading">Reading the report…</p>;
  const openFinding = (index: number) => change({ selection: { kind: "finding", name: String(index) } });
  return (
    <>
      {!link.compared && <Head report={report} proof={data.proof} mark={mark} onProof={() => change({ filter: "proof", query: "", finding: null })} onFinding={openFinding} onOverview={() => change({ selection: null })} />}
      {link.compared ? (
        <Compare
          runs={data.runs.data?.runs ?? []}
          run={run.run}
          at={report.wire.at}
          compared={link.compared}
          marks={data.marks}
          token={run.token}
          onCompared={(compared) => change({ compared })}
          onVariable={(name) => change({ selection: { kind: "variable", name }, compared: null })}
        />
      ) : (
        <Body report={report} norms={data.norms} proof={data.proof} marks={data.marks} link={link} normsToken={run.has_norms ? run.token : null} searchBox={searchBox} change={change} />
      )}
    </>
  );
}

const LOST = new RequestError("TensorBoard keeps a sample of each run, and this report is not in it.", 404);

/** Tells a screen reader of each report that comes while the page is open. */
function Announcer({ run, marks }: { run: string | null; marks: readonly Mark[] }) {
  const known = useRef<{ run: string | null; at: number } | null>(null);
  const [words, setWords] = useState("");
  const newest = marks.at(-1);
  useEffect(() => {
    if (!newest) return;
    const before = known.current;
    known.current = { run, at: newest.at };
    if (before && before.run === run && newest.at > before.at) setWords(`New report. ${describeMark(newest, marks.length - 1, marks.length)}`);
  }, [run, newest?.at]);
  return (
    <div class="offscreen" role="status" aria-live="polite">
      {words}
    </div>
  );
}

function useKeys(data: PageData, searchBox: { current: HTMLInputElement | null }, change: Change, onHelp: () => void): void {
  const latest = useRef({ data, onHelp });
  latest.current = { data, onHelp };
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && (target as HTMLInputElement).type !== "range" && (target as HTMLInputElement).type !== "radio";
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      const { marks, index } = latest.current.data;
      if (event.key === "Escape") {
        if (typing) target.blur();
        else change({ selection: null });
      } else if (typing) return;
      else if (event.key === "/") {
        event.preventDefault();
        searchBox.current?.focus();
        searchBox.current?.select();
      } else if (event.key === "?") latest.current.onHelp();
      else if (event.key === "[" || event.key === "]") {
        const next = stepMark(marks, index, event.key === "[" ? -1 : 1);
        const mark = marks[next];
        if (mark && next !== index) change({ at: mark.at });
      }
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}
