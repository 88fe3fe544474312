import { formatCount, formatNorm, formatTime, plural } from "../model/format";
import type { Report } from "../model/report";
import type { DetailProps } from "./detail";
import { FindingLine } from "./finding_card";
import { Icon } from "./icons";
import { Facts, Place, Section } from "./pieces";

/** The report as a whole: its findings, traces, optimizers, and what it was made with. */
export function Overview({ report, onSelect }: DetailProps) {
  return (
    <>
      <Section title="Findings" aside={report.findings.length > 0 ? formatCount(report.findings.length) : undefined}>
        {report.findings.length === 0 && (
          <p class="calm">
            <Icon name="ok" /> None: the step does what the flags say.
          </p>
        )}
        {report.findings.map((finding) => (
          <FindingLine key={finding.index} finding={finding} onOpen={(index) => onSelect({ kind: "finding", name: String(index) })} />
        ))}
      </Section>
      <Traces report={report} />
      <Optimizers report={report} />
      <Model report={report} />
      <Environment report={report} />
    </>
  );
}

function Traces({ report }: { report: Report }) {
  return (
    <Section title="Traces" aside={formatCount(report.wire.traces.length)}>
      <ul class="entries">
        {report.wire.traces.map((trace) => (
          <li key={trace.id}>
            <b>{trace.caller}</b> <code>{trace.signature}</code>
            <div class="muted">
              {trace.current ? "current, " : ""}
              {plural(trace.updated.length, "variable")} updated, {plural(trace.nodes, "node")}
              {trace.jit ? ", jit" : ""}
              {trace.source === "compiled" ? "" : `, ${trace.source}`}
            </div>
            {trace.location && (
              <div>
                <span class="muted">traced at </span>
                <Place location={trace.location} />
              </div>
            )}
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Optimizers({ report }: { report: Report }) {
  if (report.wire.optimizers.length === 0) return null;
  return (
    <Section title={report.wire.optimizers.length === 1 ? "Optimizer" : "Optimizers"}>
      <ul class="entries">
        {report.wire.optimizers.map((optimizer, i) => (
          <li key={i}>
            <b>{optimizer.class_name}</b> {optimizer.name !== optimizer.class_name && <span>{optimizer.name}</span>}
            <div class="muted">
              learning rate {typeof optimizer.learning_rate === "number" ? formatNorm(optimizer.learning_rate) : (optimizer.learning_rate ?? "not known")},{" "}
              {optimizer.built ? `tracks ${plural(optimizer.tracks.length, "variable")}` : "not built yet"}
              {optimizer.settings.map(([name, value]) => `, ${name} ${value}`)}
            </div>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Model({ report }: { report: Report }) {
  const { model, source } = report.wire;
  return (
    <Section title="Model">
      <Facts
        facts={[
          ["name", model.name],
          ["class", model.class_name],
          ["library", model.keras === "none" ? "a function of its own" : model.keras],
          ["own flag", model.trainable ? "trainable" : "frozen"],
          ["read from", report.wire.traces.length === 0 ? "no trace" : source === "compiled" ? "existing traces" : source === "traced" ? "a trace made for this report" : "an eager step"],
          ["jit_compile", model.jit_compile ? "yes" : null],
          ["run_eagerly", model.run_eagerly ? "yes" : null],
          ["steps_per_execution", model.steps_per_execution > 1 ? formatCount(model.steps_per_execution) : null],
          ["file", model.file],
        ]}
      />
    </Section>
  );
}

function Environment({ report }: { report: Report }) {
  const { environment, timings, created } = report.wire;
  const total = timings.reduce((sum, [, seconds]) => sum + seconds, 0);
  return (
    <Section title="Made with">
      <Facts
        facts={[
          ["introspect", environment.introspect],
          ["TensorFlow", environment.tensorflow],
          ["Keras", environment.keras],
          ["Python", environment.python],
          ["strategy", environment.strategy],
          ["devices", formatCount(environment.devices.length)],
          ["written", formatTime(created)],
          ["took", total > 0 ? <span title={timings.map(([stage, s]) => `${stage} ${s.toFixed(3)} s`).join("\n")}>{total.toFixed(2)} s</span> : null],
        ]}
      />
    </Section>
  );
}
