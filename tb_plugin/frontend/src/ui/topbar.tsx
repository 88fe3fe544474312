import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { exportUrl } from "../api/client";
import type { RunEntry } from "../api/wire";
import { currentAddress } from "../host/permalink";
import { Icon } from "./icons";
import { CopyButton } from "./pieces";

interface Props {
  runs: readonly RunEntry[];
  run: string;
  at: number | null;
  comparing: boolean;
  offline: string | null;
  onRun: (run: string) => void;
  onCompare: (on: boolean) => void;
  onHelp: () => void;
}

/** Which run is shown, and what can be done with its report. */
export function Topbar(props: Props) {
  return (
    <div class="topbar">
      <RunPicker label="Run" runs={props.runs} run={props.run} onRun={props.onRun} />
      {props.offline && (
        <span class="offline" role="alert">
          <Icon name="warning" /> {props.offline}
        </span>
      )}
      <span class="spring" />
      <button type="button" class="button toggle" aria-pressed={props.comparing} onClick={() => props.onCompare(!props.comparing)}>
        <Icon name="compare" /> Compare
      </button>
      {props.at !== null && (
        <Menu label="Export" icon={<Icon name="download" />}>
          <a href={exportUrl(props.run, props.at, "json")} download>
            Report as JSON
          </a>
          <a href={exportUrl(props.run, props.at, "csv")} download>
            Variables as CSV
          </a>
        </Menu>
      )}
      <LinkButton />
      <button type="button" class="button bare" onClick={props.onHelp} aria-label="Help" title="Help (?)">
        <Icon name="question" />
      </button>
    </div>
  );
}

/** The address is read at the click: it changes with every choice. */
function LinkButton() {
  const [text, setText] = useState(currentAddress);
  return (
    <span onPointerEnter={() => setText(currentAddress())} onFocusIn={() => setText(currentAddress())}>
      <CopyButton text={text} label="Copy a link to this view" icon="link" wordy={false} />
    </span>
  );
}

export function RunPicker({ label, runs, run, onRun }: { label: string; runs: readonly RunEntry[]; run: string; onRun: (run: string) => void }) {
  return (
    <label class="picker">
      <span>{label}</span>
      <select value={run} onChange={(event) => onRun(event.currentTarget.value)}>
        {runs.map((entry) => (
          <option key={entry.run} value={entry.run}>
            {entry.run || "."}
            {entry.last?.model ? ` · ${entry.last.model}` : ""}
            {entry.last ? ` · ${describeLast(entry)}` : ""}
          </option>
        ))}
      </select>
    </label>
  );
}

function describeLast({ last }: RunEntry): string {
  if (!last || last.ok === null) return "not known";
  if (last.ok) return "ok";
  return last.counts && last.counts.errors > 0 ? `${last.counts.errors} error${last.counts.errors > 1 ? "s" : ""}` : "warnings";
}

/** A button that shows a few links; Escape or a click elsewhere closes it. */
function Menu({ label, icon, children }: { label: string; icon: ComponentChildren; children: ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return undefined;
    const close = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", close);
    document.addEventListener("focusin", close);
    return () => {
      document.removeEventListener("pointerdown", close);
      document.removeEventListener("focusin", close);
    };
  }, [open]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return;
    event.stopPropagation();
    setOpen(false);
    box.current?.querySelector("button")?.focus();
  };
  return (
    <div class="menu" ref={box} onKeyDown={onKeyDown}>
      <button type="button" class="button" aria-expanded={open} onClick={() => setOpen(!open)}>
        {icon} {label}
      </button>
      {open && (
        <div class="popover" onClick={() => setOpen(false)}>
          {children}
        </div>
      )}
    </div>
  );
}
