import { useEffect, useRef } from "preact/hooks";
import { REASON_KINDS, REASON_WORDS } from "../model/timeline";
import { Icon, type IconName } from "./icons";
import { ReasonShape } from "./timeline";

const KEYS: [string[], string][] = [
  [["/"], "search"],
  [["["], "previous report"],
  [["]"], "next report"],
  [["↑", "↓"], "row above, row below"],
  [["→", "←"], "open or enter a layer; close it or leave it"],
  [["Home", "End"], "first row, last row"],
  [["Enter"], "details of the row"],
  [["Esc"], "back to the overview"],
  [["?"], "this help"],
];

const STATUSES: [IconName, string, string][] = [
  ["check", "trains", "written with a value that depends on its gradient, as the flags say"],
  ["lock", "frozen", "not written by its gradient, as the flags say"],
  ["cross", "does not train", "the flags say that it trains; the compiled step does not"],
  ["thaw", "trains though frozen", "the flags say frozen; the compiled step writes it"],
  ["half", "in some traces", "some traces of the step write it, others do not"],
  ["wave", "statistics, average, state", "written, but not by its gradient"],
  ["question", "unknown", "an opaque op hides what is done; its reason stands in the details"],
  ["warning", "changed, not changed", "in the column Changed: the values themselves contradict the report"],
];

export function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={onClose} onClick={(event) => event.target === dialog.current && onClose()}>
      <div class="help-body">
        <header>
          <h2 id="help-title">Introspect</h2>
          <button type="button" class="button bare" onClick={onClose} aria-label="Close the help">
            <Icon name="cross" />
          </button>
        </header>
        <p>What the compiled train step really updates, read from its graph, beside what the flags say.</p>
        <div class="help-columns">
          <section>
            <h3>Status</h3>
            <dl>
              {STATUSES.map(([icon, word, meaning]) => (
                <div key={word}>
                  <dt>
                    <Icon name={icon} />
                    <span>{word}</span>
                  </dt>
                  <dd>{meaning}</dd>
                </div>
              ))}
            </dl>
          </section>
          <section>
            <h3>Keys</h3>
            <dl>
              {KEYS.map(([keys, meaning]) => (
                <div key={meaning}>
                  <dt>
                    {keys.map((key) => (
                      <kbd key={key}>{key}</kbd>
                    ))}
                  </dt>
                  <dd>{meaning}</dd>
                </div>
              ))}
            </dl>
            <h3>Marks of the timeline</h3>
            <ul class="legend">
              {REASON_KINDS.map((kind) => (
                <li key={kind}>
                  <svg width="18" height="18" viewBox="-9 -9 18 18" aria-hidden="true">
                    <ReasonShape kind={kind} />
                  </svg>
                  {REASON_WORDS[kind]}
                </li>
              ))}
            </ul>
          </section>
        </div>
      </div>
    </dialog>
  );
}
