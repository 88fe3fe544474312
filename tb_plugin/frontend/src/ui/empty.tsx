import type { RequestError } from "../api/client";
import { Icon } from "./icons";
import { CopyButton } from "./pieces";

const SNIPPET = (directory: string) => `import introspect

model.fit(
    dataset,
    callbacks=[introspect.IntrospectCallback(log_dir=${JSON.stringify(directory)})],
)`;

const quoteShell = (text: string): string => (/^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** What stands here before anything was logged: how to log, and where TensorBoard looks. */
export function Empty({ logdir }: { logdir: string }) {
  const snippet = SNIPPET(logdir || "logs");
  const command = `python -m introspect model.keras --logdir ${quoteShell(logdir || "logs")}`;
  return (
    <section class="empty">
      <h2>No report yet</h2>
      <p class="watched" role="status">
        <Icon name="live" />
        <span>
          {logdir ? (
            <>
              Watching <code>{logdir}</code>
            </>
          ) : (
            "TensorBoard does not say which directory it watches: see its --logdir."
          )}
        </span>
      </p>
      <p>
        Introspect reads the compiled train step of a Keras model and says which variables it really updates. Add the callback, train, and the
        first report appears here as soon as the step is traced; this page looks by itself.
      </p>
      <div class="snippet">
        <pre tabIndex={0}>
          <code>{snippet}</code>
        </pre>
        <CopyButton text={snippet} label="Copy" />
      </div>
      <p>Or look at a saved model, without training:</p>
      <div class="snippet">
        <pre tabIndex={0}>
          <code>{command}</code>
        </pre>
        <CopyButton text={command} label="Copy" />
      </div>
      <p class="muted">Reports in another directory? Start TensorBoard with --logdir set to it, or to one above it.</p>
    </section>
  );
}

/** A failure that leaves nothing to show. */
export function Failure({ error, what, onRetry }: { error: RequestError; what: string; onRetry: () => void }) {
  return (
    <section class="empty failure" role="alert">
      <h2>
        <Icon name="warning" size={22} /> {what}
      </h2>
      <p>{error.message}</p>
      <p class="muted">{ADVICE[error.status] ?? "The page asks again by itself."}</p>
      <button type="button" class="button" onClick={onRetry}>
        Try again
      </button>
    </section>
  );
}

const ADVICE: Record<number, string> = {
  404: "TensorBoard keeps a sample of each run: choose another report, or start it with --samples_per_plugin=introspect=0.",
  413: "The report is larger than the plugin reads.",
  422: "The log was damaged, or written by a newer introspect.",
  500: "TensorBoard's own log says more.",
};
