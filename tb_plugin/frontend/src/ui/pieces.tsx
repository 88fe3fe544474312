import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { LocationWire } from "../api/wire";
import { copyText } from "../host/clipboard";
import { formatLocation } from "../model/format";
import { copyText as textOfFix, splitFix } from "../model/verdict";
import { Icon, type IconName } from "./icons";

/** Text with `code` set as code. It comes from a log: it is only ever set as text. */
export function Prose({ text }: { text: string }) {
  return (
    <>
      {text.split(/`([^`\n]+)`/).map((piece, i) => (i % 2 === 1 ? <code key={i}>{piece}</code> : piece))}
    </>
  );
}

/** A fix: prose as paragraphs, code as blocks. */
export function FixText({ fix }: { fix: string }) {
  return (
    <div class="fix-text">
      {splitFix(fix).map((part, i) =>
        part.code ? (
          <pre key={i} tabIndex={0}>
            <code>{part.text}</code>
          </pre>
        ) : (
          <p key={i}>
            <Prose text={part.text} />
          </p>
        ),
      )}
    </div>
  );
}

type CopyState = "idle" | "done" | "refused";

/** Copies a text; where the browser refuses, shows it selected, to be copied by hand. */
export function CopyButton({ text, label, icon = "copy", wordy = true }: { text: string; label: string; icon?: IconName; wordy?: boolean }) {
  const [state, setState] = useState<CopyState>("idle");
  useEffect(() => {
    if (state !== "done") return undefined;
    const timer = setTimeout(() => setState("idle"), 2000);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = () => void copyText(text).then((copied) => setState(copied ? "done" : "refused"));
  return (
    <span class="copy">
      <button type="button" class={wordy ? "button" : "button bare"} onClick={copy} title={label} aria-label={wordy ? undefined : label}>
        <Icon name={state === "done" ? "check" : icon} />
        {wordy && (state === "done" ? "Copied" : label)}
      </button>
      <span class="offscreen" role="status">
        {state === "done" ? "Copied" : ""}
      </span>
      {state === "refused" && <ByHand text={text} onClose={() => setState("idle")} />}
    </span>
  );
}

function ByHand({ text, onClose }: { text: string; onClose: () => void }) {
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => box.current?.select(), []);
  return (
    <span class="by-hand popover">
      <label>
        The browser does not let the page copy. Press Ctrl+C or ⌘C:
        <textarea ref={box} readOnly rows={4} value={text} onBlur={onClose} onKeyDown={(event) => event.key === "Escape" && onClose()} />
      </label>
    </span>
  );
}

export const CopyFix = ({ fix }: { fix: string }) => <CopyButton text={textOfFix(fix)} label="Copy fix" />;

/** The user's file and line, with its function, to be copied into an editor. */
export function Place({ location }: { location: LocationWire }) {
  const place = formatLocation(location);
  return (
    <span class="place">
      <code>{place}</code>
      {location.function ? (
        <>
          {" in "}
          <code>{location.function}</code>
        </>
      ) : null}
      <CopyButton text={place} label={`Copy ${place}`} wordy={false} />
    </span>
  );
}

/** A part of the detail pane under a heading. */
export function Section({ title, aside, children }: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="section">
      <h3>
        {title}
        {aside && <span class="aside">{aside}</span>}
      </h3>
      {children}
    </section>
  );
}

export type Fact = [name: string, value: ComponentChildren];

/** Names and values; facts without a value are left out. */
export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** A path that may break after each slash. */
export function BreakingPath({ path }: { path: string }) {
  const parts = path.split("/");
  return (
    <span class="path">
      {parts.map((part, i) => (
        <span key={i}>
          {part}
          {i < parts.length - 1 && (
            <>
              /<wbr />
            </>
          )}
        </span>
      ))}
    </span>
  );
}

/** A name with the words of the search marked. */
export function Marked({ text, marks }: { text: string; marks: readonly [number, number][] }) {
  if (marks.length === 0) return <>{text}</>;
  const pieces: ComponentChildren[] = [];
  let from = 0;
  for (const [start, end] of marks) {
    pieces.push(text.slice(from, start), <mark key={start}>{text.slice(start, end)}</mark>);
    from = end;
  }
  return <>{[...pieces, text.slice(from)]}</>;
}
